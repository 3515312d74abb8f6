//! preview: an environment per pull request, which comes and goes with it.

mod down;
mod reap;
mod up;

pub(crate) use crate::deploy::preview::watch::Watch;

use crate::{
    base::error::{Error, Result},
    cli::{args::PreviewCommand, values::PullRequestNumber},
    config::names::Environment,
    context::Context,
    deploy::ledger::Record,
    report::Report,
};

pub(crate) async fn run(
    context: &Context,
    command: PreviewCommand,
    report: &mut Report,
) -> Result<()> {
    match command {
        PreviewCommand::Up(inputs) => up::run(context, inputs, report).await,
        PreviewCommand::Down(inputs) => down::run(context, inputs, report).await,
        PreviewCommand::Reap(inputs) => reap::run(context, &inputs, report).await,
    }
}

/// Two repositories whose components have the same name would make and destroy each other's previews.
fn check_repository(context: &Context, environment: &Environment, record: &Record) -> Result<()> {
    let ours = context.host.github().and_then(|run| run.repository_id);
    let theirs = record.deployed().and_then(|deployed| deployed.preview.as_ref()?.repository);
    match ours.zip(theirs) {
        Some((ours, theirs)) if ours != theirs => Err(Error::refused(format!(
            "the preview `{environment}` belongs to another repository"
        ))
        .why(format!("by the ledger that is GitHub's repository {theirs}, this run is of {ours}"))
        .hint("give one of the two components another name: `component` in cdflow.yml")),
        _ => Ok(()),
    }
}

/// The one that is named, or that the run is for.
fn number(context: &Context, given: Option<PullRequestNumber>) -> Result<u64> {
    given
        .map(|PullRequestNumber(number)| number)
        .or_else(|| context.host.run.as_ref()?.change)
        .ok_or_else(|| {
            Error::input("the number of the pull request is missing")
                .why("this run is not for a pull request")
                .hint("name it: --pull-request NUMBER (the Action's input `pull-request`)")
        })
}
