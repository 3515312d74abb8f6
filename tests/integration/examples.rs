//! The examples are what people copy: they have to be right.

use crate::support::{Aws, Mirror, Project, RELEASE, Sandbox, in_repository, python, terraform};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_example_is_formatted() {
    let sandbox = Sandbox::new();
    let output =
        terraform(&sandbox, in_repository("examples"), ["fmt", "-check", "-diff", "-recursive"])
            .run();
    output.success().stdout_is("").stderr_is("");
}

#[test]
fn the_examples_without_a_cloud_are_valid_terraform() {
    validate("infrastructure-component", None);
    validate("function-component", None);
}

#[test]
fn the_examples_on_aws_are_valid_terraform() {
    let mirror = Mirror::aws();
    validate("infrastructure-aws", Some(&mirror));
    validate("lambda-component", Some(&mirror));
    validate("docker-component", Some(&mirror));
}

/// A rule that expires objects would delete releases and states.
#[test]
fn the_lifecycle_rule_removes_parts_of_uploads_and_nothing_else() {
    let rules = json(&in_repository("examples/infrastructure-aws/lifecycle.json"));
    assert_eq!(rules, json(&in_repository("examples/lambda-component/lifecycle.json")));
    let aws = Aws::new("lifecycle");
    let bucket = aws.release_bucket();
    let args = serde_json::json!({ "Bucket": bucket, "LifecycleConfiguration": rules });
    aws.call(RELEASE, "s3", "put_bucket_lifecycle_configuration", args);
    let args = serde_json::json!({ "Bucket": bucket });
    let stored = aws.call(RELEASE, "s3", "get_bucket_lifecycle_configuration", args);
    let stored = stored["Rules"].as_array().unwrap();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let keys: BTreeSet<&str> = stored[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["AbortIncompleteMultipartUpload", "Filter", "ID", "Status"];
    assert_eq!(keys, BTreeSet::from(expected));
    // docs/aws.md has the same rule in its commands.
    let text = fs::read_to_string(in_repository("docs/aws.md")).unwrap();
    let (_, rest) = text.split_once("--lifecycle-configuration \\\n    '").unwrap();
    let shown: Value = serde_json::from_str(rest.split_once('\'').unwrap().0).unwrap();
    assert_eq!(shown, rules);
}

#[test]
fn every_environment_of_an_example_has_its_files() {
    for example in examples() {
        let scheme = json(&example.join("account-scheme.json"));
        let region = scheme["default-region"].as_str().unwrap();
        for alias in scheme["environments"]
            .as_object()
            .unwrap()
            .values()
            .map(|alias| alias.as_str().unwrap())
        {
            assert!(
                scheme["accounts"][alias].is_object(),
                "{}: no account `{alias}`",
                example.display()
            );
            let platform =
                json(&example.join("platform-config").join(alias).join(format!("{region}.json")));
            assert!(platform.is_object(), "{}: {platform}", example.display());
        }
        assert_ne!(scheme["release-bucket"], scheme["lambda-bucket"], "{}", example.display());
    }
}

/// A value that nothing declares would be dropped, a variable without a value would fail the plan.
#[test]
fn every_variable_of_an_example_gets_a_value_and_every_value_has_a_variable() {
    for example in examples() {
        let declared: BTreeSet<String> = fs::read_to_string(example.join("infra/variables.tf"))
            .unwrap()
            .lines()
            .filter_map(|line| {
                Some(line.strip_prefix("variable \"")?.strip_suffix("\" {")?.to_owned())
            })
            .collect();
        let common = keys(&json(&example.join("config/common.json")));
        let built_in = ["env".to_owned(), "release".to_owned()];
        for account in fs::read_dir(example.join("platform-config")).unwrap() {
            let platform = keys(&json(&account.unwrap().path().join("eu-west-1.json")));
            let given: BTreeSet<String> =
                common.iter().cloned().chain(platform).chain(built_in.clone()).collect();
            assert_eq!(declared, given, "{}", example.display());
        }
        assert!(
            keys(&json(&example.join("config/live.json"))).is_subset(&declared),
            "{}",
            example.display()
        );
    }
}

#[test]
fn the_lambda_of_the_example_passes_its_own_test() {
    let sandbox = Sandbox::new();
    let source = in_repository("examples/lambda-component/src");
    let run = "import sys, unittest; sys.path.insert(0, '.'); sys.dont_write_bytecode = True; \
    unittest.main('handler_test')";
    python(&sandbox, ["-c", run])
        .cwd(source)
        .env("GREETING", "Hello")
        .run()
        .success()
        .stderr_has("Ran 1 test");
}

#[test]
fn the_service_of_the_example_passes_its_own_test() {
    let sandbox = Sandbox::new();
    let source = in_repository("examples/docker-component/src");
    let run = "import sys, unittest; sys.path.insert(0, '.'); sys.dont_write_bytecode = True; \
    unittest.main('server_test')";
    python(&sandbox, ["-c", run]).cwd(source).run().success().stderr_has("Ran 1 test");
}

fn validate(example: &str, mirror: Option<&Mirror>) {
    let project = Project::copied(example, &in_repository("examples").join(example));
    for arguments in
        [vec!["init", "-no-color", "-input=false", "-backend=false"], vec!["validate", "-no-color"]]
    {
        let run = terraform(project.sandbox(), project.path("infra"), arguments);
        let output = mirror.map_or(run.clone(), |mirror| run.providers(mirror)).run();
        output.success();
        if output.stdout.contains("Success! The configuration is valid") {
            output.stdout_is("Success! The configuration is valid.\n\n").stderr_is("");
        }
    }
}

fn examples() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(in_repository("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("cdflow.yml").exists())
        .collect();
    found.sort();
    assert!(found.len() >= 3, "{found:?}");
    found
}

fn json(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}
