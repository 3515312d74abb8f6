//! What a run shows of its result: the summary line, the outputs and the environment's URL.

use super::order::Order;
use crate::{
    context::Context,
    report,
    terraform::{Plan, PlanMode, state::summary::StateSummary},
};

pub(crate) fn of_apply(mode: PlanMode) -> report::Outcome {
    match mode {
        PlanMode::Deploy => report::Outcome::Deployed,
        PlanMode::RefreshOnly => report::Outcome::Refreshed,
        PlanMode::Destroy => report::Outcome::Destroyed,
    }
}

pub(crate) fn of_plan(plan: &Plan) -> report::Outcome {
    if plan.has_changes { report::Outcome::Planned } else { report::Outcome::NoChanges }
}

pub(crate) fn plan_summary(plan: &Plan) -> String {
    match (plan.has_changes, plan.changes.resources.is_empty()) {
        (false, _) => "no changes".to_owned(),
        (true, true) => format!("only {} output(s) or the state", plan.changes.outputs.len()),
        (true, false) => plan.changes.counts().to_string(),
    }
}

pub(crate) fn apply_summary(context: &Context, order: &Order<'_>, plan: &Plan) -> String {
    let counts = plan.changes.counts();
    let what =
        format!("{} added, {} changed, {} destroyed", counts.add, counts.change, counts.destroy);
    let component = &context.identity.component;
    let (version, environment) = (order.version(), order.environment());
    match order.mode {
        PlanMode::Deploy if !order.targets.is_empty() => {
            let targets = order.targets.join(", ");
            format!("Deployed {component} {version} to {environment} in part ({targets}): {what}")
        }
        PlanMode::Deploy if !plan.has_changes => {
            format!("Deployed {component} {version} to {environment}: no changes")
        }
        PlanMode::Deploy => format!("Deployed {component} {version} to {environment}: {what}"),
        PlanMode::RefreshOnly => format!("Refreshed the state of {component} in {environment}"),
        PlanMode::Destroy => {
            format!("Destroyed {component} in {environment}: {} destroyed", counts.destroy)
        }
    }
}

/// Returns the value of `url-output`. Warns if the output is missing or not a URL.
pub(crate) fn environment_url(
    context: &Context,
    order: &Order<'_>,
    state: &StateSummary,
) -> Option<String> {
    let name =
        context.manifest.deploy.url_output.as_ref().filter(|_| order.mode != PlanMode::Destroy)?;
    let url = state.outputs.get(name).and_then(serde_json::Value::as_str);
    let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    if url.is_none() {
        context.host.log.warning(&format!(
            "{} names `{}`, but no non-sensitive output of that name is a URL \
             (http:// or https://)",
            context.url_output_by,
            name.escape_debug()
        ));
    }
    url.map(str::to_owned)
}

pub(crate) fn show_outputs(context: &Context, order: &Order<'_>, state: Option<&StateSummary>) {
    let Some(state) = state.filter(|_| order.mode != PlanMode::Destroy) else { return };
    if state.outputs.is_empty() && state.sensitive_outputs.is_empty() {
        return;
    }
    context.host.log.step("Outputs");
    for (name, value) in &state.outputs {
        context.host.log.output(&format!("{name} = {value}"));
    }
    for name in &state.sensitive_outputs {
        context.host.log.output(&format!("{name} = (sensitive)"));
    }
}
