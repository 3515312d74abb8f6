//! The command line and the inputs of the Action: either of them becomes one `Inputs` value.

mod action;
pub(crate) mod args;
pub(crate) mod authorities;
pub(crate) mod comment;
pub(crate) mod guides;
mod printed;
pub(crate) mod report_flags;
pub(crate) mod usage;
pub(crate) mod values;

use std::{ffi::OsString, path::Path};

use clap::Parser;

use self::{
    action::ActionInputs,
    args::{Command, ComponentCommand, Global, Inputs},
    usage::correct_tip,
};
use crate::base::{error::Result, process_env::ProcessEnv};

/// The program's name as the Action's `post-entrypoint`.
const POST: &str = "cdflow-post";

/// The result of reading the arguments and inputs.
pub(crate) enum Parsed {
    Run(Box<Inputs>),
    /// `--help`, `--version` or a usage error: clap's own text and exit code.
    Usage {
        exit: u8,
        text: Box<clap::Error>,
    },
}

/// Parses the arguments, or the Action's inputs if there are no arguments.
pub(crate) fn parse(args: Vec<OsString>, environment: &ProcessEnv) -> Result<Parsed> {
    if args.first().and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == POST) {
        // The runner also sets the inputs of the step that this one follows: they do not matter
        // here.
        return run(Inputs { global: Global::default(), command: Command::Post });
    }
    let action = ActionInputs::read(environment)?;
    if args.len() <= 1 && (action.is_given() || environment.get("GITHUB_ACTIONS").is_some()) {
        return run(action.parse()?);
    }
    match Inputs::try_parse_from(&args) {
        Ok(inputs) => run(inputs),
        Err(mut error) => {
            correct_tip(&mut error, &args);
            let exit = u8::try_from(error.exit_code()).unwrap_or(2);
            Ok(Parsed::Usage { exit, text: Box::new(error) })
        }
    }
}

/// Replaces `release --local` by the command that it is an old name of.
fn run(mut inputs: Inputs) -> Result<Parsed> {
    if let Command::Component(ComponentCommand::Release(release)) = &inputs.command
        && let Some(build) = release.as_build()?
    {
        inputs.command = Command::Build(build);
    }
    Ok(Parsed::Run(Box::new(inputs)))
}

#[cfg(test)]
mod tests;
