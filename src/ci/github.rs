//! A run of GitHub Actions.

use std::{fmt, str::FromStr};

use super::{Run, event, number, text};
use crate::{
    environment::Environment,
    error::{Error, Result},
};

/// The bot whose pull requests GitHub treats like those of forks: no secrets, a token that only reads.
const DEPENDABOT: &str = "dependabot[bot]";

#[derive(Clone, Debug, Default)]
#[allow(dead_code, reason = "which of the facts a command needs differs; they are read together")]
pub(crate) struct GitHubRun {
    pub(crate) repository: Option<Repository>,
    pub(crate) repository_id: Option<u64>,
    pub(crate) default_branch: Option<String>,
    /// `push`, `pull_request`, …
    pub(crate) event: String,
    /// GITHUB_SHA: for most events about somebody's change, the newest commit of the default branch.
    pub(crate) sha: Option<String>,
    pub(crate) pull_request: Option<PullRequest>,
    /// The change that an outsider made, for which a run that has secrets was started.
    pub(super) outsider: Option<Outsider>,
    pub(crate) run_id: Option<u64>,
    /// 1 for the first; counts up when the run is run again.
    pub(crate) attempt: u64,
    pub(crate) workflow: Option<String>,
    pub(crate) job: Option<String>,
    pub(crate) server_url: Option<String>,
}

/// `owner/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) owner: String,
    pub(crate) name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "which of the facts a command needs differs; they are read together")]
pub(crate) struct PullRequest {
    pub(crate) number: u64,
    pub(crate) head_sha: String,
    /// None: it was deleted.
    pub(crate) head_repository: Option<String>,
    pub(crate) base_branch: String,
    pub(crate) is_fork: bool,
    pub(crate) is_draft: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) author: Option<String>,
}

/// A change by somebody who may not push here, for which a run that may hold secrets was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outsider {
    /// Known to be one.
    Head { sha: String, whose: String },
    /// A comment on this pull request: the event doesn't tell whose change it is.
    Unknown { pull_request: u64 },
}

impl PullRequest {
    pub(super) fn is_dependabots(&self) -> bool {
        self.author.as_deref() == Some(DEPENDABOT)
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                && ![".", ".."].contains(&name)
        };
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::input(format!("GITHUB_REPOSITORY is `{}`", text.escape_debug()))
                .hint("it is written `owner/name`")),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

pub(super) fn read(environment: &Environment) -> Result<Run> {
    let name = environment.get("GITHUB_EVENT_NAME").unwrap_or_default();
    let event = event::read(environment, name)?;
    let pull_request = event.pull_request.as_ref().map(pull_request);
    let of_type =
        |kind| text(environment, "GITHUB_REF_NAME").filter(|_| environment.get("GITHUB_REF_TYPE") == Some(kind));
    let is_change = pull_request.is_some();
    Ok(Run {
        commit: text(environment, "GITHUB_SHA"),
        branch: of_type("branch").filter(|_| !is_change),
        tag: of_type("tag"),
        number: number(environment, "GITHUB_RUN_NUMBER"),
        change: pull_request.as_ref().map(|it| it.number),
        actor: text(environment, "GITHUB_ACTOR"),
        url: run_url(environment),
        github: Some(GitHubRun {
            repository: environment.get("GITHUB_REPOSITORY").map(str::parse).transpose()?,
            repository_id: number(environment, "GITHUB_REPOSITORY_ID"),
            default_branch: event.repository.as_ref().and_then(|it| it.default_branch.clone()),
            event: name.to_owned(),
            sha: text(environment, "GITHUB_SHA"),
            outsider: outsider(name, &event, pull_request.as_ref()),
            pull_request,
            run_id: number(environment, "GITHUB_RUN_ID"),
            attempt: number(environment, "GITHUB_RUN_ATTEMPT").unwrap_or(1),
            workflow: text(environment, "GITHUB_WORKFLOW"),
            job: text(environment, "GITHUB_JOB"),
            server_url: text(environment, "GITHUB_SERVER_URL"),
        }),
    })
}

fn run_url(environment: &Environment) -> Option<String> {
    let [server, repository, run] =
        ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"].map(|name| environment.get(name));
    Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
}

fn pull_request(of_event: &event::PullRequest) -> PullRequest {
    let id = |side: &event::Side| side.repo.as_ref().map(|repository| repository.id);
    PullRequest {
        number: of_event.number,
        head_sha: of_event.head.sha.clone(),
        head_repository: of_event.head.repo.as_ref().map(|repository| repository.full_name.clone()),
        base_branch: of_event.base.branch.clone(),
        is_fork: id(&of_event.head).is_none() || id(&of_event.head) != id(&of_event.base),
        is_draft: of_event.draft,
        labels: of_event.labels.iter().map(|label| label.name.clone()).collect(),
        author: of_event.user.as_ref().map(|user| user.login.clone()),
    }
}

fn outsider(name: &str, event: &event::Event, pull_request: Option<&PullRequest>) -> Option<Outsider> {
    match (name, pull_request, &event.workflow_run, &event.issue) {
        // Here also a branch of the repository itself is code that nobody has reviewed, run with the secrets of the base.
        ("pull_request_target", Some(change), ..) => {
            Some(Outsider::Head { sha: change.head_sha.clone(), whose: format!("pull request #{}", change.number) })
        }
        ("workflow_run", _, Some(run), _) => {
            let ours = event.repository.as_ref().map(|repository| repository.id);
            let is_fork = run.head_repository.is_none() || run.head_repository.as_ref().map(|it| it.id) != ours;
            let is_dependabots = run.event.starts_with("pull_request")
                && run.actor.as_ref().is_some_and(|actor| actor.login == DEPENDABOT);
            let whose = match &run.head_repository {
                _ if is_dependabots => "a pull request of Dependabot".to_owned(),
                Some(fork) => format!("the fork `{}`", fork.full_name.escape_debug()),
                None => "a fork that was deleted".to_owned(),
            };
            (is_fork || is_dependabots).then(|| Outsider::Head { sha: run.head_sha.clone(), whose })
        }
        ("issue_comment", _, _, Some(issue)) if issue.pull_request.is_some() => {
            Some(Outsider::Unknown { pull_request: issue.number })
        }
        _ => None,
    }
}
