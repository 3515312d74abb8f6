//! The arguments of `prune`.

use clap::Args;

use crate::config::duration::HumanDuration;

#[derive(Debug, Args)]
#[command(after_help = super::examples::PRUNE)]
pub(crate) struct PruneInputs {
    /// Number of newest releases to keep
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) keep: usize,
    /// Delete only releases older than this, such as 90d
    #[arg(long, value_name = "TIME", default_value = "90d")]
    pub(crate) older_than: HumanDuration,
    /// List the releases that would be deleted; delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
