//! The list of releases: as a table, as JSON and in the job summary.

use crate::support::{Aws, Project};
use serde_json::{Value, json};
use std::fs;

#[test]
fn releases_are_listed_with_their_environments() {
    let project = Project::local("greeting");
    project.cdflow(["releases"]).run().success().stdout_is("greeting was never released\n");
    for version in ["1", "2"] {
        project.release(version);
    }
    project.deploy("ci", "2");
    project.deploy("live", "2");
    let output = project.cdflow(["releases", "--json"]).run();
    let document = output.success().json();
    let inspected = project.cdflow(["inspect", "2", "--json"]).run().json();
    let [newest, oldest] = [0, 1].map(|at| document["releases"][at].clone());
    assert_eq!(
        newest,
        json!({
            "version": "2",
            "commit": project.head(),
            "published": inspected["published"],
            "size": inspected["size"],
            "bundle_digest": inspected["bundle_digest"],
            "damaged": false,
            "deployed": ["ci", "live"],
        })
    );
    assert_eq!((&oldest["version"], &oldest["deployed"]), (&json!("1"), &json!([])));
    assert_eq!((&document["component"], &document["more"]), (&json!("greeting"), &json!(0)));
    let output = project.cdflow(["releases"]).run();
    let lines: Vec<&str> = output.success().stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    assert!(lines[0].starts_with("VERSION  COMMIT"), "{output}");
    assert!(lines[1].starts_with(&format!("2        {}", &project.head()[..7])), "{output}");
    assert!(lines[1].ends_with("  ci, live"), "{output}");
    assert!(lines.iter().all(|line| line.len() <= 80), "{output}");
}

/// A page of the store has 1000 objects.
#[test]
fn a_long_list_is_cut_and_a_damaged_release_does_not_hide_the_others() {
    let project = Project::local("greeting");
    project.release("1");
    let (bundle, folder) = (project.bundle("1"), project.bundle("1"));
    let folder = folder.parent().unwrap();
    for number in 2..=1005 {
        fs::copy(&bundle, folder.join(format!("greeting-{number}.zip"))).unwrap();
    }
    fs::write(folder.join("greeting-1006.zip"), "no bundle").unwrap();
    let output = project.cdflow(["releases"]).run();
    output
        .success()
        .stderr_has("986 older; to list all: cdflow releases --all")
        .stderr_has("cannot read release 1006");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 21, "{output}");
    assert!(lines[1].starts_with("1006 ") && lines[1].contains("(damaged)"), "{output}");
    assert!(lines[2].starts_with("1005 "), "{output}");
    let document = project.cdflow(["releases", "--all", "--json"]).run().success().json();
    assert_eq!(document["releases"].as_array().map(Vec::len), Some(1006));
    assert_eq!(document["more"], 0);
}

/// One request lists, and one reads each release.
#[test]
fn requests_of_a_list_are_bounded() {
    let aws = Aws::new("releases");
    let project = Project::aws("greeting", &aws);
    for version in ["1", "2", "3"] {
        project.release(version);
    }
    let before = aws.calls(&aws.release_bucket()).len();
    let document = project.cdflow(["releases", "--json"]).run().success().json();
    let versions: Vec<&Value> =
        document["releases"].as_array().unwrap().iter().map(|it| &it["version"]).collect();
    assert_eq!(versions, ["3", "2", "1"]);
    let calls = aws.calls(&aws.release_bucket()).split_off(before);
    let is_look = |call: &&Value| call["line"].as_str().unwrap().contains("/ledger/");
    let looks = calls.iter().filter(is_look).count();
    // A list of the releases, one of the ledgers, and three reads; and one request for the ledger
    // of each of the three environments that the account scheme names.
    assert_eq!((calls.len() - looks, looks), (5, 3), "{calls:#?}");
}

#[test]
fn the_job_summary_has_the_list() {
    let project = Project::local("greeting");
    project.release("1");
    let summary = project.sandbox().root().join("summary.md");
    fs::write(&summary, "").unwrap();
    project
        .cdflow([] as [&str; 0])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("INPUT_COMMAND", "releases")
        .run()
        .success();
    let text = fs::read_to_string(summary).unwrap();
    assert!(text.contains("## greeting: releases") && text.contains("| **1** |"), "{text}");
}
