//! The messages about a run, in the forms of the webhooks.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    config::notify::{Event, Webhook},
    report::{Outcome, Report, RunFailure, plan::PlanCounts},
};

/// In characters. The first lines of an error say what failed.
const LONGEST: usize = 1_000;

/// Returns the message of a run for a webhook of this kind.
pub(super) fn of(kind: Webhook, event: Event, report: &Report) -> Value {
    match kind {
        Webhook::Json => json!(Message::of(event, report)),
        Webhook::Slack => slack(report),
        Webhook::Teams => teams(report),
    }
}

/// Returns what happened, as one line.
fn title(report: &Report) -> String {
    let component = report.component.as_deref().unwrap_or("a component");
    let subject = match &report.version {
        Some(version) => format!("{component} {version}"),
        None => component.to_owned(),
    };
    let place = report.environment.iter().map(|it| format!(" in {it}")).collect::<String>();
    let what = match report.outcome {
        Outcome::Planned => "has drifted".to_owned(),
        outcome @ (Outcome::Failed | Outcome::Refused | Outcome::Interrupted) => {
            format!("{} {}", report.command, outcome.word())
        }
        outcome => outcome.word().to_owned(),
    };
    format!("{subject}{place}: {what}")
}

/// Returns the error of a failed run, or the numbers of the plan.
fn detail(report: &Report) -> Option<String> {
    if let Some(failure) = &report.failure {
        return Some(shortened(&failure.text));
    }
    let PlanCounts { add, change, destroy, .. } = report.plan.as_ref()?.counts;
    Some(match report.outcome {
        Outcome::Planned => {
            format!("{add} to add, {change} to change, {destroy} to destroy")
        }
        _ => format!("{add} added, {change} changed, {destroy} destroyed"),
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn run_url(report: &Report) -> Option<&str> {
    report.run.as_ref()?.url.as_deref()
}

/// How a run ended, as cdflow sends it to a webhook.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(title = "A message of `notify` to a webhook of type `json`")]
pub(crate) struct Message<'a> {
    /// Why the message is sent: an event of `on` in cdflow.yml.
    event: Event,
    /// What happened, as one line for people.
    text: String,
    /// The command.
    command: &'a str,
    /// The component. Null: the run failed before it was known.
    component: Option<&'a str>,
    /// The team. Null: the run failed before it was known.
    team: Option<&'a str>,
    /// The environment. Null: the command has none.
    environment: Option<&'a str>,
    /// The version. Null: the run failed before it was known.
    version: Option<&'a str>,
    /// What the run did.
    outcome: Outcome,
    /// Why the run failed. Null: it did not.
    failure: Option<&'a RunFailure>,
    /// The counts of the plan. Null: the run made none.
    counts: Option<PlanCounts>,
    /// The commit of the run or of the release. Null: unknown.
    commit: Option<&'a str>,
    /// The page of the run in the CI. Null: it has none.
    run_url: Option<&'a str>,
    /// When the run ended, in UTC.
    ended: Option<Timestamp>,
}

impl<'a> Message<'a> {
    fn of(event: Event, report: &'a Report) -> Self {
        Self {
            event,
            text: title(report),
            command: &report.command,
            component: report.component.as_deref(),
            team: report.team.as_deref(),
            environment: report.environment.as_deref(),
            version: report.version.as_deref(),
            outcome: report.outcome,
            failure: report.failure.as_ref(),
            counts: report.plan.as_ref().map(|plan| plan.counts),
            commit: report.commit.as_deref(),
            run_url: run_url(report),
            ended: report.ended,
        }
    }
}

/// Slack reads `&`, `<` and `>` as parts of its own syntax.
fn slack(report: &Report) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut lines = vec![format!("*{}*", escaped(&title(report)))];
    lines.extend(
        detail(report).map(|text| format!("```{}```", escaped(&text.replace("```", "'''")))),
    );
    lines.extend(run_url(report).map(|url| format!("<{url}|the run>")));
    json!({ "text": lines.join("\n"), "unfurl_links": false })
}

/// An Adaptive Card. Its rich text has no markup, so it shows an error as it is.
fn teams(report: &Report) -> Value {
    let plain = |text: String, is_title: bool| {
        json!({
            "type": "RichTextBlock",
            "inlines": [{
                "type": "TextRun",
                "text": text,
                "weight": if is_title { "Bolder" } else { "Default" },
            }],
        })
    };
    let body: Vec<Value> = std::iter::once(plain(title(report), true))
        .chain(detail(report).map(|text| plain(text, false)))
        .collect();
    let actions: Vec<Value> = run_url(report)
        .map(|url| json!({ "type": "Action.OpenUrl", "title": "The run", "url": url }))
        .into_iter()
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{RunRef, samples};

    fn failed() -> Report {
        let mut report = samples::small_plan();
        report.command = "deploy".into();
        report.outcome = Outcome::Failed;
        let text = "terraform apply failed: <b> & ```\n  -> deploy again".into();
        report.failure = Some(RunFailure { reason: "apply-failed", exit: 6, text });
        report.run = Some(RunRef { id: 7, attempt: 1, url: Some("https://ci.test/7".into()) });
        report
    }

    #[test]
    fn slack_gets_its_own_markup() {
        let text =
            of(Webhook::Slack, Event::Failure, &failed())["text"].as_str().unwrap().to_owned();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with('*') && first.ends_with(": deploy failed*"), "{text}");
        let expected = "```terraform apply failed: &lt;b&gt; &amp; '''\n  -&gt; deploy again```\n\
                        <https://ci.test/7|the run>";
        assert_eq!(rest, expected);
    }

    #[test]
    fn teams_get_a_card_without_markup() {
        let message = of(Webhook::Teams, Event::Failure, &failed());
        let card = &message["attachments"][0]["content"];
        assert_eq!(card["type"], "AdaptiveCard");
        let text = &card["body"][1]["inlines"][0]["text"];
        assert_eq!(text, "terraform apply failed: <b> & ```\n  -> deploy again");
        assert_eq!(card["actions"][0]["url"], "https://ci.test/7");
    }

    #[test]
    fn a_document_has_what_programs_need() {
        let mut report = failed();
        let found = of(Webhook::Json, Event::Failure, &report);
        assert_eq!((&found["event"], &found["outcome"]), (&json!("failure"), &json!("failed")));
        assert_eq!(found["failure"]["reason"], "apply-failed");
        report.failure = None;
        report.outcome = Outcome::Planned;
        let found = of(Webhook::Json, Event::Drift, &report);
        assert!(found["text"].as_str().unwrap().ends_with(": has drifted"), "{found}");
        assert!(found["failure"].is_null() && found["counts"]["add"].is_number(), "{found}");
    }

    #[test]
    fn long_errors_are_cut_between_characters() {
        let cut = shortened(&"é".repeat(LONGEST + 1));
        assert_eq!(cut.chars().count(), LONGEST + 1);
        assert!(cut.ends_with("é…"));
    }
}
