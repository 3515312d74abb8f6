//! A release that could not be deployed is not made.

use std::fs;

use crate::support::github::GitHub;
use crate::support::{Output, Project, pull_request_event};

const SIZE: &str = "variable \"size\" {\n  type = number\n  validation {\n    condition     = \
                    var.size > 2\n    error_message = \"The size is too small.\"\n  }\n}\n";

fn releasing(project: &Project, more: &[&str]) -> Output {
    let args = ["release", "1", "--platform-config", "platform-config"];
    project.cdflow(args.iter().chain(more)).run()
}

fn with_size(live: &str) -> Project {
    let project = Project::local("greeting");
    let values = format!("{{\n  \"greeting\": \"Good day\",\n  \"size\": {live}\n}}\n");
    project.write("infra/size.tf", SIZE).write("config/live.json", &values).commit("Size");
    project
}

#[test]
fn a_value_that_terraform_would_reject_stops_the_release() {
    let place = "error: config/live.json:3: the value does not fit the variable `size`: ";
    for (value, why) in [
        ("\"big\"", "a number is required"),
        ("2", "The size is too small."),
        ("[3]", "number required"),
    ] {
        let project = with_size(value);
        let output = releasing(&project, &[]);
        output
            .fails(2)
            .stderr_has(place)
            .stderr_has(why)
            .stderr_has("-> use --no-validate to release without this check")
            .lacks("tfvars");
        assert_eq!(project.stored(), [""; 0], "{value}");
        project.left_no_trace(&output);
    }
    let project = with_size("\"3\"");
    let output = releasing(&project, &[]);
    output
        .fails(2)
        .stderr_has("error: infra/size.tf:1: the variable `size` has no value\n")
        .stderr_has("-> correct the values of aslive, ci\n")
        .stderr_has(
            "-> if this component is not for aslive, ci, write into cdflow.yml: `deploy: {only: \
             [live]}`\n",
        );
    // The component is not for the other environments.
    project.append("cdflow.yml", "deploy: {only: [live]}\n").commit("Only live");
    releasing(&project, &[]).success().lacks("aslive");
    project.deploy("live", "1");
    let says = ["error: greeting is not for the environment `ci`", "`deploy.only` in cdflow.yml"];
    project.refuses(["deploy", "ci", "1"], 3, &says);
    let planned = project.cdflow(["deploy", "ci", "1", "--plan-only"]).run();
    planned.stderr_has("a deploy would be refused: greeting is not for the environment `ci`");
}

#[test]
fn a_release_can_be_made_without_checks() {
    let project = with_size("\"big\"");
    project.append("infra/main.tf", "\noutput \"wrong\" {\n  value = local.missing\n}\n");
    project.commit("Wrong");
    releasing(&project, &["--no-validate"]).success().lacks("Validate").lacks("Check the values");
    project.cdflow(["deploy", "live", "1"]).run().fails(5);
}

#[test]
fn an_environment_without_a_value_stops_the_release() {
    let project = with_size("3");
    project.write("config/ci.json", "{}\n").write("config/preview.json", "{}\n").commit("Empty");
    releasing(&project, &[])
        .fails(2)
        .stderr_has("error: infra/size.tf:1: the variable `size` has no value\n")
        .stderr_has("-> correct the values of ci, previews, aslive\n")
        .stderr_has("if this component is not for aslive, write into cdflow.yml: `deploy: {only")
        .stderr_has("{only: [ci, live]}`\n");
    project.remove("config/ci.json").remove("config/live.json").remove("config/preview.json");
    project.commit("None");
    // No environment could be deployed.
    releasing(&project, &[])
        .fails(2)
        .stderr_has("the variable `size` has no value")
        .lacks("deploy: {only");
    project.write("config/preview.json", "{\"size\": []}\n");
    project.edit_json("config/common.json", |common| common["size"] = 3.into());
    project.commit("Preview");
    releasing(&project, &[])
        .fails(2)
        .stderr_has("config/preview.json:1: the value does not fit the variable `size`");
}

#[test]
fn an_account_without_platform_config_stops_the_release() {
    let project = Project::local("greeting");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["accounts"]["other"] = serde_json::json!({});
        scheme["environments"]["live"] = "other".into();
    });
    project.commit("Other");
    releasing(&project, &[])
        .fails(2)
        .stderr_has("`platform-config/other/eu-west-1.json` not found in the release")
        .stderr_has("the environment `live` needs it");
    project.remove("config/live.json").commit("Not for live");
    releasing(&project, &[]).fails(2).stderr_has("deploy: {only: [aslive, ci]}");
    project.append("cdflow.yml", "deploy: {only: [aslive, ci]}\n").commit("Not for live");
    releasing(&project, &[]).success();
}

#[test]
fn invalid_code_stops_the_release() {
    let project = Project::local("greeting");
    let lines = fs::read_to_string(project.path("infra/main.tf")).unwrap().lines().count();
    project.append("infra/main.tf", "\noutput \"wrong\" {\n  value = local.missing\n}\n");
    project.commit("Wrong");
    let output = releasing(&project, &[]);
    let line = lines + 3;
    output
        .fails(11)
        .stdout_has("Error: Reference to undeclared local value\n")
        .stdout_has(&format!("\n  on infra/main.tf line {line}, in output \"wrong\":\n"))
        .stdout_has(&format!("{line}:   value = local.missing\n"))
        .stderr_has(&format!(
            "error: infra/main.tf:{line}: Reference to undeclared local value: A local value with \
             the name \"missing\" has not been declared."
        ))
        .stderr_has("-> see Terraform's output above, fix the code and release again; use --no-va");
    assert_eq!(project.stored(), [""; 0]);
    project.left_no_trace(&output);
}

/// Also in modules, in `infra/` and elsewhere in the checkout, and where it is init that fails.
#[test]
fn every_place_in_the_code_is_named() {
    let project = Project::local("greeting");
    let calls = "module \"in\" {\n  source = \"./parts/in\"\n}\nmodule \"out\" {\n  source = \
                 \"../shared/out\"\n}\n";
    project.write("infra/calls.tf", calls);
    project.write("infra/parts/in/main.tf", "output \"in\" {\n  value = var.none\n}\n");
    project.write("shared/out/main.tf", "output \"out\" {\n  value = var.none\n}\n");
    project.commit("Modules");
    let output = releasing(&project, &[]);
    output.fails(11).stdout_has("  on infra/parts/in/main.tf line 2, in output \"in\":\n");
    output.stdout_has("  on shared/out/main.tf line 2, in output \"out\":\n");
    let places = ["infra/parts/in/main.tf:2", "shared/out/main.tf:2"];
    let orders = [[0, 1], [1, 0]].map(|[first, second]| {
        let (first, second) = (places[first], places[second]);
        let both = output.stderr.contains(&format!(
            "error: {first}: Reference to undeclared input variable: An input variable with the"
        ));
        both && output.stderr.contains(&format!(
            "\n  -> also fix {second}: Reference to undeclared input variable\n"
        ))
    });
    assert!(orders.contains(&true), "{}", output.stderr);

    project.write("infra/parts/in/main.tf", "outputs \"in\" {}\n").commit("No such block");
    releasing(&project, &[])
        .fails(11)
        .stdout_has("  on infra/parts/in/main.tf line 1:\n")
        .stderr_has("error: infra/parts/in/main.tf:1: Unsupported block type: Blocks of type ")
        .lacks("terraform init failed")
        .stderr_has("-> see Terraform's output above, fix the code or the access to its modules");
}

/// A warning stops nothing, and is shown with its place.
#[test]
fn a_warning_about_the_code_is_shown() {
    let project = Project::local("greeting");
    let block = |name: &str| {
        let inner = "  provisioner \"local-exec\" {\n    command = \"true\"\n    when    = \
                     \"destroy\"\n  }\n";
        format!("resource \"terraform_data\" \"{name}\" {{\n{inner}}}\n")
    };
    project.write("infra/old.tf", &[block("one"), block("two")].concat()).commit("Old");
    let output = releasing(&project, &[]);
    let validated = output.success().stdout.rfind("Warning: Quoted keywords are deprecated\n");
    let validated = &output.stdout[validated.unwrap()..];
    let place = "\n  on infra/old.tf line 4, in resource \"terraform_data\" \"one\":\n";
    assert!(validated.contains(place), "{validated}");
    assert!(validated.contains("\n(and 1 more similar warning)\n"), "{validated}");
}

/// Many tools allow comments in JSON.
#[test]
fn a_comment_in_a_file_of_values_is_explained() {
    let project = Project::local("greeting");
    for (text, place) in [
        ("{\n  // why\n  \"greeting\": \"a\"\n}\n", "config/live.json:2:"),
        ("{\"greeting\": \"a\", /* why */ \"other\": 1}\n", "config/live.json:1:"),
        ("# why\n{}\n", "config/live.json:1:"),
    ] {
        project.write("config/live.json", text).commit("A comment");
        releasing(&project, &[])
            .fails(2)
            .stderr_has(place)
            .stderr_has("not a JSON object of variables")
            .stderr_has("-> remove the comment: JSON has none");
    }
}

/// Terraform names the place of a sensitive value in another way.
#[test]
fn a_sensitive_value_is_located_and_not_shown() {
    let project = Project::local("greeting");
    let code = "variable \"codes\" {\n  type      = map(number)\n  sensitive = true\n}\n";
    let values = "{\n  \"codes\": {\"door\": \"hushhush\"}\n}\n";
    project.write("infra/codes.tf", code).write("config/live.json", values).commit("Codes");
    let says = "config/live.json:2: the value does not fit the variable `codes`: The given value \
                is not suitable for var.codes, which is sensitive: ";
    releasing(&project, &[]).fails(2).stderr_has(says).lacks("hushhush").lacks("tfvars");
    releasing(&project, &["--no-validate"]).success();
    project
        .cdflow(["deploy", "live", "1"])
        .run()
        .fails(5)
        .stderr_has(says)
        .stdout_has("defined at\nconfig/live.json:2.")
        .lacks("hushhush")
        .lacks("tfvars");
}

/// What the account scheme has for other components refuses nothing.
#[test]
fn what_is_not_for_the_component_refuses_nothing() {
    let project = with_size("3");
    let preview = "variable \"preview\" {\n  type    = object({ number = number })\n  default = \
                   null\n}\n";
    project.write("infra/preview.tf", preview);
    // A file that the code reads, one that is ignored, and an account without platform config.
    project
        .write("config/dashboard.json", "{\"widgets\": []}\n")
        .write("config/pr-12.json", "{}\n");
    project.append("cdflow.yml", "deploy: {only: [live]}\n").commit("Others");
    releasing(&project, &[]).success().lacks("dashboard.json, config/common.json");
    project.edit("config/live.json", "3", "\"x\"").commit("Wrong");
    let args = ["release", "2", "--platform-config", "platform-config"];
    let says = "config/live.json:3: the value does not fit the variable `size`";
    project.cdflow(args).run().fails(2).stderr_has(says);
    project
        .remove("config/live.json")
        .write("config/common.json", "{\"greeting\":\"a\",\"size\":3}\n");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["accounts"]["other"] = serde_json::json!({});
        scheme["environments"] = serde_json::json!({ "live": "other", "*": "local" });
    });
    project.commit("Another account");
    project.cdflow(args).run().fails(2).stderr_has("the environment `live` needs it");
    project.edit("cdflow.yml", "only: [live]", "only: []").commit("Only previews");
    project.cdflow(args).run().success();
}

/// Values that only the whole code can judge are left to the plan, and JSON is code too.
#[test]
fn what_is_known_only_later_is_not_checked() {
    let project = Project::local("greeting");
    let code = "locals {\n  least = 0\n}\nvariable \"size\" {\n  type = number\n  default = 1\n  \
                validation {\n    condition     = var.size > local.least\n    error_message = \
                \"Too small.\"\n  }\n}\nvariable \"secrets\" {\n  type = object({ key = string \
                })\n}\n";
    let json = r#"{"variable": {"depth": {"type": "number"}}}"#;
    project.write("infra/size.tf", code).write("infra/depth.tf.json", json);
    project.append("cdflow.yml", "deploy: {only: [live]}\n");
    project.write("config/live.json", "{\"depth\": 4}\n").commit("Later");
    releasing(&project, &[]).success();
    project.write("config/live.json", "{\"depth\": \"x\"}\n").commit("Wrong");
    let args = ["release", "2", "--platform-config", "platform-config"];
    let output = project.cdflow(args).run();
    output.fails(2).stderr_has("config/live.json:1: the value does not fit the variable `depth`");
}

/// Terraform would convert the data at each deploy, and fail each time.
#[test]
fn release_data_that_does_not_fit_its_type_stops_the_release() {
    let project = Project::local("greeting");
    let main = fs::read_to_string(project.path("infra/main.tf")).unwrap();
    let (before, after) = main.split_once("variable \"release\" {").unwrap();
    let (_, after) = after.split_once("\n}\n").unwrap();
    let line = before.matches('\n').count() + 1;
    let typed = |attributes: &str| {
        let variable = format!("variable \"release\" {{\n  type = object({{{attributes}}})\n}}\n");
        project.write("infra/main.tf", &format!("{before}{variable}{after}")).commit("A type");
    };
    let place = format!(
        "error: infra/main.tf:{line}: `copies` does not fit the type of the variable `release`: "
    );
    typed("version = string, copies = number, image_id = optional(string)");
    for (data, why) in [
        (&["--release-data", "copies=two"][..], "`release`: a number is required."),
        (&[], "`release`: the release has no such data\n"),
    ] {
        let output = releasing(&project, data);
        output
            .fails(2)
            .stderr_has(&place)
            .stderr_has(why)
            .stderr_has("-> set a value that fits: --release-data copies=VALUE (the Action's input")
            .stderr_has("-> use --no-validate to release without this check")
            .lacks("tfvars");
        assert_eq!(project.stored(), [""; 0]);
        project.left_no_trace(&output);
    }
    typed("version = number, copies = optional(number, 1)");
    releasing(&project, &[]).success();
    let args = ["release", "a", "--platform-config", "platform-config"];
    let output = project.cdflow(args).run();
    output.fails(2).stderr_has("-> declare `version` as a string in infra/main.tf: cdflow sets it");
    typed("version = string, copies = number");
    let data = ["--release-data", "copies=2", "--release-data", "other=x"];
    let output = project.cdflow(args.iter().chain(&data)).run();
    output.success();
    project.deploy("live", "a").success();
}

/// What the artifact says about itself is known only after the build.
#[test]
fn the_type_of_what_an_artifact_adds_is_a_string() {
    let project = Project::local("greeter");
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle(event, context):\n    return 'hello'\n");
    let code = "\nvariable \"release\" {\n  type = object({ s3_key = string, s3_bucket = string, \
                build = string })\n}\n";
    project.write("infra/main.tf", code).commit("A type");
    let release = |more: &[&str]| project.cdflow(["release", "1"].iter().chain(more)).run();
    let output = release(&[]);
    output
        .fails(2)
        .stderr_has("infra/main.tf:2: `build` does not fit the type of the variable `rel");
    release(&["--release-data", "build=7"]).success();
    project.edit("infra/main.tf", "s3_key = string", "s3_key = number").commit("A number");
    let args = ["release", "2", "--release-data", "build=7"];
    let output = project.cdflow(args).run();
    output.fails(2).stderr_has("-> declare `s3_key` as a string in infra/main.tf: cdflow sets it");
}

/// A range would be the name of one release.
#[test]
fn a_version_that_looks_like_a_range_gets_a_warning() {
    let project = Project::local("greeting");
    let says = "warning: `1.x` looks like a range of versions, but the release gets exactly this";
    project.cdflow(["release", "1.x", "--no-validate"]).run().success().stderr_has(says);
    project.cdflow(["release", "1.2", "--no-validate"]).run().success().lacks("looks like");
}

/// The map `release` has what the release was given, and no deploy can add to it.
#[test]
fn release_data_that_the_code_uses_stops_the_release_if_it_is_missing() {
    let project = Project::local("greeting");
    let code =
        "output \"build\" {\n  value = \"${var.release.build} ${var.release[\"image_id\"]}\"\n}\n";
    project.write("infra/build.tf", code).commit("Build");
    let output = releasing(&project, &[]);
    output
        .fails(2)
        .stderr_has("error: infra/build.tf:2: the release has no `build`, which the code uses as")
        .stderr_has("-> set it: --release-data build=VALUE (the Action's input `release-data`)")
        .stderr_has("-> set `image_id` of infra/build.tf:2 too")
        .stderr_has("-> use --no-validate to release without this check");
    assert_eq!(project.stored(), [""; 0]);
    project.left_no_trace(&output);
    let data = ["--release-data", "build=7"];
    releasing(&project, &data).fails(2).stderr_has("the release has no `image_id`").lacks("build`");
    // An infrastructure component has no image, and what is only perhaps used is not asked for.
    project.edit(
        "infra/build.tf",
        "var.release[\"image_id\"]",
        "lookup(var.release, \"image_id\", \"\")",
    );
    project.edit("infra/build.tf", "${lookup", "${try(var.release.none, \"\")} ${lookup");
    project.commit("Perhaps");
    releasing(&project, &data).success();
    project.deploy("ci", "1").stdout_has("build = \"7");
}

/// A preview is released too.
#[test]
fn a_preview_can_be_released_without_checks() {
    let project = Project::local("greeting");
    project.append("infra/main.tf", "\noutput \"data\" {\n  value = var.release.none\n}\n");
    project.write("config/preview.json", "{}\n").commit("Preview");
    let (github, head) = (GitHub::start(), project.head());
    github.world().pull_request(7, &head);
    let event = pull_request_event(7, &head, "open", &[]);
    let up = ["preview", "up", "--platform-config", "platform-config"];
    let step = || project.for_pull_request(&github, &event, 1, &up);
    step().run().fails(2).stdout_has("the release has no `none`");
    // Without the checks, Terraform says so.
    let output = step().arg("--no-validate").run();
    output.fails(5).lacks("Check the values").stdout_has("Released greeting pr-7-");
}
