//! Applies a plan that was allowed, and records how that ended.

use super::{
    ledger::Start, order::Order, outcome, prepare::Prepared, recording, rescue_state,
    state::after_failure, workspace,
};
use crate::{
    base::error::Result,
    context::Context,
    report::Report,
    terraform::{Applied, Plan, PlanMode, state::summary::StateSummary},
};

/// Returns the summary line. Whatever happens, the end is recorded in the ledger.
pub(crate) async fn apply(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
    entry: &Start,
    report: &mut Report,
) -> Result<String> {
    let terraform = &prepared.terraform;
    let applied = match context.host.interrupt.check("apply") {
        // A plan without changes is applied too: Terraform then checks, under the lock, that no
        // other run has changed the state since the plan.
        Ok(()) => {
            if plan.has_changes {
                context.host.log.step("Apply");
            }
            terraform.apply(plan).await.unwrap_or_else(|error| Applied::without_apply(Err(error)))
        }
        cancelled => Applied::without_apply(cancelled),
    };
    let is_complete = applied.is_complete;
    report.in_flight.clone_from(&applied.in_flight);
    let result = finish(context, order, prepared, applied).await;
    let state = read_state(context, order, prepared, report).await;
    if result.is_ok() && order.mode == PlanMode::Destroy {
        workspace::leave(context, order, terraform, state.as_ref()).await;
    }
    let error = result.as_ref().err();
    recording::end(context, order, entry, is_complete, error, state.as_ref()).await;
    if result.is_err() {
        after_failure::report_state(context, order.environment(), state.as_ref()).await;
    }
    result?;
    outcome::show_outputs(context, order, state.as_ref());
    Ok(outcome::apply_summary(context, order, plan))
}

/// Warns about resources in flight, and saves a state that Terraform could not save.
async fn finish(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    applied: Applied,
) -> Result<()> {
    let Applied { result, in_flight, errored_state, .. } = applied;
    if !in_flight.is_empty() {
        context.host.log.warning(&format!(
            "these were in progress when Terraform ended, and might exist without being in the \
             state: {}",
            in_flight.join(", ")
        ));
    }
    match errored_state {
        Some(file) => rescue_state::rescue(context, order, prepared, &file, result.err()).await,
        None => result,
    }
}

/// Reads the state back and fills the report from it; None if there is none or it cannot be read.
async fn read_state(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    report: &mut Report,
) -> Option<StateSummary> {
    let read = prepared.terraform.state().await;
    let state = read.unwrap_or_else(|error| {
        context.host.log.warning(&format!("failed to read the state after the apply: {error}"));
        None
    })?;
    report.state_serial = Some(state.serial);
    report.terraform_outputs.clone_from(&state.outputs);
    report.sensitive_outputs.clone_from(&state.sensitive_outputs);
    report.environment_url = outcome::environment_url(context, order, &state);
    Some(state)
}
