//! Which CI runs us, and what for: read once, from the environment and GitHub's event file, and from then on a value.

mod actions_event;
mod actions_run;
mod default_version;
mod fork_guard;
pub(crate) mod host;
mod other_ci;
pub(crate) mod own_container;
pub(crate) mod post_state;
pub(crate) mod runner_files;

pub(crate) use self::actions_run::{GitHubRun, PullRequest, Repository};
pub(crate) use self::default_version::version;
pub(crate) use self::fork_guard::{Verdict, judge, needs_head, of_comment, of_foreign_change};

use crate::base::{error::Result, process_env::ProcessEnv};

/// What is known of a run of a CI. Names of branches and people come from outside: they are shown, and nothing is made of them.
#[derive(Clone, Debug, Default)]
#[allow(dead_code, reason = "which of the facts a command needs differs; they are read together")]
pub(crate) struct Run {
    /// The commit that the run is for, in full. What is checked out may be another: git knows that.
    pub(crate) commit: Option<String>,
    /// None where the run is for a tag or a change request.
    pub(crate) branch: Option<String>,
    pub(crate) tag: Option<String>,
    /// Counts up from run to run, and stays when a run is run again.
    pub(crate) number: Option<u64>,
    /// The number of the pull request, merge request or change.
    pub(crate) change: Option<u64>,
    pub(crate) actor: Option<String>,
    /// The fork that the change comes from, where a CI says so by a variable; GitHub's event tells more.
    pub(crate) fork: Option<String>,
    /// Where people see it.
    pub(crate) url: Option<String>,
    pub(crate) github: Option<GitHubRun>,
}

/// None outside of any CI that we know.
pub(crate) fn read(environment: &ProcessEnv) -> Result<Option<Run>> {
    if environment.get("GITHUB_ACTIONS") == Some("true") {
        return actions_run::read(environment).map(Some);
    }
    Ok(other_ci::read(environment))
}

/// Seven digits, as git shortens a commit.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

fn text(environment: &ProcessEnv, name: &str) -> Option<String> {
    environment.get(name).map(str::to_owned)
}

fn number(environment: &ProcessEnv, name: &str) -> Option<u64> {
    environment.get(name)?.parse().ok()
}
