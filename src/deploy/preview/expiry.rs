//! Whether a preview is still needed, by the ledger and by its pull request: what `reap` asks before it plans, and once more before
//! it applies.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    base::{error::Result, units::duration_text},
    config::names::Environment,
    context::Context,
    deploy::ledger::{Action, Record},
    services::github::{Api, GitHubError, GitHubErrorKind, PullRequest},
};

pub(crate) struct Judge {
    api: Api,
    /// Ours, by GitHub's number.
    repository: u64,
}

/// What is to become of a preview, and why.
pub(crate) enum Fate {
    /// Nothing is there.
    Gone,
    Stays(String),
    Due(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Merged,
    Closed,
    /// GitHub does not know the pull request (any more).
    Unknown,
    /// Older than its `ttl`.
    Old(Duration),
}

impl Judge {
    pub(crate) async fn new(context: &Context) -> Result<Self> {
        let api = Api::of(&context.host, context.github_token.as_ref())
            .map_err(GitHubError::into_error)?;
        let asking = async { api.repository_id().await.map_err(GitHubError::into_error) };
        let repository = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
        Ok(Self { api, repository })
    }

    pub(crate) async fn fate(
        &self,
        context: &Context,
        environment: &Environment,
        record: &Record,
    ) -> Result<Fate> {
        let Some(deployed) = record.deployed() else { return Ok(Fate::Gone) };
        let stays = |why: &str| Ok(Fate::Stays(why.to_owned()));
        let Some(of) =
            deployed.preview.as_ref().filter(|of| environment.pull_request() == Some(of.number))
        else {
            return stays("`preview up` has not made it");
        };
        match of.repository {
            Some(id) if id == self.repository => {}
            Some(_) => return stays("it belongs to another repository"),
            None => return stays("to which repository it belongs is not known"),
        }
        let asking = async {
            self.by_pull_request(context, of.number, record).await.map_err(GitHubError::into_error)
        };
        context.host.interrupt.or_cancel("asking GitHub", asking).await
    }

    async fn by_pull_request(
        &self,
        context: &Context,
        number: u64,
        record: &Record,
    ) -> Result<Fate, GitHubError> {
        match self.api.pull_request(number).await {
            Ok(found) if found.merged => Ok(Fate::Due(Reason::Merged)),
            Ok(found) if !found.is_open() => Ok(Fate::Due(Reason::Closed)),
            Ok(found) => Ok(of_open(context, &found, record, Timestamp::now())),
            Err(trouble) if trouble.kind == GitHubErrorKind::NotFound => {
                self.of_missing(number, trouble).await
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Who has lost the permission to see the repository is told the same, and GitHub itself may err. So it counts only where the
    /// repository answers, and its list of open pull requests lacks this one.
    async fn of_missing(&self, number: u64, trouble: GitHubError) -> Result<Fate, GitHubError> {
        if self.api.repository_id().await? != self.repository {
            return Err(trouble);
        }
        match self.api.open_pull_requests().await?.contains(&number) {
            true => Err(trouble),
            false => Ok(Fate::Due(Reason::Unknown)),
        }
    }
}

fn of_open(context: &Context, change: &PullRequest, record: &Record, now: Timestamp) -> Fate {
    let preview = &context.manifest.preview;
    let Some(ttl) = preview.ttl else { return Fate::Stays("its pull request is open".to_owned()) };
    let deploys = record.unsettled.iter().chain(&record.settled).map(|entry| &entry.start);
    let newest =
        deploys.filter(|start| start.action == Action::Deploy).map(|start| start.started).max();
    let is_old = newest.is_some_and(|newest| {
        SignedDuration::try_from(ttl.0).is_ok_and(|ttl| now.duration_since(newest) >= ttl)
    });
    match (is_old, change.has_label(preview.keep_label())) {
        (false, _) => Fate::Stays("its pull request is open".to_owned()),
        (true, true) => {
            Fate::Stays(format!("the label `{}` keeps it", preview.keep_label().escape_debug()))
        }
        (true, false) => Fate::Due(Reason::Old(ttl.0)),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merged => f.write_str("its pull request is merged"),
            Self::Closed => f.write_str("its pull request is closed"),
            Self::Unknown => f.write_str("its pull request is gone"),
            Self::Old(ttl) => write!(f, "it was not deployed to for {}", duration_text(*ttl)),
        }
    }
}
