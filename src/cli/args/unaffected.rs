//! The arguments of `unaffected`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = super::examples::UNAFFECTED)]
pub(crate) struct UnaffectedInputs {}
