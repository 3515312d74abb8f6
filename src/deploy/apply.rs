//! Applies a plan that was allowed, and records how that ended.

use super::{
    ledger::Start,
    order::Order,
    outcome,
    prepare::Prepared,
    recording, rescue_state,
    state::{after_failure, workspace_state},
    unknown_changes, workspace,
};
use crate::{
    base::error::{Exit, Result},
    context::Context,
    report::Report,
    terraform::{
        Applied, Plan, PlanMode,
        output::unknown::{UnknownChange, unknown},
        state::summary::StateSummary,
    },
};

/// Returns the summary line. Whatever happens, the end is recorded in the ledger.
pub(crate) async fn apply(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
    before: Option<&StateSummary>,
    entry: &Start,
    report: &mut Report,
) -> Result<String> {
    let applied = match context.host.interrupt.check("apply") {
        Ok(()) => carry_out(context, order, prepared, plan, before).await,
        cancelled => Applied::without_apply(cancelled),
    };
    let Applied { result, is_complete, begun, errored_state } = applied;
    let result = match &errored_state {
        Some(file) => rescue_state::rescue(context, order, prepared, file, result.err()).await,
        None => result,
    };
    let read = workspace_state::read(context, prepared).await;
    let is_read = read.is_ok();
    // A state that Terraform could not save might be newer than the one that is read.
    let is_current = is_read && errored_state.is_none();
    let state = read.unwrap_or_else(|error| {
        context.host.log.warning(&format!("failed to read the state after the apply: {error}"));
        None
    });
    fill(context, order, report, state.as_ref());
    let has = |address: &str| state.as_ref().is_some_and(|it| it.has(address));
    let unknown = unknown(&begun, &plan.changes, if is_current { Some(&has) } else { None });
    report.unknown_changes = masked(context, unknown);
    unknown_changes::show(context, &report.unknown_changes);
    let result = result.map_err(|error| unknown_changes::explain(error, &report.unknown_changes));
    let ended = recording::Ended {
        is_complete,
        state_not_saved: errored_state.is_some()
            && result.as_ref().is_err_and(|error| error.exit() == Exit::StateNotSaved),
        error: result.as_ref().err(),
        state: state.as_ref(),
        unknown: &report.unknown_changes,
    };
    recording::end(context, order, entry, ended).await;
    if result.is_err() {
        let stored = is_read.then_some(state.as_ref());
        after_failure::report_state(context, order.environment(), stored).await;
    } else if order.mode == PlanMode::Destroy {
        // Only after the ledger says so: a missing state without an explanation is refused.
        workspace::leave(context, order, prepared, state.as_ref()).await;
    }
    result?;
    outcome::show_outputs(context, order, state.as_ref());
    Ok(outcome::apply_summary(context, order, plan))
}

/// Applies the plan. One without changes needs only the check that Terraform makes: under the lock,
/// that no other run has changed the state since the plan.
async fn carry_out(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
    before: Option<&StateSummary>,
) -> Applied {
    if plan.has_changes {
        context.host.log.step("Apply");
    } else if let Some(before) = before.filter(|_| order.mode == PlanMode::Deploy) {
        match workspace_state::is_still(context, prepared, before).await {
            Ok(true) => return Applied::without_apply(Ok(())),
            // Terraform says what is wrong, or waits for the lock.
            Ok(false) => {}
            Err(error) => return Applied::without_apply(Err(error)),
        }
    }
    let applied = prepared.terraform.apply(plan).await;
    applied.unwrap_or_else(|error| Applied::without_apply(Err(error)))
}

fn masked(context: &Context, unknown: Vec<UnknownChange>) -> Vec<UnknownChange> {
    let redactor = &context.host.log.redactor;
    unknown.into_iter().map(|it| it.masked(|text| redactor.apply(text).into_owned())).collect()
}

/// Fills the report from the state.
fn fill(context: &Context, order: &Order<'_>, report: &mut Report, state: Option<&StateSummary>) {
    let Some(state) = state else { return };
    report.state_serial = Some(state.serial);
    report.terraform_outputs.clone_from(&state.outputs);
    report.sensitive_outputs.clone_from(&state.sensitive_outputs);
    report.environment_url = outcome::environment_url(context, order, state);
}
