//! The limits of AWS, and of GitHub's service for ID tokens.

use crate::classic;
use crate::support::silent::{Reply, answering, full};
use crate::support::{Aws, Output, Project, RELEASE, Runner};
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[track_caller]
fn over(project: &Project, output: &Output) {
    assert_eq!(project.sandbox().left_behind(), [""; 0], "{output}");
    assert!(output.elapsed < Duration::from_secs(20), "{output}");
    output.lacks("panicked");
}

/// `aws-connect`: no connection to anything. `aws-idle`: the body of the account scheme does not go
/// on.
#[test]
fn aws_takes_no_connection_or_stops_in_the_middle() {
    let aws = Aws::new("waiting");
    let project = Project::aws("shop", &aws);
    let status = |limits: &str| project.cdflow(["status"]).env("CDFLOW_LIMITS", limits);
    let unconnected = status("aws-connect=1s,aws-patience=1s")
        .env("AWS_ENDPOINT_URL", format!("http://{}", full()))
        .spawn();
    let stopping = status("aws-idle=1s,aws-patience=1s")
        .env("AWS_ENDPOINT_URL_S3", format!("http://{}", answering(|_| Reply::Begun)))
        .spawn();
    for (running, says) in [
        (unconnected, "no connection in any attempt within 1 s (the limit `aws-connect`)"),
        (stopping, "within 1 s (the limit `aws-idle`)"),
    ] {
        let output = running.wait();
        output.fails(10).stderr_has(says);
        over(&project, &output);
    }
}

/// `aws-transfer`, and `aws-patience` for its attempts.
#[test]
fn an_upload_that_is_not_answered() {
    let aws = Aws::new("transfer");
    let project = Project::aws("shop", &aws);
    let place = format!("PUT /{}/{}?", aws.release_bucket(), project.release_key("1"));
    aws.rule(json!({ "matching": place, "delay": 8 }));
    let limits = "aws-transfer=1s,aws-patience=1s,end=1s";
    let output = project.releasing("1").env("CDFLOW_LIMITS", limits).run();
    output
        .fails(10)
        .stderr_has("no answer to any attempt within 1 s (the limit `aws-transfer`)")
        .stderr_has("the attempts ended within 1 s (the limit `aws-patience`)");
    over(&project, &output);
}

/// `aws-table`
#[test]
fn a_lock_table_that_does_not_become_active() {
    let account = "410000000077";
    let aws = Aws::new("slowtable");
    aws.put_scheme(&classic::scheme(&aws, account));
    let project = Project::aws("shop", &aws);
    project.release("1");
    let is_created = AtomicBool::new(false);
    let tables = answering(move |head| {
        let kind = "content-type: application/x-amz-json-1.0\r\n";
        let table = json!({ "TableStatus": "CREATING", "TableName": "terraform_locks",
            "KeySchema": [{ "AttributeName": "LockID", "KeyType": "HASH" }] });
        if head.contains(".CreateTable") {
            is_created.store(true, Ordering::Relaxed);
            Reply::Http(200, kind, json!({ "TableDescription": table }).to_string())
        } else if is_created.load(Ordering::Relaxed) {
            Reply::Http(200, kind, json!({ "Table": table }).to_string())
        } else {
            let missing = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
            Reply::Http(400, kind, json!({ "__type": missing, "message": "none" }).to_string())
        }
    });
    let output = project
        .cdflow(["deploy", "ci", "1"])
        .env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{tables}"))
        .env("CDFLOW_LIMITS", "aws-table=1s")
        .run();
    output.fails(10).stderr_has("it did not become active within 1 s (the limit `aws-table`)");
    over(&project, &output);
}

/// `id-connect` and `id-answer`; `id-patience` ends the attempts.
#[test]
fn no_id_token_comes() {
    let aws = Aws::new("idtoken");
    let project = Project::aws("shop", &aws);
    let step = |address: String, limits: &str| -> Runner {
        let runner = project.cdflow([] as [&str; 0]).env("GITHUB_ACTIONS", "true");
        runner
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("http://{address}/idtoken"))
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "rightToAskRightToAskRightToAsk000001")
            .env("INPUT_COMMAND", "status")
            .env("INPUT_AWS-ROLE-TO-ASSUME", format!("arn:aws:iam::{RELEASE}:role/runner"))
            .env("NO_COLOR", "1")
            .env("CDFLOW_LIMITS", limits)
    };
    let unconnected = step(full(), "id-connect=1s,id-patience=1s").spawn();
    let unanswered = step(answering(|_| Reply::Nothing), "id-answer=1s,id-patience=1s").spawn();
    for (running, says) in [
        (unconnected, "no connection within 1 s (the limit `id-connect`)"),
        (unanswered, "no answer within 1 s (the limit `id-answer`)"),
    ] {
        let output = running.wait();
        output.fails(10).stdout_has(says).stdout_has("within 1 s (the limit `id-patience`)");
        over(&project, &output);
    }
}

/// `credentials-socket`
#[test]
fn a_run_that_serves_no_credentials() {
    let project = Project::local("waiting");
    let socket = project.sandbox().work().join("s");
    let _listener = UnixListener::bind(&socket).unwrap();
    let ask = project.cdflow(["credential-process", socket.to_str().unwrap()]);
    let output = ask.env("CDFLOW_LIMITS", "credentials-socket=1s").run();
    output.fails(4).stderr_has("no answer within 1 s (the limit `credentials-socket`)");
    over(&project, &output);
}
