//! The arguments of `init`.

use clap::Args;

use crate::config::{
    component::{ComponentType, SchemeUrl},
    names::{Component, Team},
};

#[derive(Debug, Args)]
#[command(after_help = super::examples::INIT)]
pub(crate) struct InitInputs {
    /// Type: infrastructure (Terraform code alone), lambda (and a zip), docker (and an image) or
    /// function (and an image of a Rust function)
    #[arg(long = "type", value_name = "TYPE", hide_possible_values = true)]
    pub(crate) kind: ComponentType,
    /// Name of the component and of its folder, which must be missing or empty
    pub(crate) name: Component,
    /// Team that owns the component [default: platform]
    #[arg(long, default_value = "platform", hide_default_value = true)]
    pub(crate) team: Team,
    /// Account scheme of the organisation, s3://bucket/key, to use instead of a local one
    #[arg(long, value_name = "URL")]
    pub(crate) account_scheme_url: Option<SchemeUrl>,
}
