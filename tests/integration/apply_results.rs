//! After an apply, the report has the result of each resource.

use crate::support::{Aws, Project};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs};

fn deploy(project: &Project, version: &str) -> crate::support::Runner {
    let file = project.sandbox().work().join("r.json");
    let markdown = project.sandbox().work().join("r.md");
    let command = ["deploy", "ci", version, "--report-json"];
    project.cdflow(command).args([file]).args(["--report-markdown"]).args([markdown])
}

fn read(project: &Project, file: &str) -> String {
    fs::read_to_string(project.sandbox().work().join(file)).unwrap()
}

/// The outcome of each resource, by address.
fn outcomes(project: &Project) -> BTreeMap<String, (String, String)> {
    let report: Value = serde_json::from_str(&read(project, "r.json")).unwrap();
    let resources = report["plan"]["resources"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |it: &Value| (text(&it["result"]["outcome"]), text(&it["result"]["error"]));
    resources.iter().map(|it| (text(&it["address"]), of(it))).collect()
}

/// AWS refuses the deletion of one object and the creation of another, each a step of a
/// replacement.
#[test]
fn a_replacement_that_fails_names_the_step() {
    let aws = Aws::new("results");
    let project = Project::aws("shop", &aws).with_aws_provider();
    let main = project.read("infra/main.tf").split("resource").next().unwrap().to_owned();
    let parameter = |name: &str, more: &str| {
        format!(
            "resource \"aws_ssm_parameter\" \"{name}\" {{\n  name = \"/{}/{name}\"\n  type = \
             \"String\"\n  value = var.greeting\n{more}}}\n",
            aws.name()
        )
    };
    let after = parameter("after", "  depends_on = [aws_ssm_parameter.lost]\n");
    // Its new object has the name of the old one, which is destroyed only afterwards.
    let first = "  lifecycle {\n    create_before_destroy = true\n  }\n";
    let parameters =
        parameter("kept", "") + &parameter("lost", "") + &after + &parameter("first", first);
    let quick = "resource \"terraform_data\" \"quick\" {\n}\n";
    project.write("infra/main.tf", &(main + &parameters + quick)).commit("Parameters");
    project.release_unchecked("1");
    deploy(&project, "1").run().success();
    let complete = outcomes(&project);
    assert_eq!(complete.len(), 5);
    assert!(complete.values().all(|(outcome, _)| outcome == "done"), "{complete:?}");

    let refuse = |target: &str, name: &str| {
        let matching = format!("\"Name\":\"/{}/{name}\"", aws.name());
        aws.rule(json!({ "matching": matching, "target": target, "status": 400, "times": 9,
            "headers": { "content-type": "application/x-amz-json-1.1" },
            "body": "{\"__type\": \"AccessDeniedException\", \"message\": \"not today\"}" }));
    };
    refuse("DeleteParameter", "kept");
    refuse("PutParameter", "lost");
    let names = ["kept", "lost", "after", "first"].map(|name| format!("aws_ssm_parameter.{name}"));
    let replaced = names.iter().map(String::as_str).chain(["terraform_data.quick"]);
    let flags = replaced.flat_map(|address| ["--replace", address]);
    let output = deploy(&project, "1").args(flags).run();
    output.fails(6).stdout_has("aws_ssm_parameter.lost was deleted, not recreated: ");
    let found = outcomes(&project);
    let outcome = |name: &str| found[&format!("aws_ssm_parameter.{name}")].clone();
    assert_eq!(found["terraform_data.quick"].0, "done", "{found:?}");
    assert_eq!(outcome("kept").0, "failed", "{found:?}");
    assert_eq!(outcome("first").0, "failed", "{found:?}");
    // Its old object is destroyed before the object that it depends on.
    assert_eq!(outcome("after").0, "deleted-not-recreated", "{found:?}");
    assert_eq!(outcome("lost").0, "deleted-not-recreated", "{found:?}");
    assert!(outcome("lost").1.contains("not today"), "{found:?}");
    let page = read(&project, "r.md").replace(['\\', '\u{200b}'], "");
    assert!(page.contains("`aws_ssm_parameter.lost` was deleted, not recreated: "), "{page}");
    assert!(page.contains("# aws_ssm_parameter.lost was deleted, not recreated ("), "{page}");
    assert!(!page.split("The plan before the apply").next().unwrap().contains("will be"), "{page}");
}

/// A type of cdflow.yml is one whose loss is a loss of data. Without `report.stateful`, the same
/// plan destroys a resource like any other.
#[test]
fn report_stateful_names_a_loss_of_data() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let plan = || -> (Value, String) {
        let work = project.sandbox().work();
        let destroy = ["destroy", "live", "1", "--plan-only", "--report-json"];
        let runner = project.cdflow(destroy).args([work.join("r.json")]);
        runner.args(["--report-markdown"]).args([work.join("r.md")]).run().success();
        let report: Value = serde_json::from_str(&read(&project, "r.json")).unwrap();
        let resource = report["plan"]["resources"][0].clone();
        assert_eq!(resource["address"], "terraform_data.greeting");
        (resource["stateful"].clone(), read(&project, "r.md").replace(['\\', '\u{200b}'], ""))
    };
    let (held, page) = plan();
    assert!(held.is_null() && !page.contains("data loss"), "{held}: {page}");
    assert!(page.contains("**1 resource will be destroyed**"), "{page}");
    project.append("cdflow.yml", "report: {stateful: [terraform_data]}\n");
    let (held, page) = plan();
    assert_eq!(held, "stateful resource");
    let loss = "**data loss**: **1 stateful resource will be destroyed**";
    assert!(page.contains(loss) && page.contains("(data loss in 1 resource; "), "{page}");
}
