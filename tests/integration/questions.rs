//! The questions that a person at a terminal is asked before anything is changed, and who is asked
//! none.

use crate::shell::{at_a_terminal, person};
use crate::support::{Output, Project};

const APPLY: &str = "Apply these changes to live? [y/N]";

fn released(versions: &[&str]) -> Project {
    let project = Project::local("greeting");
    for version in versions {
        project.release(version);
    }
    project
}

/// Nothing of a run is left in TMPDIR.
#[track_caller]
fn left_nothing(project: &Project, output: &Output) {
    assert_eq!(project.sandbox().left_behind(), [""; 0], "{output}");
}

#[test]
fn the_plan_is_shown_and_only_yes_applies_it() {
    let project = released(&["1", "2"]);
    let deploy = |version: &str, steps: &[(&str, Option<&str>)]| {
        let output = at_a_terminal(&project, &["deploy", "live", version], steps).run();
        left_nothing(&project, &output);
        output
    };
    for answer in ["n", "", "nonsense"] {
        deploy("1", &[(APPLY, Some(answer))])
            .fails(3)
            .stdout_has("1 to add")
            .stdout_has("not confirmed, so nothing was changed")
            .lacks("==> Apply");
    }
    assert_eq!(project.ledger("live"), [""; 0]);
    deploy("1", &[(APPLY, Some("y"))]).success().stdout_has("Deployed greeting 1 to live");
    // Nothing is to be changed, so nothing is asked.
    deploy("1", &[]).success().lacks("[y/N]");
    // What is typed before the question does not answer it.
    deploy("2", &[("==> Fetch", Some("y")), (APPLY, Some("n"))]).fails(3);
    let runs = ["deploy 1 succeeded", "deploy 1 succeeded"];
    assert_eq!(project.ledger("live"), runs);
    let destroy = ["destroy", "live", "--confirm", "live"];
    let question = "Apply these changes to live, which destroy terraform_data.greeting? [y/N]";
    let output = at_a_terminal(&project, &destroy, &[(question, Some("no"))]).run();
    output.fails(3).stdout_has("1 to destroy");
    assert_eq!(project.ledger("live"), runs);
    let output = at_a_terminal(&project, &destroy, &[(question, Some("yes"))]).run();
    output.success();
    assert_eq!(project.ledger("live").last().unwrap(), "destroy 1 succeeded");
}

#[test]
fn who_has_answered_is_not_asked() {
    let project = released(&["1", "2"]);
    let silent = |arguments: &[&str], variable: (&str, &str)| {
        let output = at_a_terminal(&project, arguments, &[]).env(variable.0, variable.1).run();
        output.success().lacks("[y/N]");
    };
    silent(&["deploy", "live", "1", "--yes"], ("NONE", ""));
    silent(&["deploy", "live", "2"], ("CDFLOW_YES", "1"));
    silent(&["rollback", "live"], ("CI", "true"));
    silent(&["deploy", "live", "2", "--plan-only"], ("NONE", ""));
    assert_eq!(project.ledger("live").len(), 3);
    let output = at_a_terminal(&project, &["rollback", "live"], &[(APPLY, Some("n"))]).run();
    output.fails(3);
    // A program's input is not a terminal.
    project.deploy("live", "2").lacks("[y/N]");
    project.refuses_run(
        project.cdflow(["deploy", "live", "1"]).env("CDFLOW_YES", "maybe"),
        2,
        &["the environment variable CDFLOW_YES is `maybe`", "set it to 1"],
    );
}

/// A question in a file would wait for an answer that nobody knows to give.
#[test]
fn a_question_needs_both_ends_of_a_terminal() {
    let project = released(&["1"]);
    let errors = project.sandbox().work().join("errors");
    let script = format!("\"$0\" deploy live 1 2>{}", errors.display());
    let cdflow = env!("CARGO_BIN_EXE_cdflow");
    person(101, &project, &["sh", "-c", &script, cdflow], &[]).run().success().lacks("[y/N]");
    let errors = std::fs::read_to_string(errors).unwrap();
    assert!(
        errors.contains("Deployed greeting 1 to live") && !errors.contains("[y/N]"),
        "{errors}"
    );
}

#[test]
fn a_signal_at_the_question_ends_the_run() {
    let project = released(&["1"]);
    let output = at_a_terminal(&project, &["deploy", "live", "1"], &[(APPLY, Some("\u{3}"))]).run();
    output.fails(130).stdout_has("cancelled while waiting for an answer");
    assert_eq!(project.ledger("live"), [""; 0]);
    left_nothing(&project, &output);
}

/// `question`
#[test]
fn a_question_without_an_answer_ends() {
    let project = released(&["1"]);
    let output = at_a_terminal(&project, &["deploy", "live", "1"], &[])
        .env("CDFLOW_LIMITS", "question=1s")
        .run();
    output
        .fails(3)
        .stdout_has(APPLY)
        .stdout_has("the question was not answered within 1 s (the limit `question`)");
    assert_eq!(project.ledger("live"), [""; 0]);
    left_nothing(&project, &output);
}

#[test]
fn a_deploy_without_a_version_offers_the_newest_release() {
    let project = released(&["1", "2", "pr-7-a1b2c3d"]);
    let offer = "Deploy greeting 2, the newest release, published ";
    let steps = [(offer, Some("y")), (APPLY, Some("y"))];
    at_a_terminal(&project, &["deploy", "live"], &steps).run().success();
    assert_eq!(project.ledger("live"), ["deploy 2 succeeded"]);
    let output = at_a_terminal(&project, &["deploy", "live"], &[(offer, Some("n"))]).run();
    output.fails(3).lacks("==> Fetch");
    project.refuses(["deploy", "live"], 2, &["the version is missing"]);
    let output = at_a_terminal(&project, &["deploy", "live", "--yes"], &[]).run();
    output.fails(2).stdout_has("the version is missing");
}
