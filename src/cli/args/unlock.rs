//! The arguments of `unlock`.

use clap::Args;

use crate::config::names::Environment;

#[derive(Debug, Args)]
#[command(after_help = super::examples::UNLOCK)]
pub(crate) struct UnlockInputs {
    /// Environment whose state is locked
    pub(crate) environment: Environment,
    /// Release the lock with this ID; only if the run that holds it has ended
    #[arg(long, value_name = "ID")]
    pub(crate) force: Option<String>,
}
