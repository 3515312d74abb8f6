//! Changes whose answer is lost: they are named with what identifies them, and the next deploy
//! knows.

use crate::support::{Aws, DEV, Project};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;

fn report(project: &Project) -> Value {
    serde_json::from_str(&fs::read_to_string(project.sandbox().work().join("r.json")).unwrap())
        .unwrap()
}

fn deploy(project: &Project, environment: &str, version: &str) -> crate::support::Runner {
    let file = project.sandbox().work().join("r.json");
    project.cdflow(["deploy", environment, version, "--report-json"]).args([file])
}

/// AWS carries out what it was asked for, and its answer comes after the provider gave up.
#[test]
fn a_cancel_names_what_aws_might_have_created() {
    let aws = Aws::new("orphan");
    let project = Project::aws("shop", &aws).with_aws_provider();
    let main = project.read("infra/main.tf").split("resource").next().unwrap().to_owned();
    let parameters: String = ["one", "two"]
        .iter()
        .map(|it| {
            format!(
                "resource \"aws_ssm_parameter\" \"{it}\" {{\n  name = \"/{}/{it}\"\n  type = \
                 \"String\"\n  value = var.greeting\n}}\n",
                aws.name()
            )
        })
        .collect();
    project.write("infra/main.tf", &(main + &parameters)).commit("Two parameters");
    project.release_unchecked("1");
    aws.rule(json!({ "matching": format!("/{}/", aws.name()), "hold": 2 }));
    let mut running = deploy(&project, "ci", "1").spawn();
    running.wait_until("both parameters", |_| aws.parameters(DEV).len() == 2);
    running.signal(Signal::SIGINT);
    let output = running.wait();
    let id = format!("/{}/one", aws.name());
    output
        .fails(130)
        .stderr_has("and the state does not show it: aws_ssm_parameter.one (create)")
        .stderr_has("-> check first whether these exist")
        .stdout_has("import {\n  to = aws_ssm_parameter.one\n")
        .stdout_has("aws_ssm_parameter.two (create): name = ");
    let found = report(&project);
    let resources = found["plan"]["resources"].as_array().unwrap().clone();
    assert!(resources.len() == 2, "{resources:?}");
    assert!(resources.iter().all(|it| it["result"]["outcome"] == "unknown"), "{resources:?}");
    let unknown = found["unknown_changes"].clone();
    assert_eq!(unknown.as_array().unwrap().len(), 2, "{unknown}");
    assert_eq!(
        unknown[0],
        json!({ "address": "aws_ssm_parameter.one", "type": "aws_ssm_parameter",
            "action": "create", "names": { "name": id }, "import_id": id })
    );
    // The next deploy is told, and the blocks that it shows are right.
    aws.rule(json!({ "matching": format!("/{}/", aws.name()), "times": 0 }));
    let output = project.cdflow(["deploy", "ci", "1", "--plan-only"]).run();
    output.success().stderr_has("might have created these, and they are not in the state");
    let blocks: String = ["one", "two"]
        .map(|it| {
            format!(
                "import {{\n  to = aws_ssm_parameter.{it}\n  id = \"/{}/{it}\"\n}}\n",
                aws.name()
            )
        })
        .concat();
    project.append("infra/main.tf", &blocks).commit("Import them");
    project.release_unchecked("2");
    let output = project.deploy("ci", "2");
    output.stderr_has("2 imported").lacks("might have created these");
}

/// A connection that breaks needs no cancel.
#[test]
fn a_lost_answer_is_not_a_failure() {
    let project = Project::local("greeting");
    project.release("1");
    let event = |kind: &str| {
        format!(
            r#"{{"@level":"info","@message":"m","type":"{kind}","hook":{{"resource":{{"addr":"terraform_data.greeting","resource_type":"terraform_data"}},"action":"create"}}}}"#
        )
    };
    let lost = r#"{"@level":"error","@message":"m","type":"diagnostic","diagnostic":{"severity":"error","summary":"creating it","detail":"read tcp: connection reset by peer","address":"terraform_data.greeting"}}"#;
    let refused = lost.replace("read tcp: connection reset by peer", "StatusCode: 400, api error");
    for (diagnostic, unknown) in [(lost.to_owned(), true), (refused, false)] {
        let path = project.terraform_but(&format!(
            "apply) echo '{}'; echo '{}'; echo '{diagnostic}'; exit 1;;",
            event("apply_start"),
            event("apply_errored")
        ));
        let output = deploy(&project, "live", "1").env("PATH", path).run();
        output.fails(6);
        let text = "and the state does not show it: terraform_data.greeting (create)";
        assert_eq!(output.stderr.contains(text), unknown, "{output}");
        assert_eq!(!report(&project)["unknown_changes"].as_array().unwrap().is_empty(), unknown);
    }
    let history = project.cdflow(["history", "live"]).run();
    history.success().stdout_has("unknown: terraform_data.greeting (create)");
    let output = project.deploy("live", "1");
    output
        .stderr_has("run 1 or later might have created these")
        .stdout_has("run 1: terraform_data");
    // The state has it now.
    project.deploy("live", "1").lacks("might have created");
}

/// What Terraform has in its state, as tainted, is known.
#[test]
fn an_interrupted_provisioner_leaves_nothing_unknown() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "resource \"terraform_data\" \"slow\" {\n  provisioner \"local-exec\" {\n    \
             command = \"echo waiting; sleep 60\"\n  }\n}\n",
        )
        .commit("Slow");
    project.release("1");
    let mut running = deploy(&project, "live", "1").spawn();
    running.wait_for("): waiting");
    running.signal(Signal::SIGINT);
    running.wait().fails(130).lacks("might have been made");
    assert_eq!(report(&project)["unknown_changes"], json!([]));
}

/// Terraform saves an object before its provisioners run. If it is killed then, the state shows
/// the object as complete.
#[test]
fn a_provisioner_of_a_killed_terraform_is_named() {
    let project = Project::local("greeting");
    let resource = |name: &str, command: &str| {
        format!(
            "resource \"terraform_data\" \"{name}\" {{\n  provisioner \"local-exec\" {{\n    \
             command = \"{command}\"\n  }}\n}}\n"
        )
    };
    // The end of the quick one makes Terraform save the state, also with the slow one.
    let done = project.sandbox().work().join("done");
    let quick = format!("sleep 2; touch {}", done.display());
    let code = resource("slow", "sleep 12") + &resource("quick", &quick);
    project.append("infra/main.tf", &code).commit("Provisioners");
    project.release("1");
    let path = project.terraform_but(&format!(
        "apply) \"$real\" \"$@\" & until [ -e {} ]; do sleep 0.1; done; sleep 2; kill -9 $!; \
         kill -9 $$;;",
        done.display()
    ));
    let output = deploy(&project, "live", "1").env("PATH", path).run();
    let again = "cdflow deploy live 1 --replace terraform_data.slow";
    output
        .fails(7)
        .stderr_has("these did not end, and the state does not show it: terraform_data.slow\n")
        .stderr_has(&format!("-> replace what needs its provisioners, which did not end: {again}"));
    let unknown = report(&project)["unknown_changes"].clone();
    assert_eq!(
        unknown,
        json!([{ "address": "terraform_data.slow", "type": "terraform_data",
            "action": "provision" }])
    );
    let history = project.cdflow(["history", "live"]).run();
    history.success().stdout_has("unknown: terraform_data.slow (provision)");
    let plan = |more: &[&str]| {
        let plan = project.cdflow(["deploy", "live", "1", "--plan-only"]).args(more).run();
        plan.success();
        plan
    };
    let killed = "Terraform was killed in run 1 or later while the provisioners of these ran";
    plan(&[]).stderr_has("no changes").stderr_has(killed).stderr_has(again);
    plan(&["--replace", "terraform_data.slow"]).lacks(killed);
    project.deploy("live", "1").stderr_has("Deployed").stderr_has(killed);
}
