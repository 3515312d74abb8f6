//! What only OpenTofu has: `.tofu` files, encrypted states, and sources that it evaluates early. A
//! stand-in plays it: Terraform, with what it lacks done before and after it.

use std::fs;

use crate::support::{Project, entries, in_repository, tool};

/// Terraform gets each `x.tofu` as `x.tf`, in place of a file of that name.
const WITH_TOFU_FILES: [&str; 2] = [
    r#"for file in *.tofu; do
  [ -f "$file" ] || continue
  twin="${file%.tofu}.tf"
  [ ! -e "$twin" ] || mv "$twin" "$twin-replaced"
  ln -s "$file" "$twin"
done"#,
    r#"for file in *.tofu; do
  [ -f "$file" ] || continue
  twin="${file%.tofu}.tf"
  rm "$twin"
  [ ! -e "$twin-replaced" ] || mv "$twin-replaced" "$twin"
done"#,
];

/// Uses OpenTofu, whatever the other tests run with.
fn component() -> Project {
    let project = Project::local("greeting");
    if tool::setting().is_empty() {
        project.append("cdflow.yml", "opentofu-version: \">= 1.8.0\"\n").commit("Use OpenTofu");
    }
    project
}

/// A PATH whose OpenTofu encrypts every state while TF_ENCRYPTION is set.
fn with_encryption(project: &Project) -> String {
    let files = ["tests/integration/support/state_encryption.py", ".venv/bin/python"];
    let [script, python] = files.map(in_repository);
    let states = project.store().join("state");
    let call = |action: &str| {
        let (python, script, states) = (python.display(), script.display(), states.display());
        format!("[ -z \"$TF_ENCRYPTION\" ] || '{python}' -I '{script}' {action} '{states}'")
    };
    tool::stand_in_between(project.sandbox(), &call("decrypt"), &call("encrypt"))
}

#[test]
fn tofu_files_are_released_and_deployed() {
    let project = component();
    let tofu =
        "variable \"size\" {\n  type = string\n}\n\noutput \"size\" {\n  value = var.size\n}\n";
    project
        .write("infra/extra.tofu", tofu)
        // OpenTofu does not read it, so the variable needs no value.
        .write("infra/extra.tf", "variable \"unset\" {}\n")
        .edit_json("config/common.json", |config| config["size"] = "small".into())
        .edit_json("config/live.json", |config| config["size"] = "large".into())
        .commit("For OpenTofu");
    let [before, after] = WITH_TOFU_FILES;
    let path = tool::stand_in_between(project.sandbox(), before, after);
    project.releasing("1").env("PATH", &path).run().success().lacks("unset").lacks("warning");
    let bundle = entries(&project.bundle("1"));
    let code: Vec<&String> = bundle.keys().filter(|name| name.starts_with("infra/")).collect();
    assert_eq!(code, ["infra/extra.tf", "infra/extra.tofu", "infra/main.tf"]);
    let output = project.cdflow(["deploy", "live", "1"]).env("PATH", &path).run();
    output.success().stdout_has("size = \"large\"");
    assert_eq!(project.output_of("live", "size"), "large");
    project.left_no_trace(&output);
}

#[test]
fn an_encrypted_state_is_read_with_opentofu() {
    let project = component();
    let path = with_encryption(&project);
    project.releasing("1").env("PATH", &path).run().success();
    let with_key = |arguments: &[&str]| {
        let run = project.cdflow(arguments).args(["--pass-environment", "TF_ENCRYPTION"]);
        run.env("PATH", &path).env("TF_ENCRYPTION", "key_provider \"pbkdf2\" \"key\" {}").run()
    };
    let state = || fs::read_to_string(project.state_file("live")).unwrap();
    let deploy = ["deploy", "live", "1"];
    with_key(&deploy)
        .success()
        .stdout_has("greeting = \"Good day from live.local.example, version 1\"")
        .stderr_has("Deployed greeting 1 to live: 1 added");
    let first = state();
    assert!(first.contains("\"encrypted_data\"") && !first.contains("terraform_data"), "{first}");
    with_key(&deploy).success().stderr_has("Deployed greeting 1 to live: no changes");
    assert_eq!(state(), first);
    let status = project.cdflow(["status"]).env("PATH", &path).run();
    status.success().stdout_has_in_order(&["ENVIRONMENT", "live", "1"]);
    let doctor = project.cdflow(["doctor", "live"]).env("PATH", &path).run();
    doctor.success().stdout_has("only Terraform can read it: it is encrypted");

    let without_key = project.cdflow(deploy).env("PATH", &path);
    let says = ["terraform failed to read the workspaces of the state"];
    let output = project.refuses_run(without_key, 5, &says);
    output.stdout_has("Failed to refresh state: Unsupported state file format");

    fs::copy(project.state_file("live"), project.sandbox().work().join("theirs.tfstate")).unwrap();
    let adopt = project.cdflow(["adopt", "aslive", "--from", "file:../theirs.tfstate"]);
    let says = [
        "/theirs.tfstate` cannot be copied: it is encrypted",
        "-> copy it with Terraform or OpenTofu: `state pull`, then `state push`",
    ];
    project.refuses_run(adopt.env("PATH", &path), 9, &says);

    let output = with_key(&["destroy", "live", "--confirm", "live"]);
    output.success().stderr_has("Destroyed greeting in live: 1 destroyed");
    assert!(!project.state_file("live").parent().unwrap().exists(), "{output}");
    project.left_no_trace(&output);
}

#[test]
fn a_module_whose_source_is_evaluated_is_rejected() {
    let project = component();
    let code = "variable \"which\" {\n  default = \"./a\"\n}\n\nmodule \"chosen\" {\n  source = \
                var.which\n}\n";
    project.write("infra/modules.tf", code).write("infra/a/main.tf", "").commit("Early evaluation");
    let path = tool::stand_in_between(project.sandbox(), "", "");
    let says = [
        "infra/modules.tf:5: the source of module `chosen` is not a literal",
        "-> write the source as a literal",
    ];
    project.refuses_run(project.releasing("1").env("PATH", path), 2, &says);
}
