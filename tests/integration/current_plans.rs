//! What the comment says before a merge: what merging does, and whether its plans are current.

use crate::support::github::GitHub;
use crate::support::{Project, Runner, pull_request_event};
use serde_json::{Value, json};
use std::fs;

/// A step of a workflow that runs for pull request 7, whose newest commit was `head` when it began.
fn step(project: &Project, github: &GitHub, head: &str, run: u64, arguments: &[&str]) -> Runner {
    project.for_pull_request(github, &pull_request_event(7, head, "open", &[]), run, arguments)
}

fn comment(github: &GitHub) -> String {
    let world = github.world();
    assert_eq!(world.comments.len(), 1);
    let body = &world.comments.values().next().unwrap().body;
    body.replace(['\\', '\u{200b}'], "")
}

#[test]
fn the_verdict_names_what_merging_does() {
    let project = Project::local("greeting");
    project.release("1");
    let (github, head) = (GitHub::start(), project.head());
    github.world().pull_request(7, &head);
    let plan = |run, more: &[&str]| {
        let arguments = [&["deploy", "ci", "1", "--plan-only"], more].concat();
        step(&project, &github, &head, run, &arguments).run()
    };
    let verdict = || comment(&github).lines().next().unwrap_or_default().to_owned();
    plan(1, &[]).success();
    assert!(verdict().ends_with("greeting → ci (1 to add)"), "{}", verdict());
    let file = project.sandbox().work().join("r.json");
    let path = file.to_str().unwrap();
    plan(2, &["--merge-deploys", "ci, live", "--report-json", path]).success();
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let context = &report["context"];
    for (key, value) in [
        ("commit", json!(head)),
        ("pull_request", json!(7)),
        ("account_alias", json!("local")),
        ("region", json!("eu-west-1")),
        ("is_first", json!(true)),
        ("before_merge", json!(true)),
        ("base_branch", json!("main")),
        ("merge_deploys", json!(["ci", "live"])),
    ] {
        assert_eq!(context[key], value, "{key}: {context}");
    }
    assert!(context["tool"].as_str().unwrap().starts_with("terraform "), "{context}");
    assert!(verdict().ends_with(" (1 to add). Merging deploys to ci and live"), "{}", verdict());
    plan(3, &["--merge-deploys", "to production!"]).fails(2);
    // The workflow of the merge says what happened.
    let event = pull_request_event(7, &head, "closed", &[]);
    let merged = project.for_pull_request(&github, &event, 4, &["deploy", "ci", "1"]);
    merged.args(["--merge-deploys", "ci, live"]).run().success();
    assert!(!verdict().contains("Merging deploys"), "{}", verdict());
}

#[test]
fn a_plan_says_that_it_is_not_current() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("ci", "1");
    let (github, head) = (GitHub::start(), project.head());
    github.world().pull_request(7, &head);
    let plan = |run, environment: &str| {
        let arguments = ["deploy", environment, "1", "--plan-only", "--replace"];
        let runner = step(&project, &github, &head, run, &arguments);
        runner.args(["terraform_data.greeting"]).run().success();
    };
    plan(1, "ci");
    plan(2, "aslive");
    assert!(!comment(&github).contains("not current"), "{}", comment(&github));

    // Someone changes the state without cdflow.
    let file = project.state_file("ci");
    let state = fs::read_to_string(&file).unwrap();
    let parsed: Value = serde_json::from_str(&state).unwrap();
    let serial = parsed["serial"].as_u64().unwrap();
    let line = |serial: u64| format!("\"serial\": {serial},");
    assert_eq!(state.matches(&line(serial)).count(), 1, "{state}");
    fs::write(&file, state.replace(&line(serial), &line(serial + 2))).unwrap();
    plan(3, "aslive");
    let body = comment(&github);
    let why = format!(
        "**This plan is not current**: the state has serial {} now, and this plan started from \
         serial {serial}.",
        serial + 2
    );
    assert_eq!(body.matches(&why).count(), 1, "{body}");
    assert_eq!(body.matches("not current**").count(), 1, "{body}");

    // A newer commit, for which no run has written yet: both plans are for the earlier one.
    let newer = "0123456789012345678901234567890123456789";
    github.world().pull_requests.get_mut(&7).unwrap().head_sha = newer.to_owned();
    plan(4, "ci");
    let body = comment(&github);
    let why = "**This plan is not current**: the pull request has a newer commit: [`0123456`](";
    assert_eq!(body.matches(why).count(), 2, "{body}");
    assert!(body.starts_with("### ⚠️ Review before merging"), "{body}");
    assert!(!body.contains("The base branch"), "{body}");

    // The plans of these runs were for the base branch at this commit.
    let moved = "fedcba9876543210fedcba9876543210fedcba98";
    github.world().pull_requests.get_mut(&7).unwrap().head_sha = head.clone();
    github.world().branches.insert("main".to_owned(), vec![moved.to_owned()]);
    plan(5, "ci");
    let body = comment(&github);
    let note = "The base branch main has moved since this plan, to [`fedcba9`](";
    assert_eq!(body.matches(note).count(), 2, "{body}");
    assert!(!body.contains("not current**"), "{body}");
}
