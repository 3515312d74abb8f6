//! The check run `cdflow` of a commit: the rows of all jobs as one result, which a branch rule can
//! require. Problems are warnings: the run itself is not affected.

mod rows;
#[cfg(test)]
pub(super) use rows::tests;

use tokio::time::{Instant, sleep};

pub(crate) use self::rows::CheckState;
use self::rows::{CheckRow, CheckRows};
use super::{Destinations, Report, RunRef};
use crate::{
    base::{
        limits::{Limit, PAUSE},
        redact::Secret,
        retry::jitter,
    },
    services::{
        ci::host::Host,
        github::{Api, CheckRun, GitHubError, GitHubErrorKind, NewCheckRun},
    },
};

pub(crate) const NAME: &str = "cdflow";
/// How often a run reads the check run before it gives up.
const ATTEMPTS: u32 = 12;

/// Whether a run writes check runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Checking {
    #[default]
    Possible,
    /// GitHub has refused it, which was said once.
    Refused,
}

/// Where the row of a run goes.
struct CheckTarget<'a> {
    api: Api,
    host: &'a Host,
    /// The commit that GitHub shows the check run of.
    commit: String,
    comment: Option<&'a str>,
}

/// Shows that the run has begun: a check run that was successful waits for it again.
pub(crate) async fn begin_check(destinations: &Destinations, host: &Host, report: &mut Report) {
    put(destinations, host, report, None, true).await;
}

/// Writes the result of the run. `comment` is the URL of the comment.
pub(super) async fn end_check(
    destinations: &Destinations,
    host: &Host,
    report: &mut Report,
    comment: Option<&str>,
) {
    put(destinations, host, report, comment, false).await;
}

async fn put(
    destinations: &Destinations,
    host: &Host,
    report: &mut Report,
    comment: Option<&str>,
    is_running: bool,
) {
    let Some(total) = destinations.check else { return };
    let (Some(commit), Some(row)) = (commit(host), CheckRow::of(report, total, is_running)) else {
        return;
    };
    if report.checking == Checking::Refused {
        return;
    }
    let added = CheckRows::from(row);
    let writing = async {
        let api = Api::of(host, destinations.token.as_ref())?;
        let target = CheckTarget { api, host, commit, comment };
        match is_running {
            true => target.write_once(added).await,
            false => target.write(added).await.map(drop),
        }
    };
    match host.interrupt.or_stop([Limit::Comment, Limit::CommentStop], writing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if matches!(error.kind, GitHubErrorKind::Forbidden { .. }) => {
            report.checking = Checking::Refused;
            host.log.note(&format!(
                "the check run `{NAME}` is not written: the token does not have `checks: write`\n  \
                 -> add `checks: write` to the `permissions:` of the job, or remove the input \
                 `check`"
            ));
        }
        Ok(Err(error)) => host.log.warning(&error.to_string()),
        Err(limit) => host.log.warning(&unclear(limit)),
    }
}

/// Says that the change affects no component, and returns what the check run then shows. None if
/// the run is for no pull request and no merge queue. The error is for a warning.
pub(crate) async fn write_unaffected(
    token: Option<&Secret>,
    host: &Host,
    run: RunRef,
) -> Result<Option<CheckState>, String> {
    let Some(commit) = commit(host) else { return Ok(None) };
    let writing = async {
        let target = CheckTarget { api: Api::of(host, token)?, host, commit, comment: None };
        target.write(CheckRows::unaffected(run)).await
    };
    match host.interrupt.or_stop([Limit::Comment, Limit::CommentStop], writing).await {
        Ok(Ok(rows)) => Ok(Some(rows.state())),
        Ok(Err(error)) if matches!(error.kind, GitHubErrorKind::Forbidden { .. }) => Err(format!(
            "the check run `{NAME}` is not written: the token does not have `checks: write`\n  -> \
             add `checks: write` to the `permissions:` of the job\n  -> for a pull request of a \
             fork or of Dependabot, whose tokens never have it, push its commits to a branch of \
             the repository"
        )),
        Ok(Err(error)) => Err(format!("the check run `{NAME}` is not written: {error}")),
        Err(limit) => Err(unclear(limit)),
    }
}

fn unclear(limit: Limit) -> String {
    format!(
        "the check run `{NAME}` might not show this run: {}",
        limit.passed("GitHub did not answer")
    )
}

/// Returns the newest commit of the pull request, or the commit of the merge queue.
fn commit(host: &Host) -> Option<String> {
    let run = host.github()?;
    match &run.pull_request {
        Some(pull_request) => Some(pull_request.head.sha.clone()),
        None => run.sha.clone().filter(|_| run.event == "merge_group"),
    }
}

impl CheckTarget<'_> {
    /// Writes without a look at what others write meanwhile.
    async fn write_once(&self, added: CheckRows) -> Result<(), GitHubError> {
        let found = self.find().await?;
        self.send(&found, rows(&found).merge(added)).await
    }

    /// Writes until the check run has what is added, and returns all that it then has. GitHub has
    /// no compare-and-swap, so others might overwrite it.
    async fn write(&self, added: CheckRows) -> Result<CheckRows, GitHubError> {
        // Others need about this time between reading and writing.
        let mut pause = PAUSE * 4;
        for _ in 0..ATTEMPTS {
            self.api.ready_to_write().await;
            let began = Instant::now();
            let found = self.find().await?;
            let newest = found.last().and_then(|it| CheckRows::parse(it.text()));
            // Another job can have created a check run of its own meanwhile.
            let all = rows(&found).merge(added.clone());
            if let Some(rows) = newest.filter(|rows| rows.has(&all)) {
                return Ok(rows);
            }
            self.send(&found, all).await?;
            sleep(jitter(pause.max(began.elapsed() * 2).min(PAUSE * 30))).await;
            pause = pause * 3 / 2;
        }
        Err(GitHubError::new(
            GitHubErrorKind::Unavailable,
            format!("failed to update the check run `{NAME}`"),
            "too many runs write to it at the same time",
        ))
    }

    /// Returns those that cdflow wrote, oldest first. Fails if one is of a newer cdflow.
    async fn find(&self) -> Result<Vec<CheckRun>, GitHubError> {
        let mut found = self.api.check_runs(&self.commit, NAME).await?;
        if found.iter().any(|run| CheckRows::is_newer(run.text())) {
            return Err(GitHubError::new(
                GitHubErrorKind::Unavailable,
                format!("the check run `{NAME}` is of a newer cdflow, and is left as it is"),
                "this one does not know its format: use the same version in all jobs",
            ));
        }
        found.retain(|run| CheckRows::parse(run.text()).is_some());
        Ok(found)
    }

    fn about(&self) -> Option<u64> {
        self.host.github()?.number()
    }

    /// Writes the rows to the newest check run, which is the one that a branch rule looks at.
    async fn send(&self, found: &[CheckRun], rows: CheckRows) -> Result<(), GitHubError> {
        let CheckState { conclusion, title, .. } = rows.state();
        let run = self.host.run.as_ref().and_then(|run| run.url.as_deref());
        let redactor = &self.host.log.redactor;
        let new = NewCheckRun {
            name: NAME,
            head_sha: &self.commit,
            conclusion,
            title,
            summary: redactor.apply(&rows.summary(self.about(), self.comment)).into_owned(),
            text: redactor.apply(&rows.text()).into_owned(),
            details_url: self.comment.or(run),
        };
        match found.last() {
            Some(newest) => self.api.update_check_run(newest.id, &new).await,
            None => self.api.create_check_run(&new).await,
        }
        .map(drop)
    }
}

/// Returns the rows of all: two jobs might have created one each.
fn rows(found: &[CheckRun]) -> CheckRows {
    let parsed = found.iter().filter_map(|run| CheckRows::parse(run.text()));
    parsed.fold(CheckRows::default(), CheckRows::merge)
}
