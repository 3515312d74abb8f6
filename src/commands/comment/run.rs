//! comment run: carries out the command of the comment that started the run. Everything is checked
//! again, because `comment check` ran in another job, perhaps long before.

use super::{NOT_CARRIED_OUT, accepted};
use crate::{
    base::error::Result,
    cli::{
        args::{
            CommentRunInputs, ComponentCommand, DeployInputs, Global, HoldInputs, PlanInputs,
            UnholdInputs, UnlockInputs,
        },
        comment::{CommentCommand, CommentVerb},
        report_flags::ReportFlags,
        values::CommitId,
    },
    commands::run_for_component,
    config::names::Version,
    context::comment::Accepted,
    report::{Answer, Report},
    services::{ci::host::Host, github::Reaction},
};

pub(in crate::commands) async fn run(
    global: &Global,
    inputs: CommentRunInputs,
    host: Host,
    report: &mut Report,
) -> Result<()> {
    let head = inputs.head.as_ref().map(|CommitId(head)| head.as_str());
    let Some((accepted, answer)) = accepted(global, &host, head).await? else { return Ok(()) };
    answer.react(Reaction::Eyes).await;
    let host = Host { run: accepted.run(&host), ..host };
    report.set_run(host.run.as_ref());
    let command = command(&accepted, accepted.version().parse()?, inputs);
    let flags = ReportFlags::of_component(&command);
    let carried_out = run_for_component(command, global, &flags, host, report).await;
    end(&answer, &accepted.command, report, carried_out.map(drop)).await
}

/// Returns the command as it is on the command line.
fn command(accepted: &Accepted, version: Version, inputs: CommentRunInputs) -> ComponentCommand {
    let CommentCommand { verb, environment, lock } = accepted.command.clone();
    match verb {
        CommentVerb::Unlock => ComponentCommand::Unlock(UnlockInputs {
            environment,
            force: lock.map(|id| id.to_string()),
        }),
        CommentVerb::Hold => ComponentCommand::Hold(HoldInputs { environment, pull_request: None }),
        CommentVerb::Unhold => ComponentCommand::Unhold(UnholdInputs { environment }),
        CommentVerb::Plan | CommentVerb::Apply => ComponentCommand::Deploy(DeployInputs {
            reviewed: inputs.reviewed.filter(|_| verb == CommentVerb::Apply),
            age_identity: inputs.age_identity,
            plan: PlanInputs {
                plan_only: verb == CommentVerb::Plan,
                plan_out: None,
                parallelism: inputs.parallelism,
                lock_timeout: inputs.lock_timeout,
            },
            url_output: inputs.url_output,
            report: inputs.report,
            ..DeployInputs::of(environment, version)
        }),
    }
}

/// Answers the comment. A deploy has a row in cdflow's own comment, unless it failed before
/// anything was known.
async fn end(
    answer: &Answer,
    command: &CommentCommand,
    report: &Report,
    result: Result<()>,
) -> Result<()> {
    match &result {
        Ok(()) => {
            answer.react(Reaction::Rocket).await;
            if let Some(lines) = &report.answer {
                answer.reply(&format!("`{command}`"), lines).await;
            }
        }
        Err(error) => {
            answer.react(Reaction::Down).await;
            if !report.has_row() {
                answer.reply(NOT_CARRIED_OUT, &error.to_string()).await;
            }
        }
    }
    result
}
