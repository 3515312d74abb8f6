//! The CI that runs cdflow: read once from the environment and GitHub's event file.

mod actions_event;
mod actions_run;
pub(crate) mod container_action;
mod default_version;
mod fork_guard;
pub(crate) mod host;
mod other_ci;
pub(crate) mod own_container;
pub(crate) mod post_state;
mod run;
pub(crate) mod runner_files;
pub(crate) mod step_folder;

pub(crate) use self::{
    default_version::version,
    fork_guard::{Files, Verdict, judge, of_comment, of_foreign_change, of_unknown_commit},
    run::{Commanded, CommentEvent, GitHubRun, Run, short},
};
use crate::base::{error::Result, process_env::ProcessEnv};

/// Whether a CI runs cdflow. Those that cdflow does not know set `CI`.
pub(crate) fn is_any(environment: &ProcessEnv) -> bool {
    environment.get("CI").is_some_and(|value| value != "false")
}

/// Returns None outside of the supported CIs.
pub(crate) fn read(environment: &ProcessEnv) -> Result<Option<Run>> {
    if environment.get("GITHUB_ACTIONS") == Some("true") {
        return actions_run::read(environment).map(Some);
    }
    Ok(other_ci::read(environment))
}
