//! The parts of GitHub's event file that cdflow reads.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::run::CommentEvent;
use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
        small_file,
    },
    services::github::{GitHubAccount, PullRequest, Repository},
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Event {
    pub(crate) action: Option<String>,
    pub(crate) repository: Option<Repository>,
    pub(crate) pull_request: Option<PullRequest>,
    pub(crate) issue: Option<Issue>,
    pub(crate) workflow_run: Option<WorkflowRun>,
    /// Other events have a comment of another kind.
    pub(crate) comment: Option<Value>,
}

impl Event {
    /// Returns the comment of an `issue_comment` event on a pull request.
    pub(crate) fn new_comment(&self, name: &str) -> Option<CommentEvent> {
        let issue = self.issue.as_ref().filter(|_| name == "issue_comment")?;
        issue.pull_request.as_ref()?;
        let comment = self.comment.as_ref()?;
        Some(CommentEvent {
            id: comment["id"].as_u64()?,
            body: comment["body"].as_str().unwrap_or_default().to_owned(),
            pull_request: issue.number,
            is_new: self.action.as_deref() == Some("created"),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Issue {
    pub(crate) number: u64,
    /// Present only if the issue is a pull request.
    pub(crate) pull_request: Option<serde::de::IgnoredAny>,
}

/// The workflow run whose end triggered this run.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkflowRun {
    pub(crate) head_sha: String,
    pub(crate) head_repository: Option<Repository>,
    pub(crate) actor: Option<GitHubAccount>,
}

/// Reads the event file. Events about a change require it, because they must name its author; other
/// events do not.
pub(crate) fn read(environment: &ProcessEnv, name: &str) -> Result<Event> {
    let is_about_a_change =
        name.starts_with("pull_request") || ["workflow_run", "issue_comment"].contains(&name);
    let Some(path) = environment.get("GITHUB_EVENT_PATH") else {
        return match is_about_a_change {
            true => Err(Error::input(format!(
                "the event file is missing, but the run is for `{}`",
                name.escape_debug()
            ))
            .hint(
                "GITHUB_EVENT_PATH must name the JSON file in which the runner describes the event",
            )),
            false => Ok(Event::default()),
        };
    };
    let trouble = |why: &dyn std::fmt::Display| {
        Error::input(format!(
            "cannot read the event file \
                              `{}`",
            path.escape_debug()
        ))
        .why(why)
        .hint(format!(
            "GITHUB_EVENT_PATH must name the JSON file in which the runner describes the event \
             `{}`",
            name.escape_debug()
        ))
    };
    let text = small_file::text(Path::new(path)).map_err(|error| trouble(&error))?;
    let event: Event = serde_json::from_str(&text).map_err(|error| trouble(&error))?;
    let lacking = match name {
        "workflow_run" if event.workflow_run.is_none() => Some("workflow_run"),
        "issue_comment" if event.issue.is_none() => Some("issue"),
        name if name.starts_with("pull_request") && event.pull_request.is_none() => {
            Some("pull_request")
        }
        _ => None,
    };
    match lacking {
        Some(key) => Err(trouble(&format!("it has no `{key}`"))),
        None => Ok(event),
    }
}
