//! What the ledger knows of the environments that the runs of a pull request have changed: the comment's rows are made anew from
//! it where they are lost, or where the run that was to write them has died.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::ledger::{Action, Entry, ForPullRequest, Ledger, Outcome};
use crate::{
    base::error::Result,
    config::{names::Environment, preview::PreviewOf},
    context::Context,
    report::{self, PastRun, Report, RunRef},
    services::ci::host::Host,
};

/// So long the end of a run waits for the store; less when somebody waits for it to be cancelled.
const PATIENCE: Duration = Duration::from_secs(10);
const WHEN_CANCELLED: Duration = Duration::from_secs(3);
/// Environments that are looked at, and of each the newest runs.
const ENVIRONMENTS: usize = 100;
const RUNS: usize = 10;
const AT_ONCE: usize = 8;

/// The pull request and the run, as the ledger keeps them. None where no comment is written either, or where the repository has
/// no number: a name can be given to another one.
pub(crate) fn of_run(host: &Host) -> Option<ForPullRequest> {
    of(host, host.github()?.pull_request.as_ref()?.number)
}

/// What changes a preview is for its pull request, also where the run is for none: one on a schedule, or of another.
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

/// Trouble is a warning: the comment is then made of what stands in it, as far as that goes.
pub(crate) async fn tell(context: &Context, report: &mut Report) {
    let Some(ours) = of_run(&context.host)
        .filter(|_| report.has_row() && context.reporting.comments(&context.host))
    else {
        return;
    };
    let host = &context.host;
    let patience = if host.interrupt.requested().is_some() { WHEN_CANCELLED } else { PATIENCE };
    let troubled = match timeout(patience, read(context, &ours)).await {
        Ok(Ok((past, trouble))) => {
            report.past = past;
            trouble.map(|error| error.to_string())
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the release store takes too long to answer".to_owned()),
    };
    if let Some(why) = troubled {
        host.log.warning(&format!(
            "what the comment has lost can't be made anew from the ledger: {why}"
        ));
    }
}

/// What could be read, and the first trouble with the rest.
async fn read(
    context: &Context,
    ours: &ForPullRequest,
) -> Result<(Vec<PastRun>, Option<crate::base::error::Error>)> {
    let mut environments = Ledger::environments(&context.store, &context.identity).await?;
    // Other previews are other pull requests'.
    environments.retain(|it| !it.is_preview() || *it == Environment::of_pull_request(ours.number));
    environments.truncate(ENVIRONMENTS);
    let read: Vec<Result<Option<PastRun>>> = stream::iter(&environments)
        .map(|it| newest(context, it, ours))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut past, mut trouble) = (Vec::new(), None);
    for one in read {
        match one {
            Ok(found) => past.extend(found),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    Ok((past, trouble))
}

async fn newest(
    context: &Context,
    environment: &Environment,
    ours: &ForPullRequest,
) -> Result<Option<PastRun>> {
    let ledger = Ledger::of(context, environment);
    let is_ours =
        |of: &ForPullRequest| (of.repository, of.number) == (ours.repository, ours.number);
    let found =
        ledger.find_recent(RUNS, |start| start.pull_request.as_ref().is_some_and(is_ours)).await?;
    Ok(found.and_then(|entry| past(environment, entry, ours)))
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
        // Another job of our own run is most likely still at work.
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
        started: start.started,
        ended: end.map(|end| end.finished),
    })
}
