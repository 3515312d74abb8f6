//! The arguments of `build`.

use clap::Args;

use crate::config::{names::Image, settings::FunctionImages};

#[derive(Debug, Args)]
#[command(after_help = super::examples::BUILD)]
pub(crate) struct BuildInputs {
    /// Compile for debugging, and include the environment files
    #[arg(long)]
    pub(crate) dev: bool,
    /// Name of the image [default: <Docker Hub user>/<folder>]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Option<Image>,
    /// Show what the image would contain; build nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) images: FunctionImages,
}
