//! The arguments of `dockerfile`.

use clap::Args;

use crate::config::settings::FunctionImages;

#[derive(Debug, Args)]
#[command(after_help = super::examples::DOCKERFILE)]
pub(crate) struct DockerfileInputs {
    #[command(flatten)]
    pub(crate) images: FunctionImages,
    /// Write it next to functions.rs, unless that folder has one
    #[arg(long)]
    pub(crate) write: bool,
}
