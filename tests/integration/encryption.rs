//! Buckets whose policy demands that every write names its encryption.

use crate::aws_state::with_locks;
use crate::support::{Aws, Project};
use serde_json::{Value, json};

const STATE: &str = "platform/shop/ci/terraform.tfstate";

fn key(id: &str) -> String {
    format!("arn:aws:kms:eu-west-1:111111111111:key/{id}23abcd-12ab-34cd-96ef-1234567890ab")
}

/// As a policy of the bucket would: each write to it, and each start of one in parts.
#[track_caller]
fn every_write_asks_for(aws: &Aws, bucket: &str, encryption: &str, key: &Value) -> Vec<String> {
    let calls = aws.calls(&format!("/{bucket}/"));
    let line = |call: &Value| call["line"].as_str().unwrap().to_owned();
    let is_write = |line: &str| {
        (line.starts_with("PUT") && !line.contains("uploadId=") && !line.contains("/?"))
            || (line.starts_with("POST") && line.contains("uploads"))
    };
    let writes: Vec<&Value> = calls.iter().filter(|call| is_write(&line(call))).collect();
    assert!(!writes.is_empty());
    for call in &writes {
        assert_eq!(
            (&call["encryption"], &call["encryption-key"]),
            (&json!(encryption), key),
            "{call}"
        );
    }
    writes.into_iter().map(line).collect()
}

/// Bundle, zip, ledger, state, lock file.
#[test]
fn every_object_of_a_deploy_is_encrypted_as_the_scheme_says() {
    let aws = Aws::new("kms");
    let mut scheme = aws.scheme();
    scheme["encryption"] = json!({
        "type": "aws:kms", "key": key("a1"), "keys": { aws.state_bucket(): key("b2") },
    });
    aws.put_scheme(&scheme);
    let project = Project::aws("shop", &aws);
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle():\n    return 1\n").commit("A function");
    project.release("1");
    project.deploy("ci", "1");
    let (releases, lambdas, states) =
        (aws.release_bucket(), aws.lambda_bucket(), aws.state_bucket());
    for (bucket, key) in [(&releases, key("a1")), (&lambdas, key("a1")), (&states, key("b2"))] {
        let keys = aws.keys(bucket);
        assert!(!keys.is_empty(), "{bucket}");
        for name in keys {
            let head = aws.head(bucket, &name).unwrap();
            assert_eq!(head["ServerSideEncryption"], "aws:kms", "{name}");
            assert_eq!(head["SSEKMSKeyId"], *key, "{name}");
        }
        let writes = every_write_asks_for(&aws, bucket, "aws:kms", &json!(key));
        if *bucket == states {
            assert!(writes.iter().any(|line| line.contains(".tflock")), "{writes:?}");
        }
    }
    assert!(aws.keys(&releases).iter().any(|name| name.contains("/ledger/")));
    assert_eq!(aws.keys(&states), [STATE]);
}

/// The copy of a state that could not be saved is written by cdflow itself.
#[test]
fn a_recovery_copy_is_encrypted_too() {
    let (aws, project) = with_locks("aes", None, false);
    let mut scheme = aws.scheme();
    scheme["encryption"] = json!({ "type": "AES256" });
    aws.put_scheme(&scheme);
    project.release("1");
    project.deploy("ci", "1");
    project.release("2");
    aws.rule(json!({
        "matching": format!("PUT /{}/{STATE}?", aws.state_bucket()), "times": 1000, "status": 403,
        "body": "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    }));
    project.cdflow(["deploy", "ci", "2"]).run().fails(7);
    let keys = aws.keys(&aws.state_bucket());
    assert_eq!(keys.len(), 2, "{keys:?}");
    for name in keys {
        let head = aws.head(&aws.state_bucket(), &name).unwrap();
        assert_eq!(head["ServerSideEncryption"], "AES256", "{name}");
    }
    every_write_asks_for(&aws, &aws.state_bucket(), "AES256", &Value::Null);
    every_write_asks_for(&aws, &aws.release_bucket(), "AES256", &Value::Null);
}

/// A release whose scheme had no encryption is deployed with that of today.
#[test]
fn an_older_release_is_deployed_with_the_encryption_of_today() {
    let aws = Aws::new("later");
    let project = Project::aws("shop", &aws);
    project.release("1");
    let mut scheme = aws.scheme();
    scheme["encryption"] = json!({ "type": "aws:kms", "key": key("c3") });
    aws.put_scheme(&scheme);
    project.deploy("ci", "1");
    every_write_asks_for(&aws, &aws.state_bucket(), "aws:kms", &json!(key("c3")));
}

/// S3 alone somewhere else, at an address that no bucket can be put before.
#[test]
fn an_endpoint_for_s3_alone_is_enough() {
    let aws = Aws::new("s3-alone");
    let project = Project::aws("shop", &aws);
    for arguments in
        [vec!["release", "1", "--platform-config", "platform-config"], vec!["deploy", "ci", "1"]]
    {
        let run = project.cdflow(arguments).env("AWS_ENDPOINT_URL", "");
        let run = ["S3", "STS", "SSM", "DYNAMODB", "SECRETS_MANAGER"]
            .into_iter()
            .fold(run, |run, of| run.env(format!("AWS_ENDPOINT_URL_{of}"), aws.endpoint()));
        run.run().success();
    }
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE]);
}
