//! Cancelled runs: Terraform gets one interrupt, is waited for, and what it did is saved and
//! recorded.

use crate::aws_state::with_locks;
use crate::support::{Invariants, Output, Project, Runner};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn an_apply_is_cancelled_by_an_interrupt() {
    let project = slow();
    let mut running = project.cdflow(["deploy", "live", "1"]).spawn();
    running.wait_for("): waiting");
    let terraform =
        running.processes().into_iter().find(|process| process.program() == "terraform").unwrap();
    assert_eq!(
        nix::unistd::getpgid(Some(Pid::from_raw(terraform.pid))).unwrap().as_raw(),
        terraform.pid
    );
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.fails(130);
    check_cancelled(&project, &output);
    // What was begun is made anew, what was done is kept.
    fs::write(project.sandbox().work().join("gate"), "").unwrap();
    project.deploy("live", "1");
    assert_eq!(project.ledger("live"), ["deploy 1 interrupted", "deploy 1 succeeded"]);
}

#[test]
fn termination_is_an_interrupt_too() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let project = slow();
        let mut running = project.cdflow(["deploy", "live", "1"]).spawn();
        running.wait_for("): waiting");
        running.signal(signal);
        let output = running.wait();
        output.fails(143);
        check_cancelled(&project, &output);
    }
}

/// An impatient person, or a runner that sends its own after the person's.
#[test]
fn more_signals_are_swallowed() {
    let project = slow();
    let mut running = project.cdflow(["deploy", "live", "1"]).spawn();
    running.wait_for("): waiting");
    let pid = Pid::from_raw(running.pid());
    for number in 0..10 {
        // It may have ended before the last of them.
        let _ = kill(pid, if number == 5 { Signal::SIGTERM } else { Signal::SIGINT });
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = running.wait();
    output.fails(130);
    check_cancelled(&project, &output);
    assert_eq!(output.stderr.matches("cancelled: cdflow stops as soon as").count(), 1, "{output}");
}

/// A Terraform that takes its time and counts.
#[test]
fn terraform_gets_one_interrupt() {
    let project = Project::local("greeting");
    project.release("1");
    let count = project.sandbox().work().join("count");
    let path = project.terraform_but(&format!(
        "apply) trap 'echo INT >> {0}; end=1' INT; trap 'echo TERM >> {0}' TERM; trap 'echo HUP >> \
        {0}' HUP; echo applying;\n\
         while [ -z \"$end\" ]; do sleep 0.05; done; for i in 1 2 3 4 5 6; do sleep 0.2; done; \
         exit 1;;",
        count.display()
    ));
    let mut running = project.cdflow(["deploy", "live", "1"]).env("PATH", path).spawn();
    running.wait_for("applying");
    running.signal(Signal::SIGINT);
    running.wait_for("cancelled: cdflow stops as soon as");
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            running.signal(signal);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = running.wait();
    output.fails(130).stderr_has("warning: second signal: cdflow ends what can be repeated");
    assert_eq!(output.stderr.matches("warning: second signal").count(), 1, "{output}");
    assert_eq!(fs::read_to_string(count).unwrap(), "INT\n", "{output}");
    assert_eq!(project.ledger("live"), ["deploy 1 interrupted"]);
    project.left_no_trace(&output);
}

/// Ctrl-C at a terminal goes to every process of the foreground group.
#[test]
fn ctrl_c_reaches_terraform_once() {
    let project = slow();
    let mut running = in_a_group(&project, &["deploy", "live", "1"]).spawn();
    running.wait_for("): waiting");
    kill(Pid::from_raw(-running.pid()), Signal::SIGINT).unwrap();
    let output = running.wait();
    output.fails(130);
    check_cancelled(&project, &output);
}

#[test]
fn a_cancelled_apply_that_is_completed_all_the_same() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project.terraform_but(
        "apply) trap 'end=1' INT; echo applying; while [ -z \"$end\" ]; do sleep 0.05; done; trap \
        '' INT;;",
    );
    let mut running = project.cdflow(["deploy", "live", "1"]).env("PATH", path).spawn();
    running.wait_for("applying");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.fails(130).stderr_has("error: cancelled during apply, but the apply was completed");
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
    project.left_no_trace(&output);
}

/// The state is read, the ledger is written, and the exit code says what was asked for.
#[test]
fn a_signal_after_the_apply_ends_the_run_as_cancelled() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (aws, project) = with_locks("after", None, false);
        project.release("1");
        let gate = project.sandbox().work().join("gate");
        let path = project.terraform_but(&format!(
            "apply) \"$real\" \"$@\" || exit; touch {0}.at\n\
             while [ ! -e {0} ]; do sleep 0.05; done; exit 0;;",
            gate.display()
        ));
        let mut running = project.cdflow(["deploy", "ci", "1"]).env("PATH", path).spawn();
        running.wait_until("the end of the apply", |_| gate.with_extension("at").exists());
        let read = format!("GET /{}/platform/shop/ci/terraform.tfstate?", aws.state_bucket());
        aws.rule(json!({ "matching": read, "delay": 2 }));
        fs::write(&gate, "").unwrap();
        running.wait_until("the read of the state", |_| aws.matched(&read) > 0);
        running.signal(signal);
        running.wait_for("cancelled: ");
        running.wait().fails(code).stderr_has("cancelled after apply: everything was applied");
        let state = aws.get_json(&aws.state_bucket(), "platform/shop/ci/terraform.tfstate");
        assert_eq!(state["resources"].as_array().unwrap().len(), 1);
        let (_, end) = Invariants { aws: &aws, project: &project }.ledger("ci").remove(0);
        let end = aws.get_json(&aws.release_bucket(), &end.unwrap());
        assert_eq!(end["outcome"], "succeeded");
    }
}

#[test]
fn a_cancelled_plan_changes_nothing() {
    let project = Project::local("greeting");
    project.release("1");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let before = project.snapshot();
        let mut running =
            project.cdflow(["deploy", "live", "1"]).env("PATH", waiting(&project, "plan")).spawn();
        running.wait_for("waiting");
        running.signal(signal);
        let output = running.wait();
        output
            .fails(code)
            .stderr_has("error: cancelled during terraform plan; no resource was changed");
        // Also the workspace that was made for the plan is gone.
        project.unchanged_since(&before, &output);
    }
    project.deploy("live", "1");
}

#[test]
fn waiting_for_a_lock_can_be_cancelled() {
    let project = slow();
    let mut first = project.cdflow(["deploy", "live", "1"]).spawn();
    first.wait_for("): waiting");
    let mut second = project.cdflow(["deploy", "live", "1", "--lock-timeout", "100s"]).spawn();
    second.wait_for("==> Plan");
    second.wait_until("a plan that waits", |running| {
        running
            .processes()
            .iter()
            .any(|process| process.arguments.iter().any(|argument| argument == "plan"))
    });
    // There is nothing to see of the wait itself.
    std::thread::sleep(Duration::from_millis(500));
    second.signal(Signal::SIGINT);
    second.wait().fails(130).stderr_has("cancelled during terraform plan; no resource was changed");
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    fs::write(project.sandbox().work().join("gate"), "").unwrap();
    first.wait().success();
}

#[test]
fn a_cancelled_init_changes_nothing() {
    let project = Project::local("greeting");
    let path = waiting(&project, "init");
    let before = project.snapshot();
    let mut running = project.releasing("1").env("PATH", &path).spawn();
    running.wait_for("waiting");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.fails(130).stderr_has("cancelled during terraform init");
    project.unchanged_since(&before, &output);

    project.release("1");
    let before = project.snapshot();
    let mut running = project.cdflow(["deploy", "live", "1"]).env("PATH", &path).spawn();
    running.wait_for("waiting");
    running.signal(Signal::SIGTERM);
    let output = running.wait();
    output.fails(143).stderr_has("cancelled during terraform init");
    project.unchanged_since(&before, &output);
}

/// A terminal that is closed, or `| head`, ends the output and not the apply.
#[test]
fn a_closed_output_does_not_stop_an_apply() {
    let project = Project::local("greeting");
    project.release("1");
    let script = "\"$@\" 2>&1 | head -n 1; exit ${PIPESTATUS[0]}";
    let run = ["-c", script, "bash", env!("CARGO_BIN_EXE_cdflow"), "deploy", "live", "1"];
    Runner::new("bash", run, project.sandbox()).cwd(project.dir()).run().success();
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
}

/// Interrupted in an apply, with what was done so far saved and recorded, and nothing of
/// Terraform's left.
#[track_caller]
fn check_cancelled(project: &Project, output: &Output) {
    output
        .stderr_has("cancelled: cdflow stops as soon as that is safe")
        .stderr_has("error: cancelled during apply: Terraform stopped and saved the state")
        .stderr_has(&format!(
            "the stored state of live has the serial number {}",
            project.state("live").unwrap()["serial"]
        ))
        .stderr_has("the state is not locked")
        .lacks("Two interrupts received");
    assert_eq!(output.stdout.matches("Interrupt received").count(), 1, "{output}");
    assert!(project.resources("live").contains(&"terraform_data.greeting".to_owned()), "{output}");
    assert_eq!(project.ledger("live"), ["deploy 1 interrupted"]);
    let (_, end) = project.ledger_entries("live").remove(0);
    assert_eq!(end.unwrap()["state_serial"], project.state("live").unwrap()["serial"]);
    assert!(!project.stored().iter().any(|name| name.contains("lock")), "{:?}", project.stored());
    project.cdflow(["status"]).run().success().stdout_has("deploy of 1 was interrupted");
    project.left_no_trace(output);
}

/// Released as 1; its apply waits, after the greeting, until the file `gate` exists.
fn slow() -> Project {
    let project = Project::local("greeting");
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"slow\" {{\n  depends_on = \
                [terraform_data.greeting]\n  provisioner \"local-exec\" {{\n    \
                 command = \"echo waiting; while ! [ -e {} ]; do sleep 0.05; done\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("Slow");
    project.release("1");
    project
}

/// A PATH with a Terraform that waits in this verb until it is interrupted.
fn waiting(project: &Project, verb: &str) -> String {
    project.terraform_but(&format!(
        "{verb}) trap 'echo Interrupt received; exit 1' INT; echo 'waiting: Reading...'; while \
         true; do sleep 0.05; done;;"
    ))
}

/// In a process group of its own, as a shell starts it at a terminal.
fn in_a_group(project: &Project, arguments: &[&str]) -> Runner {
    Runner::new("setsid", [env!("CARGO_BIN_EXE_cdflow")], project.sandbox())
        .args(arguments)
        .cwd(project.dir())
}

/// Killed itself, cdflow can't wait; what it started must go on, save the state, and not be swept
/// away by the next run.
#[test]
fn a_killed_cdflow_leaves_terraform_to_finish() {
    let project = slow();
    let mut running = project.cdflow(["deploy", "live", "1"]).spawn();
    running.wait_for("): waiting");
    let terraform = running
        .processes()
        .into_iter()
        .find(|it| it.arguments.iter().any(|word| word == "apply"))
        .unwrap();
    kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
    // The folder of a run that still lives is not abandoned.
    project.cdflow(["release", "2", "--platform-config", "platform-config"]).run();
    fs::write(project.sandbox().work().join("gate"), "").unwrap();
    let began = std::time::Instant::now();
    while std::path::Path::new(&format!("/proc/{}/exe", terraform.pid)).exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "terraform does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!project.resources("live").is_empty());
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    // The next run tidies up and goes on from there.
    project.deploy("live", "1");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}
