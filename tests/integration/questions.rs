//! The questions that a person at a terminal is asked before anything is changed, and who is asked
//! none.

use crate::shell::{at_a_terminal, person};
use crate::support::{Output, Project};

const DEPLOY_1: &str = "Deploy greeting 1 to live? [y/N]";
const DEPLOY_2: &str = "Deploy greeting 2 to live? [y/N]";

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
        deploy("1", &[(DEPLOY_1, Some(answer))])
            .fails(3)
            .stdout_has("1 to add")
            .stdout_has("not confirmed, so nothing was changed")
            .lacks("==> Apply");
    }
    assert_eq!(project.ledger("live"), [""; 0]);
    deploy("1", &[(DEPLOY_1, Some("y"))]).success().stdout_has("Deployed greeting 1 to live");
    // Nothing is to be changed, so nothing is asked.
    deploy("1", &[]).success().lacks("[y/N]");
    // What is typed before the question does not answer it.
    deploy("2", &[("==> Fetch", Some("y")), (DEPLOY_2, Some("n"))]).fails(3);
    let runs = ["deploy 1 succeeded", "deploy 1 succeeded"];
    assert_eq!(project.ledger("live"), runs);
    let destroy = ["destroy", "live", "--confirm", "live"];
    let question = "Destroy greeting 1 in live: terraform_data.greeting? [y/N]";
    let output = at_a_terminal(&project, &destroy, &[(question, Some("no"))]).run();
    output.fails(3).stdout_has("1 to destroy");
    assert_eq!(project.ledger("live"), runs);
    let output = at_a_terminal(&project, &destroy, &[(question, Some("yes"))]).run();
    output.success();
    assert_eq!(project.ledger("live").last().unwrap(), "destroy 1 succeeded");
}

/// `timeout` in a script makes a group of its own, which the system stops when it reads.
#[test]
fn a_job_in_the_background_is_not_asked() {
    let project = released(&["1"]);
    let script = format!("timeout 60 {} deploy live 1", env!("CARGO_BIN_EXE_cdflow"));
    let output = person(80, &project, &["sh", "-c", &format!("{script}; exit $?")], &[]).run();
    output
        .fails(3)
        .stdout_has("cannot ask `Deploy greeting 1 to live?`:")
        .stdout_has("cdflow runs in the background of the terminal; nothing was changed")
        .stdout_has("-> or apply without a question: --yes");
    left_nothing(&project, &output);
}

/// What a run has as standard input and standard error.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Terminal,
    /// A program's output as input, and a terminal.
    NoInput,
    /// A terminal, and a file.
    NoErrors,
    Neither,
}

/// The ends of a run, its variables and flags, and whether a command that has a question asks it.
type Start = (Ends, &'static [(&'static str, &'static str)], &'static [&'static str], bool);

const STARTS: [Start; 9] = [
    (Ends::Terminal, &[], &[], true),
    (Ends::Terminal, &[("CDFLOW_YES", "0")], &[], true),
    (Ends::Terminal, &[("CI", "false")], &[], true),
    (Ends::Terminal, &[("CDFLOW_YES", "1")], &[], false),
    (Ends::Terminal, &[], &["--yes"], false),
    (Ends::Terminal, &[("CI", "true"), ("CDFLOW_YES", "0")], &[], false),
    (Ends::NoInput, &[], &[], false),
    (Ends::NoErrors, &[], &[], false),
    (Ends::Neither, &[], &[], false),
];

/// Runs cdflow at these ends; a question is answered with no. Returns all that it says.
fn said(project: &Project, ends: Ends, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let errors = project.sandbox().work().join("errors");
    let cdflow = "\"$0\" \"$@\"";
    let script = match ends {
        Ends::Terminal => format!("exec {cdflow}"),
        Ends::NoInput => format!("true | {cdflow}"),
        Ends::NoErrors => format!("{cdflow} 2> {}", errors.display()),
        Ends::Neither => format!("true | {cdflow} 2> {}", errors.display()),
    };
    let program = [&["sh", "-c", &script, env!("CARGO_BIN_EXE_cdflow")], arguments].concat();
    // An apply fails, so the next run finds what this one did.
    let path = project.terraform_but("apply) exit 1;;");
    let runner = person(101, project, &program, &[("[y/N]", Some("n"))])
        .env("PATH", path)
        .env("CDFLOW_LIMITS", "question=9s");
    let output = env.iter().fold(runner, |runner, (name, value)| runner.env(name, value)).run();
    let errors = std::fs::read_to_string(errors).unwrap_or_default();
    format!("{}{errors}", output.stdout)
}

/// A command with a question asks it at a terminal, unless something has answered.
#[track_caller]
fn asks_at_a_terminal(project: &Project, arguments: &[&str], question: &str) {
    for (ends, env, flags, is_asked) in STARTS {
        let said = said(project, ends, &[arguments, flags].concat(), env);
        assert_eq!(said.contains("[y/N]"), is_asked, "{ends:?} {env:?} {flags:?}: {said}");
        assert_eq!(said.contains(question), is_asked, "{ends:?} {env:?} {flags:?}: {said}");
        assert!(!said.contains("==> Fetch") || said.contains("==> Plan"), "{said}");
    }
}

#[test]
fn who_is_asked_before_a_deploy() {
    asks_at_a_terminal(&released(&["2"]), &["deploy", "live", "2"], DEPLOY_2);
}

#[test]
fn who_is_offered_the_newest_release() {
    let offer = "Deploy greeting 2, the newest release, published ";
    asks_at_a_terminal(&released(&["2"]), &["deploy", "live"], offer);
}

#[test]
fn who_is_asked_before_a_rollback() {
    let project = released(&["1"]);
    project.edit("infra/main.tf", "from ${var.env}", "in ${var.env}").commit("Another text");
    project.release("2");
    for version in ["1", "2"] {
        project.deploy("live", version);
    }
    asks_at_a_terminal(&project, &["rollback", "live"], "Roll live back to greeting ");
}

#[test]
fn who_is_asked_before_a_destroy() {
    let project = released(&["1"]);
    project.deploy("live", "1");
    let destroy = ["destroy", "live", "--confirm", "live"];
    let question = "Destroy greeting 1 in live: terraform_data.greeting? [y/N]";
    asks_at_a_terminal(&project, &destroy, question);
}

#[test]
fn other_commands_have_no_question() {
    let project = released(&["1", "2"]);
    project.deploy("live", "1");
    for arguments in [
        &["deploy", "live", "2", "--plan-only"][..],
        &["deploy", "live", "1"],
        &["destroy", "live", "--plan-only"],
        &["preview", "down", "--pull-request", "7"],
        &["prune", "--keep", "0", "--older-than", "0s"],
        &["unlock", "live"],
        &["release", "3", "--platform-config", "platform-config"],
    ] {
        let said = said(&project, Ends::Terminal, arguments, &[]);
        assert!(!said.contains("[y/N]"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_variable_with_another_value_is_an_error() {
    let project = released(&["1"]);
    project.refuses_run(
        project.cdflow(["deploy", "live", "1"]).env("CDFLOW_YES", "maybe"),
        2,
        &["the environment variable CDFLOW_YES is `maybe`", "set it to 1"],
    );
}

/// A rollback is listed as one, and the time at its question is not the run's.
#[test]
fn a_rollback_is_listed_and_its_question_takes_no_time() {
    let project = released(&["1", "2"]);
    for version in ["1", "2"] {
        project.deploy("live", version);
    }
    project.edit("infra/main.tf", "from ${var.env}", "in ${var.env}").commit("Another text");
    project.release("3");
    project.deploy("live", "3");
    let report = project.sandbox().work().join("report.json");
    let rollback = ["rollback", "live", "--report-json", &report.display().to_string()];
    // The person answers after a while.
    let question = "Roll live back to greeting 2? [y/N]";
    let steps = [(question, Some("")), ("not confirmed", None)];
    at_a_terminal(&project, &rollback, &steps).run().fails(3);
    let began = std::time::Instant::now();
    let output =
        at_a_terminal(&project, &rollback, &[(question, Some("y"))]).env("ANSWER_AFTER", "8").run();
    let (whole, report) = (began.elapsed().as_secs_f64(), std::fs::read_to_string(report).unwrap());
    output.success();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let took = report["seconds"].as_f64().unwrap();
    assert!(took < whole - 7.0, "{took} of {whole}: {output}");
    let history = project.cdflow(["history", "live", "--json"]).run().json();
    let newest = &history["runs"][0];
    assert_eq!((&newest["action"], &newest["rollback"]), (&"deploy".into(), &true.into()));
    assert_eq!(history["runs"][1]["rollback"], false);
    let table = project.cdflow(["history", "live"]).run();
    let line = table.stdout.lines().nth(1).unwrap().to_owned();
    assert!(line.starts_with("4    rollback  2        succeeded"), "{table}");
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
    let output =
        at_a_terminal(&project, &["deploy", "live", "1"], &[(DEPLOY_1, Some("\u{3}"))]).run();
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
        .stdout_has(DEPLOY_1)
        .stdout_has("the question was not answered within 1 s (the limit `question`)");
    assert_eq!(project.ledger("live"), [""; 0]);
    left_nothing(&project, &output);
}

#[test]
fn a_deploy_without_a_version_offers_the_newest_release() {
    let project = released(&["1", "2", "pr-7-a1b2c3d"]);
    let offer = "Deploy greeting 2, the newest release, published ";
    let steps = [(offer, Some("y")), (DEPLOY_2, Some("y"))];
    at_a_terminal(&project, &["deploy", "live"], &steps).run().success();
    assert_eq!(project.ledger("live"), ["deploy 2 succeeded"]);
    let output = at_a_terminal(&project, &["deploy", "live"], &[(offer, Some("n"))]).run();
    output.fails(3).lacks("==> Fetch");
    project.refuses(["deploy", "live"], 2, &["the version is missing"]);
    let output = at_a_terminal(&project, &["deploy", "live", "--yes"], &[]).run();
    output.fails(2).stdout_has("the version is missing");
}
