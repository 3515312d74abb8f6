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
        scheme["policy"] = json!({ "terraform-version": "> 99", "opentofu-version": "> 99" });
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

/// A job that found that the pull request affects no component. It needs no checkout.
fn unaffected(rig: &Rig, head: &str, run: u64) -> Runner {
    let event = pull_request_event(7, head, "open", &[]);
    let step = rig.project.for_pull_request(&rig.github, &event, run, &["unaffected"]);
    step.cwd(rig.project.sandbox().work())
}

#[test]
fn a_change_that_affects_no_component_is_neutral() {
    let rig = Rig::new();
    let head = rig.project.head();
    rig.plan("live", 1).run().success();
    assert_eq!(shown(&rig.github, &head).0, Value::Null);
    // The next push takes back what affected a component.
    let newer = rig.project.commit("Nothing but documents");
    rig.github.world().pull_request(7, &newer);
    for run in [2, 3] {
        let output = unaffected(&rig, &newer, run).run();
        output.success().stdout_has("The check run `cdflow` is neutral: No component is affected");
        let expected = (json!("neutral"), "No component is affected".to_owned());
        assert_eq!(shown(&rig.github, &newer), expected);
    }
    assert_eq!(shown(&rig.github, &head).0, Value::Null, "that of the earlier commit stays");
    let world = rig.github.world();
    assert_eq!(world.check_runs.len(), 2);
    let run = world.check_runs.values().find(|run| run.head_sha == newer).unwrap();
    let output = &run.sent["output"];
    let summary = output["summary"].as_str().unwrap();
    assert!(summary.starts_with("Pull request #7\n\nThis change affects no"), "{summary}");
    assert!(run.sent["details_url"].as_str().unwrap().ends_with("/actions/runs/3"), "{run:?}");
}

#[test]
fn rows_of_other_jobs_count_more_than_no_affected_component() {
    let rig = Rig::new();
    let head = rig.project.head();
    unaffected(&rig, &head, 1).run().success().lacks("warning");
    // Another workflow of the same commit plans.
    for environment in ["live", "ci"] {
        rig.plan(environment, 2).run().success();
    }
    assert_eq!(shown(&rig.github, &head).0, "success");
    rig.project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({ "terraform-version": "> 99", "opentofu-version": "> 99" });
    });
    rig.plan("ci", 3).run().fails(3);
    let failed = (json!("failure"), "1 of 2 not successful".to_owned());
    assert_eq!(shown(&rig.github, &head), failed);
    let output = unaffected(&rig, &head, 4).run();
    output.success().stdout_has("keeps the result of other jobs for this commit: 1 of 2 not");
    assert_eq!(shown(&rig.github, &head), failed);
}

/// A repeated job knows nothing of the other jobs of its run.
#[test]
fn a_second_attempt_keeps_the_rows_of_the_first_one() {
    let rig = Rig::new();
    let head = rig.project.head();
    rig.plan("live", 1).run().success();
    let before = shown(&rig.github, &head);
    assert_eq!(before, (Value::Null, "1 of 2 done".to_owned()));
    let output = unaffected(&rig, &head, 1).env("GITHUB_RUN_ATTEMPT", "2").run();
    output.success().stdout_has("keeps the result of other jobs for this commit: 1 of 2 done");
    assert_eq!(shown(&rig.github, &head), before);
}

#[test]
fn a_merge_queue_that_affects_no_component_is_neutral() {
    let rig = Rig::new();
    let commit = rig.project.commit("The merge of the queue");
    rig.project.in_merge_queue(&rig.github, 7, 400, &["unaffected"]).run().success();
    let expected = (json!("neutral"), "No component is affected".to_owned());
    assert_eq!(shown(&rig.github, &commit), expected);
}

#[test]
fn what_cannot_be_written_is_a_warning() {
    let rig = Rig::new();
    let head = rig.project.head();
    let none = unaffected(&rig, &head, 1).env_remove("GITHUB_TOKEN").run();
    none.success()
        .stdout_has("the check run `cdflow` is not written")
        .stdout_has("no token is set");
    // GitHub gives a pull request of a fork a token that only reads.
    const FORK: &str = "ghs_theTokenOfAFork000000000000000000001";
    let allowed = [("pull_requests", "read"), ("contents", "read"), ("checks", "read")];
    rig.github.world().token(FORK, "github-actions[bot]", &allowed);
    let mut event = pull_request_event(7, &head, "open", &[]);
    event["pull_request"]["head"]["repo"] = json!({ "id": 5, "full_name": "eve/checkout" });
    let step = rig.project.for_pull_request(&rig.github, &event, 2, &["unaffected"]);
    let forked = step.env("GITHUB_TOKEN", FORK).run();
    forked
        .success()
        .stdout_has("::warning::the check run `cdflow` is not written: the token does not have")
        .stdout_has("push its commits to a branch of the repository");
    // A run for something else.
    let push = rig.project.cdflow(["unaffected"]).envs(rig.github.env());
    let push = push.env("GITHUB_EVENT_NAME", "push").env("GITHUB_SHA", &head).run();
    push.success().stdout_has("for no pull request and no merge queue");
    let terminal = rig.project.cdflow(["unaffected"]).run();
    terminal.success().stderr_has("for no pull request and no merge queue");
    assert!(rig.github.world().check_runs.is_empty());
}
