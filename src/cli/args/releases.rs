//! The arguments of `releases`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = super::examples::RELEASES)]
pub(crate) struct ReleasesInputs {
    /// Show all releases, not only the newest 20
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
