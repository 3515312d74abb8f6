//! The arguments of `inspect`.

use clap::Args;

use crate::config::names::Version;

#[derive(Debug, Args)]
#[command(after_help = super::examples::INSPECT)]
pub(crate) struct InspectInputs {
    /// Release to inspect
    pub(crate) version: Version,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
