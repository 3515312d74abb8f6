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
    let code = |suffix: &str, more: &str| {
        let parameter = |name: &str, path: &str, more: &str| {
            format!(
                "resource \"aws_ssm_parameter\" \"{name}\" {{\n  name = \"/{}/{path}\"\n  type = \
                 \"String\"\n  value = var.greeting\n{more}}}\n",
                aws.name()
            )
        };
        let replaced = ["kept", "lost"].map(|name| parameter(name, &format!("{name}{suffix}"), ""));
        let after = "  depends_on = [aws_ssm_parameter.lost]\n";
        main.clone() + &replaced.concat() + &parameter("first", &format!("f{suffix}"), after) + more
    };
    project.write("infra/main.tf", &code("", "")).commit("Parameters");
    project.release("1");
    deploy(&project, "1").run().success();
    assert!(outcomes(&project).values().all(|(outcome, _)| outcome == "done"));

    let quick = "resource \"terraform_data\" \"quick\" {\n}\n";
    project.write("infra/main.tf", &code("-2", quick)).commit("Other names");
    project.release("2");
    let refuse = |matching: String| {
        aws.rule(json!({ "matching": matching, "status": 400, "times": 9,
            "headers": { "content-type": "application/x-amz-json-1.1" },
            "body": "{\"__type\": \"AccessDeniedException\", \"message\": \"not today\"}" }));
    };
    refuse(format!("AmazonSSM.DeleteParameter {{\"Name\":\"/{}/kept\"", aws.name()));
    // Nothing but the creation names it.
    refuse(format!("\"/{}/lost-2\"", aws.name()));
    let output = deploy(&project, "2").run();
    output.fails(6).stdout_has("aws_ssm_parameter.lost was deleted, not recreated: ");
    let found = outcomes(&project);
    let outcome = |name: &str| found[&format!("aws_ssm_parameter.{name}")].clone();
    assert_eq!(found["terraform_data.quick"].0, "done", "{found:?}");
    assert_eq!(outcome("kept").0, "failed", "{found:?}");
    assert_eq!(outcome("lost").0, "deleted-not-recreated", "{found:?}");
    assert!(outcome("lost").1.contains("not today"), "{found:?}");
    let page = read(&project, "r.md").replace(['\\', '\u{200b}'], "");
    assert!(page.contains("`aws_ssm_parameter.lost` was deleted, not recreated: "), "{page}");
    assert!(page.contains("# aws_ssm_parameter.lost was deleted, not recreated ("), "{page}");
    assert!(!page.split("Terraform plan").next().unwrap().contains("will be"), "{page}");
}
