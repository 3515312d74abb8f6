//! Steps of runs that an event of a pull request started.

use super::github::{GitHub, REPOSITORY_ID, TOKEN};
use super::{Project, Runner};
use serde_json::{Value, json};
use std::fs;

/// What the event tells of a pull request of the repository itself, whose newest commit was `sha`
/// when it was sent.
pub(crate) fn pull_request_event(number: u64, sha: &str, state: &str, labels: &[&str]) -> Value {
    let repository =
        json!({ "id": REPOSITORY_ID, "full_name": "acme/checkout", "default_branch": "main" });
    let side = |branch: &str| json!({ "sha": sha, "ref": branch, "repo": repository });
    let labels: Vec<Value> = labels.iter().map(|name| json!({ "name": name })).collect();
    json!({
        "repository": repository,
        "pull_request": {
            "number": number, "state": state, "draft": false, "labels": labels,
            "user": { "login": "ada" },
            "head": side("topic"), "base": side("main"),
        },
    })
}

impl Project {
    /// A step of a run for the merge queue, which tests what the merge of this pull request
    /// creates: the checked out commit.
    pub(crate) fn in_merge_queue(
        &self,
        github: &GitHub,
        number: u64,
        run: u64,
        arguments: &[&str],
    ) -> Runner {
        let commit = self.head();
        let branch = format!("refs/heads/gh-readonly-queue/main/pr-{number}-{commit}");
        let group =
            json!({ "head_sha": commit, "head_ref": branch, "base_ref": "refs/heads/main" });
        let event = json!({ "action": "checks_requested", "merge_group": group });
        let file = self.sandbox().work().join(format!("merge-group-{run}.json"));
        fs::write(&file, event.to_string()).unwrap();
        let runner = self.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
        let runner = runner.env("GITHUB_EVENT_NAME", "merge_group").env("GITHUB_EVENT_PATH", file);
        let runner = runner.env("GITHUB_RUN_ID", run.to_string()).env("GITHUB_SHA", commit);
        runner.env("GITHUB_REF", branch)
    }

    /// A step of the run of this number, with the workflow's token.
    pub(crate) fn for_pull_request(
        &self,
        github: &GitHub,
        event: &Value,
        run: u64,
        arguments: &[&str],
    ) -> Runner {
        let file = self.sandbox().work().join(format!("event-{run}.json"));
        // Renamed, because another step of the run can be reading it.
        let new = tempfile::NamedTempFile::new_in(self.sandbox().work()).unwrap();
        fs::write(&new, event.to_string()).unwrap();
        new.persist(&file).unwrap();
        let sha = event["pull_request"]["head"]["sha"].as_str().unwrap();
        let runner = self.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
        let runner = runner.env("GITHUB_EVENT_NAME", "pull_request").env("GITHUB_EVENT_PATH", file);
        runner.env("GITHUB_SHA", sha).env("GITHUB_RUN_ID", run.to_string())
    }
}
