//! Failures of Terraform whose cause is the machine or the state, not the code: each has its exit
//! code and its own fix.

use crate::aws_state::{table_name, table_rows, with_locks};
use crate::support::{Mirror, Project, RELEASE};
use serde_json::json;

/// Of messages about failures of the code.
const OF_THE_CODE: &str = "fix the code";

#[test]
fn a_temporary_folder_where_no_provider_can_start() {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny());
    project.releasing("1").run().success();
    let shell = "command -p unshare --user --map-root-user --mount sh -c \
                 'command -p mount -t tmpfs -o noexec none \"$TMPDIR\" && exec \"$0\" \"$@\"' \
                 \"$0\" \"$@\"";
    let output = project.cdflow(["deploy", "ci", "1"]).in_shell(shell).run();
    output
        .fails(2)
        .stderr_has("error: a provider cannot be started from the temporary folder")
        .stderr_has("-> set TMPDIR to a folder whose file system allows programs")
        .lacks(OF_THE_CODE);
}

/// Terraform reads the state again for ten seconds before it gives up.
#[test]
fn a_state_that_does_not_match_its_digest() {
    let (aws, project) = with_locks("mismatch", Some(false), true);
    project.release("1");
    project.deploy("ci", "1");
    let rows = table_rows(&aws);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let item = json!({ "LockID": { "S": row }, "Digest": { "S": "0".repeat(32) } });
    let args = json!({ "TableName": table_name(&aws), "Item": item });
    aws.call(RELEASE, "dynamodb", "put_item", args);
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output
        .fails(9)
        .stderr_has("the state does not match its digest in the lock table")
        .stderr_has("`terraform-backend-s3-dynamodb-table`")
        .lacks(OF_THE_CODE);
    assert_eq!(table_rows(&aws), rows, "no lock is left");
}

#[test]
fn a_lock_that_the_role_must_not_write() {
    let (aws, project) = with_locks("denied", None, false);
    project.release("1");
    project.deploy("ci", "1");
    let line = format!("PUT /{}/platform/shop/ci/terraform.tfstate.tflock", aws.state_bucket());
    let body = "<Error><Code>AccessDenied</Code><Message>no s3:PutObject</Message></Error>";
    aws.rule(json!({ "matching": line, "status": 403, "body": body }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output
        .fails(4)
        .stderr_has("access to the state or its lock is denied")
        .stderr_has("no s3:PutObject")
        .lacks(OF_THE_CODE);
}
