//! What a run shows of its result: the summary line, the outputs and the environment's URL.

use super::order::Order;
use crate::{
    base::json::Json,
    context::Context,
    report,
    terraform::{
        Plan, PlanMode,
        output::changes::{ChangeAction, Changes, Counts, ResourceChange},
        state::summary::StateSummary,
    },
};

const NOT_COMPLETE: &str = "the plan is not complete";

pub(crate) fn of_apply(mode: PlanMode) -> report::Outcome {
    match mode {
        PlanMode::Deploy => report::Outcome::Deployed,
        PlanMode::RefreshOnly => report::Outcome::Refreshed,
        PlanMode::Destroy => report::Outcome::Destroyed,
    }
}

/// A plan that leaves something to a later one is never without changes.
pub(crate) fn of_plan(plan: &Plan) -> report::Outcome {
    match plan.has_changes || plan.left_out().is_some() {
        true => report::Outcome::Planned,
        false => report::Outcome::NoChanges,
    }
}

pub(crate) fn plan_summary(plan: &Plan) -> String {
    match (plan.has_changes, plan.changes.resources.is_empty()) {
        (false, _) if plan.left_out().is_some() => NOT_COMPLETE.to_owned(),
        (false, _) => "no changes".to_owned(),
        (true, true) => format!("only {} output(s) or the state", plan.changes.outputs.len()),
        (true, false) => {
            format!(
                "{}{}",
                plan.changes.counts(),
                others(&plan.changes, ["to import", "to move", "to forget"])
            )
        }
    }
}

pub(crate) fn apply_summary(context: &Context, order: &Order<'_>, plan: &Plan) -> String {
    let counts = plan.changes.counts();
    let what = applied(&plan.changes);
    let component = &context.identity.component;
    let (version, environment) = (order.version(), order.environment());
    match order.mode {
        PlanMode::Deploy if !order.targets.is_empty() => {
            let targets = order.targets.join(", ");
            format!("Deployed {component} {version} to {environment} in part ({targets}): {what}")
        }
        PlanMode::Deploy if plan.left_out().is_some() => {
            format!("Deployed {component} {version} to {environment}: {what}; {NOT_COMPLETE}")
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

/// Returns "1 added, 0 changed, 0 destroyed", and what else was done to the state.
fn applied(changes: &Changes) -> String {
    let Counts { add, change, destroy } = changes.counts();
    let others = others(changes, ["imported", "moved", "forgotten"]);
    format!("{add} added, {change} changed, {destroy} destroyed{others}")
}

/// Returns what only changes the state, such as ", 1 imported"; empty if there is nothing.
fn others(changes: &Changes, verbs: [&str; 3]) -> String {
    let number = |is_it: &dyn Fn(&ResourceChange) -> bool| {
        changes.resources.iter().filter(|change| is_it(change)).count()
    };
    let counts = [
        number(&|it| it.is_import),
        number(&|it| it.moved_from.is_some()),
        number(&|it| it.action == ChangeAction::Forget),
    ];
    let named = counts.iter().zip(verbs).filter(|(count, _)| **count > 0);
    named.map(|(count, verb)| format!(", {count} {verb}")).collect()
}

/// Returns the value of `url-output`. Warns if the output is missing or not a URL.
pub(crate) fn environment_url(
    context: &Context,
    order: &Order<'_>,
    state: &StateSummary,
) -> Option<String> {
    let name =
        context.manifest.deploy.url_output.as_ref().filter(|_| order.mode != PlanMode::Destroy)?;
    let url = state.outputs.get(name).and_then(Json::as_str);
    let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    if url.is_none() {
        context.host.log.warning(&format!(
            "{} names `{}`, but no non-sensitive output of that name is a URL \
             (http:// or https://)",
            context.url_output_by,
            name.escape_debug()
        ));
    }
    url
}

/// Names each resource whose change did not end well, after an apply that began.
pub(crate) fn show_results(context: &Context, report: &report::Report, has_begun: bool) {
    let lines = report.plan.as_ref().map(report::open_results).unwrap_or_default();
    if !has_begun || lines.is_empty() {
        return;
    }
    let log = &context.host.log;
    log.step("Results");
    lines.iter().for_each(|line| log.output(line));
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
