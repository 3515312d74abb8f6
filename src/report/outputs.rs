//! What later steps of a workflow are given.

use serde_json::Value;

use super::Report;

/// Name and value; what is not known is empty. `comment-url` comes later.
pub(super) fn outputs(report: &Report) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let counts = report.plan.as_ref().map(|plan| plan.counts);
    let number =
        |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
    let terraform = Value::Object(report.terraform_outputs.clone().into_iter().collect());
    vec![
        ("version", text(&report.version)),
        ("release-key", text(&report.release_key)),
        ("release-digest", text(&report.release_digest)),
        ("image-id", text(&report.image_id)),
        ("lambda-key", text(&report.lambda_key)),
        (
            "changes",
            report.plan.as_ref().map(|plan| plan.has_changes.to_string()).unwrap_or_default(),
        ),
        ("to-add", number(counts.map(|counts| counts.add))),
        ("to-change", number(counts.map(|counts| counts.change))),
        ("to-destroy", number(counts.map(|counts| counts.destroy))),
        (
            "terraform-outputs",
            if report.state_serial.is_some() { terraform.to_string() } else { String::new() },
        ),
        ("environment-url", text(&report.environment_url)),
        (
            "failure-reason",
            report.failure.as_ref().map(|failure| failure.reason.to_owned()).unwrap_or_default(),
        ),
        ("exit-code", report.failure.as_ref().map_or(0, |failure| failure.exit).to_string()),
    ]
}
