//! The arguments of `status`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = super::examples::STATUS)]
pub(crate) struct StatusInputs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
