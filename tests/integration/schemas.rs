//! docs/schema describes the files that people write and what `--json` prints. Real files and real
//! outputs are compared with it; src/config/schema.rs compares the keys of the files, and
//! src/commands/tests.rs makes the schemas of the outputs from their types.

use crate::support::{Output, Project, Runner, Sandbox, in_repository, python};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Validates `DOCUMENT` (YAML is a superset of JSON) with the schema, and prints what is wrong.
const VALIDATE: &str = r#"
import json, sys, jsonschema, yaml
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
formats = jsonschema.Draft202012Validator.FORMAT_CHECKER
assert "date-time" in formats.checkers
validator = jsonschema.Draft202012Validator(schema, format_checker=formats)
for document in sys.argv[2:]:
    for error in validator.iter_errors(yaml.safe_load(open(document))):
        print(f"{document}: {error.json_path}: {error.message}")
"#;

/// What is wrong with the documents, one line each.
pub(crate) fn problems(schema: &str, documents: &[PathBuf]) -> String {
    let sandbox = Sandbox::new();
    let schema = in_repository("docs/schema").join(schema);
    let documents = documents.iter().map(|it| it.clone().into_os_string());
    let words = ["-c".into(), VALIDATE.into(), schema.into_os_string()];
    python(&sandbox, words.into_iter().chain(documents)).run().success().stdout.clone()
}

#[track_caller]
pub(crate) fn is_valid(schema: &str, documents: &[Value]) {
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

/// An editor finds both schemas by what the files say.
#[test]
fn of_the_files_that_init_writes() {
    let sandbox = Sandbox::new();
    let kinds = ["infrastructure", "lambda", "docker", "function"];
    for kind in kinds {
        let arguments = ["init", "--type", kind, kind];
        let init = Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &sandbox);
        init.cwd(sandbox.work()).run().success();
    }
    let written = |file: &str| kinds.map(|kind| sandbox.work().join(kind).join(file)).to_vec();
    let (manifests, schemes) = (written("cdflow.yml"), written("account-scheme.json"));
    assert_eq!(problems("cdflow.schema.json", &manifests), "");
    assert_eq!(problems("account-scheme.schema.json", &schemes), "");
    let id = |schema: &str| {
        let text = fs::read_to_string(in_repository("docs/schema").join(schema)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["$id"].as_str().unwrap().to_owned()
    };
    let first = format!("# yaml-language-server: $schema={}\n", id("cdflow.schema.json"));
    for manifest in manifests {
        let text = fs::read_to_string(manifest).unwrap();
        assert!(text.starts_with(&first), "{text}");
    }
    for scheme in schemes {
        let text = fs::read_to_string(scheme).unwrap();
        let scheme: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(scheme["$schema"], id("account-scheme.schema.json").as_str());
    }
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
    reported(&["deploy", "ci", "1", "--plan-only", "--plan-out", "out"]).success();
    assert_eq!(problems("plan.schema.json", &[project.path("out/plan.json")]), "");
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
    let prune = |more: &[&str]| {
        let arguments = ["prune", "--json", "--older-than", "0s"];
        project.cdflow(arguments.iter().chain(more)).run().success().json()
    };
    let nothing = prune(&[]);
    project.release("never-deployed");
    let listed = prune(&["--keep", "0", "--dry-run"]);
    assert_eq!(nothing["releases"], json!([]));
    assert_eq!(listed["releases"][0]["result"], "would-be-deleted", "{listed}");
    assert_eq!(listed["releases"][0]["objects"][0]["type"], "bundle");
    let deleted = prune(&["--keep", "0"]);
    assert_eq!(deleted["releases"][0]["result"], "deleted", "{deleted}");
    is_valid("prune.schema.json", &[nothing, listed, deleted]);
    is_valid("inspect.schema.json", &[json(&["inspect", "1", "--json"])]);
    let doctor = project.append("cdflow.yml", "docker: {}\n").cdflow(["doctor", "--json"]).run();
    is_valid("doctor.schema.json", &[json(&["doctor", "--json"]), doctor.json()]);
    // A key that no schema has would be found.
    let odd = json!({ "problems": 0, "warnings": 0, "findings": [], "another": 1 });
    let file = project.sandbox().work().join("odd.json");
    fs::write(&file, odd.to_string()).unwrap();
    assert!(problems("doctor.schema.json", &[file]).contains("'another' was unexpected"));
    let odd = json!({ "team": "t", "component": "c", "more": 0, "releases": [{
        "version": "1", "commit": null, "published": "yesterday", "size": 1,
        "bundle_digest": "0", "damaged": false, "deployed": [],
    }] });
    let file = project.sandbox().work().join("odd-release.json");
    fs::write(&file, odd.to_string()).unwrap();
    let found = problems("releases.schema.json", &[file]);
    assert!(found.contains("published: 'yesterday' is not a 'date-time'"), "{found}");
    assert!(found.contains("bundle_digest: '0' does not match '^[0-9a-f]{64}$'"), "{found}");
}
