//! docs/schema describes the files that people write and what `--json` prints. Real files and real
//! outputs are compared with it; src/config/schema.rs compares the keys.

use crate::support::{Output, Project, Sandbox, in_repository, python};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Validates `DOCUMENT` (YAML is a superset of JSON) with the schema, and prints what is wrong.
const VALIDATE: &str = r#"
import json, sys, jsonschema, yaml
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for document in sys.argv[2:]:
    for error in validator.iter_errors(yaml.safe_load(open(document))):
        print(f"{document}: {error.json_path}: {error.message}")
"#;

/// What is wrong with the documents, one line each.
fn problems(schema: &str, documents: &[PathBuf]) -> String {
    let sandbox = Sandbox::new();
    let schema = in_repository("docs/schema").join(schema);
    let documents = documents.iter().map(|it| it.clone().into_os_string());
    let words = ["-c".into(), VALIDATE.into(), schema.into_os_string()];
    python(&sandbox, words.into_iter().chain(documents)).run().success().stdout.clone()
}

#[track_caller]
fn is_valid(schema: &str, documents: &[Value]) {
    let sandbox = Sandbox::new();
    let file = |(number, document): (usize, &Value)| {
        let path = sandbox.work().join(format!("{number}.json"));
        fs::write(&path, document.to_string()).unwrap();
        path
    };
    let files: Vec<PathBuf> = documents.iter().enumerate().map(file).collect();
    assert_eq!(problems(schema, &files), "", "{documents:#?}");
}

fn examples(file: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(in_repository("examples")).unwrap();
    let found = folders.map(|it| it.unwrap().path().join(file)).filter(|it| it.exists());
    let found: Vec<PathBuf> = found.collect();
    assert!(found.len() >= 5, "{found:?}");
    found
}

#[test]
fn of_the_files_that_people_write() {
    let (components, schemes) = (examples("cdflow.yml"), examples("account-scheme.json"));
    assert_eq!(problems("cdflow.schema.json", &components), "");
    assert_eq!(problems("account-scheme.schema.json", &schemes), "");
    // What an editor must underline.
    assert!(
        problems("cdflow.schema.json", &schemes[..1]).contains("'team' is a required property")
    );
    let project = Project::local("greeting");
    project.append("cdflow.yml", "deploy: { lock-timeout: 5, max-destory: 1 }\n");
    let found = problems("cdflow.schema.json", &[project.path("cdflow.yml")]);
    assert!(found.contains("$.deploy['lock-timeout']: 5 is not of type 'string'"), "{found}");
    assert!(found.contains("'max-destory' was unexpected"), "{found}");
}

#[test]
fn of_what_json_flags_print() {
    let project = Project::local("greeting");
    let run = |arguments: &[&str]| project.cdflow(arguments).run();
    let json = |arguments: &[&str]| run(arguments).json();
    let nothing = [json(&["status", "--json"]), json(&["releases", "--json"])];
    let report = project.sandbox().work().join("report.json");
    let mut reports = Vec::new();
    let mut reported = |arguments: &[&str]| -> Output {
        let output = project.cdflow(arguments).arg("--report-json").arg(&report).run();
        reports.push(serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap());
        output
    };
    reported(&["release", "1", "--platform-config", "platform-config"]).success();
    reported(&["deploy", "ci", "1", "--plan-only"]).success();
    reported(&["deploy", "ci", "1"]).success();
    reported(&["deploy", "pr-7", "1", "--new-environment"]).success();
    reported(&["deploy", "live", "2"]).fails(2);
    let path = project.terraform_but("apply) echo broken; exit 1;;");
    project.cdflow(["deploy", "live", "1"]).env("PATH", path).run().fails(6);
    project.edit("infra/main.tf", "from ${var.env}", "in ${var.env}").commit("Another text");
    project.release("2");
    reported(&["deploy", "ci", "2"]).success();
    reported(&["destroy", "ci", "--confirm", "ci"]).success();
    is_valid("report.schema.json", &reports);
    let status = json(&["status", "--json"]);
    assert!(status["environments"].to_string().contains("\"failed\""), "{status}");
    is_valid("status.schema.json", &[nothing[0].clone(), status]);
    is_valid("releases.schema.json", &[nothing[1].clone(), json(&["releases", "--json"])]);
    let history = |environment| json(&["history", environment, "--json"]);
    is_valid("history.schema.json", &[history("ci"), history("live"), history("aslive")]);
    is_valid("inspect.schema.json", &[json(&["inspect", "1", "--json"])]);
    let doctor = project.append("cdflow.yml", "docker: {}\n").cdflow(["doctor", "--json"]).run();
    is_valid("doctor.schema.json", &[json(&["doctor", "--json"]), doctor.json()]);
    // A key that no schema has would be found.
    let odd = json!({ "problems": 0, "warnings": 0, "findings": [], "another": 1 });
    let file = project.sandbox().work().join("odd.json");
    fs::write(&file, odd.to_string()).unwrap();
    assert!(problems("doctor.schema.json", &[file]).contains("'another' was unexpected"));
}
