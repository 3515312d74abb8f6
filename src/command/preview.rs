//! preview: an environment per pull request, which comes and goes with it.

mod down;
mod pull_request;
mod reap;
mod up;
mod watch;

pub(super) use watch::Watch;

use super::context::Context;
use crate::{
    error::{Error, Result},
    inputs::PreviewCommand,
    report::Report,
};

pub(super) async fn run(context: &Context, command: PreviewCommand, report: &mut Report) -> Result<()> {
    match command {
        PreviewCommand::Up(inputs) => up::run(context, inputs, report).await,
        PreviewCommand::Down(inputs) => down::run(context, inputs, report).await,
        PreviewCommand::Reap(inputs) => reap::run(context, &inputs, report).await,
    }
}

/// The one that is named, or that the run is for.
fn number(context: &Context, given: Option<u64>) -> Result<u64> {
    given.or_else(|| context.host.run.as_ref()?.change).ok_or_else(|| {
        Error::input("the number of the pull request is missing")
            .why("this run is not for a pull request")
            .hint("name it: --pull-request NUMBER (the Action's input `pull-request`)")
    })
}
