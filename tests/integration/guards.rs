//! What stands between a release and an environment: what a deploy may destroy, where a release must have been before, and
//! that no older one replaces a newer one.

use crate::support::Project;
use serde_json::{Value, json};
use std::fs;

/// Released as 1 with three resources, and as 2 with one of them.
fn shrinking(deploy: &str) -> Project {
    let project = Project::local("greeting");
    project.append("cdflow.yml", &format!("deploy: {deploy}\n"));
    project
        .write("infra/more.tf", "resource \"terraform_data\" \"a\" {}\nmodule \"data\" {\n  source = \"./data\"\n}\n");
    project.write("infra/data/main.tf", "resource \"terraform_data\" \"events\" {}\n").commit("More");
    project.release("1");
    project.remove("infra/more.tf").commit("Less");
    project.release("2");
    project
}

#[test]
fn what_is_protected_is_not_destroyed() {
    let project = shrinking("{protect: [module.data.terraform_data.events]}");
    project.deploy("live", "1");
    let state = || fs::read_to_string(project.state_file("live")).unwrap();
    let before = state();
    let planned = project.cdflow(["deploy", "live", "2", "--plan-only"]).run();
    planned.success().stderr_has("a deploy would be refused: the plan would destroy what is protected");
    let refused =
        project.refuses(["deploy", "live", "2"], 3, &["what is protected", "module.data.terraform_data.events"]);
    refused.stderr_has("--allow-destroy 'module.data.terraform_data.events'");
    assert_eq!(state(), before);
    let other = ["deploy", "live", "2", "--allow-destroy", "terraform_data.a"];
    project.refuses(other, 3, &["what is protected"]);
    let allowed = ["deploy", "live", "2", "--allow-destroy", "module.data.terraform_data.events"];
    project.cdflow(allowed).run().success();
    let entry = project.ledger_folder("live").join("9999999997.start.json");
    let entry: Value = serde_json::from_str(&fs::read_to_string(entry).unwrap()).unwrap();
    assert_eq!(entry["allowed_destroy"], json!(["module.data.terraform_data.events"]), "{entry}");
    // Who destroys an environment means all of it.
    project.cdflow(["destroy", "live", "--confirm", "live"]).run().success();
}

#[test]
fn so_many_are_destroyed_and_no_more() {
    let project = shrinking("{max-destroy: 1, environments: {live: {max-destroy: 0}, ci: {max-destroy: 2}}}");
    for environment in ["live", "ci", "pr-1"] {
        project.deploy(environment, "1");
    }
    project.refuses(
        ["deploy", "live", "2"],
        3,
        &["would destroy or replace 2 resources, and 0 may be", "terraform_data.a"],
    );
    project.deploy("ci", "2");
    project.deploy("pr-1", "2").lacks("refused");
    let inputs = [
        ("INPUT_COMMAND", "deploy"),
        ("INPUT_ENVIRONMENT", "live"),
        ("INPUT_VERSION", "2"),
        ("INPUT_ALLOW-DESTROY", "terraform_data.a\nmodule.data.terraform_data.events\n"),
    ];
    project.cdflow([] as [&str; 0]).envs(inputs).run().success();
    // A replacement counts.
    project.refuses(["deploy", "live", "2", "--replace", "terraform_data.greeting"], 3, &["(replaced)"]);
}

#[test]
fn the_organisation_has_the_last_word() {
    let project = shrinking("{max-destroy: 9}");
    project.deploy("live", "1");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({"max-destroy": 0, "environments": {"live": {"requires": "ci"}}})
    });
    project.refuses(["deploy", "live", "2"], 3, &["goes to `live` only after `ci`"]);
    project.deploy("ci", "2");
    project.refuses(["deploy", "live", "2"], 3, &["and 0 may be"]);
}

#[test]
fn a_release_comes_from_the_environment_before() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "deploy: {environments: {live: {requires: ci}}}\n").commit("Promotion");
    project.release("1");
    project.release("2");
    let refused = ["deploy", "live", "2"];
    project.refuses(refused, 3, &["release 2 goes to `live` only after `ci`", "cdflow deploy ci 2"]);
    project.deploy("ci", "1");
    project.refuses(refused, 3, &["only after `ci`"]);
    project.cdflow(["deploy", "ci", "2", "--target", "terraform_data.greeting"]).run().success();
    project.refuses(refused, 3, &["with success and as a whole"]);
    let planned = project.cdflow(["deploy", "live", "2", "--plan-only"]).run();
    planned.success().stderr_has("a deploy would be refused: release 2 goes to `live` only after `ci`");
    project.deploy("ci", "2");
    project.deploy("live", "2");
}

#[test]
fn an_older_release_does_not_replace_a_newer_one() {
    let project = Project::local("greeting");
    project.release("old");
    project.append("infra/main.tf", "# newer\n").commit("Newer");
    project.release("new");
    let at = |version: &str, seconds: u64| {
        let file = fs::File::options().append(true).open(project.bundle(version)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    at("old", 1_700_000_000);
    at("new", 1_700_000_600);
    let run = [("GITLAB_CI", "true"), ("GITLAB_USER_LOGIN", "ada"), ("CI_JOB_URL", "https://gitlab.example/jobs/77")];
    project.cdflow(["deploy", "live", "new"]).envs(run).run().success();
    let refused = project.refuses(["deploy", "live", "old"], 3, &["release old is older than new", "2023-11-14"]);
    refused.stderr_has("ada at").stderr_has("https://gitlab.example/jobs/77").stderr_has("cdflow rollback live");
    project.deploy("live", "new");
    project.cdflow(["deploy", "live", "old", "--allow-downgrade"]).run().success();
    project.deploy("live", "new");
    project.cdflow(["rollback", "live"]).run().success().stderr_has("Deployed greeting old to live");
}
