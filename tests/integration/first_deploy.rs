//! A first deploy that created nothing, or that has not ended: a start is not a deployment, and a
//! state that was never written is not a lost one.

use crate::operations::waiting;
use crate::support::{Aws, Project};
use nix::sys::signal::Signal;
use std::fs;

const REFUSED: &str = "apply) echo denied; exit 1;;";

#[test]
fn a_refused_first_apply_does_not_block_the_environment() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "deploy: { require-state: true }\n").commit("Careful");
    project.release("1");
    for environment in ["live", "qa"] {
        let path = project.terraform_but(REFUSED);
        let first = ["deploy", environment, "1", "--new-environment"];
        project.cdflow(first).env("PATH", path).run().fails(6);
        // Once more, with the flag or without it.
        project.cdflow(first).env("PATH", project.terraform_but(REFUSED)).run().fails(6);
        project.deploy(environment, "1").lacks("has no state");
    }
}

#[test]
fn a_first_deploy_can_be_cancelled_and_repeated() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project
        .terraform_but("apply) trap 'exit 1' INT; echo applying; while :; do sleep 0.05; done;;");
    let mut running = project.cdflow(["deploy", "live", "1"]).env("PATH", path).spawn();
    running.wait_for("applying");
    running.signal(Signal::SIGINT);
    running.wait().fails(130);
    project.release("2");
    project.deploy("live", "2");
    // An older release is no downgrade of one that was never there.
    let project = Project::local("greeting");
    project.release("1");
    project.release("2");
    let path = project.terraform_but(REFUSED);
    project.cdflow(["deploy", "live", "2"]).env("PATH", path).run().fails(6);
    project.deploy("live", "1");
}

/// A Terraform that is killed leaves its lock on S3, and what it made since the last save.
#[test]
fn a_killed_first_apply_is_named_by_its_lock() {
    let aws = Aws::new("killed");
    let project = Project::aws("shop", &aws);
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"killer\" {{\n  depends_on = \
                 [terraform_data.greeting]\n  provisioner \"local-exec\" {{\n    command = \"[ -e \
                 {} ] || kill -9 $PPID\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("A killer");
    project.release("1");
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(7).stderr_has("terraform_data.greeting (create), terraform_data.killer (create)");
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output
        .fails(8)
        .stderr_has("-> release the lock, because run 1 (deploy of 1")
        .stderr_has("is over since")
        .lacks("has no state");
    let id = output.stderr.rsplit("--force ").next().unwrap().lines().next().unwrap().to_owned();
    project.cdflow(["unlock", "ci", "--force", &id]).run().success();
    fs::write(gate, "").unwrap();
    project.deploy("ci", "1").stderr_has("run 1 or later might have created these");
}

#[test]
fn a_second_deploy_waits_for_the_first() {
    let (project, gate) = waiting();
    let mut first = project.cdflow(["deploy", "live", "1"]).spawn();
    first.wait_for("): waiting");
    for command in [vec!["deploy", "live", "1"], vec!["destroy", "live", "--confirm", "live"]] {
        let output = project.cdflow(command).run();
        output.fails(8).stderr_has("-> see run 1 (deploy of 1").lacks("has no state");
    }
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    let mut second = project.cdflow(["deploy", "live", "1", "--lock-timeout", "60s"]).spawn();
    second.wait_for("==> Plan");
    fs::write(gate, "").unwrap();
    first.wait().success();
    second.wait().success();
}

/// The ledger says first that nothing is deployed, and then the workspace goes.
#[test]
fn a_destroy_that_is_killed_can_be_repeated() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let mut state = project.state("live").unwrap();
    let destroy = ["destroy", "live", "--confirm", "live"];
    project.cdflow(destroy).run().success();
    // As it is between the end in the ledger and the removal of the workspace.
    state["serial"] = (state["serial"].as_u64().unwrap() + 1).into();
    state["resources"] = serde_json::json!([]);
    state["outputs"] = serde_json::json!({});
    fs::create_dir(project.state_file("live").parent().unwrap()).unwrap();
    fs::write(project.state_file("live"), state.to_string()).unwrap();
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "destroy 1 succeeded"]);
    project.cdflow(destroy).run().success();
    project.cdflow(["deploy", "live", "1", "--new-environment"]).run().success();

    // A destroy of which only the start is recorded, and whose workspace is gone.
    let entry = project.ledger_folder("live").join("9999999996.start.json");
    project.cdflow(destroy).run().success();
    let end = project.ledger_folder("live").join("9999999995.end.json");
    assert!(end.exists() && !entry.with_file_name("9999999994.start.json").exists());
    fs::remove_file(end).unwrap();
    project.cdflow(destroy).run().success().stderr_has("Nothing to destroy");
    project.deploy("live", "1");
}
