//! The runs for a pull request, read from the ledger. The comment restores rows from them that were
//! lost, or that a run which died has not written.

use std::{collections::BTreeSet, sync::OnceLock};

use futures_util::{StreamExt, stream};

use super::{
    ledger::{Action, Entry, ForPullRequest, Ledger, Outcome, Start},
    state::location,
};
use crate::{
    base::{error::Result, limits::Limit},
    config::{names::Environment, preview::PreviewOf},
    context::Context,
    report::{self, LastStart, PastRun, Report, RunContext, RunRef},
    services::ci::host::Host,
};

/// How many environments are read, and how many of the newest runs of each.
const ENVIRONMENTS: usize = 100;
const RUNS: usize = 10;
const AT_ONCE: usize = 8;

/// Returns the pull request and the run, as the ledger records them. None if the run writes no
/// comment, or if the repository has no number: its name could later belong to another one.
pub(crate) fn of_run(host: &Host) -> Option<ForPullRequest> {
    of(host, host.github()?.pull_request.as_ref()?.number)
}

/// Returns the same for a run that changes a preview, which counts for the preview's pull request
/// even if the run is for another one or for none, such as a scheduled run.
pub(crate) fn of_change(host: &Host, preview: Option<&PreviewOf>) -> Option<ForPullRequest> {
    preview.map_or_else(|| of_run(host), |preview| of(host, preview.number))
}

fn of(host: &Host, number: u64) -> Option<ForPullRequest> {
    let github = host.github()?;
    Some(ForPullRequest {
        repository: github.repository_id?,
        number,
        run: github.run_id?,
        attempt: github.attempt,
    })
}

/// Adds the recorded runs to the report. A failure is a warning: the comment then keeps the rows
/// that it already has.
pub(crate) async fn add_past_runs(context: &Context, report: &mut Report) {
    let Some(ours) = of_run(&context.host)
        .filter(|_| report.has_row() && context.reporting.comments(&context.host))
    else {
        return;
    };
    let host = &context.host;
    let limits = [Limit::CommentRead, Limit::End];
    let failure = match host.interrupt.or_stop(limits, read(context, &ours)).await {
        Ok(Ok((past, starts, failure))) => {
            report.past = past;
            report.last_starts = starts;
            failure.map(|error| error.to_string())
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(limit) => Some(limit.passed("the release store did not answer")),
    };
    if let Some(why) = failure {
        host.log
            .warning(&format!("cannot restore lost rows of the comment from the ledger: {why}"));
    }
}

/// The runs for the pull request, the newest run of each environment, and the first error.
type Found = (Vec<PastRun>, Vec<LastStart>, Option<crate::base::error::Error>);

/// Returns what could be read.
async fn read(context: &Context, ours: &ForPullRequest) -> Result<Found> {
    // A list that lacks one costs a row of the comment, and nothing else.
    let known = BTreeSet::new();
    let mut environments = Ledger::environments(&context.store, &context.identity, &known).await?;
    // Any other preview belongs to another pull request.
    environments.retain(|it| !it.is_preview() || *it == Environment::of_pull_request(ours.number));
    environments.truncate(ENVIRONMENTS);
    let read: Vec<Result<(Option<PastRun>, Option<LastStart>)>> = stream::iter(&environments)
        .map(|it| newest(context, it, ours))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut past, mut starts, mut failure) = (Vec::new(), Vec::new(), None);
    for one in read {
        match one {
            Ok((found, start)) => {
                past.extend(found);
                starts.extend(start);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Ok((past, starts, failure))
}

async fn newest(
    context: &Context,
    environment: &Environment,
    ours: &ForPullRequest,
) -> Result<(Option<PastRun>, Option<LastStart>)> {
    let ledger = Ledger::of(context, environment);
    let is_ours =
        |of: &ForPullRequest| (of.repository, of.number) == (ours.repository, ours.number);
    // The first one that is looked at is the newest.
    let last: OnceLock<LastStart> = OnceLock::new();
    let is_wanted = |start: &Start| {
        last.get_or_init(|| LastStart {
            environment: environment.to_string(),
            version: start.version.to_string(),
            is_destroy: start.action == Action::Destroy,
            started: start.started,
            state_serial: None,
        });
        start.pull_request.as_ref().is_some_and(is_ours)
    };
    let found = ledger.find_recent(RUNS, is_wanted).await?;
    let mut last = last.into_inner();
    if let Some(last) = &mut last {
        let missing = |error| {
            let log = &context.host.log;
            log.detail(&format!("cannot read the serial of the state of {environment}: {error}"));
        };
        last.state_serial =
            location::serial(context, environment).await.map_err(missing).ok().flatten();
    }
    Ok((found.and_then(|entry| past(environment, entry, ours)), last))
}

fn past(environment: &Environment, entry: Entry, ours: &ForPullRequest) -> Option<PastRun> {
    let Entry { start, end } = entry;
    let run = start.pull_request?;
    let outcome = match (end.as_ref().map(|end| end.outcome), start.action) {
        (_, Action::Other) => return None,
        (Some(Outcome::Succeeded), Action::Deploy) => report::Outcome::Deployed,
        (Some(Outcome::Succeeded), Action::Destroy) => report::Outcome::Destroyed,
        (Some(Outcome::Succeeded), Action::Refresh) => report::Outcome::Refreshed,
        (Some(Outcome::Failed), _) => report::Outcome::Failed,
        (Some(Outcome::Interrupted), _) => report::Outcome::Interrupted,
        // Another job of the same run is most likely still applying.
        (None, _) if (run.run, run.attempt) == (ours.run, ours.attempt) => {
            report::Outcome::Applying
        }
        (None, _) => report::Outcome::Unfinished,
    };
    Some(PastRun {
        environment: environment.to_string(),
        version: start.version.to_string(),
        outcome,
        counts: start.plan.into(),
        run: RunRef { id: run.run, attempt: run.attempt, url: start.run_url },
        context: RunContext {
            commit: start.commit,
            pull_request: Some(run.number),
            actor: start.actor,
            account_id: start.account,
            region: Some(start.region),
            tool: Some(start.terraform),
            is_destroy: start.action == Action::Destroy,
            ..RunContext::default()
        },
        started: start.started,
        ended: end.map(|end| end.finished),
    })
}
