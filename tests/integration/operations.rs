//! What is done besides deploying: the past is shown and brought back, a lock that somebody left is
//! released, and what nobody has deployed is deleted.

use crate::shell::{at_a_terminal, on_columns};
use crate::support::{Aws, Output, Project, Runner, Running};
use serde_json::{Value, json};
use std::fs;

/// Has the resource `wait`, whose creation goes on until the returned file exists; released as 1.
pub(crate) fn waiting() -> (Project, std::path::PathBuf) {
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
    project
        .cdflow(["unlock", "live"])
        .run()
        .success()
        .stdout_is("the state of live is not locked\n")
        .stderr_is("");
    let mut deploy = project.cdflow(["deploy", "live", "1"]).spawn();
    deploy.wait_for("): waiting");
    let note = project.state_file("live").with_file_name(".terraform.tfstate.lock.info");
    let text = fs::read_to_string(&note).unwrap();
    let holder: Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| holder[name].as_str().unwrap().to_owned();
    let id = field("ID");

    let shown = project.cdflow(["unlock", "live"]).run();
    shown
        .success()
        .stdout_has(&format!("ID:        {id}\n"))
        .stdout_has("Operation: OperationTypeApply\n");
    shown
        .stdout_has(&format!("Who:       {}\n", field("Who")))
        .stdout_has(&format!("Created:   {}\n", field("Created")));
    shown.stdout_has(&format!(
        "Path:      {}\n",
        project.state_file("live").canonicalize().unwrap().display()
    ));
    shown.stdout_has("held by process ").stderr_has(&format!("cdflow unlock live --force {id}"));
    let refused = project.cdflow(["unlock", "live", "--force", &id]).run();
    refused
        .fails(3)
        .stderr_has("error: the state of `live` is in use: process ")
        .stderr_has("kill -INT ");
    assert_eq!(fs::read_to_string(&note).unwrap(), text);

    fs::write(&gate, "").unwrap();
    Running::wait(deploy).success();
    project
        .cdflow(["unlock", "live"])
        .run()
        .success()
        .stdout_is("the state of live is not locked\n");

    // As a Terraform leaves it that was killed.
    fs::write(&note, &text).unwrap();
    project
        .cdflow(["unlock", "live"])
        .run()
        .success()
        .stdout_has("its process has ended, so Terraform ignores it");
    let other = ["unlock", "live", "--force", "0c2b-11"];
    project.refuses(other, 3, &["is not locked by `0c2b-11`", &format!("it is locked by {id}")]);
    let released = project.cdflow(["unlock", "live", "--force", &id]).run();
    released.success().stderr_has(&format!("Released the lock {id} of the state of live"));
    assert!(!note.exists());
    project.deploy("live", "1").stderr_has("no changes");
    let output = project.refuses(["unlock", "liev"], 0, &["did you mean `live`?"]);
    output.stdout_is("the state of liev is not locked\n");
}

#[test]
fn a_lock_does_not_control_the_terminal() {
    let project = Project::local("greeting");
    let note = project.state_file("live").with_file_name(".terraform.tfstate.lock.info");
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    fs::write(&note, json!({"ID": "1\n::error::x", "Who": "\u{1b}[2Jada"}).to_string()).unwrap();
    let shown = project.cdflow(["unlock", "live"]).run();
    shown
        .success()
        .stdout_has("\u{fffd}[2Jada")
        .stdout_has("1\u{fffd}::error::x\n")
        .lacks("\u{1b}");
    fs::write(&note, "{").unwrap();
    project.refuses(
        ["unlock", "live", "--force", "1"],
        9,
        &["is not a Terraform lock", "once you are sure that no run uses this state, remove it: "],
    );
    // The command is right.
    let output = project.cdflow(["unlock", "live"]).run();
    let command = output.fails(9).stderr.split("remove it: ").nth(1).unwrap().trim().to_owned();
    assert!(command.starts_with("rm -- "), "{output}");
    Runner::new("sh", ["-c", &command], project.sandbox()).run().success();
    project
        .cdflow(["unlock", "live"])
        .run()
        .success()
        .stdout_is("the state of live is not locked\n");
}

/// By the inputs of a step.
#[test]
fn the_action_unlocks() {
    let project = Project::local("greeting");
    let note = project.state_file("live").with_file_name(".terraform.tfstate.lock.info");
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    fs::write(&note, "{\"ID\": \"7\"}").unwrap();
    let inputs =
        [("INPUT_COMMAND", "unlock"), ("INPUT_ENVIRONMENT", "live"), ("INPUT_LOCK-ID", "7")];
    project.cdflow([] as [&str; 0]).envs(inputs).run().success().stderr_has("Released the lock 7");
    assert!(!note.exists());
}

/// A deploy of 2 fails as long as the file is not there.
fn failing() -> (Project, std::path::PathBuf) {
    let project = Project::local("greeting");
    project.release("1");
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"gate\" {{\n  provisioner \"local-exec\" {{\n    \
                 command = \"[ -e {} ] || {{ echo nobody may pass; exit 1; }}\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("A gate");
    project.release("2");
    (project, gate)
}

#[test]
fn the_past_of_an_environment() {
    let (project, _) = failing();
    let history = |more: &[&str]| project.cdflow(["history", "live"]).args(more).run();
    history(&[]).success().stdout_is("greeting was never deployed to live\n").stderr_is("");
    project.git(["config", "user.email", "ada"]);
    project.cdflow(["deploy", "live", "1"]).run().success();
    project.cdflow(["deploy", "live", "2"]).run().fails(6);
    project.cdflow(["deploy", "live", "1", "--target", "terraform_data.greeting"]).run().success();
    project.cdflow(["destroy", "live", "--confirm", "live"]).run().success();
    let started = project.cdflow(["deploy", "live", "1"]).run();
    started.success();
    let folder = project.ledger_folder("live");
    fs::remove_file(folder.join("9999999994.end.json")).unwrap();
    let output = history(&[]);
    output.success().stderr_is("").stdout_is(
        "RUN  ACTION   VERSION      OUTCOME     WHEN               PLAN      BY   REASON\n\
         5    deploy   1            unfinished  [TIME]  +1 ~0 -0  ada\n\
         4    destroy  1            succeeded   [TIME]  +0 ~0 -2  ada\n\
         3    deploy   1 (in part)  succeeded   [TIME]  +0 ~1 -0  ada\n\
         2    deploy   2            failed      [TIME]  +1 ~1 -0  ada  terraform apply failed: \
         local-exec provisioner error\n\
         1    deploy   1            succeeded   [TIME]  +1 ~0 -0  ada\n",
    );
    let json = history(&["--json"]).json();
    assert_eq!((&json["environment"], &json["more"]), (&"live".into(), &false.into()));
    let runs = json["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5);
    assert_eq!((&runs[0]["number"], &runs[0]["outcome"]), (&5.into(), &Value::Null));
    assert!(runs[3]["reason"].as_str().unwrap().starts_with("terraform apply failed"));
    assert_eq!(runs[3]["plan"], json!({"add": 1, "change": 1, "destroy": 0}));

    // Old entries are copies of the newest; what is not asked for is not read.
    let text = fs::read_to_string(folder.join("9999999994.start.json")).unwrap();
    for number in 6..=30_u64 {
        let copy = text.replace("\"number\": 5", &format!("\"number\": {number}"));
        fs::write(folder.join(format!("{}.start.json", 9_999_999_999 - number)), copy).unwrap();
    }
    let output = history(&[]);
    output.success().stderr_has("only the newest 20; to list all: cdflow history live --all");
    assert_eq!(output.stdout.lines().count(), 21);
    assert_eq!(history(&["--json"]).json()["more"], true);
    let output = history(&["--all"]);
    output.success().stderr_is("").stdout_has("\n30   deploy ").stdout_has("\n1    deploy ");
    assert_eq!(output.stdout.lines().count(), 31);
}

#[test]
fn what_was_deployed_before_is_deployed_again() {
    let project = Project::local("greeting");
    let rollback = ["rollback", "live"];
    project.refuses(
        rollback,
        2,
        &[
            "the ledger says that nothing is deployed in `live`",
            "-> deploy first: cdflow deploy live VERSION",
        ],
    );
    project.release("1");
    project.deploy("live", "1");
    project.refuses(
        rollback,
        2,
        &["`live` has no earlier release to roll back to", "a version other than 1"],
    );
    project.edit("config/live.json", "Good day", "Goodbye").commit("Part");
    project.release("2");
    project.release("3");
    project.deploy("live", "2");
    project.cdflow(["deploy", "live", "3", "--target", "terraform_data.greeting"]).run().success();
    // What was deployed in part is nothing to go back to.
    project.refuses(
        ["rollback", "live", "--plan-only"],
        0,
        &["back from 3 to 2, as of run 2", "Planned only: 0 to add, 1 to change"],
    );
    project.cdflow(["deploy", "live", "2", "--allow-downgrade"]).run().success();
    let output =
        project.cdflow(["rollback", "live", "--lock-timeout", "5s", "--parallelism", "2"]).run();
    output
        .success()
        .stderr_has("==> Roll live back from 2 to 1, as of run 1\n==> Deploy greeting 1 to live\n");
    output.stdout_has("greeting = \"Good day from live.local.example, version 1\"");
    assert_eq!(project.ledger("live").last().unwrap(), "deploy 1 succeeded");
    project.cdflow(["status"]).run().stdout_has("live         1 ");
    project.refuses(["rollback", "live", "-p"], 0, &["back from 1 to 2, as of run 4"]);

    // The bundle is the one of that time, or there is none.
    let digest = project.ledger_entries("live")[3].0["bundle_digest"].as_str().unwrap().to_owned();
    let start = project.ledger_folder("live").join("9999999995.start.json");
    let text = fs::read_to_string(&start).unwrap();
    fs::write(&start, text.replace(&digest, &"0".repeat(64))).unwrap();
    project.refuses(rollback, 9, &["release 2 has changed since it was deployed to `live`"]);
    fs::write(&start, text).unwrap();
    fs::remove_file(project.bundle("2")).unwrap();
    project.refuses(
        rollback,
        2,
        &[
            "release 2, to roll `live` back to, no longer exists",
            "greeting-2.zip",
            "cdflow history live",
        ],
    );

    project.cdflow(["destroy", "live", "--confirm", "live"]).run().success();
    project.refuses(rollback, 2, &["the ledger says that nothing is deployed in `live`"]);
}

/// What a failed deploy left half done goes back to what was there, not to what was before that.
#[test]
fn a_failed_deploy_is_rolled_back() {
    let (project, _) = failing();
    project.release("0");
    project.cdflow(["rollback", "live"]).run().fails(2);
    project.deploy("live", "1");
    project.cdflow(["deploy", "live", "2"]).run().fails(6);
    let inputs = [
        ("INPUT_COMMAND", "rollback"),
        ("INPUT_ENVIRONMENT", "live"),
        ("INPUT_PLAN-ONLY", "false"),
    ];
    let output = project.cdflow([] as [&str; 0]).envs(inputs).run();
    output.success().stderr_has("Roll live back from 2 to 1").stdout_has("version 1");
    assert_eq!(
        project.ledger("live"),
        ["deploy 1 succeeded", "deploy 2 failed", "deploy 1 succeeded"]
    );
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
}

/// As if the bundle and the zip of that version had been made so many days ago.
fn aged(project: &Project, version: &str, days: u64) {
    for bucket in ["releases", "lambda"] {
        let path = project.store().join(bucket).join(project.release_key(version));
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86400 + 60);
        if path.exists() {
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
    }
}

#[test]
fn old_releases_that_nobody_deployed_are_deleted() {
    let project = Project::local("greeting");
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle(event, context): return {}\n").commit("A function");
    project
        .cdflow(["prune"])
        .run()
        .success()
        .stderr_has("No release to delete: 0 release(s)")
        .stdout_is("");
    for (version, days) in [("1", 400), ("2", 300), ("3", 200), ("4", 100), ("5", 50), ("6", 0)] {
        project.release(version);
        aged(&project, version, days);
    }
    // 2 was tried, and 1 is what a run has left that did not come to its bundle.
    project.deploy("live", "2");
    let folder = project.ledger_folder("live");
    fs::remove_file(folder.join("9999999998.end.json")).unwrap();
    fs::remove_file(project.bundle("1")).unwrap();
    project.refuses(
        ["prune"],
        0,
        &["No release to delete: 6 release(s), all of them deployed, too new or among the newest \
           50"],
    );
    let prune = ["prune", "--keep", "2", "--older-than", "90d"];
    let listed = project.refuses(
        prune.iter().chain(&["--dry-run"]),
        0,
        &["Would delete 3 of 6 release(s), "],
    );
    listed.stdout_has_in_order(&[
        "VERSION",
        "1 ",
        "lambda/",
        "3 ",
        "releases/",
        "3 ",
        "lambda/",
        "4 ",
        "releases/",
        "4 ",
    ]);
    listed.stdout_has("161 B   file:").lacks("greeting-2.zip").lacks("ledger");
    project.refuses(
        ["prune", "--keep", "4", "--older-than", "0s", "--dry-run"],
        0,
        &["Would delete 1 of 6"],
    );

    let before = project.stored();
    let output = project.cdflow(prune).run();
    output
        .success()
        .stderr_has("Deleted 3 of 6 release(s), ")
        .stdout_is(&listed.scrubbed(&listed.stdout));
    let gone = ["lambda/1", "releases/3", "lambda/3", "releases/4", "lambda/4"].map(|object| {
        let (bucket, version) = object.split_once('/').unwrap();
        format!("{bucket}/{}", project.release_key(version))
    });
    let left: Vec<String> = before.into_iter().filter(|name| !gone.contains(name)).collect();
    assert_eq!(project.stored(), left);
    project.left_no_trace(&output);
    project.refuses(prune, 0, &["No release to delete: 3 release(s)"]);
    project.deploy("live", "2");

    // Who can't read the ledger deletes nothing.
    let all = ["prune", "--keep", "0", "--older-than", "0s"];
    let stray = project.store().join("releases/platform/greeting/ledger/Live/1.json");
    fs::create_dir_all(stray.parent().unwrap()).unwrap();
    fs::write(&stray, "").unwrap();
    project.refuses(
        all,
        9,
        &["unexpected folder `Live` in file:", "not the name of an environment"],
    );
    fs::remove_dir_all(stray.parent().unwrap()).unwrap();
    let start = folder.join("9999999998.start.json");
    let text = fs::read_to_string(&start).unwrap();
    fs::write(&start, "{").unwrap();
    project.refuses(all, 9, &["invalid ledger entry", "9999999998.start.json`"]);
    fs::write(&start, text).unwrap();
    project.cdflow(all).run().success().stderr_has("Deleted 2 of 3 release(s)");
    project.refuses(["prune", "--older-than", "soon"], 2, &["is not a duration"]);
}

#[test]
fn releases_are_deleted_from_s3() {
    let aws = Aws::new("prune");
    let project = Project::aws("shop", &aws);
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle(event, context): return {}\n").commit("A function");
    for version in ["1", "2", "3"] {
        project.release(version);
    }
    project.deploy("ci", "2");
    // Of a component whose name begins alike.
    let other = "platform/shop/shop-/1.zip";
    aws.put(&aws.release_bucket(), other, b"x");
    let inputs = [("COMMAND", "prune"), ("KEEP", "0"), ("OLDER-THAN", "0s"), ("DRY-RUN", "true")];
    let inputs = inputs.map(|(name, value)| (format!("INPUT_{name}"), value));
    let output = project.cdflow([] as [&str; 0]).envs(inputs).run();
    output.success().stderr_has("Would delete 2 of 3 release(s)");
    output.stdout_has(&format!("  s3://{}/{}\n", aws.lambda_bucket(), project.release_key("3")));
    let before = aws.keys(&aws.release_bucket());
    project
        .cdflow(["prune", "--keep", "0"])
        .run()
        .success()
        .stderr_has("No release to delete: 3 release(s)");
    project
        .cdflow(["prune", "--keep", "0", "--older-than", "0s"])
        .run()
        .success()
        .stderr_has("Deleted 2 of 3");
    let gone = [project.release_key("1"), project.release_key("3")];
    let left: Vec<String> = before.into_iter().filter(|key| !gone.contains(key)).collect();
    assert_eq!(aws.keys(&aws.release_bucket()), left);
    assert!(left.contains(&other.to_owned()) && left.len() == 4, "{left:?}");
    assert_eq!(aws.keys(&aws.lambda_bucket()), [project.release_key("2")]);
    project.deploy("ci", "2").stderr_has("no changes");
}

/// Without its start, nothing says which version a run deployed; and only a file is an entry.
#[test]
fn a_ledger_that_lacks_the_start_of_a_run_is_an_error() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let start = project.ledger_folder("live").join("9999999998.start.json");
    let text = fs::read(&start).unwrap();
    fs::remove_file(&start).unwrap();
    let commands: [&[&str]; 4] = [
        &["status"],
        &["history", "live"],
        &["deploy", "live", "1"],
        &["prune", "--keep", "0", "--older-than", "0s"],
    ];
    for command in commands {
        project.refuses(
            command,
            9,
            &["9999999998.start.json", "append-only", "9999999998.end.json"],
        );
    }
    nix::unistd::mkfifo(&start, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for command in commands {
        let output = project.cdflow(command).run();
        output.fails(9).stderr_has("9999999998.start.json").stderr_has("it is a pipe");
    }
    fs::remove_file(&start).unwrap();
    fs::write(&start, text).unwrap();
    project.cdflow(["status"]).run().success();
}

/// Terminals have links; a file gets the URL.
#[test]
fn tables_fit_a_terminal() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let file = project.ledger_folder("live").join("9999999998.start.json");
    let url = "https://github.com/acme/shop/actions/runs/12345678901/attempts/2";
    let mut start: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    start["actor"] = "ada@a-machine-with-a-long-name.example.com".into();
    start["run_url"] = url.into();
    fs::write(&file, start.to_string()).unwrap();
    for command in [&["status"][..], &["history", "live"], &["releases"]] {
        let output = at_a_terminal(&project, command, &[]).run();
        output.success().lacks(url).lacks("\u{1b}]8");
        let widest = output.stdout.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(widest <= Some(101), "{output}");
        if command != ["releases"] {
            output.stdout_has("ada@… #12345678901");
            let output = at_a_terminal(&project, command, &[]).env("TERM_PROGRAM", "vscode").run();
            output.success().stdout_has(&format!("\u{1b}]8;;{url}\u{1b}\\ada@"));
            project.cdflow(command).run().success().stdout_has(url).lacks("\u{1b}");
        }
    }
}

/// Whatever cannot be wrapped, such as the address of an object, is alone on its line.
#[track_caller]
pub(crate) fn fits_80_columns(output: &Output) {
    for line in output.stdout.lines().map(str::trim_end) {
        let is_word = !line.trim_start().trim_start_matches("-> ").contains(' ');
        assert!(line.chars().count() <= 80 || is_word, "{line}\n{output}");
    }
}

#[test]
fn every_table_fits_80_columns() {
    let project = Project::local("greeting");
    for version in ["1", "a-version-with-a-long-name.20261130", "3", "4"] {
        project.release(version);
    }
    project.deploy("live", "1");
    project.deploy("aslive", "a-version-with-a-long-name.20261130");
    let path = project.terraform_but("apply) echo broken; exit 1;;");
    project.cdflow(["deploy", "live", "3"]).env("PATH", path).run().fails(6);
    let prune = ["prune", "--keep", "0", "--older-than", "0s", "--dry-run"];
    let mut words = String::new();
    let mut show = |command: &[&str]| {
        let output = on_columns(80, &project, command, &[]).run();
        fits_80_columns(&output);
        let shown = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        words.push_str(&shown);
        output
    };
    for command in [&["status"][..], &["history", "live"], &["releases"]] {
        show(command).success();
    }
    for command in [&prune[..], &["inspect", "1"], &["doctor", "live"]] {
        show(command).success();
        // A file gets each row as one line.
        let file = project.cdflow(command).run();
        assert!(file.stdout.lines().any(|line| line.chars().count() > 80), "{file}");
    }
    project.append("cdflow.yml", "docker: {}\n");
    show(&["doctor"]).fails(2).stdout_has("-> ");
    // Nothing is cut.
    for whole in [&project.release_key("4"), "terraform apply failed"] {
        assert!(words.contains(whole), "{whole}: {words}");
    }
}

/// A slip in the name of an environment must not look like a success.
#[test]
fn a_destroy_of_nothing_is_a_slip_if_a_name_is_near() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let says = ["the environment `liv` does not exist", "did you mean `live`?"];
    project.refuses(["destroy", "liv", "1"], 2, &says);
    project.refuses(["destroy", "liv"], 2, &["nothing is deployed in `liv`", says[1]]);
    for other in ["staging", "pr-7"] {
        let output = project.cdflow(["destroy", other, "1"]).run();
        output.success().stderr_has("Nothing to destroy");
    }
}
