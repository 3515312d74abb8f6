//! A plan is applied only where the pull request showed it: in the same account and region, on the
//! same state, and a stored one with the same tool.

use crate::reviewed::{Change, refuses};
use crate::stored_plans::{RECIPIENT, exact};
use crate::support::{Aws, DEV, PROD, Project, REGION};
use serde_json::{Value, json};
use std::fs;

/// Plans, with an approval.
fn planned(change: &mut Change) {
    change.plan();
    change.review("grace", "APPROVED");
}

/// Refuses a new plan and the stored one, each with these words.
#[track_caller]
fn refuses_both(change: &Change, new: [&str; 2], stored: &[&str]) {
    let reviewed = change.on_main(&["deploy", "live", "2-bbbbbbb", "--reviewed"]);
    refuses(reviewed, 3, &new);
    let refused = refuses(exact(change), 3, stored);
    refused.lacks("::group::Plan");
}

#[test]
fn a_plan_for_another_account_is_refused() {
    let aws = Aws::new("reviewed-account");
    let mut scheme = aws.scheme();
    scheme["plan-encryption"] = json!({ "type": "age", "recipient": RECIPIENT });
    aws.put_scheme(&scheme);
    let mut change = Change::of(Project::aws("greeting", &aws));
    planned(&mut change);
    scheme["environments"]["live"] = json!("dev");
    aws.put_scheme(&scheme);
    change.merge();
    change.release_main();
    let accounts = format!("reviewed: {PROD}; now: {DEV}");
    let new = ["pull request #7 showed a plan for another account", &accounts];
    let stored = format!("the account has changed: stored: {PROD}; now: {DEV}");
    refuses_both(&change, new, &[&stored]);
}

#[test]
fn a_plan_for_another_region_is_refused() {
    let mut change = Change::new();
    planned(&mut change);
    change.project.edit_json("account-scheme.json", |scheme| {
        scheme["default-region"] = json!("eu-central-1");
    });
    change.merge();
    change.release_main();
    let regions = format!("reviewed: {REGION}; now: eu-central-1");
    let new = ["pull request #7 showed a plan for another region", &regions];
    let stored = format!("the region has changed: stored: {REGION}; now: eu-central-1");
    refuses_both(&change, new, &[&stored]);
}

/// The environment was destroyed and created again, so that the serial might be the same.
#[test]
fn a_plan_for_another_state_is_refused() {
    let mut change = Change::new();
    planned(&mut change);
    let text = fs::read_to_string(change.records().pop().unwrap()).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let reviewed = record["record"]["state_lineage"].as_str().unwrap();
    change.project.cdflow(["destroy", "live", "--confirm", "live"]).run().success();
    change.project.deploy("live", "1-aaaaaaa");
    change.merge();
    change.release_main();
    let state = change.project.state("live").unwrap();
    let now = state["lineage"].as_str().unwrap();
    assert_ne!(reviewed, now);
    let lineages = format!("reviewed: {reviewed}; now: {now}");
    let new = ["pull request #7 showed a plan for another state", &lineages];
    let (before, after) = (format!("lineage {reviewed}; now: "), format!("lineage {now}"));
    let stored = ["the state has changed since: stored: serial ", &before, &after];
    refuses_both(&change, new, &stored);
}

/// Another version of the tool reads the same plan in another way.
#[test]
fn a_stored_plan_of_another_tool_is_refused() {
    let mut change = Change::new();
    planned(&mut change);
    let newer = "version) \"$real\" \"$@\" | sed -E 's/[0-9]+[.][0-9]+[.][0-9]+/1.99.0/'; exit;;";
    let path = change.project.terraform_but(newer);
    change.merge();
    change.on_main(&["release", "2-bbbbbbb"]).env("PATH", &path).run().success();
    let says = ["the tool has changed: stored: ", " 1.99.0"];
    refuses(exact(&change).env("PATH", &path), 3, &says).lacks("::group::Plan");
    // A new plan of the same changes is applied, whatever makes it.
    let reviewed = change.on_main(&["deploy", "live", "2-bbbbbbb", "--reviewed"]);
    reviewed.env("PATH", &path).run().success();
}
