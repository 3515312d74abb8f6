//! `notify` in cdflow.yml: webhooks are told how runs end.

use crate::schemas::{is_valid, problems};
use crate::support::silent::{Reply, hearing};
use crate::support::{Project, Runner};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// The messages that a webhook got.
type Messages = Arc<Mutex<Vec<(String, Value)>>>;

/// A webhook that answers with this status. Its URL has a secret path.
fn webhook(status: u16) -> (String, Messages) {
    let messages = Messages::default();
    let heard = messages.clone();
    let address = hearing(move |head, body| {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        heard.lock().unwrap().push((path, serde_json::from_str(body).unwrap()));
        Reply::Http(status, "", String::new())
    });
    (format!("http://{address}/services/T0/hushhushhush"), messages)
}

fn project(rules: &str) -> Project {
    let project = Project::local("greeting");
    project.append("cdflow.yml", &format!("notify:\n{rules}")).commit("Notify");
    project.release("1");
    project
}

fn run(project: &Project, args: &[&str], url: &str) -> Runner {
    project.cdflow(args).env("HOOK_URL", url)
}

const ALL: &str = "  - type: json\n    url-variable: HOOK_URL\n    on: [failure, refusal, deploy, \
                   drift]\n  - type: slack\n    url-variable: HOOK_URL\n    environments: [live]\n";

#[test]
fn webhooks_are_told_how_runs_end() {
    let project = project(ALL);
    let (url, messages) = webhook(200);
    let take = || std::mem::take(&mut *messages.lock().unwrap());

    run(&project, &["deploy", "live", "1"], &url).run().success().lacks("hushhush");
    let [(path, told)] = &take()[..] else { panic!("one message") };
    let deployed = told.clone();
    assert_eq!(path, "/services/T0/hushhushhush");
    assert_eq!(told["event"], "deploy");
    assert_eq!(told["text"], "greeting 1 in live: deployed");
    assert_eq!((&told["counts"]["add"], &told["failure"]), (&Value::from(1), &Value::Null));

    // Nothing changes, a plan for a pull request, and what only reads.
    run(&project, &["deploy", "live", "1"], &url).run().success();
    run(&project, &["deploy", "ci", "1", "--plan-only"], &url).run().success();
    run(&project, &["status"], &url).run().success();
    assert_eq!(take(), []);

    let refused = run(&project, &["destroy", "live", "--confirm", "ci"], &url).run();
    refused.lacks("hushhush");
    assert_eq!(refused.code, 3, "{refused}");
    let told = take();
    let mut kinds: Vec<&str> = told.iter().map(|(_, it)| kind(it)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["json", "slack"], "{told:?}");
    let slack = told.iter().find(|(_, it)| kind(it) == "slack").unwrap();
    let text = slack.1["text"].as_str().unwrap();
    assert!(text.starts_with("*greeting in live: destroy refused*\n```"), "{text}");

    // Another environment has only the first webhook.
    run(&project, &["deploy", "ci", "9"], &url).run().fails(2);
    let told_of_ci = take();
    let [(_, failed)] = &told_of_ci[..] else { panic!("{told_of_ci:?}") };
    assert_eq!(failed["failure"]["exit"], 2, "{failed}");
    let refused = told.into_iter().map(|(_, it)| it).find(|it| kind(it) == "json").unwrap();
    is_valid("notify.schema.json", &[deployed, refused, failed.clone()]);
}

/// A rule hears of what it names, and of nothing else.
#[test]
fn a_rule_is_for_events_and_environments() {
    let project = project(
        "  - type: teams\n    url-variable: HOOK_URL\n    on: [deploy]\n    environments: [live]\n",
    );
    let (url, messages) = webhook(202);
    run(&project, &["deploy", "ci", "1"], &url).run().success();
    run(&project, &["deploy", "live", "9"], &url).run().fails(2);
    assert_eq!(*messages.lock().unwrap(), []);
    run(&project, &["deploy", "live", "1"], &url).run().success().lacks("warning");
    let messages = messages.lock().unwrap();
    let [(path, card)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((path.as_str(), &card["type"]), ("/services/T0/hushhushhush", &"message".into()));
    let attachment = &card["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let text = &attachment["content"]["body"][0]["inlines"][0]["text"];
    assert_eq!(text, "greeting 1 in live: deployed");
}

fn kind(message: &Value) -> &'static str {
    if message["event"].is_string() { "json" } else { "slack" }
}

#[test]
fn drift_is_told() {
    let project = project(ALL);
    let (url, messages) = webhook(204);
    let check = ["deploy", "live", "1", "--plan-only", "--refresh-only"];
    project.deploy("live", "1");
    run(&project, &check, &url).run().success();
    assert_eq!(*messages.lock().unwrap(), []);
    // An output that the code gives and the state lacks.
    let state = project.state_file("live");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["outputs"] = serde_json::json!({});
    std::fs::write(&state, value.to_string()).unwrap();
    run(&project, &check, &url).run().success();
    let told = messages.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1["event"], "drift");
    assert_eq!(told[0].1["text"], "greeting 1 in live: has drifted");
    is_valid("notify.schema.json", &[told[0].1.clone()]);
    let mut odd = told[0].1.clone();
    odd["another"] = true.into();
    let file = project.sandbox().work().join("odd.json");
    std::fs::write(&file, odd.to_string()).unwrap();
    let found = problems("notify.schema.json", &[file]);
    assert!(found.contains("'another' was unexpected"), "{found}");
}

#[test]
fn a_webhook_that_does_not_answer_is_a_warning() {
    let project = project(ALL);
    let silent = hearing(|_, _| Reply::Nothing);
    let (refusing, _) = webhook(404);
    let to_nobody = "no message was sent to the webhook in the variable `HOOK_URL`: ";
    for (url, says) in [
        (format!("http://{silent}/hushhush"), "no answer within 1 s (the limit `webhook`)"),
        (refusing, "it answered 404 Not Found"),
        ("http://127.0.0.1:1/hushhush".to_owned(), "Connection refused"),
        ("hushhush".to_owned(), "it is not an `https://` URL"),
        ("http://hooks.example/hushhush".to_owned(), "it is not an `https://` URL"),
    ] {
        let runner = run(&project, &["deploy", "live", "9"], &url);
        let output = runner.env("CDFLOW_LIMITS", "webhook=1s").run();
        output.fails(2).stderr_has(to_nobody).stderr_has(says).lacks("hushhush");
        project.left_no_trace(&output);
    }
    let unset = project.cdflow(["deploy", "live", "9"]).run();
    unset
        .fails(2)
        .stderr_has("`notify` needs the variable `HOOK_URL`, which is not set\n  -> set it");
}

#[test]
fn a_rule_that_is_wrong_is_located() {
    for (rule, says) in [
        ("  - type: mail\n    url-variable: X\n", "cdflow.yml:5:11: "),
        ("  - type: slack\n    url: https://x\n", "unknown key `url`"),
        ("  - type: slack\n    url-variable: X\n    on: []\n", "`notify[0].on` is empty"),
        ("  - type: slack\n    url-variable: https://hooks.example/T\n", "is not the name of an"),
    ] {
        let project = Project::local("greeting");
        project.append("cdflow.yml", &format!("notify:\n{rule}")).commit("Notify");
        project.refuses(["status"], 2, &[says]);
    }
}
