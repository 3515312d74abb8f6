//! completions: prints the completion script of a shell.

use crate::{
    cli::{args::CompletionsInputs, guides},
    services::ci::host::Host,
};

pub(crate) fn run(inputs: &CompletionsInputs, host: &Host) {
    guides::completions(inputs.shell).lines().for_each(|line| host.log.output(line));
}
