//! deploy, destroy and status: the life of an environment, and what keeps it safe.

use crate::support::{Project, Runner, Running, tool, with_own_mounts};
use std::fs;
use std::time::Duration;

#[test]
fn an_environment_lives_and_dies() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "output \"token\" {\n  value     = \"hush-hush\"\n  sensitive = true\n}\n",
        )
        .commit("A sensitive output");
    project.git(["config", "user.email", "ada"]);
    project.release("1");
    let first = project.deploy("live", "1");
    first
        .stderr_has("live is a new environment")
        .stderr_has("Deployed greeting 1 to live: 1 added, 0 changed, 0 destroyed in ")
        .stdout_has("Plan: 1 to add")
        .stdout_has("terraform_data.greeting: Creation complete")
        .stdout_has(
            "greeting = \"Good day from live.local.example, version 1\"\ntoken = (sensitive)\n",
        )
        .lacks("hush-hush");
    project.left_no_trace(&first);
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);

    let again = project.deploy("live", "1");
    again
        .stdout_has("No changes.")
        .stderr_has("Deployed greeting 1 to live: no changes")
        .lacks("==> Apply");
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 1 succeeded"]);

    project.edit("config/live.json", "Good day", "Goodbye").commit("Part");
    project.release("2");
    project
        .deploy("live", "2")
        .stderr_has("Deployed greeting 2 to live: 0 added, 1 changed, 0 destroyed")
        .stdout_has("Goodbye from live.local.example, version 2");
    project.deploy("ci", "1").stdout_has("Hello from ci.local.example, version 1");

    let status = project.cdflow(["status"]).run();
    status.success().stderr_is("    ci is behind live (2)\n").stdout_is(
        "ENVIRONMENT  VERSION  DEPLOYED           BY   LAST TRY\n\
         ci           1        [TIME]  ada\n\
         live         2        [TIME]  ada\n",
    );
    let status = project.cdflow(["status", "--json"]).run().json();
    assert_eq!((&status["team"], &status["component"]), (&"platform".into(), &"greeting".into()));
    let live = &status["environments"][1];
    assert_eq!((&live["environment"], &live["version"]), (&"live".into(), &"2".into()));
    assert_eq!(
        (&live["settled"]["number"], &live["settled"]["outcome"]),
        (&3.into(), &"succeeded".into())
    );
    let (_, end) = project.ledger_entries("live").pop().unwrap();
    assert_eq!(end.unwrap()["state_serial"], project.state("live").unwrap()["serial"]);

    let destroyed = project.cdflow(["destroy", "live", "--confirm", "live"]).run();
    destroyed
        .success()
        .stdout_has("1 to destroy")
        .stderr_has("Destroyed greeting in live: 1 destroyed");
    project.left_no_trace(&destroyed);
    assert!(!project.state_file("live").parent().unwrap().exists(), "the workspace is left");
    assert_eq!(project.ledger("live").last().unwrap(), "destroy 2 succeeded");
    project.cdflow(["status"]).run().success().stdout_has("live         (destroyed)");
    assert_eq!(
        project.cdflow(["status", "--json"]).run().json()["environments"][1]["version"],
        serde_json::Value::Null
    );
    assert_eq!(project.resources("ci"), ["terraform_data.greeting"]);

    let before = project.snapshot();
    let output = project.cdflow(["destroy", "live", "--confirm", "live"]).run();
    output.success().stderr_has("Nothing to destroy: live is already destroyed");
    project.unchanged_since(&before, &output);
    let output = project.cdflow(["destroy", "live", "1", "--confirm", "live"]).run();
    output.success().stderr_has("Nothing to destroy: live has no state");
    project.unchanged_since(&before, &output);
    project.deploy("live", "1").stderr_has("live is a new environment");
}

#[test]
fn nothing_was_deployed_yet() {
    let project = Project::local("greeting");
    project
        .cdflow(["status"])
        .run()
        .success()
        .stdout_is("greeting was never deployed\n")
        .stderr_is("");
    assert_eq!(
        project.cdflow(["status", "--json"]).run().json()["environments"],
        serde_json::json!([])
    );
}

#[test]
fn who_deployed_and_in_which_run() {
    let project = Project::local("greeting");
    project.release("1");
    let run = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_ACTOR", "ada"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "acme/greeting"),
        ("GITHUB_RUN_ID", "7"),
    ];
    project.cdflow(["deploy", "live", "1"]).envs(run).run().success();
    project
        .cdflow(["status"])
        .run()
        .stdout_has("ada https://github.com/acme/greeting/actions/runs/7");
}

/// The same words as on the command line, by the inputs of a step.
#[test]
fn the_action_releases_deploys_and_destroys() {
    let project = Project::local("greeting");
    let step = |inputs: &[(&str, &str)]| {
        let inputs = inputs.iter().map(|(name, value)| (format!("INPUT_{name}"), *value));
        project
            .cdflow([] as [&str; 0])
            .env("GITHUB_ACTIONS", "true")
            .env("NO_COLOR", "1")
            .envs(inputs)
            .run()
    };
    let release = [
        ("COMMAND", "release"),
        ("VERSION", "1"),
        ("PLATFORM-CONFIG", "platform-config"),
        ("RELEASE-DATA", "colour=red\nsize=a=b"),
        ("ENVIRONMENT", ""),
    ];
    step(&release).success().stderr_is("").stdout_has("Released greeting 1");
    step(&[("COMMAND", "inspect"), ("VERSION", "1")]).stdout_has("release.size       a=b");
    let plan =
        [("COMMAND", "deploy"), ("ENVIRONMENT", "live"), ("VERSION", "1"), ("PLAN-ONLY", "true")];
    step(&plan).success().stdout_has("Planned only: 1 to add");
    assert!(project.state("live").is_none());
    let deploy =
        [("COMMAND", "deploy"), ("ENVIRONMENT", "live"), ("VERSION", "1"), ("PLAN-ONLY", "false")];
    step(&deploy).success().stdout_has("Deployed greeting 1 to live");
    step(&[("COMMAND", "status")]).success().stdout_has("live         1");
    step(&[("COMMAND", "destroy"), ("ENVIRONMENT", "live")])
        .fails(3)
        .stdout_has("::error::destroying `live`");
    let destroy = [("COMMAND", "destroy"), ("ENVIRONMENT", "live"), ("CONFIRM", "live")];
    let output = step(&destroy);
    output.success().stdout_has("Destroyed greeting in live").stderr_is("");
    project.left_no_trace(&output);
    // A folder of the repository is a step's `working-directory`.
    let above = [("COMMAND", "status"), ("WORKING-DIRECTORY", "greeting")];
    let inputs = above.map(|(name, value)| (format!("INPUT_{name}"), value));
    project
        .cdflow([] as [&str; 0])
        .cwd(project.sandbox().work())
        .envs(inputs)
        .run()
        .success()
        .stdout_has("(destroyed)");
}

#[test]
fn a_plan_alone_leaves_nothing() {
    let project = Project::local("greeting");
    project.release("1");
    let output =
        project.refuses(["deploy", "live", "1", "--plan-only"], 0, &["Planned only: 1 to add"]);
    output
        .stdout_has("terraform_data.greeting will be created")
        .lacks("Saved the plan")
        .lacks("terraform apply");
    project.deploy("live", "1");
    project.edit("config/live.json", "Good day", "Goodbye").commit("Part");
    project.release("2");
    project.refuses(
        ["deploy", "live", "2", "-p"],
        0,
        &["Planned only: 0 to add, 1 to change, 0 to destroy"],
    );
    project.refuses(["deploy", "live", "1", "-p"], 0, &["Planned only: no changes"]);
    // A plan to destroy needs no confirmation: it destroys nothing.
    project.refuses(["destroy", "live", "--plan-only"], 0, &["Planned only: ", "1 to destroy"]);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
}

#[test]
fn parts_of_a_plan() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "resource \"terraform_data\" \"second\" {\n  input = var.release[\"version\"]\n}\n",
        )
        .commit("Two");
    project.release("1");
    let output = project
        .cdflow([
            "-vv",
            "deploy",
            "live",
            "1",
            "--target",
            "terraform_data.second",
            "--parallelism",
            "3",
        ])
        .run();
    output.success().stderr_has("-parallelism=3 -target=terraform_data.second");
    assert_eq!(project.resources("live"), ["terraform_data.second"]);
    project.deploy("live", "1");
    let id = |name: &str| {
        let state = project.state("live").unwrap();
        let resources = state["resources"].as_array().unwrap();
        let found = resources.iter().find(|resource| resource["name"] == name).unwrap();
        found["instances"][0]["attributes"]["id"].as_str().unwrap().to_owned()
    };
    let (greeting, second) = (id("greeting"), id("second"));
    project.cdflow(["deploy", "live", "1", "--replace", "terraform_data.second"]).run().success();
    assert_eq!(greeting, id("greeting"));
    assert_ne!(second, id("second"));
    // Only the state is looked at: the new version changes nothing.
    project.release("2");
    let refreshed = project.cdflow(["deploy", "live", "2", "--refresh-only"]).run();
    refreshed
        .success()
        .stderr_has("Plan a refresh of the state")
        .stderr_has("Refreshed the state of greeting in live");
    assert_eq!(
        project.output_of("live", "greeting"),
        "Good day from live.local.example, version 1"
    );
    project.refuses(
        ["deploy", "live", "1", "--replace", "a.b", "--refresh-only"],
        2,
        &["cannot be used with"],
    );
}

#[test]
fn a_new_environment_is_asked_for() {
    let project = Project::local("greeting");
    project.release("1");
    // `lvie` would be an environment of its own.
    project.refuses(
        ["deploy", "lvie", "1"],
        3,
        &[
            "the environment `lvie` has no state",
            "only \"*\" of the account scheme matches it",
            "-> did you mean `live`?",
            "--new-environment",
        ],
    );
    project.cdflow(["deploy", "qa", "1", "--new-environment"]).run().success();
    project.deploy("qa", "1");
    project.refuses(
        ["deploy", "qa", "1", "--new-environment"],
        3,
        &["the environment `qa` already has a state", "leave --new-environment out"],
    );
    // A preview comes and goes; nobody names it in the scheme, so nobody has to confirm its end.
    project.deploy("pr-7", "1");
    project.refuses(["destroy", "pr-7", "--confirm", "pr-8"], 3, &["--confirm names `pr-8`"]);
    project.cdflow(["destroy", "pr-7"]).run().success();
}

#[test]
fn a_lost_state_is_noticed() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    fs::remove_dir_all(project.state_file("live").parent().unwrap()).unwrap();
    project.refuses(
        ["deploy", "live", "1"],
        3,
        &[
            "the environment `live` has no state",
            "the ledger says that greeting 1 is deployed there",
            "--new-environment",
        ],
    );
    project.cdflow(["deploy", "live", "1", "--new-environment"]).run().success();
}

#[test]
fn a_component_can_require_a_state() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "deploy: { require-state: true }\n").commit("Careful");
    project.release("1");
    project.refuses(
        ["deploy", "live", "1"],
        3,
        &["has no state", "`deploy.require-state` is set in cdflow.yml", "--new-environment"],
    );
    project.cdflow(["deploy", "live", "1", "--new-environment"]).run().success();
    project.deploy("live", "1");
}

#[test]
fn destroying_needs_a_second_word() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.release("2");
    project.refuses(
        ["destroy", "live"],
        3,
        &["destroying `live`", "must be confirmed", "-> confirm: --confirm live"],
    );
    project.refuses(
        ["destroy", "live", "--confirm", "ci"],
        3,
        &["--confirm names `ci`", "-> confirm: --confirm live"],
    );
    // Not the newest release, but the one that is deployed.
    let output = project.cdflow(["destroy", "live", "--confirm", "live"]).run();
    output.success().stderr_has("==> Destroy greeting 1 in live");
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "destroy 1 succeeded"]);
}

#[test]
fn a_failed_first_deploy_can_be_destroyed() {
    let project = half_way();
    project.cdflow(["deploy", "live", "1"]).run().fails(6);
    project
        .cdflow(["destroy", "live", "--confirm", "live"])
        .run()
        .success()
        .stderr_has("==> Destroy greeting 1 in live");
    assert_eq!(project.ledger("live"), ["deploy 1 failed", "destroy 1 succeeded"]);
}

#[test]
fn an_apply_that_fails_half_way_is_recorded_and_repaired() {
    let project = half_way();
    let output = project.cdflow(["deploy", "live", "1"]).run();
    output
        .fails(6)
        .stderr_has("error: terraform apply failed: ")
        .stdout_has("terraform_data.greeting: Creation complete")
        .stdout_has("nobody may pass")
        .lacks("Deployed greeting");
    project.left_no_trace(&output);
    assert!(project.resources("live").contains(&"terraform_data.greeting".to_owned()));
    assert_eq!(project.ledger("live"), ["deploy 1 failed"]);
    let (_, end) = project.ledger_entries("live").remove(0);
    let end = end.unwrap();
    assert!(end["reason"].as_str().unwrap().starts_with("terraform apply failed"), "{end}");
    assert_eq!(end["state_serial"], project.state("live").unwrap()["serial"]);
    project.cdflow(["status"]).run().stdout_has("deploy of 1 failed");

    fs::write(project.sandbox().work().join("gate"), "").unwrap();
    project.deploy("live", "1").stderr_has("Deployed greeting 1 to live");
    assert_eq!(project.resources("live"), ["terraform_data.gate", "terraform_data.greeting"]);
    assert_eq!(project.ledger("live"), ["deploy 1 failed", "deploy 1 succeeded"]);
    project.cdflow(["status"]).run().lacks("failed");
}

#[test]
fn a_failing_plan_changes_nothing() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "output \"broken\" {\n  value = file(\"${path.module}/none\")\n}\n",
        )
        .commit("Broken");
    project.release_unchecked("1");
    let output = project.refuses(
        ["deploy", "live", "1"],
        5,
        &["error: terraform plan failed: Invalid function argument"],
    );
    output.stdout_has("no file exists at \"./none\"");
    assert!(!project.state_file("live").parent().unwrap().exists());
}

/// The layers of a release decide, not the environment of whoever deploys.
#[test]
fn a_variable_without_a_value_is_named_before_the_plan() {
    let project = Project::local("greeting");
    project
        .write("infra/variables.tf", "# First\n\nvariable \"colour\" {\n  type = string\n}\n")
        .commit("A variable");
    project.release_unchecked("1");
    let runner = project.cdflow(["deploy", "live", "1"]).env("TF_VAR_colour", "red");
    let says = ["infra/variables.tf:3: the variable `colour` has no value", "config/live.json"];
    project.refuses_run(runner, 2, &says).lacks("==> Plan");
}

/// Terraform reads these by itself; what the release says is more specific.
#[test]
fn values_beside_the_code_count() {
    let project = Project::local("greeting");
    project
        .write(
            "infra/variables.tf",
            "variable \"colour\" {\n  type = string\n}\nvariable \"size\" {\n  type = string\n}\n",
        )
        .write("infra/terraform.tfvars", "colour = \"red\"\ngreeting = \"Overruled\"\n")
        .write("infra/more.auto.tfvars.json", "{\"size\": \"big\"}\n")
        .append(
            "infra/main.tf",
            "output \"look\" {\n  value = \"${var.size} and ${var.colour}\"\n}\n",
        )
        .commit("Values");
    project.release("1");
    project
        .deploy("live", "1")
        .stdout_has("look = \"big and red\"")
        .stdout_has("Good day from live");
}

/// Terraform names the var-file of the run, which is gone afterwards.
#[test]
fn a_value_of_the_wrong_type_is_located_in_config() {
    let project = Project::local("greeting");
    let code = "variable \"size\" {\n  type = number\n}\n";
    let values = "{\n  \"greeting\": \"Good day\",\n  \"size\": \"big\"\n}\n";
    project.write("infra/size.tf", code).write("config/live.json", values).commit("Size");
    project.release_unchecked("1");
    let output = project.cdflow(["deploy", "live", "1"]).run();
    output
        .fails(5)
        .stderr_has("config/live.json:3: the value does not fit the variable `size`: ")
        .stderr_has("a number is required")
        .stdout_has("on config/live.json line 3:")
        .stdout_has("3:   \"size\": \"big\"")
        .lacks("tfvars");
    let typed = "variable \"release\" {\n  type = map(number)\n}";
    project.edit("config/live.json", "\"big\"", "1");
    project.edit("infra/main.tf", "variable \"release\" {\n  type = map(string)\n}", typed);
    project.commit("Release");
    project.release_unchecked("2");
    let output = project.cdflow(["deploy", "live", "2"]).run();
    output
        .fails(5)
        .stderr_has("cdflow's value does not fit the variable `release`")
        .stdout_has("on the variable `release`, which cdflow sets:")
        .lacks("tfvars");
}

#[test]
fn what_cdflow_sets_cannot_be_configured() {
    let project = Project::local("greeting");
    for key in ["release", "env", "secrets"] {
        project.write("config/live.json", &format!("{{\"{key}\": \"mine\"}}\n")).commit(key);
        let says = format!("`config/live.json` sets `{key}`, which cdflow sets itself");
        project.refuses(["release", key], 2, &[&says, "rename the key"]);
    }
    project.write("config/live.json", "{\"a\": 1,}\n").commit("No JSON");
    project.refuses(
        ["release", "1"],
        2,
        &["config/live.json:1:8: not a JSON object", "-> remove the comma"],
    );
}

#[test]
fn an_environment_without_platform_config() {
    let project = Project::local("greeting");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["accounts"]["far"] = serde_json::json!({ "region": "us-east-1" });
        scheme["environments"]["aslive"] = "far".into();
    });
    project.commit("Another account");
    project.release_unchecked("1");
    project.refuses(
        ["deploy", "aslive", "1"],
        2,
        &[
            "`platform-config/far/us-east-1.json` not found in the release; the environment \
            `aslive` needs it",
            "the release has platform-config/local/eu-west-1.json",
            "--platform-config",
        ],
    );
    let says = ["has no platform config", "(far, local)"];
    fs::create_dir(project.sandbox().work().join("empty")).unwrap();
    project.refuses(["release", "2", "--platform-config", "../empty"], 2, &says);
    project.refuses(
        ["release", "2", "--platform-config", "../none"],
        2,
        &["cannot read the platform config `../none`"],
    );
}

/// Where an environment is stays as it was at release; how to get there may change.
#[test]
fn a_moved_environment_is_refused_and_a_renamed_account_is_not() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.edit("account-scheme.json", "\"local\": {}", "\"home\": {}").edit(
        "account-scheme.json",
        ": \"local\"",
        ": \"home\"",
    );
    let scheme =
        project.read("account-scheme.json").replace("\"type\": \"home\"", "\"type\": \"local\"");
    project.write("account-scheme.json", &scheme);
    project.deploy("live", "1").stderr_has("no changes");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["accounts"]["home"]["region"] = "us-east-1".into()
    });
    let says = [
        "the environment `live` has moved since the release",
        "it was in account (local) in eu-west-1, and the account scheme now has it in account \
        (local) in us-east-1",
        "-> release again for the new place",
    ];
    project.refuses(["deploy", "live", "1"], 2, &says);
    project.edit_json("account-scheme.json", |scheme| {
        scheme["accounts"]["home"] = serde_json::json!({ "id": "123456789012" });
    });
    project.refuses(
        ["deploy", "live", "1"],
        2,
        &["has moved", "account 123456789012 in eu-west-1"],
    );
}

#[test]
fn a_held_lock_is_told_and_waited_for() {
    let project = Project::local("greeting");
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"wait\" {{\n  triggers_replace = \
                var.release[\"version\"]\n\
                 provisioner \"local-exec\" {{\n    command = \"echo waiting; while ! [ -e {} ]; \
                 do sleep 0.05; done\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("Wait");
    project.release("1");
    let mut first = project.cdflow(["deploy", "live", "1"]).spawn();
    first.wait_for("): waiting");
    let second = project.cdflow(["deploy", "live", "1"]).run();
    second
        .fails(8)
        .stderr_has("the state of `live` is locked: apply by ")
        .stderr_has("--lock-timeout 5m")
        .stderr_has("since 20");
    second.stderr_has("cdflow unlock live --force ");
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    project
        .cdflow(["status"])
        .run()
        .success()
        .stdout_has("deploy of 1 unfinished (in progress or dead)");
    let third = project.cdflow(["deploy", "live", "1", "--lock-timeout", "60s"]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(&gate, "").unwrap();
    let outputs = [first, third].map(Running::wait);
    outputs[0].success();
    outputs[1].success().stderr_has("no changes");
    project.left_no_trace(&outputs[1]);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 1 succeeded"]);
}

#[test]
fn the_ledger_is_written_before_anything_is_applied() {
    let project = Project::local("greeting");
    project.release("1");
    let folder = project.ledger_folder("live");
    // It can be read before the plan, and not be written after it.
    let path = project.terraform_but(&format!(
        "plan) \"$real\" \"$@\"; code=$?; mkdir -p {0}; echo taken > {1}; exit $code;;",
        folder.parent().unwrap().display(),
        folder.display()
    ));
    let output = project.cdflow(["deploy", "live", "1"]).env("PATH", path).run();
    output
        .fails(9)
        .stderr_has("ledger/live`: it is a file, where a folder is expected")
        .lacks("==> Apply");
    project.left_no_trace(&output);
    // Nor is there a workspace, which would make the environment an old one.
    assert!(!project.state_file("live").parent().unwrap().exists(), "{output}");
    let output = project.cdflow(["deploy", "live", "1"]).run();
    output.fails(9).stderr_has("ledger/live`: it is a file, where a folder is expected");
    fs::remove_file(&folder).unwrap();
    project.cdflow(["deploy", "live", "1", "--new-environment"]).run().success();
}

#[test]
fn a_lost_end_entry_is_a_warning() {
    let project = Project::local("greeting");
    let folder = project.ledger_folder("live");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"thief\" {{\n  provisioner \"local-exec\" {{\n    \
                command = \"mv {0} {0}-gone && touch {0}\"\n  }}\n}}\n",
                folder.display()
            ),
        )
        .commit("A thief");
    project.release("1");
    let output = project.deploy("live", "1");
    output.stderr_has(
        "warning: failed to record the end of this run, so the ledger shows it as unfinished: ",
    );
    output.stderr_has("Deployed greeting 1 to live: 2 added");
    project.left_no_trace(&output);
    fs::remove_file(&folder).unwrap();
    fs::rename(folder.with_file_name("live-gone"), &folder).unwrap();
    assert_eq!(project.ledger("live"), ["deploy 1 unfinished"]);
    project
        .cdflow(["status"])
        .run()
        .success()
        .stdout_has("live         -")
        .stdout_has("deploy of 1 unfinished");
    project.deploy("live", "1").stderr_has("no changes");
}

/// The advice after an apply of this version in live whose state could not be saved.
fn saves_the_copy(version: &str) -> String {
    format!(
        "-> then save the copy: cdflow shell live {version} -- {} state push /",
        tool::program()
    )
}

/// Returns the copy of a state that an error names.
fn kept_copy(stderr: &str) -> serde_json::Value {
    let (_, from) = stderr.split_once("a copy is at file:").unwrap();
    let copy = from.split(':').next().unwrap();
    assert!(copy.contains("/recovery/platform/greeting/live/"), "{copy}");
    serde_json::from_str(&fs::read_to_string(copy).unwrap()).unwrap()
}

fn has_resource(state: &serde_json::Value, name: &str) -> bool {
    state["resources"].as_array().unwrap().iter().any(|resource| resource["name"] == name)
}

/// On a full disk, Terraform cuts the state off, and no push can succeed.
#[test]
fn a_full_disk_of_the_state_is_named_before_the_advice() {
    let project = Project::local("greeting");
    let code = "resource \"terraform_data\" \"large\" {\n  input = join(\"\", [\n    for n in \
                range(1000) : \"0123456789012345678901234567890123456789\"\n  ])\n}\n";
    project.append("infra/main.tf", code).commit("Large");
    project.release("1");
    let root = project.store().join("state");
    let root = root.display();
    let script = format!(
        "mkdir -p {root} && mount -t tmpfs -o size=16k none {root} && exec {} deploy live 1",
        env!("CARGO_BIN_EXE_cdflow")
    );
    with_own_mounts(&project, &script)
        .run()
        .fails(7)
        .stderr_has("the disk of the state is full: ")
        .stderr_has("-> first free some space on that disk")
        .stderr_has("/store/state/platform/greeting/live/terraform.tfstate` is cut off")
        .stderr_has("failed to copy the state to its bucket or folder: ")
        .stderr_has("\n  -> free space on the disk of the state folder\n")
        .stderr_has(&saves_the_copy("1"))
        .lacks("release store");
    let says = ["free some space on the disk of the state first", " state push /"];
    project.refuses(["deploy", "live", "1"], 3, &says);
    // The copy in the checkout is reported, and not packed.
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda\nlambda: {source: .}");
    project.write("handler.py", "").commit("A function in the folder of the copy");
    project.git(["rm", "--cached", "--quiet", "--ignore-unmatch", "recovery-*"]);
    project.git(["commit", "--quiet", "--allow-empty", "--message", "Without the copy"]);
    let release = ["release", "2", "--platform-config", "platform-config", "--dry-run"];
    let output = project.cdflow(release).run();
    output.success().stdout_has("handler.py");
    output.stderr_has("uncommitted changes: recovery-platform-greeting-live-");
    assert!(!output.stdout.contains("recovery-"), "{output}");
}

/// Terraform keeps a backup beside a local state: where it can't, the state is not saved either.
#[test]
fn a_state_that_cannot_be_saved_is_kept() {
    let project = unsaveable();
    let output = project.cdflow(["deploy", "live", "2"]).run();
    output
        .fails(7)
        .stderr_has("warning: Terraform failed to save the state; trying again")
        .stderr_has("error: failed to save the state of `live`; a copy is at file:")
        .stderr_has(": terraform state push failed: ")
        .stderr_has(&saves_the_copy("2"))
        .lacks("\u{1b}[")
        .stderr_has("do not deploy here before that");
    let kept = kept_copy(&output.stderr);
    assert!(has_resource(&kept, "obstacle") && has_resource(&kept, "greeting"), "{kept}");
    assert_eq!(kept["lineage"], project.state("live").unwrap()["lineage"]);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 2 failed"]);
    project.left_no_trace(&output);
}

/// Terraform cannot write errored.tfstate either, and prints the state.
#[test]
fn a_state_survives_a_full_temporary_disk() {
    let project = unsaveable();
    let disk = project.sandbox().home().join("disk");
    fs::create_dir(&disk).unwrap();
    let shown = disk.display();
    let fill = format!(
        "resource \"terraform_data\" \"fill\" {{\n  provisioner \"local-exec\" {{\n    command = \
         \"cat /dev/zero >{shown}/fill || true\"\n  }}\n}}\n"
    );
    project.append("infra/main.tf", &fill).commit("It fills the disk");
    project.release("3");
    let script = format!(
        "mount -t tmpfs -o size=64m none {shown} && TMPDIR={shown} exec {} deploy live 3",
        env!("CARGO_BIN_EXE_cdflow")
    );
    let output = with_own_mounts(&project, &script).run();
    output
        .fails(7)
        .stderr_has("to write it to a file; trying again with the state that it printed")
        .stderr_has("error: failed to save the state of `live`; a copy is at file:")
        .stderr_has(&saves_the_copy("3"))
        .lacks("\"lineage\"");
    let kept = kept_copy(&output.stderr);
    assert!(has_resource(&kept, "fill") && has_resource(&kept, "obstacle"), "{kept}");
    assert_eq!(kept["lineage"], project.state("live").unwrap()["lineage"]);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 3 failed"]);
}

/// A provisioner can write into Terraform's output, and leave any file.
#[test]
fn a_forged_state_replaces_none() {
    let project = Project::local("greeting");
    let state = r#"{"version":4,"serial":99,"lineage":"","resources":[]}"#;
    let event = r#"{"@level":"info","@message":"Emergency state dump","state""#;
    let script = format!(
        "echo '{event}:{state},\"type\":\"log\"}}' >>\"/proc/$PPID/fd/1\" || exit 1\n\
         echo '{state}' >errored.tfstate\n"
    );
    project.write("infra/forge.sh", &script);
    project.append(
        "infra/main.tf",
        "resource \"terraform_data\" \"hostile\" {\n  provisioner \"local-exec\" {\n    command = \
         file(\"forge.sh\")\n  }\n}\n",
    );
    project.commit("Hostile");
    project.release("1");
    project.deploy("live", "1").stderr_has("2 added").lacks("failed to save the state");
    let state = project.state("live").unwrap();
    assert!(has_resource(&state, "greeting") && has_resource(&state, "hostile"), "{state}");
    project.deploy("live", "1").stderr_has("no changes");
}

#[test]
fn a_state_without_a_copy_is_not_said_to_have_one() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.release("2");
    let path = project.terraform_but(&format!(
        "apply) cp {0} before; \"$real\" \"$@\"; mv before {0}; : >errored.tfstate; exit 1;;",
        project.state_file("live").display()
    ));
    let output = project.cdflow(["deploy", "live", "2"]).env("PATH", path).run();
    output
        .fails(7)
        .stderr_has("error: failed to save the state of `live`, and to keep a copy of it: ")
        .stderr_has("Terraform left an empty or incomplete errored.tfstate")
        .stderr_has("-> import what it created, then deploy with --allow-older-state")
        .lacks("a copy is at")
        .lacks("save the copy");
    let refused = project.cdflow(["deploy", "live", "2"]).run();
    refused
        .fails(3)
        .stderr_has("run 2 could not save the state of `live`")
        .stderr_has("-> import what the run created, then deploy with --allow-older-state")
        .lacks("save the copy");
    project.cdflow(["deploy", "live", "2", "--allow-older-state"]).run().success();
}

#[test]
fn a_state_that_was_not_saved_stops_the_next_deploy() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.release("2");
    let state = project.state_file("live");
    let path = project.terraform_but(&format!(
        "apply) cp {0} before; \"$real\" \"$@\"; mv {0} errored.tfstate; mv before {0}; exit 1;;\n\
         state) [ \"$2\" != push ] || exit 1;;",
        state.display()
    ));
    let output = project.cdflow(["deploy", "live", "2"]).env("PATH", path).run();
    output.fails(7);
    let says = [
        "run 2 could not save the state of `live`",
        "a copy is at file:",
        "terraform state push",
        "--allow-older-state",
    ];
    project.refuses(["deploy", "live", "2"], 3, &says);
    project.refuses(["destroy", "live", "--confirm", "live"], 3, &says);
    // The printed command is right, also as the next deploy repeats it.
    let command = |stderr: &str| {
        let line = stderr.lines().find_map(|line| line.split("save the copy: ").nth(1));
        line.unwrap_or_else(|| panic!("{stderr}")).to_owned()
    };
    let refused = project.cdflow(["deploy", "live", "2"]).run();
    assert_eq!(command(&refused.stderr), command(&output.stderr));
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cdflow")).parent().unwrap();
    let script = format!("PATH={}:$PATH; {}", program.display(), command(&output.stderr));
    let run = Runner::new("sh", ["-c", &script], project.sandbox()).cwd(project.dir());
    run.run().success();
    project.deploy("live", "2").stderr_has("no changes");
    project.deploy("live", "2");
}

#[test]
fn a_first_state_that_was_not_saved_stops_the_next_deploy() {
    let project = Project::local("greeting");
    project.release("1");
    let state = project.state_file("live");
    let path = project.terraform_but(&format!(
        "apply) \"$real\" \"$@\"; mv {0} errored.tfstate; exit 1;;\n\
         state) [ \"$2\" != push ] || exit 1;;",
        state.display()
    ));
    project.cdflow(["deploy", "live", "1"]).env("PATH", path).run().fails(7);
    let says = ["run 1 could not save the state of `live`", "terraform state push"];
    project.refuses(["deploy", "live", "1"], 3, &says);
}

#[test]
fn an_older_or_another_state_is_refused() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let (state, older) = (project.state_file("live"), project.sandbox().root().join("older"));
    fs::copy(&state, &older).unwrap();
    project.release("2");
    project.deploy("live", "2");
    fs::copy(&older, &state).unwrap();
    let says =
        ["has an older state than the ledger says", "and run 2 left serial", "--allow-older-state"];
    project.refuses(["deploy", "live", "2"], 3, &says);
    project.refuses(["rollback", "live"], 3, &says);
    project.cdflow(["deploy", "live", "2", "--allow-older-state"]).run().success();
    project.deploy("live", "2");

    let other = fs::read_to_string(&state).unwrap();
    let lineage = project.state("live").unwrap()["lineage"].as_str().unwrap().to_owned();
    let other = other.replace(&lineage, "11111111-2222-3333-4444-555555555555");
    fs::write(&state, other).unwrap();
    let says = ["has another state than the ledger says", "not the one that run 4 left"];
    project.refuses(["deploy", "live", "2", "--plan-only"], 3, &says);
    project.refuses(["destroy", "live", "--confirm", "live"], 3, &says);
    project.cdflow(["destroy", "live", "2", "--confirm", "live"]).run().success();
    // What was destroyed says nothing about the next state.
    project.deploy("live", "2");
}

#[test]
fn a_state_that_is_saved_at_the_second_try_is_no_loss() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.release("2");
    // As Terraform does it when the backend refuses the new state: the old one stays, the new one
    // is left in its folder.
    let state = project.state_file("live").display().to_string();
    let path = project.terraform_but(&format!(
        "apply) cp {state} before; \"$real\" \"$@\"; mv {state} errored.tfstate; mv before \
        {state}; exit 1;;"
    ));
    let output = project.cdflow(["deploy", "live", "2"]).env("PATH", path).run();
    output
        .fails(6)
        .stderr_has("the state is now saved")
        .stderr_has("the state was saved at the second try");
    assert_eq!(
        project.output_of("live", "greeting"),
        "Good day from live.local.example, version 2"
    );
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 2 failed"]);
    assert!(
        !project.stored().iter().any(|name| name.contains("recovery")),
        "{:?}",
        project.stored()
    );
    project.deploy("live", "2").stderr_has("no changes");
}

#[test]
fn terraform_sees_no_token() {
    let project = Project::local("greeting");
    let dump = project.sandbox().work().join("environment");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"dump\" {{\n  provisioner \"local-exec\" {{\n    \
                command = \"env > {}\"\n  }}\n}}\n",
                dump.display()
            ),
        )
        .commit("Dump");
    project.release("1");
    let given = [
        ("GITHUB_TOKEN", "secret-1"),
        ("GITHUB_OUTPUT", "/secret-2"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-3"),
        ("ACTIONS_RUNTIME_TOKEN", "secret-4"),
        ("INPUT_GITHUB-TOKEN", "secret-5"),
        ("INPUT_SSH-KEY", "secret-6"),
        ("AWS_ACCESS_KEY_ID", "secret-7"),
        ("AWS_SECRET_ACCESS_KEY", "secret-8"),
        ("TF_VAR_greeting", "secret-9"),
        ("TF_CLI_ARGS", "-secret-10"),
        ("TF_TOKEN_app_terraform_io", "secret-11"),
        ("DATADOG_API_KEY", "passed on"),
        ("LC_ALL", "C"),
    ];
    let output = project
        .cdflow(["deploy", "live", "1", "--pass-environment", "DATADOG_API_KEY"])
        .envs(given)
        .run();
    output.success().lacks("secret-");
    let seen = fs::read_to_string(dump).unwrap();
    assert!(
        !seen.contains("secret-") && !seen.contains("GITHUB") && !seen.contains("INPUT_"),
        "{seen}"
    );
    assert!(seen.contains("DATADOG_API_KEY=passed on\n") && seen.contains("LC_ALL=C\n"), "{seen}");
}

/// A workspace or arguments from outside would aim Terraform at something else.
#[test]
fn the_environment_does_not_aim_terraform() {
    let project = Project::local("greeting");
    project.release("1");
    let given = [
        ("TF_WORKSPACE", "elsewhere"),
        ("TF_DATA_DIR", "/tmp/elsewhere"),
        ("TF_CLI_ARGS_apply", "-destroy"),
    ];
    project.cdflow(["deploy", "live", "1"]).envs(given).run().success();
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
}

/// A registry could give other bytes than the release has.
#[test]
fn a_deploy_needs_no_network() {
    let project = Project::local("greeting");
    project.release("1");
    project.cdflow(["deploy", "live", "1"]).offline().run().success();
}

/// Somebody else's change came between plan and apply: what would be applied is not what was
/// planned for.
#[test]
fn a_stale_plan_is_not_applied() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.release("2");
    let state = project.state_file("live").display().to_string();
    let path = project
        .terraform_but(&format!("apply) sed -i 's/\"serial\": [0-9]*/\"serial\": 77/' {state};;"));
    let output = project.cdflow(["deploy", "live", "2"]).env("PATH", path).run();
    output
        .fails(9)
        .stderr_has("the plan is stale")
        .stderr_has("another run has applied changes first; nothing was applied")
        .stderr_has("-> deploy again");
    assert_eq!(
        project.output_of("live", "greeting"),
        "Good day from live.local.example, version 1"
    );
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 2 failed"]);
    project.left_no_trace(&output);
    project.deploy("live", "2").stderr_has("0 added, 1 changed");
}

/// Whatever backend the code names, the state is where the account scheme says.
#[test]
fn the_backend_of_the_code_does_not_count() {
    for backend in [
        "backend \"s3\" {\n    bucket = \"none\"\n  }",
        "cloud {\n    organization = \"none\"\n  }",
    ] {
        let project = Project::local("greeting");
        project
            .write("infra/backend.tf", &format!("terraform {{\n  {backend}\n}}\n"))
            .commit("A backend");
        project.release("1");
        project.deploy("live", "1");
        assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
    }
}

/// A plan does not hold an ephemeral value: apply gets it again.
#[test]
fn an_ephemeral_variable_reaches_apply() {
    let project = Project::local("greeting");
    let seen = project.sandbox().work().join("seen");
    project
        .append(
            "infra/main.tf",
            &format!(
                "variable \"phrase\" {{\n  type      = string\n  ephemeral = true\n}}\n\
                 resource \"terraform_data\" \"user\" {{\n  provisioner \"local-exec\" {{\n    \
                 command = \"echo ${{var.phrase}} > {}\"\n  }}\n}}\n",
                seen.display()
            ),
        )
        .edit_json("config/common.json", |config| config["phrase"] = "sesame".into())
        .commit("Ephemeral");
    project.release("1");
    project.deploy("live", "1");
    assert_eq!(fs::read_to_string(seen).unwrap(), "sesame\n");
    assert!(!fs::read_to_string(project.state_file("live")).unwrap().contains("sesame"));
}

#[test]
fn a_destroy_that_fails_half_way_goes_on_later() {
    let project = Project::local("greeting");
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"clinging\" {{\n  provisioner \"local-exec\" {{\n    \
                when    = destroy\n    command = \"[ -e {} ]\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("Clinging");
    project.release("1");
    project.deploy("pr-1", "1");
    let output = project.cdflow(["destroy", "pr-1"]).run();
    output
        .fails(6)
        .stderr_has("error: terraform failed to destroy resources: ")
        .lacks("Destroyed greeting");
    assert_eq!(project.resources("pr-1"), ["terraform_data.clinging"]);
    project
        .cdflow(["status"])
        .run()
        .success()
        .stdout_has("pr-1         1")
        .stdout_has("destroy failed");
    fs::write(&gate, "").unwrap();
    project.cdflow(["destroy", "pr-1"]).run().success();
    assert!(!project.state_file("pr-1").exists());
    assert_eq!(
        project.ledger("pr-1"),
        ["deploy 1 succeeded", "destroy 1 failed", "destroy 1 succeeded"]
    );
}

#[test]
fn a_protected_resource_fails_the_plan_to_destroy() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "resource \"terraform_data\" \"kept\" {\n  lifecycle {\n    prevent_destroy = true\n  \
            }\n}\n",
        )
        .commit("Kept");
    project.release("1");
    project.deploy("live", "1");
    project.refuses(
        ["destroy", "live", "--confirm", "live"],
        5,
        &["error: terraform plan failed: Instance cannot be destroyed"],
    );
}

#[test]
fn a_damaged_ledger_is_told() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let start = project.ledger_folder("live").join("9999999998.start.json");
    let good = fs::read_to_string(&start).unwrap();
    for (bad, code, says) in [
        (
            good.replace("\"format\": 1", "\"format\": 2"),
            2,
            ["has format 2, but this cdflow supports only 1", "-> update cdflow"],
        ),
        ("{".to_owned(), 9, ["invalid ledger entry `file:", "restore it from a backup"]),
    ] {
        fs::remove_file(&start).unwrap();
        fs::write(&start, bad).unwrap();
        for command in
            [&["status"][..], &["deploy", "live", "1"], &["destroy", "live", "--confirm", "live"]]
        {
            project.refuses(command, code, &says);
        }
    }
}

/// Terraform words it as a lock that it can't get; but nobody holds one.
#[test]
fn a_damaged_state_is_named() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let file = project.state_file("live");
    let good = fs::read_to_string(&file).unwrap();
    for (text, why) in [
        ("<html>Sign in</html>", "line 1 column 1 is not what a state has"),
        (&good[..good.len() / 2], "it is truncated"),
        ("{}", "it has no `version`"),
        (r#"{"version": 4}"#, "it has no lineage"),
    ] {
        fs::write(&file, text).unwrap();
        let says = ["live/terraform.tfstate` is not a Terraform state: ", why, "-> restore"];
        for command in [
            vec!["deploy", "live", "1"],
            vec!["deploy", "live", "1", "--plan-only"],
            vec!["destroy", "live", "--confirm", "live"],
        ] {
            project.refuses(command, 9, &says);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    fs::write(&file, good.replace("\"version\": 4", "\"version\": 5")).unwrap();
    let says = ["live/terraform.tfstate` has the format version 5", "-> use the version"];
    project.refuses(["deploy", "live", "1"], 2, &says);
    fs::write(&file, good).unwrap();
    project.deploy("live", "1");
}

/// Each start of Terraform hashes every provider again.
#[test]
fn a_deploy_starts_terraform_as_rarely_as_possible() {
    let project = Project::local("greeting");
    project.release("1");
    let log = project.sandbox().root().join("commands");
    let path = project.terraform_but(&format!("*) echo \"$1\" >>{};;", log.display()));
    let commands = |args: &[&str]| {
        let _ = fs::remove_file(&log);
        project.cdflow(args).env("PATH", path.clone()).run().success();
        let text = fs::read_to_string(&log).unwrap();
        // The stand-in for OpenTofu answers that itself.
        text.split_whitespace().filter(|it| *it != "version").collect::<Vec<_>>().join(" ")
    };
    let deploy = ["deploy", "live", "1"];
    assert_eq!(commands(&deploy), "init plan show apply");
    assert_eq!(commands(&deploy), "init plan", "nothing has changed");
    assert_eq!(commands(&["deploy", "live", "1", "--plan-only"]), "init plan");
    let destroy = ["destroy", "live", "--confirm", "live"];
    assert_eq!(commands(&destroy), "init plan show apply");
    assert_eq!(commands(&["deploy", "ci", "1", "--plan-only"]), "init plan show");
    assert!(!project.state_file("ci").parent().unwrap().exists(), "the workspace is removed");
}

/// The results of new conditions are saved although nothing else changes.
#[test]
fn an_apply_evaluates_conditions_again() {
    let project = Project::local("greeting");
    let code = "variable \"env\" {}\nresource \"terraform_data\" \"x\" {\n  input = var.env\n}\n";
    project.write("infra/main.tf", code).commit("Nothing of the release");
    project.release("1");
    let applied = project.sandbox().root().join("applied");
    let path = project.terraform_but(&format!("apply) echo >>{};;", applied.display()));
    let deploy = |version: &str| {
        let _ = fs::remove_file(&applied);
        let output = project.cdflow(["deploy", "live", version]).env("PATH", path.clone()).run();
        (output.code, applied.exists())
    };
    assert_eq!([deploy("1"), deploy("1")], [(0, true), (0, false)]);
    let check = |condition: &str| {
        let assert = format!("condition = {condition}\n    error_message = \"No.\"");
        format!("check \"named\" {{\n  assert {{\n    {assert}\n  }}\n}}\n")
    };
    project.write("infra/checked.tf", &check("var.env != \"\"")).commit("A condition");
    project.release("2");
    assert_eq!([deploy("2"), deploy("2")], [(0, true), (0, true)]);
    assert!(project.state("live").unwrap()["check_results"].is_array());
    let late = "timecmp(timestamp(), \"2020-01-01T00:00:00Z\") < 0 && self.id != \"\"";
    let late = format!("condition = {late}\n      error_message = \"No.\"\n");
    let late = format!("  lifecycle {{\n    postcondition {{\n      {late}    }}\n  }}\n}}\n");
    project.remove("infra/checked.tf");
    project.write("infra/main.tf", &(code.trim_end_matches("}\n").to_owned() + &late));
    project.commit("A condition that fails when it is applied");
    project.release("3");
    assert_eq!(deploy("3"), (6, true));
}

/// Another run has removed the workspace while this one applied in it.
#[test]
fn a_state_that_is_missing_after_the_apply_is_no_success() {
    let project = Project::local("greeting");
    project.release("1");
    let folder = project.state_file("live").parent().unwrap().display().to_string();
    let path = project
        .terraform_but(&format!("apply) \"$real\" \"$@\"; code=$?; rm -r {folder}; exit $code;;"));
    let output = project.cdflow(["deploy", "live", "1"]).env("PATH", path).run();
    output
        .fails(7)
        .stderr_has("error: the state of `live` is missing after the apply")
        .stderr_has("-> do not deploy here before the state is back")
        .lacks("Deployed");
    assert_eq!(project.ledger("live"), ["deploy 1 failed"]);
    project.refuses(["deploy", "live", "1"], 3, &["the state of `live`"]);
}

#[test]
fn a_terraform_that_dies_is_no_success() {
    let project = Project::local("greeting");
    project.release("1");
    let output = project
        .cdflow(["deploy", "live", "1"])
        .env("PATH", project.terraform_but("apply) kill -9 $$;;"))
        .run();
    output
        .fails(7)
        .stderr_has("error: terraform was killed by signal 9 during apply of `live`")
        .stderr_has("the state lock might still be held");
    assert_eq!(project.ledger("live"), ["deploy 1 failed"]);
    project.left_no_trace(&output);
    let runner = project
        .cdflow(["deploy", "ci", "1"])
        .env("PATH", project.terraform_but("plan) kill -9 $$;;"));
    project.refuses_run(runner, 5, &["error: terraform plan failed"]);
}

/// Folders can have any name.
#[test]
fn odd_folder_names() {
    let project = Project::local("greeting");
    let odd = project.sandbox().work().join("it's ${odd} %{if} \"quoted\" ä");
    let folder = odd.join("greeting");
    fs::create_dir(&odd).unwrap();
    fs::rename(project.dir(), &folder).unwrap();
    let tmp = odd.join("tmp dir");
    fs::create_dir(&tmp).unwrap();
    for arguments in [
        &["release", "1", "--platform-config", "platform-config"][..],
        &["deploy", "live", "1"],
        &["deploy", "live", "1"],
        &["destroy", "live", "--confirm", "live"],
    ] {
        project.cdflow(arguments).cwd(&folder).env("TMPDIR", &tmp).run().success();
    }
    assert!(odd.join("store/releases/platform/greeting/greeting-1.zip").exists());
    assert!(odd.join("store/state/platform/greeting").exists());
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

/// Of first deploys at once each either succeeds or says who was faster; the environment is whole.
#[test]
fn two_first_deploys_at_once() {
    let project = Project::local("greeting");
    project.release("1");
    let running: Vec<Running> =
        (0..4).map(|_| project.cdflow(["deploy", "live", "1"]).spawn()).collect();
    let outputs: Vec<_> = running.into_iter().map(Running::wait).collect();
    assert!(outputs.iter().any(|output| output.code == 0), "{}", outputs[0]);
    for output in &outputs {
        assert!([0, 8, 9].contains(&output.code), "{output}");
    }
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
    project.left_no_trace(&outputs[0]);
    project.deploy("live", "1").stderr_has("no changes");
}

/// Has the resource `gate`, which fails until the file `gate` exists; released as 1.
fn half_way() -> Project {
    let project = Project::local("greeting");
    let gate = project.sandbox().work().join("gate");
    project
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"gate\" {{\n  depends_on = \
                [terraform_data.greeting]\n  provisioner \"local-exec\" {{\n    \
                 command = \"[ -e {} ] || {{ echo nobody may pass; exit 1; }}\"\n  }}\n}}\n",
                gate.display()
            ),
        )
        .commit("A gate");
    project.release("1");
    project
}

/// Version 1 is deployed to `live`; 2, released, puts a folder where Terraform writes the backup of
/// the state.
fn unsaveable() -> Project {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let backup = project.state_file("live").with_file_name("terraform.tfstate.backup");
    project
        .edit("infra/main.tf", "  input =", "  depends_on = [terraform_data.obstacle]\n  input =")
        .append(
            "infra/main.tf",
            &format!(
                "resource \"terraform_data\" \"obstacle\" {{\n  provisioner \"local-exec\" {{\n    \
                command = \"rm -f {0}; mkdir {0}\"\n  }}\n}}\n",
                backup.display()
            ),
        )
        .commit("An obstacle");
    project.release("2");
    project
}

#[test]
fn who_names_the_address_of_an_environment_is_said() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "deploy: {url-output: greeting}\n").commit("No address");
    project.release("1");
    project.deploy("live", "1").stderr_has("`deploy.url-output` of cdflow.yml names `greeting`");
    let by_flag = project.cdflow(["deploy", "live", "1", "--url-output", "nothing"]).run();
    by_flag
        .success()
        .stderr_has("--url-output (the Action's input `url-output`) names `nothing`")
        .lacks("cdflow.yml names");
}

/// Code that keeps the absolute path of its folder, at the root, in a module and by `path.cwd`.
fn with_absolute_paths() -> Project {
    let project = Project::local("greeting");
    let keeps = "resource \"terraform_data\" \"kept\" {\n  triggers_replace = \
                 [abspath(\"${path.module}/run.sh\"), path.cwd]\n}\n";
    project.write("infra/paths/main.tf", keeps);
    project.append(
        "infra/main.tf",
        &format!("\n{keeps}\nmodule \"paths\" {{\n  source = \"./paths\"\n}}\n"),
    );
    project.commit("Keep paths");
    project.release("1");
    project
}

#[test]
fn the_folder_of_terraform_has_the_same_path_in_every_run() {
    let project = with_absolute_paths();
    project.deploy("ci", "1");
    project.deploy("ci", "1").stderr_has("no changes").lacks("warning");
}

/// Two runs cannot have the path at the same time: the second says what follows from that.
#[test]
fn a_kept_path_of_a_working_folder_is_a_warning() {
    let project = with_absolute_paths();
    let lock = project.sandbox().tmp().join("cdflow-work-platform-greeting-ci.lock");
    let held = fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.success().stderr_has("the plan contains the path of this run's working folder");
    drop(held);
    // Once more, and never again.
    project.deploy("ci", "1").stderr_has("2 added, 0 changed, 2 destroyed");
    project.deploy("ci", "1").stderr_has("no changes");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let folder = project.state_file("live").parent().unwrap().display().to_string();
    let deploy = |environment: &str| {
        let root = project.store().join("state");
        let root = root.display();
        let script = format!(
            "mount --bind {root} {root} && mount -o remount,ro,bind {root} && exec {} deploy \
             {environment} 1",
            env!("CARGO_BIN_EXE_cdflow")
        );
        with_own_mounts(&project, &script).run()
    };
    deploy("live")
        .fails(2)
        .stderr_has("error: the state of `live` cannot be locked: ")
        .stderr_has(&format!("so that Terraform can write to `{folder}`"));
    deploy("ci")
        .fails(2)
        .stderr_has("error: cannot create `")
        .stderr_has("-> mount its file system so that it can be written");
}

/// A name in the ledger for runs on the command line.
#[test]
fn the_ledger_knows_who_deployed_without_a_ci() {
    let project = Project::local("greeting");
    project.release("1");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    project.cdflow(["deploy", "live", "1"]).env("USER", "bob").run().success();
    project.git(["config", "user.email", "ada@example.com"]);
    project.deploy("live", "1");
    let runs = project.ledger_entries("live");
    let actors: Vec<_> = runs.iter().map(|(start, _)| start["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, [&format!("bob@{}", host.trim()), "ada@example.com"]);
}

/// With `-target` that is meant. Without it, nothing may say that all is applied.
#[test]
fn a_plan_that_terraform_calls_incomplete() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project.terraform_but(
        "show) \"$real\" \"$@\" | sed 's/\"complete\":true/\"complete\":false/'\n\
         exit \"${PIPESTATUS[0]}\";;",
    );
    let warning = "Terraform says that the plan is not complete";
    let deploy = |more: &[&str]| {
        let flags = ["deploy", "live", "1", "--report-markdown", "report.md"];
        project.cdflow(flags).args(more).env("PATH", &path).run()
    };
    deploy(&["--plan-only"]).success().stderr_has(warning);
    assert!(project.read("report.md").contains(warning));
    deploy(&["--target", "terraform_data.greeting", "--plan-only"]).success().lacks(warning);
    let output = deploy(&[]);
    output.success().stderr_has("1 added, 0 changed, 0 destroyed; the plan is not complete");
    assert!(project.read("report.md").contains(warning));
    // Terraform's JSON is read although there are no changes.
    let output = deploy(&["--plan-only", "--plan-out", "plan"]);
    output.success().stderr_has(warning);
    assert!(!output.stderr.contains("no changes"), "{output}");
    let report = project.read("report.md");
    assert!(report.contains(warning), "{report}");
}
