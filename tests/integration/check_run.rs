//! The check run `cdflow`: one result of all rows, which a branch rule can require.

use crate::support::github::GitHub;
use crate::support::{Project, Runner, pull_request_event};
use serde_json::{Value, json};

/// What the newest check run of a commit shows: its conclusion (null: in progress) and its title.
#[track_caller]
pub(crate) fn shown(github: &GitHub, commit: &str) -> (Value, String) {
    let world = github.world();
    let newest = world.check_runs.values().rev().find(|run| run.head_sha == commit);
    let sent = &newest.expect("no check run").sent;
    let is_done = !sent["conclusion"].is_null();
    assert_eq!(sent["status"], if is_done { "completed" } else { "in_progress" });
    assert_eq!(sent["name"], "cdflow");
    (sent["conclusion"].clone(), sent["output"]["title"].as_str().unwrap().to_owned())
}

struct Rig {
    project: Project,
    github: GitHub,
}

impl Rig {
    fn new() -> Self {
        let rig = Self { project: Project::local("greeting"), github: GitHub::start() };
        rig.project.release("1");
        rig.github.world().pull_request(7, &rig.project.head());
        rig
    }

    /// A job of the pull request's workflow, one of two.
    fn plan(&self, environment: &str, run: u64) -> Runner {
        let event = pull_request_event(7, &self.project.head(), "open", &[]);
        let arguments = ["deploy", environment, "1", "--plan-only", "--check", "2"];
        self.project.for_pull_request(&self.github, &event, run, &arguments)
    }
}

#[test]
fn one_check_run_of_all_rows() {
    let rig = Rig::new();
    let head = rig.project.head();
    rig.plan("live", 1).run().success();
    assert_eq!(shown(&rig.github, &head), (Value::Null, "1 of 2 done".to_owned()));
    rig.plan("ci", 1).run().success();
    assert_eq!(shown(&rig.github, &head), (json!("success"), "2 environments successful".into()));
    let summary = rig.github.world().check_runs.values().next().unwrap().sent["output"]["summary"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(summary.contains("| `greeting` | `ci` | ") && summary.contains("#issuecomment-"));
    // The policy refuses it.
    rig.project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({ "terraform-version": "> 99" });
    });
    rig.plan("ci", 2).run().fails(3);
    assert_eq!(shown(&rig.github, &head), (json!("failure"), "1 of 2 not successful".into()));
    rig.project.edit_json("account-scheme.json", |scheme| scheme["policy"] = json!({}));
    rig.plan("ci", 3).run().success();
    assert_eq!(shown(&rig.github, &head).0, "success");
    assert_eq!(rig.github.world().check_runs.len(), 1);
    // A new commit has its own.
    let newer = rig.project.commit("Newer");
    rig.github.world().pull_request(7, &newer);
    rig.plan("live", 4).run().success();
    assert_eq!(shown(&rig.github, &newer).0, Value::Null);
    assert_eq!(shown(&rig.github, &head).0, "success");
}

#[test]
fn jobs_at_the_same_time_lose_no_row() {
    let rig = Rig::new();
    let running = [rig.plan("live", 1).spawn(), rig.plan("ci", 1).spawn()];
    for job in running {
        job.wait().success();
    }
    let (conclusion, title) = shown(&rig.github, &rig.project.head());
    assert_eq!((conclusion, title.as_str()), (json!("success"), "2 environments successful"));
}

#[test]
fn a_merge_queue_has_a_check_run_of_its_own_commit() {
    let rig = Rig::new();
    rig.project.deploy("ci", "1");
    let commit = rig.project.commit("The merge of the queue");
    let plan = ["deploy", "ci", "1", "--plan-only", "--check", "1"];
    rig.project.in_merge_queue(&rig.github, 7, 400, &plan).run().success();
    assert_eq!(shown(&rig.github, &commit), (json!("neutral"), "No changes".to_owned()));
    let run = rig.github.world().check_runs.values().next().unwrap().clone();
    let summary = run.sent["output"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("Pull request #7\n"), "{summary}");
}

#[test]
fn without_the_permission_there_is_a_notice() {
    let rig = Rig::new();
    const LESS: &str = "ghs_theTokenWithoutChecks000000000000001";
    let allowed = [("pull_requests", "write"), ("contents", "read")];
    rig.github.world().token(LESS, "github-actions[bot]", &allowed);
    let output = rig.plan("live", 1).env("GITHUB_TOKEN", LESS).run();
    output
        .success()
        .stdout_has("the check run `cdflow` is not written")
        .stdout_has("checks: write");
    let said = output.stdout.matches("the check run `cdflow` is not written").count();
    assert_eq!(said, 1, "{output}");
    assert!(rig.github.world().check_runs.is_empty());
}
