//! A merge queue plans the code that a merge creates. If its plan does what the pull request
//! showed, the merged code may be deployed with `--reviewed`, although the base branch has moved.

use crate::check_run::shown;
use crate::reviewed::{Change, NUMBER, refuses};
use crate::support::{Output, Runner};
use serde_json::{Value, json};
use std::fs;

const VERSION: &str = "2-bbbbbbb";

/// The base branch moves. Returns the change with a plan that was approved, and the merged tree
/// checked out.
fn queued(content_of_base: &str) -> Change {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.project.write("infra/base.tf", content_of_base).commit("Larger (#7)");
    change
}

/// Runs the workflow in the queue.
fn in_queue(change: &Change) -> Output {
    step(change, &["release", VERSION]).run().success();
    plan_in_queue(change)
}

fn plan_in_queue(change: &Change) -> Output {
    step(change, &["deploy", "live", VERSION, "--plan-only", "--check", "1"]).run()
}

fn step(change: &Change, arguments: &[&str]) -> Runner {
    change.project.in_merge_queue(&change.github, NUMBER, 400, arguments)
}

/// The default branch gets the commit of the queue, with its release.
fn merged(change: &Change) -> Runner {
    change.on_main(&["release", VERSION]).run().success();
    deploy_of_merged(change)
}

fn deploy_of_merged(change: &Change) -> Runner {
    change.mark_merged();
    change.on_main(&["deploy", "live", VERSION, "--reviewed"])
}

fn conclusion(change: &Change) -> Value {
    shown(&change.github, &change.project.head()).0
}

#[test]
fn merged_code_whose_plan_does_the_same_is_deployed() {
    let change = queued("# The base branch has moved.\n");
    let same = "The plan does what pull request #7 showed";
    in_queue(&change).success().stdout_has(same);
    assert_eq!(conclusion(&change), json!("success"));
    merged(&change).run().success().stdout_has(&format!("{same}, approved by grace"));
}

#[test]
fn without_the_queue_merged_code_is_refused() {
    let change = queued("# The base branch has moved.\n");
    refuses(merged(&change), 3, &["the code is not the one that pull request #7 showed"]);
}

#[test]
fn a_plan_that_does_something_else_fails_the_queue() {
    let change = queued("resource \"terraform_data\" \"of_the_base\" {}\n");
    let says = "terraform_data.of_the_base: create; not reviewed";
    // No rule requires a review.
    in_queue(&change)
        .success()
        .stdout_has("a deploy with --reviewed after the merge")
        .stdout_has(says);
    assert_eq!(conclusion(&change), json!("success"));
    change.project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({ "require-review": true });
    });
    plan_in_queue(&change).success().stdout_has("a deploy would be refused").stdout_has(says);
    assert_eq!(conclusion(&change), json!("failure"));
    refuses(deploy_of_merged(&change), 3, &[says]);
}

/// The queue runs the workflow of the pull request, whose commit is on no branch yet.
#[test]
fn the_queue_is_judged_as_its_pull_request() {
    let change = queued("# The base branch has moved.\n");
    change.github.world().pull_requests.get_mut(&NUMBER).unwrap().labels = vec!["may".into()];
    change.project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({
            "max-destroy": 0, "allow-destroy-label": "may",
            "environments": { "live": { "branches": ["main"] } }
        });
    });
    in_queue(&change).success().lacks("a deploy would be refused");
    assert_eq!(conclusion(&change), json!("success"));
    let stored = ["deploy", "live", VERSION, "--plan-only", "--store-plan"];
    step(&change, &stored).run().success();
}

#[test]
fn a_pull_request_without_a_plan_fails_the_queue() {
    let change = Change::new();
    change.project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({ "require-review": true });
    });
    in_queue(&change).success().stdout_has("pull request #7 has no recorded plan for `live`");
    assert_eq!(conclusion(&change), json!("failure"));
}

#[test]
fn a_record_of_the_queue_that_somebody_changed_is_found() {
    let change = queued("# The base branch has moved.\n");
    in_queue(&change).success();
    let find = walkdir::WalkDir::new(change.reviews()).into_iter().filter_map(Result::ok);
    let record = find.map(walkdir::DirEntry::into_path);
    let record = record.filter(|path| path.extension().is_some_and(|end| end == "queued"));
    let [record] = &record.collect::<Vec<_>>()[..] else { panic!("not one record") };
    let text = fs::read_to_string(record).unwrap();
    fs::write(record, text.replace("\"attempt\":1", "\"attempt\":2")).unwrap();
    refuses(merged(&change), 9, &["it was changed after cdflow wrote it"]);
}
