//! A shell on an environment: at a terminal, with a script, and for one command.

use crate::support::{Aws, Output, Project, Runner, in_repository, python};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;

fn deployed() -> Project {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project
}

/// cdflow with these arguments, by a person who waits for the first of a step and types the second.
pub(crate) fn at_a_terminal(
    project: &Project,
    arguments: &[&str],
    steps: &[(&str, Option<&str>)],
) -> Runner {
    on_columns(101, project, arguments, steps)
}

/// The same at a terminal with so many columns.
pub(crate) fn on_columns(
    columns: u16,
    project: &Project,
    arguments: &[&str],
    steps: &[(&str, Option<&str>)],
) -> Runner {
    let program = [&[env!("CARGO_BIN_EXE_cdflow")], arguments].concat();
    person(columns, project, &program, steps)
}

/// The same with any program.
pub(crate) fn person(
    columns: u16,
    project: &Project,
    program: &[&str],
    steps: &[(&str, Option<&str>)],
) -> Runner {
    let script = in_repository("tests/integration/support/terminal.py");
    python(project.sandbox(), [script.as_os_str()])
        .arg(json!(steps).to_string())
        .arg(columns.to_string())
        .args(program)
        .cwd(project.dir())
        .env("TERM", "xterm")
}

/// Nothing of a run is left in TMPDIR.
#[track_caller]
fn left_nothing(project: &Project, output: &Output) {
    let left: Vec<_> =
        fs::read_dir(project.sandbox().tmp()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}\n{output}");
}

#[test]
fn a_person_at_a_terminal() {
    let project = deployed();
    let prompt = "greeting@live (1)";
    let steps = [
        (prompt, Some("stty size")),
        ("33 101", None),
        (prompt, Some("sleep 0.3; stty size")),
        ("44 122", Some("plan -no-color")),
        ("No changes.", Some("terraform workspace show; echo histfile=$HISTFILE.")),
        ("histfile=.", Some("ls -d ../../bin/plan && exit 7")),
    ];
    let output = at_a_terminal(&project, &["shell", "live"], &steps).run();
    output
        .fails(7)
        .stdout_has("Open greeting 1 in live")
        .stdout_has("\u{1b}[1;31mgreeting@live (1)");
    // The workspace's name alone on its line.
    assert!(output.stdout.contains("\rlive\r\n"), "{output}");
    left_nothing(&project, &output);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
    assert!(!project.sandbox().home().join(".bash_history").exists());
}

#[test]
fn what_is_typed_at_an_apply_is_asked_for_and_taken() {
    let project = deployed();
    let steps = [
        (
            "greeting@live (1)",
            Some("terraform apply -no-color -destroy -var-file=../../variables.tfvars.json"),
        ),
        ("Enter a value:", Some("no")),
        ("cancelled.", Some("exit 0")),
    ];
    let output = at_a_terminal(&project, &["shell", "live"], &steps).run();
    output.success();
    left_nothing(&project, &output);
}

#[test]
fn ctrl_c_interrupts_what_runs_in_the_shell_alone() {
    let project = deployed();
    let steps = [
        (
            "greeting@live (1)",
            Some("sh -c 'trap \"exit 9\" INT; echo n\"\"ow; while :; do sleep 0.1; done'; exit $?"),
        ),
        ("now\r\n", Some("\u{3}")),
    ];
    let output = at_a_terminal(&project, &["shell", "live"], &steps).run();
    output.fails(9).lacks("cancelled: cdflow stops");
    left_nothing(&project, &output);
}

#[test]
fn one_command_has_its_own_output_and_exit_code() {
    let project = deployed();
    let output = project.cdflow(["shell", "live", "--", "terraform", "output", "-json"]).run();
    output.success().stderr_has("Open greeting 1 in live");
    assert_eq!(
        output.json()["greeting"]["value"],
        "Good day from live.local.example, version 1",
        "{output}"
    );
    left_nothing(&project, &output);
    let output = project
        .cdflow(["shell", "live", "1", "--", "sh", "-c", "echo out; echo err >&2; exit 42"])
        .run();
    output.fails(42).stderr_has("err\n");
    assert_eq!(output.stdout, "out\n");
    // No colours where no terminal is.
    project
        .cdflow(["shell", "live", "--", "plan"])
        .run()
        .success()
        .stdout_has("\nNo changes. Your infra")
        .lacks("\u{1b}");
    project.refuses(
        ["shell", "live", "--", "no-such-program"],
        2,
        &["program `no-such-program` not found"],
    );
}

/// The plan of another release is that release's.
#[test]
fn another_release_than_the_one_that_is_deployed() {
    let project = deployed();
    project.release("2");
    let output = project.cdflow(["shell", "live", "2", "--", "plan", "-no-color"]).run();
    output.success().stdout_has("version 2").stdout_has("1 to change");
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
}

#[test]
fn a_script_on_standard_input() {
    let project = deployed();
    let script = "set -e\nterraform workspace show\nplan -no-color >/dev/null\necho \"in: \
    ${TF_INPUT}\" >&2\nexit 5\n";
    let output = project.cdflow(["shell", "live"]).stdin(script).run();
    output.fails(5).stderr_has("in: 0\n");
    assert_eq!(output.stdout, "live\n");
    left_nothing(&project, &output);
}

/// The command that runs is waited for, and no further one runs.
#[test]
fn a_cancelled_script_ends_after_its_command() {
    let project = deployed();
    let script = "echo ready\nsh -c 'trap \"\" INT; sleep 1.5; echo finished'\necho never\n";
    let mut running = project.cdflow(["shell", "live"]).stdin(script).spawn();
    running.wait_for("ready");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.fails(130).stdout_has("finished").lacks("never").stderr_has("ended with exit code 130");
    left_nothing(&project, &output);
}

#[test]
fn where_there_is_nothing_to_work_on() {
    let project = Project::local("greeting");
    project.release("1");
    project.refuses(
        ["shell", "live"],
        2,
        &["nothing is deployed in `live`", "cdflow shell live VERSION"],
    );
    project.refuses(
        ["shell", "live", "1", "--", "true"],
        3,
        &["`live` has no state", "cdflow deploy live 1"],
    );
    project.refuses(["shell", "live", "no-such-version"], 2, &["no-such-version"]);
}

#[test]
fn what_a_killed_shell_leaves_the_next_run_removes() {
    let project = deployed();
    let mut running =
        project.cdflow(["shell", "live", "--", "sh", "-c", "echo up; exec sleep 60"]).spawn();
    running.wait_for("up");
    let sleep = running.processes().into_iter().find(|it| it.program() == "sleep").unwrap();
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().code, 137);
    let left = || fs::read_dir(project.sandbox().tmp()).unwrap().count();
    // As long as a program of the shell lives, its folder stays.
    project.cdflow(["shell", "live", "--", "true"]).run().success();
    assert_eq!(left(), 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleep.pid), Signal::SIGKILL).unwrap();
    let emptied = std::time::Instant::now();
    while left() > 0 {
        assert!(emptied.elapsed().as_secs() < 30, "the folder is never removed");
        project.cdflow(["shell", "live", "--", "true"]).run().success();
    }
}

#[test]
fn values_that_only_the_state_marks_are_masked() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "resource \"terraform_data\" \"pass\" {\n  \
             input = sensitive(\"hunter2-of-the-state\")\n}\n",
        )
        .commit("A password");
    project.release("1");
    project.deploy("live", "1");
    let shown = project.cdflow(["shell", "live", "--", "terraform", "state", "pull"]).run();
    shown.success().stdout_has("***").lacks("hunter2");
    // The shell is for repairs too.
    let state = project.state_file("live");
    let whole = fs::read(&state).unwrap();
    fs::write(&state, &whole[..300]).unwrap();
    let repaired = project.cdflow(["shell", "live", "--", "true"]).run();
    repaired.success().stderr_has("sensitive values of the state are not masked");
}

/// On AWS: the roles' credentials are served, and no key is in the environment, in arguments or in
/// files.
#[test]
fn credentials_are_served_and_secrets_masked() {
    let aws = Aws::new("shell");
    let project = Project::aws("greeting", &aws);
    project.release("1");
    project.deploy("live", "1");
    let look = "env; for f in $(find ../.. -type f -not -path '*/providers/*'); do cat \"$f\"; \
    done; \
                cat /proc/$$/cmdline; terraform workspace show; echo \
                \"uri=${AWS_CONTAINER_CREDENTIALS_FULL_URI:+set}\"";
    let output = project.cdflow(["shell", "live", "--", "sh", "-c", look]).run();
    output
        .success()
        .stdout_has("live\n")
        .stdout_has("uri=set")
        .stdout_has("AWS_CONTAINER_AUTHORIZATION_TOKEN=***");
    for (name, value) in aws.env() {
        if name.contains("KEY") || name.contains("SESSION_TOKEN") {
            assert!(!output.stdout.contains(&format!("{name}=")), "{output}");
            assert!(value.len() < 8 || !output.stdout.contains(value), "{name}: {output}");
        }
    }
    left_nothing(&project, &output);
}

/// A full disk behind standard output: every write fails.
#[test]
fn output_that_cannot_be_written_is_a_failure_if_it_is_the_result() {
    let project = Project::local("greeting");
    let full = |arguments: &[&str]| {
        project.cdflow(arguments).in_shell("exec \"$0\" \"$@\" > /dev/full").run()
    };
    let lost = "cannot write to standard output, so output is missing: No space left on device";
    project.release("1");
    // The deploy is finished, and its state and ledger are complete.
    full(&["deploy", "live", "1"]).success().stderr_has(&format!("warning: {lost}"));
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["history", "live", "--json"],
        &["inspect", "1"],
        &["doctor"],
        &["unlock", "live"],
        &["deploy", "live", "1", "--plan-only"],
        &["shell", "live", "--", "terraform", "state", "pull"],
        &["--help"],
        &["--version"],
    ] {
        full(arguments).fails(2).stderr_has(&format!("error: {lost}"));
    }
    // What failed anyway keeps its exit code.
    full(&["shell", "live", "--", "sh", "-c", "echo lost; exit 7"]).fails(7).stderr_has(lost);
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    let project = deployed();
    for arguments in [&["status"][..], &["status", "--json"], &["history", "live"], &["--help"]] {
        // The reader has ended before cdflow prints.
        let piped = "{ sleep 0.1; \"$0\" \"$@\"; echo code $? >&2; } | true";
        project.cdflow(arguments).in_shell(piped).run().success().stderr_has("code 0");
    }
}
