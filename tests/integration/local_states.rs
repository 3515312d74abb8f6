//! A state in a folder, which several runs use at once: no run removes or misjudges what another
//! one has open.

use crate::support::{Project, Running};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// A tool whose first plan waits, and each apply.
struct Gates {
    path: String,
    root: PathBuf,
}

impl Gates {
    fn new(project: &Project) -> Self {
        let root = project.sandbox().root().to_owned();
        let wait = |name: &str| {
            let at = root.join(name).display().to_string();
            format!("touch {at}-waits; while [ ! -e {at}-goes ]; do sleep 0.05; done")
        };
        let path = project.terraform_but(&format!(
            "plan) mkdir {}/first 2>/dev/null && {{ {}; }} ;;\napply) {} ;;",
            root.display(),
            wait("plan"),
            wait("apply")
        ));
        Self { path, root }
    }

    fn started(&self, project: &Project, arguments: &[&str], gate: &str) -> Running {
        let mut running = project.cdflow(arguments).env("PATH", &self.path).spawn();
        let waits = self.root.join(format!("{gate}-waits"));
        running.wait_until("the gate", |_| waits.exists());
        running
    }

    fn open(&self, gate: &str) {
        fs::write(self.root.join(format!("{gate}-goes")), "").unwrap();
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Otherwise an apply that waits for the lock of a plan writes its state into a removed file.
#[test]
fn the_file_of_a_first_state_stays_while_a_run_uses_it() {
    let project = Project::local("greeting");
    project.release("1");
    let gates = Gates::new(&project);
    let planning = gates.started(&project, &["deploy", "live", "1", "--plan-only"], "plan");
    let file = project.state_file("live");
    let empty = inode(&file);
    let applying = gates.started(&project, &["deploy", "live", "1"], "apply");
    assert_eq!(inode(&file), empty, "the plan of Terraform has removed it");
    gates.open("plan");
    planning.wait().success().stderr_has("is kept, because another run uses it");
    assert_eq!(inode(&file), empty);
    gates.open("apply");
    applying.wait().success();
    assert_eq!(inode(&file), empty);
    assert!(!project.resources("live").is_empty());
    // The last run that uses a workspace without a state removes it.
    project.cdflow(["deploy", "ci", "1", "--plan-only"]).run().success();
    assert!(!project.state_file("ci").parent().unwrap().exists());
}

#[test]
fn what_is_in_place_of_a_workspace_is_named() {
    let project = Project::local("greeting");
    project.release("1");
    let folder = project.state_file("live").parent().unwrap().to_owned();
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let says = ["the workspace `/", "/platform/greeting/live` is not a folder", "move it"];
    fs::write(&folder, "x").unwrap();
    project.refuses(["deploy", "live", "1"], 2, &says);
    fs::remove_file(&folder).unwrap();
    symlink("/nonexistent/live", &folder).unwrap();
    project.refuses(["deploy", "live", "1"], 2, &says);
}

/// Locks the file as Terraform does, and says so.
fn locked(state: &Path) -> File {
    let file = File::options().read(true).write(true).open(state).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let holder = json!({
        "ID": "7", "Who": "ada@build-7", "Operation": "OperationTypeApply",
        "Created": "2026-11-29T10:00:00Z",
    });
    fs::write(state.with_file_name(".terraform.tfstate.lock.info"), holder.to_string()).unwrap();
    file
}

/// Terraform empties the file and then writes it.
#[test]
fn a_state_that_is_being_written_is_not_missing() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let state = project.state_file("live");
    let whole = fs::read(&state).unwrap();
    for written in [0, whole.len() / 2] {
        let lock = locked(&state);
        fs::write(&state, &whole[..written]).unwrap();
        let output = project.cdflow(["deploy", "live", "1"]).run();
        output.fails(8).stderr_has("is locked: apply by ada@build-7").lacks("--new-environment");
        let waits = ["deploy", "live", "1", "--lock-timeout", "60s"];
        let mut waiting = project.cdflow(waits).spawn();
        waiting.wait_for("==> Initialize");
        std::thread::sleep(std::time::Duration::from_millis(1500));
        fs::write(&state, &whole).unwrap();
        fs::remove_file(state.with_file_name(".terraform.tfstate.lock.info")).unwrap();
        drop(lock);
        waiting.wait().success().stderr_has("no changes");
    }
    // No run writes it any more.
    fs::write(&state, &whole[..whole.len() / 2]).unwrap();
    project.refuses(["deploy", "live", "1"], 9, &["it is truncated"]);
    fs::write(&state, "").unwrap();
    project.refuses(["deploy", "live", "1"], 3, &["has no state"]);
}

/// Whose destruction waits for a file.
fn destroyed_slowly(scheme: &str) -> (Project, PathBuf) {
    let project = Project::local("greeting");
    let gate = project.sandbox().work().join("gate");
    project.edit_json("account-scheme.json", |all| {
        all["environments"] = json!({ scheme: "local" });
    });
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"wait\" {{\n  provisioner \"local-exec\" {{\n    \
                 when = destroy\n    command = \"echo waiting; while ! [ -e {} ]; do sleep 0.05; \
                 done\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("Wait");
    project.release("1");
    project.cdflow(["deploy", "live", "1", "--new-environment"]).run().success();
    (project, gate)
}

/// Starts a deploy that waits for the lock of a destroy, and lets that end.
fn deployed_behind_a_destroy(project: &Project, gate: &Path) -> crate::support::Output {
    let mut destroy = project.cdflow(["destroy", "live", "--confirm", "live"]).spawn();
    destroy.wait_for("): waiting");
    let mut deploy = project.cdflow(["deploy", "live", "1", "--lock-timeout", "60s"]).spawn();
    deploy.wait_until("a plan that waits", |running| {
        let is_plan = |words: &[String]| words.iter().any(|word| word == "plan");
        running.processes().iter().any(|process| is_plan(&process.arguments))
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    fs::write(gate, "").unwrap();
    destroy.wait().success();
    deploy.wait()
}

#[test]
fn a_deploy_that_waits_for_a_destroy_creates_the_environment_again() {
    let (project, gate) = destroyed_slowly("live");
    deployed_behind_a_destroy(&project, &gate)
        .success()
        .stderr_has("another run destroyed live while this one waited; it is created again");
    assert_eq!(project.resources("live").len(), 2);
}

#[test]
fn a_deploy_that_waits_for_a_destroy_needs_the_flag_of_a_new_environment() {
    let (project, gate) = destroyed_slowly("*");
    deployed_behind_a_destroy(&project, &gate).fails(3).stderr_has("--new-environment");
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "destroy 1 succeeded"]);
    assert!(project.resources("live").is_empty());
    project.cdflow(["deploy", "live", "1", "--new-environment"]).run().success();
}

#[test]
fn a_backup_of_another_state_survives_a_destroy() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let state = project.state_file("live");
    let backup = state.with_file_name("terraform.tfstate.backup");
    fs::rename(&state, &backup).unwrap();
    let destroy = ["destroy", "live", "--confirm", "live"];
    project.cdflow(destroy).run().fails(3).stderr_has("has no state");
    project.cdflow(destroy).arg("1").run().success();
    assert!(backup.exists() && !state.exists());
    // That of the destroyed state is removed with it.
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.edit("config/live.json", "Good day", "Good evening").commit("Evening");
    project.release("2");
    project.deploy("live", "2");
    assert!(project.state_file("live").with_file_name("terraform.tfstate.backup").exists());
    project.cdflow(destroy).run().success();
    assert!(!project.state_file("live").parent().unwrap().exists());
}

/// Its start says what it was to create.
#[test]
fn a_first_deploy_that_died_is_looked_into_before_the_next() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project.terraform_but("apply) kill -9 $PPID; exit 1;;");
    project.cdflow(["deploy", "live", "1"]).env("PATH", path).run().fails(128 + 9);
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    let output = project.cdflow(["deploy", "live", "1"]).run();
    output
        .fails(3)
        .stderr_has("was to create 1 resource(s) and has not recorded its end")
        .stderr_has("--new-environment");
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    project
        .cdflow(["deploy", "live", "1", "--new-environment"])
        .run()
        .success()
        .stderr_has("has not recorded its end");
}
