//! The classic layout: keys without the team, and the state in the environment's own account, in a
//! bucket that is found by its tag. Each test has an account of its own, because such a bucket is
//! looked for among all of the account's.

use crate::support::{Aws, Project, REGION, RELEASE};
use serde_json::{Value, json};

pub(crate) const TAG: &str = "is-cdflow-tfstate-bucket";
const STATE: &str = "ci/shop/terraform.tfstate";

/// `account` is that of every environment.
pub(crate) fn scheme(aws: &Aws, account: &str) -> Value {
    let mut scheme = aws.scheme();
    scheme["accounts"]["dev"]["id"] = json!(account);
    scheme["classic-metadata-handling"] = json!(true);
    scheme.as_object_mut().unwrap().remove("terraform-backend-s3-bucket");
    scheme
}

fn classic(name: &str, account: &str) -> (Aws, Project) {
    let aws = Aws::new(name);
    aws.put_scheme(&scheme(&aws, account));
    let project = Project::aws("shop", &aws);
    (aws, project)
}

/// A bucket as the predecessor has made it.
pub(crate) fn tagged_bucket(aws: &Aws, account: &str, region: &str, name: &str) -> String {
    let bucket = format!("{}-{name}", aws.name());
    aws.create_bucket_of(account, region, &bucket);
    let tags = json!({ "TagSet": [{ "Key": TAG, "Value": "true" }] });
    aws.call(account, "s3", "put_bucket_tagging", json!({ "Bucket": bucket, "Tagging": tags }));
    bucket
}

fn buckets(aws: &Aws, account: &str) -> Vec<String> {
    let listed = aws.call(account, "s3", "list_buckets", json!({}));
    listed["Buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["Name"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn rows(aws: &Aws, account: &str) -> Vec<String> {
    let rows = aws.call(account, "dynamodb", "scan", json!({ "TableName": "terraform_locks" }));
    rows["Items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["LockID"]["S"].as_str().unwrap().to_owned())
        .collect()
}

fn lock_info() -> String {
    json!({ "ID": "5f3c8b9a-1111-2222-3333-444455556666", "Operation": "OperationTypeApply",
        "Who": "ada@build-7",
        "Created": "2026-11-20T10:00:00Z" })
    .to_string()
}

#[test]
fn a_life_in_the_classic_layout() {
    let account = "410000000001";
    let (aws, project) = classic("classic-life", account);
    project.release("1");
    assert_eq!(aws.keys(&aws.release_bucket()), ["shop/shop-1.zip"]);
    assert!(buckets(&aws, account).is_empty());

    // A plan makes nothing, and a bucket neither.
    let output = project.cdflow(["deploy", "ci", "1", "--plan-only"]).run();
    output.fails(2).stderr_has("`ci` has no state bucket yet").stderr_has("without --plan-only");
    project.cdflow(["unlock", "ci"]).run().success().stdout_is("the state of ci is not locked\n");
    assert!(buckets(&aws, account).is_empty());

    let output = project.deploy("ci", "1");
    output.stderr_has(&format!("creating a state bucket in account {account}, {REGION}"));
    output
        .stderr_has("creating the lock table terraform_locks")
        .stderr_has("Deployed shop 1 to ci: 1 added");
    let found = buckets(&aws, account);
    assert!(found.len() == 1 && found[0].starts_with("cdflow-tfstate-"), "{found:?}");
    let bucket = &found[0];
    let ask = |method: &str| aws.call(account, "s3", method, json!({ "Bucket": bucket }));
    assert_eq!(ask("get_bucket_tagging")["TagSet"], json!([{ "Key": TAG, "Value": "true" }]));
    assert_eq!(ask("get_bucket_versioning")["Status"], "Enabled");
    let closed = &ask("get_public_access_block")["PublicAccessBlockConfiguration"];
    assert!(closed.as_object().unwrap().values().all(|on| on == true), "{closed}");
    assert_eq!(aws.keys(bucket), [STATE]);
    // Both locks were taken: the lock file, and the row, beside which Terraform keeps the state's
    // digest.
    assert!(aws.requests(&format!("PUT /{bucket}/{STATE}.tflock")).len() >= 2);
    assert_eq!(rows(&aws, account), [format!("{bucket}/{STATE}-md5")]);
    let ledger = aws.keys(&aws.release_bucket());
    assert!(ledger.contains(&"shop/ledger/ci/9999999998.end.json".to_owned()), "{ledger:?}");

    // Found again, with nothing new made.
    project.deploy("ci", "1").lacks("creating").stderr_has("Deployed shop 1 to ci: no changes");
    project
        .cdflow(["deploy", "ci", "1", "--plan-only"])
        .run()
        .success()
        .stderr_has("Planned only: no changes");
    assert_eq!(buckets(&aws, account), found);
    project.cdflow(["status"]).run().success().stdout_has("ci           1");
    project
        .cdflow(["deploy", "ci", "1", "--new-environment"])
        .run()
        .fails(3)
        .stderr_has("already has a state");

    let output = project.cdflow(["destroy", "ci", "--confirm", "ci"]).run();
    output
        .success()
        .stderr_has("the state is now empty; its object is kept")
        .stderr_has("Destroyed shop in ci: 1 destroyed");
    assert_eq!(aws.keys(bucket), [STATE]);
    let output = project.cdflow(["destroy", "ci", "--confirm", "ci"]).run();
    output.success().stderr_has("Nothing to destroy");
    let output = project.cdflow(["deploy", "ci", "1", "--new-environment"]).run();
    output.success().stderr_has("Deployed shop 1 to ci: 1 added");
    let output = project.cdflow(["prune", "--keep", "0", "--older-than", "0s"]).run();
    output.success().stderr_has("No release to delete: 1 release(s)");
    let output = project.cdflow(["doctor", "ci"]).run();
    output.stdout_has(&format!("s3://{bucket}/ in account {account}, {REGION}"));
    output.stdout_has(&format!("the table terraform_locks in account {account}, {REGION}"));
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn a_function_of_the_classic_layout_has_no_team_in_its_key() {
    let (aws, project) = classic("classic-lambda", "410000000002");
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle(event, context): return {}\n").commit("A function");
    project.release("1");
    assert_eq!(aws.keys(&aws.lambda_bucket()), ["shop/shop-1.zip"]);
    assert_eq!(aws.keys(&aws.release_bucket()), ["shop/shop-1.zip"]);
    let shown = project.cdflow(["inspect", "1", "--json"]).run().success().json();
    assert_eq!(shown["release"]["s3_key"], "shop/shop-1.zip");
}

#[test]
fn two_tagged_buckets_are_refused() {
    let account = "410000000003";
    let (aws, project) = classic("classic-two", account);
    let (one, two) =
        (tagged_bucket(&aws, account, REGION, "one"), tagged_bucket(&aws, account, REGION, "two"));
    project.release("1");
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(3).stderr_has(&format!(
        "2 buckets of account {account}, {REGION} are tagged `{TAG}`: {one}, {two}: it is \
        unknown which of them has the states"
    ));
    assert!(aws.keys(&one).is_empty() && aws.keys(&two).is_empty());
    assert_eq!(buckets(&aws, account).len(), 2);
    let output = project.cdflow(["doctor", "ci"]).run();
    output.stdout_has("are tagged").stdout_has("no table terraform_locks");

    // Of a bucket that may not be asked, and of one in another region, nobody knows that it is one.
    aws.rule(json!({ "matching": format!("GET /{two}"), "status": 403,
        "body": "<Error><Code>AccessDenied</Code><Message>no</Message></Error>" }));
    tagged_bucket(&aws, account, "eu-central-1", "elsewhere");
    project.deploy("ci", "1").stderr_has("Deployed shop 1 to ci: 1 added");
    assert_eq!(aws.keys(&one), [STATE]);
}

#[test]
fn a_half_made_bucket_is_finished() {
    let account = "410000000006";
    let (aws, project) = classic("classic-half", account);
    let mut scheme = scheme(&aws, account);
    scheme["accounts"]["dev"]["region"] = json!("ap-southeast-2");
    aws.put_scheme(&scheme);
    project
        .write("platform-config/dev/ap-southeast-2.json", "{\"domain\": \"sydney.example\"}")
        .commit("Sydney");
    // The first of the region's names belongs to somebody else, the second is ours: made, and not
    // tagged any more.
    let (theirs, ours) = ("cdflow-tfstate-7b5bd36484d3", "cdflow-tfstate-2c3a6e4567cc");
    aws.create_bucket_in("ap-southeast-2", theirs);
    aws.create_bucket_of(account, "ap-southeast-2", ours);
    project.release("1");
    project.deploy("ci", "1").stderr_has(&format!("the new state bucket is {ours}"));
    assert_eq!(buckets(&aws, account), [ours]);
    let tags = aws.call(account, "s3", "get_bucket_tagging", json!({ "Bucket": ours }));
    assert_eq!(tags["TagSet"][0]["Key"], TAG);
    assert_eq!(aws.keys(ours), [STATE]);
    project.deploy("ci", "1").stderr_has("no changes");

    // If its tags can't be read, no other is made.
    aws.rule(json!({ "matching": format!("GET /{ours}"), "status": 403,
        "body": "<Error><Code>AccessDenied</Code><Message>no</Message></Error>" }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output
        .fails(4)
        .stderr_has(&format!("whether `{ours}` has the states of account {account}"))
        .lacks("creating");
}

#[test]
fn a_table_that_can_not_lock_is_refused() {
    let account = "410000000004";
    let (aws, project) = classic("classic-table", account);
    let bucket = tagged_bucket(&aws, account, REGION, "classic");
    let table = json!({
        "TableName": "terraform_locks",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "Id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "Id", "KeyType": "HASH" }],
    });
    aws.call(account, "dynamodb", "create_table", table);
    project.release("1");
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(2).stderr_has(&format!(
        "the table `terraform_locks` of account {account}, {REGION} cannot be used for locks: its \
        key is not `LockID`"
    ));
    assert!(aws.keys(&bucket).is_empty());
}

#[test]
fn the_lock_of_a_classic_state_is_respected_and_released() {
    let account = "410000000005";
    let (aws, project) = classic("classic-locked", account);
    let bucket = tagged_bucket(&aws, account, REGION, "classic");
    project.release("1");
    project.deploy("ci", "1");
    // As the predecessor locks: in the table alone.
    let row =
        json!({ "LockID": { "S": format!("{bucket}/{STATE}") }, "Info": { "S": lock_info() } });
    aws.call(
        account,
        "dynamodb",
        "put_item",
        json!({ "TableName": "terraform_locks", "Item": row }),
    );
    project.cdflow(["deploy", "ci", "1"]).run().fails(8).stderr_has("ada@build-7");
    let unlock = |more: &[&str]| project.cdflow(["unlock", "ci"]).args(more).run();
    unlock(&[]).success().stdout_has("DynamoDB table terraform_locks").stdout_has("ada@build-7");
    unlock(&["--force", "5f3c8b9a-1111-2222-3333-444455556666"]).success();
    project.deploy("ci", "1").stderr_has("no changes");
    // The release account has nothing of it.
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    let tables = aws.call(RELEASE, "dynamodb", "list_tables", json!({}));
    assert!(
        !tables["TableNames"].as_array().unwrap().contains(&json!("terraform_locks")),
        "{tables}"
    );
}
