//! The parts of GitHub's event file that we use. It holds much more, which differs from event to event.

use std::fs;

use serde::Deserialize;

use crate::{
    environment::Environment,
    error::{Error, Result},
};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    pub(super) repository: Option<Repository>,
    pub(super) pull_request: Option<PullRequest>,
    pub(super) issue: Option<Issue>,
    pub(super) workflow_run: Option<WorkflowRun>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) full_name: String,
    pub(super) default_branch: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PullRequest {
    pub(super) number: u64,
    pub(super) head: Side,
    pub(super) base: Side,
    /// `open` or `closed`.
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) draft: bool,
    #[serde(default)]
    pub(super) labels: Vec<Label>,
    pub(super) user: Option<User>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Side {
    pub(super) sha: String,
    #[serde(rename = "ref")]
    pub(super) branch: String,
    /// None: the fork was deleted.
    pub(super) repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) number: u64,
    /// Only there where the issue is a pull request.
    pub(super) pull_request: Option<serde::de::IgnoredAny>,
}

/// The run whose end started ours.
#[derive(Debug, Deserialize)]
pub(super) struct WorkflowRun {
    /// What had started it.
    pub(super) event: String,
    pub(super) head_sha: String,
    pub(super) head_repository: Option<HeadRepository>,
    pub(super) actor: Option<User>,
}

#[derive(Debug, Deserialize)]
pub(super) struct HeadRepository {
    pub(super) id: u64,
    pub(super) full_name: String,
}

/// An event about somebody's change must say whose; for others a runner without an event file will do.
pub(super) fn read(environment: &Environment, name: &str) -> Result<Event> {
    let is_about_a_change = name.starts_with("pull_request") || ["workflow_run", "issue_comment"].contains(&name);
    let Some(path) = environment.get("GITHUB_EVENT_PATH") else {
        return match is_about_a_change {
            true => Err(Error::input(format!("there is no event file, but the run is for `{}`", name.escape_debug()))
                .hint("GITHUB_EVENT_PATH must name the JSON file in which the runner describes the event")),
            false => Ok(Event::default()),
        };
    };
    let trouble = |why: &dyn std::fmt::Display| {
        Error::input(format!("the event file `{}` can't be read", path.escape_debug())).why(why).hint(format!(
            "GITHUB_EVENT_PATH must name the JSON file in which the runner describes the event `{}`",
            name.escape_debug()
        ))
    };
    let text = fs::read_to_string(path).map_err(|error| trouble(&error))?;
    let event: Event = serde_json::from_str(&text).map_err(|error| trouble(&error))?;
    let lacking = match name {
        "workflow_run" if event.workflow_run.is_none() => Some("workflow_run"),
        "issue_comment" if event.issue.is_none() => Some("issue"),
        name if name.starts_with("pull_request") && event.pull_request.is_none() => Some("pull_request"),
        _ => None,
    };
    match lacking {
        Some(key) => Err(trouble(&format!("it has no `{key}`"))),
        None => Ok(event),
    }
}
