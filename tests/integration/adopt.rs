//! A state that plain Terraform made becomes an environment's.

use crate::support::{Aws, DEV, Project, terraform};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const OURS: &str = "platform/shop/ci/terraform.tfstate";
const THEIRS: &str = "legacy/shop.tfstate";

/// Applies the project's code with plain Terraform, as its release 1 would; the folder.
fn by_hand(project: &Project, domain: &str) -> PathBuf {
    let folder = project.sandbox().work().join("by-hand");
    fs::create_dir(&folder).unwrap();
    fs::copy(project.path("infra/main.tf"), folder.join("main.tf")).unwrap();
    terraform(project.sandbox(), &folder, ["init"]).run().success();
    let values =
        ["env=ci", "release={version=\"1\"}", "greeting=Hello", &format!("domain={domain}")];
    let values = values.iter().flat_map(|value| ["-var".to_owned(), (*value).to_owned()]);
    let apply = ["apply", "-auto-approve"].map(str::to_owned).into_iter().chain(values);
    terraform(project.sandbox(), &folder, apply).run().success();
    folder
}

/// The state lies in a bucket of somebody else.
fn in_s3(name: &str) -> (Aws, Project, String, Value) {
    let aws = Aws::new(name);
    let project = Project::aws("shop", &aws);
    project.release("1");
    let state = fs::read(by_hand(&project, "dev.example").join("terraform.tfstate")).unwrap();
    let bucket = format!("{}-legacy", aws.name());
    aws.create_bucket(&bucket);
    aws.put(&bucket, THEIRS, &state);
    (aws, project, bucket, serde_json::from_slice(&state).unwrap())
}

#[test]
fn a_state_in_s3_is_adopted() {
    let (aws, project, bucket, state) = in_s3("adopt");
    let from = format!("s3://{bucket}/{THEIRS}");
    let serial = format!("serial {}", state["serial"]);
    let adopt =
        |version: &[&str]| project.cdflow(["adopt", "ci", "--from", &from]).args(version).run();
    adopt(&["9"]).fails(2).stderr_has("release 9 of `shop` is not published");
    assert!(aws.keys(&aws.state_bucket()).is_empty());

    let output = adopt(&["1"]);
    output
        .success()
        .stderr_has("copied to s3://")
        .stderr_has(&format!("and verified; {from} is unchanged"));
    output
        .stderr_has(&format!("1 resource(s), {serial}, lineage "))
        .stderr_has("Planned only: no changes");
    assert_eq!(aws.keys(&aws.state_bucket()), [OURS]);
    assert_eq!(aws.get(&aws.state_bucket(), OURS), aws.get(&bucket, THEIRS));
    assert_eq!(aws.keys(&bucket), [THEIRS]);
    assert!(
        aws.requests(&format!("PUT /{bucket}/{THEIRS}")).len() == 1,
        "nothing is written beside the source"
    );
    assert_eq!(aws.keys(&aws.release_bucket()), [project.release_key("1")], "not in the ledger");

    adopt(&[])
        .success()
        .stderr_has(&format!("already at s3://{}/{OURS} ({serial})", aws.state_bucket()))
        .stderr_has("cdflow deploy ci VERSION --plan-only");
    project.release("2");
    let output = adopt(&["2"]);
    output
        .success()
        .stdout_has("terraform_data.greeting")
        .stderr_has("Planned only: 0 to add, 1 to change, 0 to destroy");
    project.deploy("ci", "1").stderr_has("Deployed shop 1 to ci: no changes");
    assert_eq!(aws.get_json(&aws.state_bucket(), OURS)["lineage"], state["lineage"]);
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn a_state_in_a_file_is_adopted() {
    let project = Project::local("greeting");
    project.release("1");
    let folder = by_hand(&project, "local.example");
    let output =
        project.cdflow(["adopt", "ci", "1", "--from", "file:../by-hand/terraform.tfstate"]).run();
    output.success().stderr_has("Planned only: no changes");
    let theirs = fs::read(folder.join("terraform.tfstate")).unwrap();
    assert_eq!(fs::read(project.state_file("ci")).unwrap(), theirs);
    project.deploy("ci", "1").stderr_has("Deployed greeting 1 to ci: no changes");
    assert_eq!(fs::read(folder.join("terraform.tfstate")).unwrap(), theirs);
    // The same state twice.
    let output =
        project.cdflow(["adopt", "aslive", "--from", "file:../by-hand/terraform.tfstate"]).run();
    output
        .success()
        .stderr_has("warning: `ci` has a copy of the same state: both manage the same resources")
        .stderr_has("-> keep one: if `aslive` replaces `ci`, delete file:");
    output.lacks("`aslive` has a copy");

    for (from, says) in [
        ("file:../by-hand/gone", "cannot read the state"),
        ("file:", "s3://bucket/key or file:path"),
        ("../by-hand/terraform.tfstate", "s3://bucket/key or file:path"),
        ("s3://bucket", "s3://bucket/key or file:path"),
        ("s3://bucket/key", "cannot read s3://bucket/key: the account"),
    ] {
        project.cdflow(["adopt", "live", "--from", from]).run().fails(2).stderr_has(says);
    }
    project.write("no.tfstate", "{\"version\": 4, \"serial\": 1, \"resources\": [{}]}");
    let slip = ["adopt", "liev", "--from", "file:no.tfstate"];
    project.refuses(
        slip,
        3,
        &["only \"*\" of the account scheme matches `liev`", "--new-environment"],
    );
    let output = project.cdflow(["adopt", "live", "--from", "file:no.tfstate"]).run();
    output.fails(9).stderr_has("is not a Terraform state: it has no lineage");
    assert_eq!(project.state("live"), None);
}

#[test]
fn another_state_is_not_replaced() {
    let (aws, project, bucket, _) = in_s3("adopt-other");
    project.deploy("ci", "1");
    let before = aws.get(&aws.state_bucket(), OURS);
    let output =
        project.cdflow(["adopt", "ci", "1", "--from", &format!("s3://{bucket}/{THEIRS}")]).run();
    output.fails(3).stderr_has(&format!(
        "another state already exists at `s3://{}/{OURS}`",
        aws.state_bucket()
    ));
    assert_eq!(aws.get(&aws.state_bucket(), OURS), before);
    assert_eq!((aws.keys(&aws.state_bucket()).len(), aws.keys(&bucket).len()), (1, 1));
    // Where nothing is, there is nothing to adopt.
    let output = project
        .cdflow(["adopt", "live", "--from", &format!("s3://{bucket}/legacy/live.tfstate")])
        .run();
    output
        .fails(2)
        .stderr_has("state not found or empty: s3://")
        .stderr_has("<workspace_key_prefix>/<workspace>/<key>");
}

#[test]
fn a_locked_source_is_refused() {
    let (aws, project, bucket, _) = in_s3("adopt-locked");
    let from = format!("s3://{bucket}/{THEIRS}");
    let info = json!({ "ID": "5f3c8b9a", "Operation": "OperationTypeApply", "Who": "ada@build-7" })
        .to_string();
    let lock = format!("{THEIRS}.tflock");
    aws.put(&bucket, &lock, info.as_bytes());
    let output = project.cdflow(["adopt", "ci", "--from", &from]).run();
    output
        .fails(8)
        .stderr_has(&format!("the state is locked at `s3://{bucket}/{lock}`"))
        .stderr_has("ada@build-7");
    aws.delete(&bucket, &lock);

    let table = format!("{}-locks", aws.name());
    let request = json!({
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "LockID", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "LockID", "KeyType": "HASH" }],
    });
    aws.call(DEV, "dynamodb", "create_table", request);
    let row = json!({ "LockID": { "S": format!("{bucket}/{THEIRS}") }, "Info": { "S": info } });
    aws.call(DEV, "dynamodb", "put_item", json!({ "TableName": table, "Item": row }));
    let output =
        project.cdflow(["adopt", "ci", "--from", &from, "--from-lock-table", &table]).run();
    output
        .fails(8)
        .stderr_has(&format!("the state is locked at `DynamoDB table {table}, {bucket}/{THEIRS}`"));
    assert!(aws.keys(&aws.state_bucket()).is_empty());

    // As a step of a workflow.
    let step = project.cdflow([""; 0]).env("GITHUB_ACTIONS", "true").env("INPUT_COMMAND", "adopt");
    let step = step.env("INPUT_ENVIRONMENT", "ci").env("INPUT_FROM", &from);
    step.clone().env("INPUT_FROM-LOCK-TABLE", &table).run().fails(8);
    step.run().success();
    assert_eq!(aws.keys(&aws.state_bucket()), [OURS]);
}
