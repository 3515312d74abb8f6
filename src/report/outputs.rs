//! The outputs of the step, for later steps of a workflow.

use super::{PlanReport, Report};
use crate::base::json::Json;

/// Returns the name and value of every output; an unknown value is empty.
///
/// `comment-url` is missing: it is known only after the comment is written.
pub(super) fn outputs(report: &Report) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let plan = report.plan.as_ref();
    let of_plan = |value: fn(&PlanReport) -> String| plan.map(value).unwrap_or_default();
    let failure = report.failure.as_ref();
    let terraform = report.terraform_outputs.clone().into_iter().collect();
    let terraform = Json::Object(terraform).to_string();
    let terraform = report.state_serial.map(|_| terraform).unwrap_or_default();
    let reason = failure.map(|failure| failure.reason.to_owned()).unwrap_or_default();
    let exit_code = failure.map_or(0, |failure| failure.exit).to_string();
    vec![
        ("version", text(&report.version)),
        ("release-key", text(&report.release_key)),
        ("release-digest", text(&report.release_digest)),
        ("image-id", text(&report.image_id)),
        ("lambda-key", text(&report.lambda_key)),
        ("changes", of_plan(|plan| plan.has_changes.to_string())),
        ("to-add", of_plan(|plan| plan.counts.add.to_string())),
        ("to-change", of_plan(|plan| plan.counts.change.to_string())),
        ("to-destroy", of_plan(|plan| plan.counts.destroy.to_string())),
        ("terraform-outputs", terraform),
        ("environment-url", text(&report.environment_url)),
        ("failure-reason", reason),
        ("exit-code", exit_code),
    ]
}
