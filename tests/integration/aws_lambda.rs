//! A component of type `lambda` on AWS: the zip goes to the lambda bucket, and a function is made
//! of it.

use crate::support::{Aws, DEV, Project};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

const MAIN: &str = r#"terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "env" {
  type = string
}

variable "release" {
  type = map(string)
}

provider "aws" {}

resource "aws_iam_role" "hello" {
  name = "NAME-${var.env}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_lambda_function" "hello" {
  function_name    = "NAME-${var.env}"
  role             = aws_iam_role.hello.arn
  runtime          = "python3.12"
  handler          = "handler.handle"
  s3_bucket        = var.release["s3_bucket"]
  s3_key           = var.release["s3_key"]
  source_code_hash = var.release["source_code_hash"]
}
"#;

/// `release` as Terraform gets it.
const SHOW_RELEASE: &str = r#"variable "release" {
  type = map(string)
}

resource "terraform_data" "release" {
  input = var.release
}

output "release" {
  value = terraform_data.release.output
}
"#;

fn project(name: &str, aws: &Aws) -> Project {
    let project = Project::aws(name, aws);
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("infra/main.tf", SHOW_RELEASE);
    project
        .write("src/handler.py", "def handle(event, context):\n    return 'hello'\n")
        .commit("A function");
    project
}

/// Release and deploy see nothing of the world but moto: the bundle holds all that they need.
#[test]
fn the_life_of_a_function_where_nothing_is_reached_but_aws() {
    let aws = Aws::new("lambda");
    let project = project("hello", &aws).with_aws_provider();
    project.write("infra/main.tf", &MAIN.replace("NAME", aws.name())).commit("With a function");

    let release = ["release", "1", "--platform-config", "platform-config"];
    let output = project.cdflow(release).offline_but(&aws).run();
    eprintln!("release {:?}", output.elapsed);
    let (lambda_bucket, key) = (aws.lambda_bucket(), project.release_key("1"));
    output
        .success()
        .stderr_has(&format!("    s3://{lambda_bucket}/{key}\n"))
        .stderr_has("Released hello 1\n");
    let head = aws.head(&lambda_bucket, &key).unwrap();
    let hash = released(&project, "1")["source_code_hash"].clone();
    let digest = head["Metadata"]["cdflow-sha256"].as_str().unwrap().to_owned();
    assert_eq!(hash, BASE64.encode(hex(&digest)));
    assert_eq!(released(&project, "1")["s3_bucket"], lambda_bucket);
    assert_eq!(released(&project, "1")["s3_key"], key);

    let output = project.cdflow(["deploy", "ci", "1"]).offline_but(&aws).run();
    eprintln!("deploy {:?}", output.elapsed);
    output.success().stderr_has("Deployed hello 1 to ci: 2 added, 0 changed, 0 destroyed");
    let name = format!("{}-ci", aws.name());
    let function = aws.call(DEV, "lambda", "get_function", json!({ "FunctionName": name }));
    assert_eq!(function["Configuration"]["CodeSha256"], hash);
    assert_eq!(function["Configuration"]["CodeSize"], head["ContentLength"]);

    // The same code as another version is another key and nothing else.
    project.release_unchecked("2");
    assert_eq!(released(&project, "2")["source_code_hash"], hash);
    let output = project.cdflow(["deploy", "ci", "2", "--plan-only"]).run();
    eprintln!("plan {:?}", output.elapsed);
    output
        .success()
        .stdout_has("Plan: 0 to add, 1 to change, 0 to destroy.")
        .lacks("source_code_hash ");
    output.stdout_has(&format!(
        "~ s3_key                         = \"{key}\" -> \"{}\"",
        project.release_key("2")
    ));
    // Of the legend, the function, its time of change, its key.
    assert_eq!(output.stdout.matches("  ~ ").count(), 4, "{}", output.stdout);

    let output = project.cdflow(["destroy", "ci", "--confirm", "ci"]).offline_but(&aws).run();
    eprintln!("destroy {:?}", output.elapsed);
    output.success().stderr_has("Destroyed hello in ci: 2 destroyed");
    assert!(aws.functions(DEV).is_empty() && aws.roles(DEV).is_empty());
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    // What was released stays.
    assert_eq!(aws.keys(&lambda_bucket), [key, project.release_key("2")]);
}

#[test]
fn a_function_in_two_regions_is_uploaded_to_both_at_once() {
    let aws = Aws::new("regions");
    let project = project("hello", &aws);
    project.append("cdflow.yml", "multi-region: true\n").commit("In two regions");
    let buckets =
        [("eu-central-1", format!("{}-frankfurt", aws.name())), ("eu-west-1", aws.lambda_bucket())];
    aws.create_bucket_in("eu-central-1", &buckets[0].1);
    let mut scheme = aws.scheme();
    scheme.as_object_mut().unwrap().remove("lambda-bucket");
    scheme["lambda-buckets"] =
        buckets.iter().cloned().map(|(region, bucket)| (region, Value::from(bucket))).collect();
    aws.put_scheme(&scheme);
    let key = project.release_key("1");
    for (_, bucket) in &buckets {
        aws.rule(json!({ "matching": format!("PUT /{bucket}/"), "delay": 3 }));
    }

    project.release("1").stderr_has(&format!("s3://{}/{key}\n", buckets[0].1));
    let release = released(&project, "1");
    assert_eq!(release["s3_bucket_regions_csv"], "eu-central-1,eu-west-1");
    assert_eq!(release["s3_key"], key);
    let mut began = Vec::new();
    for (region, bucket) in &buckets {
        let calls = aws.calls(&format!("PUT /{bucket}/{key}"));
        assert_eq!((calls.len(), calls[0]["region"].as_str().unwrap()), (1, *region));
        began.push(calls[0]["began"].as_f64().unwrap());
        assert_eq!(release[format!("s3_bucket.{region}")], *bucket);
    }
    assert!((began[0] - began[1]).abs() < 3.0, "one waited for the other: {began:?}");
    assert_eq!(aws.get(&buckets[0].1, &key), aws.get(&buckets[1].1, &key));

    // Terraform gets all of it.
    let output = project.deploy("ci", "1");
    output.stdout_has(&format!("\"s3_bucket.eu-central-1\":\"{}\"", buckets[0].1));
}

#[test]
fn a_zip_that_is_there_already_must_be_the_same() {
    let aws = Aws::new("again");
    let project = project("hello", &aws);
    let (bucket, key) = (aws.lambda_bucket(), project.release_key("1"));
    project.release("1");

    // As after a run that came no further than the zip.
    aws.delete(&aws.release_bucket(), &key);
    let there = format!("s3://{bucket}/{key} (exists already, with the same bytes)");
    project.release("1").stderr_has(&there).stderr_has("Released hello 1");
    assert_eq!(
        aws.requests(&format!("PUT /{bucket}/{key}?")).len(),
        2,
        "both tries are conditional"
    );

    let before = aws.head(&bucket, &key).unwrap();
    aws.delete(&aws.release_bucket(), &key);
    project.edit("src/handler.py", "hello", "goodbye").commit("Other code");
    let output = project.cdflow(["release", "1", "--platform-config", "platform-config"]).run();
    output.fails(3).stderr_has(&format!(
        "error: s3://{bucket}/{key} exists with other content: its SHA-256 is "
    ));
    output.stderr_has("-> release under a new version");
    assert_eq!(aws.head(&bucket, &key).unwrap(), before);
    assert!(aws.keys(&aws.release_bucket()).is_empty(), "no bundle without its zip");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn a_function_that_is_too_large_is_refused_before_anything_is_written() {
    let aws = Aws::new("large");
    let project = project("hello", &aws);
    for (name, megabytes) in [("a", 90), ("b", 100), ("c", 1), ("d", 2), ("e", 3), ("f", 61)] {
        // Sparse: it takes no space.
        std::fs::File::create(project.path(&format!("src/{name}.bin")))
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
    }
    let output = project.cdflow(["release", "1", "--platform-config", "platform-config"]).run();
    output.fails(2).stderr_has(
        "error: the function is 269.4 MB unzipped; the limit of AWS Lambda is 262.1 \
    MB: the largest files are b.bin (104.8 MB), a.bin (94.3 MB), f.bin (63.9 MB), e.bin \
    (3.1 MB), d.bin (2.0 MB)\n",
    );
    assert!(
        aws.keys(&aws.lambda_bucket()).is_empty() && aws.keys(&aws.release_bucket()).is_empty()
    );
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

/// `release` of a published bundle.
#[track_caller]
fn released(project: &Project, version: &str) -> Value {
    project.cdflow(["inspect", version, "--json"]).run().success().json()["release"].clone()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
