//! A component of type `infrastructure` on AWS: releases and state in the release account,
//! resources of the real AWS provider in the environment's account.

use crate::support::{
    AMBIENT_KEY, AMBIENT_SECRET, Aws, DEV, Probe, Process, Project, RELEASE, Running, files_under,
    platform,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What cdflow itself may take, whatever it carries. In KiB.
const MEMORY: u64 = 150 * 1024;

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

variable "greeting" {
  type = string
}

provider "aws" {}

data "aws_caller_identity" "current" {}

resource "aws_s3_bucket" "data" {
  bucket = "NAME-data-${var.env}"
}

resource "aws_ssm_parameter" "greeting" {
  name  = "/NAME/${var.env}/greeting"
  type  = "String"
  value = var.greeting
}

resource "aws_iam_role" "reader" {
  name = "NAME-reader-${var.env}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

output "account" {
  value = data.aws_caller_identity.current.account_id
}

output "bucket" {
  value = aws_s3_bucket.data.bucket
}
"#;

/// What was seen of a run from outside.
#[derive(Default)]
struct Seen {
    peak_memory: u64,
    command_lines: BTreeSet<String>,
    environments: BTreeMap<String, BTreeSet<String>>,
}

impl Seen {
    fn look(&mut self, running: &Running) {
        self.peak_memory = self.peak_memory.max(running.peak_memory().unwrap_or(0));
        let Some(own) = Process::of(running.pid()) else { return };
        for process in running.processes() {
            // Between its birth and its program a child is a copy of its parent.
            if process.arguments == own.arguments {
                continue;
            }
            let names = process.environment.iter().map(|(name, value)| format!("{name}={value}"));
            self.environments.entry(process.program().to_owned()).or_default().extend(names);
            self.command_lines.insert(process.arguments.join(" "));
        }
    }
}

#[test]
fn the_life_of_a_component_with_real_resources() {
    let aws = Aws::new("infra");
    let project = Project::aws("shop", &aws).with_aws_provider();
    project.write("infra/main.tf", &MAIN.replace("NAME", aws.name()));
    let probe =
        Probe::add(&project, "aws_s3_bucket.data, aws_ssm_parameter.greeting, aws_iam_role.reader");
    let (bucket, key) = (aws.release_bucket(), project.release_key("1"));

    // Released: the bundle is in the release account's bucket, complete, and says of itself what it
    // is.
    let mut released = Seen::default();
    let release = ["release", "1", "--platform-config", "platform-config"];
    let output = project.cdflow(release).spawn().watch(|running| released.look(running));
    output.success().stderr_has("==> Publish\n").stderr_has("Released shop 1\n");
    eprintln!("release {:?}, peak {} KiB", output.elapsed, released.peak_memory);
    assert_eq!(aws.keys(&bucket), [key.as_str()]);
    assert!(aws.unfinished_uploads(&bucket).is_empty());
    let head = aws.head(&bucket, &key).unwrap();
    eprintln!("bundle {}", head["ContentLength"]);
    let digest = head["Metadata"]["cdflow-bundle-digest"].as_str().unwrap().to_owned();
    assert_eq!(head["Metadata"]["cdflow-version"], env!("CARGO_PKG_VERSION"));
    assert!(head["Metadata"]["cdflow-source-digest"].as_str().unwrap().len() == 64, "{head}");
    let parts = aws.calls(&format!("PUT /{bucket}/{key}?")).len() as u64;
    assert_eq!(parts, head["ContentLength"].as_u64().unwrap().div_ceil(8 << 20));
    assert!(released.peak_memory < MEMORY, "{} KiB", released.peak_memory);
    clean(&project);

    // Deployed: each identity does its own part, and neither leaves a key anywhere.
    let mut deployed = Seen::default();
    let output =
        project.cdflow(["deploy", "ci", "1"]).spawn().watch(|running| deployed.look(running));
    eprintln!("deploy {:?}, peak {} KiB", output.elapsed, deployed.peak_memory);
    let outputs = format!("account = \"{DEV}\"\nbucket = \"{}-data-ci\"\n", aws.name());
    output.success().stdout_has("Plan: 4 to add, 0 to change, 0 to destroy.").stdout_has(&outputs);
    output
        .stderr_has(&format!("bundle digest {digest}"))
        .stderr_has("Deployed shop 1 to ci: 4 added, 0 changed, 0 destroyed");
    assert!(deployed.peak_memory < MEMORY, "{} KiB", deployed.peak_memory);
    clean(&project);
    assert_eq!(aws.parameters(DEV), [format!("/{}/ci/greeting", aws.name())]);
    assert_eq!(aws.roles(DEV), [format!("{}-reader-ci", aws.name())]);
    assert!(aws.parameters(RELEASE).is_empty() && aws.roles(RELEASE).is_empty());
    let state_key = "platform/shop/ci/terraform.tfstate";
    assert_eq!(aws.keys(&aws.state_bucket()), [state_key]);
    let before = aws.get_json(&aws.state_bucket(), state_key);
    two_identities(&aws, &probe);
    no_key_anywhere(&aws, &project, &probe, [&released, &deployed]);

    // The same again changes nothing.
    let output = project.deploy("ci", "1");
    eprintln!("deploy again {:?}", output.elapsed);
    output.stdout_has("No changes. Your infrastructure matches the configuration.");
    output.stderr_has("Deployed shop 1 to ci: no changes").stdout_has(&outputs);
    // The empty plan was applied under the lock, which may write the state anew, as the refresh has
    // found it.
    let again = aws.get_json(&aws.state_bucket(), state_key);
    assert_eq!(again["lineage"], before["lineage"]);
    assert!(again["serial"].as_u64() <= before["serial"].as_u64().map(|serial| serial + 1));
    let status = project.cdflow(["status", "--json"]).run().json();
    assert_eq!(status["environments"][0]["environment"], "ci");
    assert_eq!(status["environments"][0]["version"], "1");
    assert_eq!(status["environments"][0]["settled"]["number"], 2);
    assert_eq!(status["environments"][0]["settled"]["bundle_digest"], json!(digest));
    let inspected = project.cdflow(["inspect", "1", "--json"]).run().json();
    assert_eq!(inspected["object"], format!("s3://{bucket}/{key}"));
    assert_eq!(inspected["bundle_digest"], json!(digest));
    assert_eq!(inspected["release"]["commit"], project.head());
    let source = "registry.terraform.io/hashicorp/aws";
    let provider = json!({ "source": source, "version": "5.100.0", "platform": platform() });
    assert_eq!(inspected["providers"], json!([provider]));

    // Destroyed: resources, state, lock and workspace are gone; the release and what happened stay.
    let output = project.cdflow(["destroy", "ci", "--confirm", "ci"]).run();
    eprintln!("destroy {:?}", output.elapsed);
    output.success().stderr_has("Destroyed shop in ci: 4 destroyed");
    assert!(aws.parameters(DEV).is_empty() && aws.roles(DEV).is_empty());
    let buckets = aws.call(DEV, "s3", "list_buckets", json!({}));
    assert!(!buckets.to_string().contains(&format!("{}-data", aws.name())), "{buckets}");
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    let ledger = "platform/shop/ledger/ci/9999999";
    let entries: Vec<String> = (996..=998)
        .flat_map(|count| ["end", "start"].map(|kind| format!("{ledger}{count}.{kind}.json")))
        .collect();
    assert_eq!(aws.keys(&bucket), entries.into_iter().chain([key]).collect::<Vec<_>>());
    assert!(
        aws.unfinished_uploads(&bucket).is_empty()
            && aws.unfinished_uploads(&aws.state_bucket()).is_empty()
    );
    project.cdflow(["status"]).run().success().stdout_has("ci           (destroyed)");
    clean(&project);
}

/// Nothing is left in TMPDIR, and nothing in the checkout was touched.
#[track_caller]
fn clean(project: &Project) {
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    assert_eq!(project.git(["status", "--porcelain", "--ignored"]), "");
}

/// The resources were made as the environment's account, the state was written as the release
/// account.
#[track_caller]
fn two_identities(aws: &Aws, probe: &Probe) {
    let (provider, backend) = (probe.provider(), probe.backend());
    assert_ne!(provider["AccessKeyId"], backend["AccessKeyId"]);
    assert_eq!(probe.provider_again(), provider);
    assert_eq!(probe.stranger()["status"], 403, "{}", probe.stranger());
    let keys = |containing: &str| -> BTreeSet<String> {
        let calls = aws.calls(containing);
        let calls =
            calls.iter().filter(|call| call["agent"].as_str().unwrap().contains("Terraform/"));
        calls.map(|call| call["key"].as_str().unwrap().to_owned()).collect()
    };
    let only = |credentials: &Value| {
        BTreeSet::from([credentials["AccessKeyId"].as_str().unwrap().to_owned()])
    };
    assert_eq!(keys(&format!("/{}", aws.state_bucket())), only(&backend));
    assert_eq!(keys(&format!("/{}-data-ci", aws.name())), only(&provider));
    assert!(keys("AmazonSSM.PutParameter").is_superset(&only(&provider)));
    assert!(!keys("AmazonSSM.").is_superset(&only(&backend)));
    // Who cdflow was started as reads the account scheme, and no other object.
    let scheme = format!("GET /{}/account-scheme.json?", aws.scheme_bucket());
    for call in
        aws.calls(&format!("/{}-", aws.name())).iter().filter(|call| call["key"] == AMBIENT_KEY)
    {
        assert!(call["line"].as_str().unwrap().starts_with(&scheme), "{call}");
    }
}

/// No ambient key and no session's key on a command line, in an environment, in a file of ours, in
/// the saved plan, in what is stored, in the checkout.
#[track_caller]
fn no_key_anywhere(aws: &Aws, project: &Project, probe: &Probe, seen: [&Seen; 2]) {
    let mut keys: Vec<String> = vec![AMBIENT_KEY.to_owned(), AMBIENT_SECRET.to_owned()];
    for (credentials, token) in [(probe.provider(), "Token"), (probe.backend(), "SessionToken")] {
        for field in ["AccessKeyId", "SecretAccessKey", token] {
            keys.push(
                credentials[field].as_str().filter(|key| key.len() >= 16).unwrap().to_owned(),
            );
        }
    }
    let holds = |content: &[u8], key: &str| {
        content.windows(key.len()).any(|window| window == key.as_bytes())
    };
    let check = |place: &str, content: &[u8]| {
        for key in &keys {
            assert!(!holds(content, key), "{place} holds {key}");
        }
    };
    // That what is looked for would be found.
    let noted = fs::read(project.sandbox().work().join("seen/provider.json")).unwrap();
    assert_eq!(keys.iter().filter(|key| holds(&noted, key)).count(), 3);

    let environment = probe.environment();
    for name in environment.keys() {
        let allowed = [
            "AWS_CONTAINER_",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
        ];
        let allowed = allowed.iter().chain(&["AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"]);
        assert!(
            !name.starts_with("AWS_") || allowed.clone().any(|allowed| name.starts_with(allowed)),
            "{name}"
        );
    }
    check("the environment of local-exec", json!(environment).to_string().as_bytes());
    for seen in seen {
        assert!(seen.environments.contains_key("terraform"), "{:?}", seen.environments.keys());
        seen.command_lines.iter().for_each(|line| check("a command line", line.as_bytes()));
        for (program, variables) in &seen.environments {
            variables.iter().for_each(|variable| {
                check(&format!("the environment of {program}"), variable.as_bytes())
            });
        }
    }
    let programs: Vec<&String> = seen[1].environments.keys().collect();
    assert!(
        programs.iter().any(|program| program.starts_with("terraform-provider-aws")),
        "{programs:?}"
    );

    let files = probe.files();
    for wanted in [
        "/aws-config",
        "/plan",
        "/plan!tfplan",
        "/variables.tfvars.json",
        "/.terraform/terraform.tfstate",
    ] {
        assert!(files.iter().any(|(name, _)| name.ends_with(wanted)), "{wanted} was not seen");
    }
    files.iter().for_each(|(name, content)| check(name, content));
    for (path, mode) in probe.modes() {
        match path.split_once('/') {
            None if path.ends_with(".lock") => assert_eq!(mode, "0o600", "{path}"),
            None => assert_eq!(mode, "0o700", "{path}"),
            Some((_, name))
                if !name.contains('/') && name != "bundle" && name != "backend.sock" =>
            {
                assert_eq!(mode, "0o600", "{path}");
            }
            Some(_) => {}
        }
    }
    for file in files_under(&project.sandbox().root().join("work")) {
        // The notes of the probe are the one place where they are.
        if !file.starts_with("seen/") {
            check(&file, &fs::read(project.sandbox().work().join(&file)).unwrap());
        }
    }
    for bucket in [aws.release_bucket(), aws.state_bucket()] {
        for key in aws.keys(&bucket).iter().filter(|key| !key.ends_with(".zip")) {
            check(key, &aws.get(&bucket, key));
        }
    }
}
