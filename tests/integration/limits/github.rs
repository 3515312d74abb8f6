//! The limits of GitHub: a run ends as it would without it, and says what is missing.

use crate::support::github::{GitHub, TOKEN};
use crate::support::silent::{Reply, answering, full};
use crate::support::{Aws, Project, Runner, pull_request_event};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;

fn release(project: &Project, address: &str, limits: &str) -> Runner {
    let inputs = [
        ("COMMAND", "release"),
        ("VERSION", "1"),
        ("PLATFORM-CONFIG", "platform-config"),
        ("CREATE-GITHUB-RELEASE", "true"),
        ("GITHUB-TOKEN", TOKEN),
    ];
    project
        .cdflow([] as [&str; 0])
        .envs(inputs.map(|(name, value)| (format!("INPUT_{name}"), value)))
        .envs(GitHub::start().env())
        .env("GITHUB_API_URL", format!("http://{address}"))
        .env("GITHUB_REF_TYPE", "tag")
        .env("GITHUB_REF_NAME", "v1")
        .env("NO_COLOR", "1")
        .env("CDFLOW_LIMITS", limits)
}

/// `github-connect`, `github-answer` and `github-patience`
#[test]
fn github_does_not_answer_a_release() {
    let busy = || Reply::Http(429, "retry-after: 30\r\n", "{}".to_owned());
    let cases = [
        (full(), "github-connect=1s", "no connection within 1 s (the limit `github-connect`)"),
        (
            answering(|_| Reply::Nothing),
            "github-answer=1s",
            "no answer within 1 s (the limit `github-answer`)",
        ),
        (
            answering(move |_| busy()),
            "github-patience=1s",
            "within 1 s (the limit `github-patience`)",
        ),
    ];
    let running: Vec<_> = cases
        .into_iter()
        .map(|(address, limits, says)| {
            let project = Project::local("greeting");
            let running = release(&project, &address, limits).spawn();
            (project, running, says)
        })
        .collect();
    for (project, running, says) in running {
        let output = running.wait();
        output
            .success()
            .stdout_has("::warning::")
            .stdout_has(says)
            .stdout_has("Released greeting 1");
        assert_eq!(project.sandbox().left_behind(), [""; 0], "{output}");
        assert!(output.elapsed.as_secs() < 25, "{output}");
    }
}

/// A deploy for a pull request, with a GitHub that never answers.
fn deploy(project: &Project, environment: &str, limits: &str) -> Runner {
    let event = pull_request_event(7, &project.head(), "open", &[]);
    let arguments = ["deploy", environment, "1", "--verbose"];
    let silent = answering(|_| Reply::Nothing);
    project
        .for_pull_request(&GitHub::start(), &event, 1, &arguments)
        .env("GITHUB_API_URL", format!("http://{silent}"))
        .env("GITHUB_GRAPHQL_URL", format!("http://{silent}/graphql"))
        .env("CDFLOW_LIMITS", limits)
}

/// `deployment`, `announcement` and `comment`
#[test]
fn github_does_not_answer_a_deploy() {
    let project = Project::local("greeting");
    let go = project.sandbox().work().join("go");
    project.append(
        "infra/main.tf",
        &format!(
            "resource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{\n    \
             command = \"while [ ! -e {} ]; do sleep 0.2; done\"\n  }}\n}}\n",
            go.display()
        ),
    );
    project.commit("Slow");
    project.release("1");
    let limits = "deployment=1s,announcement=1s,comment=1s";
    let mut running = deploy(&project, "live", limits).spawn();
    running.wait_for("is applying: GitHub did not answer within 1 s (the limit `announcement`)");
    fs::write(&go, "").unwrap();
    let output = running.wait();
    output
        .success()
        .stdout_has(
            "this deployment wrongly: it did not answer within 1 s (the limit `deployment`)",
        )
        .stdout_has("show this run: GitHub did not answer within 1 s (the limit `comment`)");
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
}

/// `comment-read`: the ledger of another environment.
#[test]
fn a_ledger_that_is_read_for_the_comment_does_not_answer() {
    let aws = Aws::new("slowledger");
    let project = Project::aws("shop", &aws);
    project.release("1");
    let (bucket, key) = (aws.release_bucket(), "platform/shop/ledger/aslive/9999999998.start.json");
    aws.put(&bucket, key, b"{}");
    aws.rule(json!({ "matching": format!("GET /{bucket}/{key}"), "delay": 6 }));
    let run = deploy(&project, "ci", "comment-read=1s,comment=1s").arg("--plan-only");
    let output = run.run();
    output
        .success()
        .stdout_has("the release store did not answer within 1 s (the limit `comment-read`)");
}

/// `comment-stop`
#[test]
fn github_does_not_answer_a_run_that_is_told_to_stop() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project.terraform_but("plan) echo 'slow: Reading...'; exec sleep 60;;");
    let limits = "deployment=1s,comment-stop=1s";
    let mut running = deploy(&project, "live", limits).env("PATH", path).spawn();
    running.wait_for("slow");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output
        .fails(130)
        .stdout_has("show this run: GitHub did not answer within 1 s (the limit `comment-stop`)");
    assert_eq!(project.sandbox().left_behind(), [""; 0], "{output}");
}

/// `cancel`: the limits of the steps, one after the other, would be longer.
#[test]
fn neither_the_store_nor_github_answers_a_run_that_is_told_to_stop() {
    let aws = Aws::new("silentboth");
    let project = Project::aws("shop", &aws);
    project.release("1");
    let bucket = aws.release_bucket();
    let line = format!("PUT /{bucket}/platform/shop/ledger/ci/");
    aws.rule(json!({ "matching": line, "delay": 60 }));
    let mut running = deploy(&project, "ci", "deployment=1s").spawn();
    running.wait_until("the request", |_| !aws.calls(&line).is_empty());
    aws.rule(json!({ "matching": format!("GET /{bucket}"), "delay": 60 }));
    let began = std::time::Instant::now();
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output
        .fails(130)
        .stdout_has("cancelled while writing the start of this run to the ledger")
        .stdout_has("(the limit `last-answer`)")
        .stdout_has("show this run: GitHub did not answer within 9 s (the limit `cancel`)");
    assert!(began.elapsed().as_secs() < 10, "{:?}: {output}", began.elapsed());
}
