//! A run of GitHub Actions.

use std::{fmt, str::FromStr};

use super::{Run, actions_event, number, text};
use crate::base::{
    error::{Error, Result},
    process_env::ProcessEnv,
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
    pub(crate) outsider: Option<Outsider>,
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
    pub(crate) head_branch: String,
    /// None: it was deleted.
    pub(crate) head_repository: Option<String>,
    pub(crate) base_branch: String,
    pub(crate) is_fork: bool,
    pub(crate) is_closed: bool,
    pub(crate) is_draft: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) author: Option<String>,
}

/// A change by somebody who may not push here, for which a run that may hold secrets was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outsider {
    /// Known to be one.
    Head { sha: String, whose: String },
    /// A comment on this pull request: the event doesn't tell whose change it is.
    Unknown { pull_request: u64 },
}

impl PullRequest {
    pub(crate) fn is_dependabots(&self) -> bool {
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

pub(crate) fn read(environment: &ProcessEnv) -> Result<Run> {
    let name = environment.get("GITHUB_EVENT_NAME").unwrap_or_default();
    let event = actions_event::read(environment, name)?;
    let pull_request = event.pull_request.as_ref().map(pull_request);
    let of_type = |kind| {
        text(environment, "GITHUB_REF_NAME")
            .filter(|_| environment.get("GITHUB_REF_TYPE") == Some(kind))
    };
    let is_change = pull_request.is_some();
    Ok(Run {
        commit: text(environment, "GITHUB_SHA"),
        branch: of_type("branch").filter(|_| !is_change),
        tag: of_type("tag"),
        number: number(environment, "GITHUB_RUN_NUMBER"),
        change: pull_request.as_ref().map(|it| it.number),
        actor: text(environment, "GITHUB_ACTOR"),
        fork: None,
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

fn run_url(environment: &ProcessEnv) -> Option<String> {
    let [server, repository, run] = ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"]
        .map(|name| environment.get(name));
    Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
}

fn pull_request(of_event: &actions_event::PullRequest) -> PullRequest {
    let id = |side: &actions_event::Side| side.repo.as_ref().map(|repository| repository.id);
    PullRequest {
        number: of_event.number,
        head_sha: of_event.head.sha.clone(),
        head_branch: of_event.head.branch.clone(),
        head_repository: of_event.head.repo.as_ref().map(|repository| repository.full_name.clone()),
        base_branch: of_event.base.branch.clone(),
        is_fork: id(&of_event.head).is_none() || id(&of_event.head) != id(&of_event.base),
        is_closed: of_event.state.as_deref() == Some("closed"),
        is_draft: of_event.draft,
        labels: of_event.labels.iter().map(|label| label.name.clone()).collect(),
        author: of_event.user.as_ref().map(|user| user.login.clone()),
    }
}

fn outsider(
    name: &str,
    event: &actions_event::Event,
    pull_request: Option<&PullRequest>,
) -> Option<Outsider> {
    match (name, pull_request, &event.workflow_run, &event.issue) {
        // Here also a branch of the repository itself is code that nobody has reviewed, run with the secrets of the base.
        ("pull_request_target", Some(change), ..) => Some(Outsider::Head {
            sha: change.head_sha.clone(),
            whose: format!("pull request #{}", change.number),
        }),
        ("workflow_run", _, Some(run), _) => {
            let ours = event.repository.as_ref().map(|repository| repository.id);
            let is_fork = run.head_repository.is_none()
                || run.head_repository.as_ref().map(|it| it.id) != ours;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(event: &str, content: &Value, others: &[(&str, &str)]) -> Result<Run> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content.to_string()).unwrap();
        let path = file.path().to_str().unwrap();
        let always =
            [("GITHUB_EVENT_NAME", event), ("GITHUB_EVENT_PATH", path), ("GITHUB_SHA", "merge")];
        let variables = always.iter().chain(others);
        read(&ProcessEnv::new(variables.map(|(name, value)| (name.into(), value.into()))))
    }

    #[test]
    fn what_a_pull_request_tells() {
        let repository = json!({ "id": 1, "full_name": "acme/checkout", "default_branch": "main" });
        let event = json!({
            "repository": repository,
            "pull_request": {
                "number": 7, "state": "closed", "draft": true, "labels": [{ "name": "preview" }, { "name": "x" }], "user": { "login": "ada" },
                "head": { "sha": "abc", "ref": "topic", "repo": repository },
                "base": { "sha": "def", "ref": "main", "repo": repository },
            },
        });
        let others = [
            ("GITHUB_REPOSITORY", "acme/checkout"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REF_NAME", "7/merge"),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_RUN_NUMBER", "42"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_SERVER_URL", "https://github.com"),
        ];
        let run = run("pull_request", &event, &others).unwrap();
        assert_eq!((run.change, run.branch, run.tag, run.number), (Some(7), None, None, Some(42)));
        assert_eq!(run.url.as_deref(), Some("https://github.com/acme/checkout/actions/runs/77"));
        let github = run.github.unwrap();
        assert_eq!(
            (github.run_id, github.attempt, github.default_branch.as_deref()),
            (Some(77), 2, Some("main"))
        );
        let expected = PullRequest {
            number: 7,
            head_sha: "abc".to_owned(),
            head_branch: "topic".to_owned(),
            head_repository: Some("acme/checkout".to_owned()),
            base_branch: "main".to_owned(),
            is_fork: false,
            is_closed: true,
            is_draft: true,
            labels: vec!["preview".to_owned(), "x".to_owned()],
            author: Some("ada".to_owned()),
        };
        assert_eq!(github.pull_request, Some(expected));
    }

    /// Events carry much that we don't read, and read without it: only what is about a change must say whose.
    #[test]
    fn other_events() {
        for event in
            ["push", "schedule", "workflow_dispatch", "release", "deployment", "merge_group"]
        {
            let content = json!({ "inputs": null, "ref": "refs/heads/main", "release": { "tag_name": "v1" } });
            let run =
                run(event, &content, &[("GITHUB_REF_TYPE", "branch"), ("GITHUB_REF_NAME", "main")])
                    .unwrap();
            assert_eq!((run.branch.as_deref(), run.change), (Some("main"), None), "{event}");
        }
        let on_issue = json!({ "issue": { "number": 3 } });
        assert_eq!(run("issue_comment", &on_issue, &[]).unwrap().github.unwrap().outsider, None);
    }

    #[test]
    fn repositories_are_parts_of_routes() {
        for wrong in
            ["acme", "acme/", "/checkout", "acme/../x", "acme/..", "a b/c", "acme/checkout?x"]
        {
            assert!(wrong.parse::<Repository>().is_err(), "{wrong}");
        }
        assert_eq!(
            "acme/check.out_1-x".parse::<Repository>().unwrap().to_string(),
            "acme/check.out_1-x"
        );
    }
}
