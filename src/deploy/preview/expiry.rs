//! Whether a preview has expired, according to the ledger and its pull request. `preview reap`
//! checks this before it plans, and again before it applies.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    base::{error::Result, units::duration_text},
    config::names::Environment,
    context::Context,
    deploy::ledger::{Action, Record},
    services::github::{Api, GitHubError, GitHubErrorKind, PullRequest},
};

/// Looks up pull requests to decide about their previews.
pub(crate) struct ExpiryCheck {
    api: Api,
    /// GitHub's number of this repository.
    repository: u64,
}

/// What happens to a preview, and why.
pub(crate) enum Expiry {
    /// Nothing is deployed.
    NotDeployed,
    Kept(KeptReason),
    Expired(ExpiryReason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeptReason {
    /// It was not created by `preview up`.
    NotByPreviewUp,
    OtherRepository,
    UnknownRepository,
    /// Its pull request is open.
    Open,
    /// It is old, but its pull request has this label.
    Label(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiryReason {
    Merged,
    Closed,
    /// GitHub does not have the pull request (any more).
    NotFound,
    /// Not deployed to for longer than its `ttl`.
    Old(Duration),
}

impl ExpiryCheck {
    pub(crate) async fn new(context: &Context) -> Result<Self> {
        let api = Api::of(&context.host, context.github_token.as_ref())
            .map_err(GitHubError::into_error)?;
        let asking = async { api.repository_id().await.map_err(GitHubError::into_error) };
        let repository = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
        Ok(Self { api, repository })
    }

    pub(crate) async fn of(
        &self,
        context: &Context,
        environment: &Environment,
        record: &Record,
    ) -> Result<Expiry> {
        let Some(deployed) = record.deployed() else { return Ok(Expiry::NotDeployed) };
        let kept = |why| Ok(Expiry::Kept(why));
        let Some(preview) =
            deployed.preview.as_ref().filter(|it| environment.pull_request() == Some(it.number))
        else {
            return kept(KeptReason::NotByPreviewUp);
        };
        match preview.repository {
            Some(id) if id == self.repository => {}
            Some(_) => return kept(KeptReason::OtherRepository),
            None => return kept(KeptReason::UnknownRepository),
        }
        let asking = async {
            self.by_pull_request(context, preview.number, record)
                .await
                .map_err(GitHubError::into_error)
        };
        context.host.interrupt.or_cancel("asking GitHub", asking).await
    }

    async fn by_pull_request(
        &self,
        context: &Context,
        number: u64,
        record: &Record,
    ) -> Result<Expiry, GitHubError> {
        match self.api.pull_request(number).await {
            Ok(found) if found.merged => Ok(Expiry::Expired(ExpiryReason::Merged)),
            Ok(found) if !found.is_open() => Ok(Expiry::Expired(ExpiryReason::Closed)),
            Ok(found) => Ok(of_open(context, &found, record, Timestamp::now())),
            Err(trouble) if trouble.kind == GitHubErrorKind::NotFound => {
                self.of_missing(number, trouble).await
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// GitHub also answers "not found" to a token that lost its permission, or by mistake. So it
    /// counts only if the repository can be read and its open pull requests lack this one.
    async fn of_missing(&self, number: u64, trouble: GitHubError) -> Result<Expiry, GitHubError> {
        if self.api.repository_id().await? != self.repository {
            return Err(trouble);
        }
        match self.api.open_pull_requests().await?.contains(&number) {
            true => Err(trouble),
            false => Ok(Expiry::Expired(ExpiryReason::NotFound)),
        }
    }
}

/// Returns when a preview expires if it is not deployed to again. None without a `ttl`.
pub(crate) fn expires(context: &Context, record: &Record) -> Option<Timestamp> {
    let ttl = SignedDuration::try_from(context.manifest.preview.ttl?.0).ok()?;
    newest_deploy(record)?.checked_add(ttl).ok()
}

fn newest_deploy(record: &Record) -> Option<Timestamp> {
    let deploys = record.unsettled.iter().chain(&record.settled).map(|entry| &entry.start);
    deploys.filter(|start| start.action == Action::Deploy).map(|start| start.started).max()
}

fn of_open(context: &Context, change: &PullRequest, record: &Record, now: Timestamp) -> Expiry {
    let preview = &context.manifest.preview;
    let Some(ttl) = preview.ttl else { return Expiry::Kept(KeptReason::Open) };
    let is_old = newest_deploy(record).is_some_and(|newest| {
        SignedDuration::try_from(ttl.0).is_ok_and(|ttl| now.duration_since(newest) >= ttl)
    });
    match (is_old, change.has_label(preview.keep_label())) {
        (false, _) => Expiry::Kept(KeptReason::Open),
        (true, true) => Expiry::Kept(KeptReason::Label(preview.keep_label().to_owned())),
        (true, false) => Expiry::Expired(ExpiryReason::Old(ttl.0)),
    }
}

impl fmt::Display for KeptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotByPreviewUp => f.write_str("it was not created by `preview up`"),
            Self::OtherRepository => f.write_str("it belongs to another repository"),
            Self::UnknownRepository => f.write_str("its repository is unknown"),
            Self::Open => f.write_str("its pull request is open"),
            Self::Label(label) => write!(f, "the label `{}` keeps it", label.escape_debug()),
        }
    }
}

impl fmt::Display for ExpiryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merged => f.write_str("its pull request is merged"),
            Self::Closed => f.write_str("its pull request is closed"),
            Self::NotFound => f.write_str("its pull request does not exist any more"),
            Self::Old(ttl) => write!(f, "it was not deployed to for {}", duration_text(*ttl)),
        }
    }
}
