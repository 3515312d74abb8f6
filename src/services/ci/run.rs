//! What is known of a run of a CI, read once and from then on a value.

use jiff::Timestamp;

use crate::services::github::{PullRequest, RepositoryName};

/// Names of people and forks are untrusted: they are only displayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The commit that the run is for, in full. What is checked out may be another: git knows that.
    pub(crate) commit: Option<String>,
    pub(crate) tag: Option<String>,
    /// Counts up from run to run, and stays when a run is run again.
    pub(crate) number: Option<u64>,
    /// The number of the pull request, merge request or change.
    pub(crate) change: Option<u64>,
    pub(crate) actor: Option<String>,
    /// The fork of the change, on CIs that set a variable for it. GitHub's event has it in
    /// `GitHubRun`.
    pub(crate) fork: Option<String>,
    /// The URL of the run.
    pub(crate) url: Option<String>,
    pub(crate) github: Option<GitHubRun>,
}

impl Run {
    /// Whether the run is for a change, also for one that its event does not describe.
    pub(crate) fn is_of_change(&self) -> bool {
        let outsider = self.github.as_ref().and_then(|github| github.outsider.as_ref());
        self.change.is_some() || matches!(outsider, Some(Outsider::Unknown { .. }))
    }
}

/// What only GitHub Actions knows of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct GitHubRun {
    pub(crate) repository: Option<RepositoryName>,
    pub(crate) repository_id: Option<u64>,
    /// `push`, `pull_request`, …
    pub(crate) event: String,
    /// GITHUB_SHA: for most events about a change from outside, the newest commit of the default
    /// branch.
    pub(crate) sha: Option<String>,
    /// The commit of the repository itself whose workflow run triggered this run.
    pub(crate) triggered_by: Option<String>,
    pub(crate) pull_request: Option<PullRequest>,
    /// The number of the pull request that a merge queue tests.
    pub(crate) queued: Option<u64>,
    /// The change from outside that triggered this run, which has secrets.
    pub(crate) outsider: Option<Outsider>,
    /// The comment on a pull request that started the run.
    pub(crate) comment: Option<CommentEvent>,
    /// The comment that commands the run, once cdflow has accepted it. `pull_request` is then the
    /// one that it is on.
    pub(crate) commanded: Option<Commanded>,
    pub(crate) run_id: Option<u64>,
    /// 1 for the first; counts up when the run is run again.
    pub(crate) attempt: u64,
}

impl GitHubRun {
    /// Returns the number of the pull request of the event, or of the one in the merge queue.
    pub(crate) fn number(&self) -> Option<u64> {
        self.pull_request.as_ref().map(|it| it.number).or(self.queued)
    }

    /// Returns the commits of the repository itself that the run is for.
    pub(crate) fn own_commits(&self) -> Vec<&str> {
        [&self.sha, &self.triggered_by].into_iter().filter_map(Option::as_deref).collect()
    }
}

/// A change by an author without push access, which triggered a run that may have secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outsider {
    /// Known to be one.
    Head { sha: String, whose: String },
    /// A comment on this pull request: the event does not name the author of the change.
    Unknown { pull_request: u64 },
}

/// A comment on a pull request, as the event describes it. Anybody can write one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommentEvent {
    pub(crate) id: u64,
    pub(crate) body: String,
    pub(crate) pull_request: u64,
    /// False: it was edited or deleted.
    pub(crate) is_new: bool,
}

/// Who commands a run by a comment, and since when the comment exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commanded {
    pub(crate) login: String,
    pub(crate) at: Timestamp,
}

/// Seven digits, as git shortens a commit.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
