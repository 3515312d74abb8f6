//! The arguments of `shell`.

use std::ffi::OsString;

use clap::Args;

use crate::config::names::{Environment, Version};

#[derive(Debug, Args)]
#[command(after_help = super::examples::SHELL)]
pub(crate) struct ShellInputs {
    /// Environment to work on
    pub(crate) environment: Environment,
    /// Release to work with [default: the deployed one]
    pub(crate) version: Option<Version>,
    /// Command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
