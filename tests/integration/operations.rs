//! What is done besides deploying: a lock that somebody left is released.

use crate::support::{Project, Running};
use serde_json::{Value, json};
use std::fs;

/// Has the resource `wait`, whose creation goes on until the returned file exists; released as 1.
fn waiting() -> (Project, std::path::PathBuf) {
    let project = Project::local("greeting");
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"wait\" {{\n  provisioner \"local-exec\" {{\n    \
                 command = \"echo waiting; while ! [ -e {} ]; do sleep 0.05; done\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("Wait");
    project.release("1");
    (project, gate)
}

#[test]
fn a_local_lock_is_shown_and_ends_with_its_process() {
    let (project, gate) = waiting();
    project.cdflow(["unlock", "live"]).run().success().stdout_is("the state of live is not locked\n").stderr_is("");
    let mut deploy = project.cdflow(["deploy", "live", "1"]).spawn();
    deploy.wait_for("): waiting");
    let note = project.state_file("live").with_file_name(".terraform.tfstate.lock.info");
    let text = fs::read_to_string(&note).unwrap();
    let holder: Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| holder[name].as_str().unwrap().to_owned();
    let id = field("ID");

    let shown = project.cdflow(["unlock", "live"]).run();
    shown.success().stdout_has(&format!("ID:        {id}\n")).stdout_has("Operation: OperationTypeApply\n");
    shown
        .stdout_has(&format!("Who:       {}\n", field("Who")))
        .stdout_has(&format!("Created:   {}\n", field("Created")));
    shown.stdout_has(&format!("Path:      {}\n", project.state_file("live").canonicalize().unwrap().display()));
    shown.stdout_has("held by the living process ").stderr_has(&format!("cdflow unlock live --force {id}"));
    let refused = project.cdflow(["unlock", "live", "--force", &id]).run();
    refused.fails(3).stderr_has("error: the state of `live` is in use: process ").stderr_has("kill -INT ");
    assert_eq!(fs::read_to_string(&note).unwrap(), text);

    fs::write(&gate, "").unwrap();
    Running::wait(deploy).success();
    project.cdflow(["unlock", "live"]).run().success().stdout_is("the state of live is not locked\n");

    // As a Terraform leaves it that was killed.
    fs::write(&note, &text).unwrap();
    project.cdflow(["unlock", "live"]).run().success().stdout_has("its process has ended on this machine");
    let other = ["unlock", "live", "--force", "0c2b-11"];
    project.refuses(other, 3, &["is not locked by `0c2b-11`", &format!("the lock that holds it is {id}")]);
    let released = project.cdflow(["unlock", "live", "--force", &id]).run();
    released.success().stderr_has(&format!("Released the lock {id} of the state of live"));
    assert!(!note.exists());
    project.deploy("live", "1").stderr_has("no changes");
    project.refuses(["unlock", "liev"], 0, &[]).stdout_is("the state of liev is not locked\n");
}

#[test]
fn a_lock_does_not_control_the_terminal() {
    let project = Project::local("greeting");
    let note = project.state_file("live").with_file_name(".terraform.tfstate.lock.info");
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    fs::write(&note, json!({"ID": "1\n::error::x", "Who": "\u{1b}[2Jada"}).to_string()).unwrap();
    let shown = project.cdflow(["unlock", "live"]).run();
    shown.success().stdout_has("\u{fffd}[2Jada").stdout_has("1\u{fffd}::error::x\n").lacks("\u{1b}");
    fs::write(&note, "{").unwrap();
    project.refuses(["unlock", "live", "--force", "1"], 9, &["is not as Terraform writes it", "delete it by hand"]);
}

/// By the inputs of a step.
#[test]
fn the_action_unlocks() {
    let project = Project::local("greeting");
    let note = project.state_file("live").with_file_name(".terraform.tfstate.lock.info");
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    fs::write(&note, "{\"ID\": \"7\"}").unwrap();
    let inputs = [("INPUT_COMMAND", "unlock"), ("INPUT_ENVIRONMENT", "live"), ("INPUT_LOCK-ID", "7")];
    project.cdflow([] as [&str; 0]).envs(inputs).run().success().stderr_has("Released the lock 7");
    assert!(!note.exists());
}
