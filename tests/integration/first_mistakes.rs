//! Mistakes of somebody who uses cdflow for the first time: each message says what to do.

use crate::support::Project;

#[test]
fn a_location_or_a_name_that_is_nearly_right() {
    let project = Project::local("greeting");
    let good = project.read("cdflow.yml");
    for (from, to, says) in [
        ("./account-scheme.json", "./acount-scheme.json", "/account-scheme.json`? Correct `acc"),
        ("./account-scheme.json", "account-scheme", "/account-scheme.json`? Correct `acc"),
        ("./account-scheme.json", "s3:/acme/scheme.json", "is not an account scheme location"),
        ("infrastructure", "infra", "did you mean `infrastructure`?"),
        ("team: platform", "team:\"platform\"", "the space after `team:` is missing"),
        ("./account-scheme.json", "s3:/acme/scheme.json", "did you mean `s3://acme/scheme.json`?"),
        ("team: platform\n", "team: platform\n  component: a\n", "the line is indented, so YAML"),
        (
            "type: infrastructure\n",
            "type: infrastructure\n x: y\n",
            "the line is indented, so YAML",
        ),
        ("team: platform\n", "", "-> add the key; docs/configuration.md describes it"),
        ("team: platform", "plan-encryption: {}", "`plan-encryption` is a key of the account sch"),
    ] {
        assert!(good.contains(from), "{from}");
        project.write("cdflow.yml", &good.replace(from, to));
        project.refuses(["status"], 2, &[says]).lacks("/./");
    }
}

#[test]
fn arguments_that_are_nearly_right() {
    let project = Project::local("greeting");
    for (arguments, says) in [
        (&["deploy", "LIVE", "1"][..], "error: invalid environment `LIVE`: "),
        (&["deploy", "LIVE", "1"], "(did you mean `live`?)"),
        (&["deploy", "lvie"], "did you mean: cdflow deploy live VERSION"),
        (&["deploy", "42-a1b2c3d"], "did you mean: cdflow deploy ENVIRONMENT 42-a1b2c3d"),
        (&["deploy", "live", "1", "--envronment", "ci"], "ENVIRONMENT is not a flag"),
        (&["init", "--name", "x"], "NAME is not a flag; write it after the command: `cdflow init"),
        (&["release", "1", "--environment", "ci"], "`cdflow release` has no such argument"),
        (&["release", "ci", "1"], "a release belongs to no environment: `cdflow release 42`"),
        (&["depoly", "live", "1"], "-> a similar subcommand exists: 'deploy'"),
        (&["status", "live"], "to see the deploys of one: `cdflow history live`"),
        (&["release", "~> 1"], "error: invalid version `~> 1`: "),
        (&["destroy", "live", "--confirm", "live"], "cdflow destroy live VERSION --confirm live"),
        (&["destroy", "live", "--plan-only"], "cdflow destroy live VERSION --plan-only"),
    ] {
        project.refuses(arguments, 2, &[says]).lacks("the tag").lacks("pass-environment");
    }
    project.cdflow(["doctor", "lvie"]).run().success().stdout_has("did you mean `live`?");
}

#[test]
fn reviews_are_on_github() {
    let project = Project::local("greeting");
    project.release("1");
    let says = ["only a run of GitHub Actions can deploy what was reviewed", "without --reviewed"];
    project.refuses(["deploy", "live", "1", "--reviewed"], 3, &says);
}

#[test]
fn a_release_that_another_job_made() {
    let project = Project::local("greeting");
    let says = ["its folder ended with that job", "an account scheme on S3 (docs/aws.md)"];
    project.refuses(["deploy", "live", "1"], 2, &says);
}

#[test]
fn a_backend_in_the_code_is_not_used() {
    let project = Project::local("greeting");
    project
        .write("infra/state.tf", "terraform {\n  backend \"local\" {\n    path = \"x\"\n  }\n}\n")
        .commit("A backend");
    project
        .releasing("1")
        .run()
        .success()
        .stderr_has("infra/state.tf:1: this `backend` or `cloud` block is not used")
        .stderr_has("to take over a state that exists: `cdflow adopt`");
}

/// Terraform's own files of values: one that it does not load, and one that `config/` replaces.
#[test]
fn values_that_are_not_used() {
    let project = Project::local("greeting");
    project
        .write("infra/live.tfvars", "greeting = \"Hi\"\n")
        .write("infra/terraform.tfvars", "greeting = \"Hi\"\n")
        .commit("Values");
    let output = project.releasing("1").run();
    output
        .success()
        .stderr_has("`infra/live.tfvars` is ignored: Terraform does not load it")
        .stderr_has("-> write its values into `config/live.json`")
        .stderr_has("`infra/terraform.tfvars` sets `greeting`, but the value in `config/");
}

#[test]
fn a_hook_without_its_folder() {
    let project = Project::local("greeting");
    project.write("hooks/check", "#!/bin/sh\n").append("cdflow.yml", "hooks: {on-plan: [check]}\n");
    project.commit("A hook");
    let says = ["names the program `check` in PATH", "-> write `hooks/check` in cdflow.yml"];
    project.refuses_run(project.releasing("1"), 2, &says);
}

#[test]
fn a_value_for_every_environment_is_in_one_file() {
    let project = Project::local("greeting");
    project.edit_json("config/common.json", |it| it["greeting"] = serde_json::json!(["Hi"]));
    project.commit("A wrong type");
    let output = project.refuses_run(project.releasing("1"), 2, &["config/common.json:"]);
    output.lacks("correct the values of").lacks("only: [");
}

#[test]
fn the_folder_of_the_code_is_not_the_component() {
    let project = Project::local("greeting");
    let says = ["it is in the folder above: run cdflow there, or set -C .."];
    project.refuses(["-C", "infra", "status"], 2, &says);
}

#[test]
fn two_components_of_the_same_name() {
    let project = Project::local("greeting");
    let twin = project.read("cdflow.yml").replace("./account-scheme", "../account-scheme");
    let warning = "`other/cdflow.yml` has the same team, component and account scheme";
    for (text, is_twin) in [
        (twin.clone() + "component: greeting\n", true),
        (twin.clone() + "component: another\n", false),
        (twin.replace("team: platform", "team: another") + "component: greeting\n", false),
        (twin.replace("../account", "./account") + "component: greeting\n", false),
        ("team: [".to_owned(), false),
    ] {
        project.write("other/cdflow.yml", &text).commit(&text);
        let output = project.releasing("1").arg("--dry-run").run();
        output.success();
        assert_eq!(output.stderr.contains(warning), is_twin, "{text}\n{output}");
        let output = project.cdflow(["doctor"]).run();
        assert_eq!(output.stdout.contains(warning), is_twin, "{text}\n{output}");
    }
}

#[test]
fn a_module_in_a_submodule_that_is_not_checked_out() {
    let project = Project::local("greeting");
    project
        .write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib\n")
        .write("infra/lib.tf", "module \"x\" {\n  source = \"../lib/x\"\n}\n");
    let link = format!("160000,{},lib", "1".repeat(40));
    let add = ["update-index", "--add", "--cacheinfo", &link];
    project.git(add);
    project.commit("A submodule");
    let says = [
        "infra/lib.tf:1: module `x` is in the submodule `lib`, which is not checked out",
        "-> run: git submodule update --init lib",
        "`submodules: true`",
    ];
    project.refuses_run(project.releasing("1"), 2, &says);
}
