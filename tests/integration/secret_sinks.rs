//! Forty awkward secrets, printed in every form by Terraform, its programs and its messages, are in
//! none of the places that a run writes to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    secrets::{Sinks, into_sinks},
    support::{Aws, DEV, Output, Project, github::GitHub, pull_request_event},
};

#[path = "../../src/base/redact/corpus.rs"]
mod corpus;

/// Repeats the secrets in values, keys, outputs, messages and the output of a program. The program
/// fails the first time.
const MAIN: &str = r#"variable "secrets" {
  type = map(string)
}

locals {
  forms = jsondecode(file("${path.module}/forms.json"))
}

resource "terraform_data" "whole" {
  input = var.secrets
}

resource "terraform_data" "unmarked" {
  input = nonsensitive(var.secrets)
}

resource "terraform_data" "repeated" {
  input = local.forms.all
}

resource "terraform_data" "keyed" {
  for_each = toset(local.forms.short)
}

check "repeated" {
  assert {
    condition     = length(local.forms.short) == 0
    error_message = "true-text ${join(" ", local.forms.short)}"
  }
}

resource "terraform_data" "printed" {
  depends_on = [terraform_data.keyed]
  provisioner "local-exec" {
    command = "cat forms.txt; cat forms.txt >&2; test -e TRIED || { touch TRIED; exit 3; }"
  }
}

output "forms" {
  value = local.forms
}

output "secrets" {
  value = nonsensitive(var.secrets)
}

output "plain" {
  value = "true-text"
}
"#;

/// Without colours, characters that have no width, whitespace and the margin of messages: where a
/// line was wrapped does not matter.
fn squeezed(text: &str) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => drop(chars.by_ref().find(char::is_ascii_alphabetic)),
            '\u{200b}' | '\u{2502}' => {}
            c if c.is_whitespace() || c.is_control() => {}
            c => shown.push(c),
        }
    }
    shown
}

/// Every string in a document of JSON.
fn strings(value: &Value, found: &mut String) {
    match value {
        Value::String(text) => *found += text,
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            *found += name;
            strings(field, found);
        }),
        _ => {}
    }
}

/// What a reader of the sink sees, and what a program reads from it.
fn readable(text: &str) -> String {
    // The runner reads such a line, and does not show it.
    let shown = text.lines().filter(|line| !line.starts_with("::add-mask::"));
    let mut all = squeezed(&shown.collect::<Vec<_>>().join("\n"));
    if let Ok(document) = serde_json::from_str(text) {
        let mut values = String::new();
        strings(&document, &mut values);
        all += &squeezed(&values);
    }
    all
}

fn written_for(aws: &Aws, github: &GitHub, output: &Output, sinks: &mut Sinks) {
    let annotations = output.stdout.lines().filter(|line| line.starts_with("::"));
    sinks.push(("annotations", annotations.collect::<Vec<_>>().join("\n")));
    let world = github.world();
    let comments = world.comments.values().map(|comment| comment.body.clone());
    sinks.push(("comment", comments.collect::<Vec<_>>().join("\n")));
    let keys = aws.keys(&aws.release_bucket());
    let ledger = keys.iter().filter(|key| key.contains("/ledger/"));
    let ledger = ledger.map(|key| aws.get_json(&aws.release_bucket(), key));
    sinks.push(("ledger", Value::from_iter(ledger).to_string()));
}

#[test]
fn forty_secrets_are_in_no_sink() {
    let (aws, github) = (Aws::new("secret-sinks"), GitHub::start());
    let project = Project::aws("with-forty", &aws);
    let corpus = corpus::corpus();
    // The longest in one form: the other tests must not wait for megabytes.
    let printed = |part: &String| match part.len() {
        0..1_000 => corpus::printed(part),
        _ => vec![part.clone()],
    };
    let forms: Vec<Vec<String>> = corpus.iter().map(|(_, part)| printed(part)).collect();
    let short = corpus.iter().map(|(_, part)| part).filter(|part| part.len() < 100);
    let all = json!({ "all": forms, "short": short.collect::<Vec<_>>() });
    let tried = project.sandbox().root().join("tried");
    project.write("infra/main.tf", &MAIN.replace("TRIED", &tried.display().to_string()));
    project.write("infra/forms.json", &all.to_string());
    project.write("infra/forms.txt", &forms.concat().join("\n"));
    project.append("cdflow.yml", "secrets: [secrets-manager]\n");
    project.commit("Repeat the secrets");
    project.release("1");
    let named = corpus.iter().enumerate().map(|(n, (value, _))| (format!("s{n}"), value));
    let object = Value::from_iter(named.map(|(name, value)| (name, Value::from(value.as_str()))));
    let secret = json!({"Name": "cdflow/ci/with-forty", "SecretString": object.to_string()});
    aws.call(DEV, "secretsmanager", "create_secret", secret);
    github.world().pull_request(7, &project.head());

    let needles: Vec<BTreeSet<String>> = forms
        .iter()
        .zip(&corpus)
        .map(|(forms, (_, part))| forms.iter().chain([part]).map(|form| squeezed(form)).collect())
        .collect();
    let kinds = forms.iter().map(Vec::len).max().unwrap_or_default();
    let event = pull_request_event(7, &project.head(), "open", &[]);
    let mut hits = Vec::new();
    let mut places = 0;
    for (run, code) in [(1, 6), (2, 0)] {
        let arguments = ["deploy", "ci", "1", "--new-environment"];
        let arguments = if code == 0 { &arguments[..3] } else { &arguments[..] };
        let (output, mut sinks) = into_sinks(&project, arguments, |all| {
            project.for_pull_request(&github, &event, run, all)
        });
        output.fails(code);
        written_for(&aws, &github, &output, &mut sinks);
        places = sinks.len();
        for (sink, text) in &sinks {
            let text = readable(text);
            assert!(!text.is_empty() || *sink == "stderr", "{sink} of run {run}");
            for (n, needles) in needles.iter().enumerate() {
                let found = needles.iter().filter(|needle| text.contains(*needle));
                hits.extend(
                    found.map(|needle| format!("s{n} in {sink} of run {run}: {needle:.90}")),
                );
            }
        }
        let text = |name: &str| &sinks.iter().find(|(sink, _)| *sink == name).unwrap().1;
        for sink in ["stdout", "report.json", "report.md", "plan.txt", "plan.json", "summary"] {
            assert!(text(sink).contains("terraform_data.printed"), "{sink} of run {run}");
        }
        assert!(text("comment").contains("terraform_data.printed"), "{}", text("comment"));
        assert!(text("annotations").contains("true-text"), "{}", text("annotations"));
        if code == 0 {
            assert!(text("outputs").contains("true-text"), "{}", text("outputs"));
            assert!(!text("outputs").contains("***"), "{}", text("outputs"));
            for name in ["forms", "secrets"] {
                output.stdout_has(&format!("the Terraform output `{name}` was left out of"));
            }
        }
    }
    let summary = format!("{} secrets x {places} sinks x {kinds} forms", corpus.len());
    eprintln!("{summary}: {} hits", hits.len());
    assert!(hits.is_empty(), "{summary}: {} hits\n{}", hits.len(), hits.join("\n"));
}

/// Terraform saves a plan that fails as far as it got, with its marks.
#[test]
fn a_failing_plan_shows_no_new_sensitive_value() {
    let project = Project::local("failing");
    project.write(
        "infra/main.tf",
        r#"locals {
  pass = sensitive("walrus-Xy12-pass")
}

resource "terraform_data" "a" {
  input = local.pass
}

resource "terraform_data" "odd" {
  lifecycle {
    precondition {
      condition     = nonsensitive(local.pass) == ""
      error_message = "true-text ${nonsensitive(local.pass)}"
    }
  }
}
"#,
    );
    project.commit("A password");
    project.release("1");
    let (output, sinks) = into_sinks(&project, &["deploy", "ci", "1"], |all| project.cdflow(all));
    output.fails(5).stdout_has("true-text ***");
    for (sink, text) in &sinks {
        assert!(!text.contains("Xy12"), "{sink}:\n{text}");
    }
}

/// Before the plan is complete, nobody knows which values it marks as sensitive.
#[test]
fn progress_and_messages_show_no_value_that_a_plan_marks_as_sensitive() {
    let project = Project::local("watched");
    let code = |more: &str| {
        project.write(
            "infra/main.tf",
            &format!(
                r#"locals {{
  key = "walrus-Xy12-key"
}}

resource "terraform_data" "each" {{
  for_each = toset([local.key])
}}
{more}"#
            ),
        );
        project.commit("Change the code");
    };
    let deploy = |version: &str| {
        project.release(version);
        into_sinks(&project, &["deploy", "ci", version], |all| project.cdflow(all))
    };
    code("");
    deploy("1").0.success();
    let state = project.state("ci").unwrap();
    let id = state["resources"][0]["instances"][0]["attributes"]["id"].as_str().unwrap();

    let marks = r#"
resource "terraform_data" "marks" {
  input = [sensitive(local.key), sensitive(terraform_data.each[local.key].id)]
}
"#;
    code(&format!(
        r#"{marks}
check "odd" {{
  assert {{
    condition     = local.key == ""
    error_message = "true-text ${{local.key}}"
  }}
}}
"#
    ));
    let (output, sinks) = deploy("2");
    output.success().stdout_has("terraform_data.each[...]: Refreshing state...");
    output.stdout_has("::warning file=watched/infra/main.tf").stdout_has("true-text ***");
    for (sink, text) in &sinks {
        assert!(!text.contains("Xy12") && !text.contains(id), "{sink}:\n{text}");
    }

    // A plan that fails marks nothing, but the state does.
    code(&format!(
        r#"{marks}
resource "terraform_data" "odd" {{
  lifecycle {{
    precondition {{
      condition     = local.key == ""
      error_message = "true-text ${{local.key}}"
    }}
  }}
}}
"#
    ));
    let (output, sinks) = deploy("3");
    output.fails(5).stdout_has("true-text ***");
    for (sink, text) in &sinks {
        assert!(!text.contains("Xy12") && !text.contains(id), "{sink}:\n{text}");
    }
}
