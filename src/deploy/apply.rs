//! Applies a plan that was allowed, and records how that ended.

use super::{
    ledger::Start,
    order::Order,
    outcome,
    prepare::Prepared,
    recording, rescue_state, review,
    state::{after_failure, unchanged::is_unchanged, workspace_state},
    unknown_changes, workspace,
};
use crate::{
    base::error::{Error, Exit, Result},
    context::Context,
    report::Report,
    terraform::{
        Applied, Plan, PlanMode,
        output::{
            results::{ApplyEnd, results},
            unknown::{UnknownChange, unknown},
        },
        state::summary::StateSummary,
    },
};

/// The stored state after an apply; None inside: there is none.
#[derive(PartialEq)]
enum After {
    Current(Option<StateSummary>),
    /// The state that Terraform could not save might be newer.
    Older(Option<StateSummary>),
    Unreadable,
}

/// Returns the summary line. Whatever happens, the end is recorded in the ledger.
pub(crate) async fn apply(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
    entry: &Start,
    report: &mut Report,
) -> Result<String> {
    let interrupt = &context.host.interrupt;
    let needs_apply = needs_apply(context, order, prepared, plan).await;
    let is_applied = matches!(needs_apply, Ok(true));
    let applied = match needs_apply {
        Err(cancelled) if interrupt.requested().is_some() => {
            let ended = recording::Ended { error: Some(&cancelled), ..Default::default() };
            recording::end(context, order, entry, ended).await;
            return Err(cancelled);
        }
        Ok(false) => {
            let ended = interrupt.check("the end of the deploy");
            Applied { is_complete: true, ..Applied::without_apply(ended) }
        }
        // A plan without changes is applied too: Terraform then checks, under the lock, that no
        // other run has changed the state since the plan, and saves what the refresh has found.
        Ok(true) => {
            if plan.has_changes {
                context.host.log.step("Apply");
            }
            let applied = prepared.terraform.apply(plan).await;
            applied.unwrap_or_else(|error| Applied::without_apply(Err(error)))
        }
        Err(refused) => Applied::without_apply(Err(refused)),
    };
    let Applied { result, is_complete, begun, errors, unsaved } = applied;
    let result = match &unsaved {
        Some(state) => rescue_state::rescue(context, order, prepared, state, result.err()).await,
        None => result,
    };
    let after = match is_applied {
        true => After::read(context, prepared, unsaved.is_some()).await,
        false => After::read_unchanged(context, prepared).await,
    };
    let result = match is_applied {
        true => result.map_err(|error| review::exact::explain(plan, error, after.state())),
        false => result,
    };
    let is_lost = after == After::Current(None) && is_to_have_state(order, plan);
    let result = match is_lost {
        true => result.and_then(|()| Err(lost(order))),
        false => result,
    };
    let state = after.state();
    fill(context, order, report, state);
    let has = |address: &str| state.is_some_and(|it| it.has(address));
    let is_current = matches!(after, After::Current(_));
    let is_in_state: Option<&dyn Fn(&str) -> bool> = if is_current { Some(&has) } else { None };
    let unknown = unknown(&begun, &plan.changes, is_in_state);
    let end =
        ApplyEnd { begun: &begun, errors: &errors, unknown: &unknown, is_complete, is_in_state };
    let results = results(&plan.changes, &end);
    if let Some(shown) = &mut report.plan {
        shown.set_results(&results, &context.host.log.redactor);
    }
    report.unknown_changes = masked(context, unknown);
    unknown_changes::show(context, &report.unknown_changes);
    let result =
        result.map_err(|error| unknown_changes::explain(error, &report.unknown_changes, order));
    let ended = recording::Ended {
        is_applied,
        is_complete,
        state_not_saved: (unsaved.is_some() || is_lost)
            && result.as_ref().is_err_and(|error| error.exit() == Exit::StateNotSaved),
        error: result.as_ref().err(),
        state,
        unknown: &report.unknown_changes,
    };
    recording::end(context, order, entry, ended).await;
    if is_applied {
        // Everything is saved.
        interrupt.renew();
    }
    if result.is_err() {
        outcome::show_results(context, report, !begun.is_empty());
        let stored = (after != After::Unreadable).then_some(state);
        after_failure::report_state(context, order.environment(), stored).await;
    } else if order.mode == PlanMode::Destroy {
        // Only after the ledger says so: a missing state without an explanation is refused.
        workspace::leave(context, order, prepared, state).await;
    }
    result?;
    outcome::show_outputs(context, order, state);
    Ok(outcome::apply_summary(context, order, plan))
}

/// Fails if nothing may be applied, and after a signal.
async fn needs_apply(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
) -> Result<bool> {
    let interrupt = &context.host.interrupt;
    interrupt.check("apply")?;
    plan.check_file()?;
    if is_unchanged(context, order, prepared, plan).await? {
        return Ok(false);
    }
    interrupt.check("apply")?;
    Ok(true)
}

impl After {
    /// For a run that applied nothing. After a signal, the state is not waited for.
    async fn read_unchanged(context: &Context, prepared: &Prepared) -> Self {
        let reading = async { Ok(Self::read(context, prepared, false).await) };
        let read = context.host.interrupt.or_last_read("reading the state", reading).await;
        read.unwrap_or(Self::Unreadable)
    }

    /// `is_unsaved`: Terraform could not save the state.
    async fn read(context: &Context, prepared: &Prepared, is_unsaved: bool) -> Self {
        match workspace_state::read(context, prepared).await {
            Ok(state) if is_unsaved => Self::Older(state),
            Ok(state) => Self::Current(state),
            Err(error) => {
                let log = &context.host.log;
                log.warning(&format!("failed to read the state after the apply: {error}"));
                Self::Unreadable
            }
        }
    }

    fn state(&self) -> Option<&StateSummary> {
        match self {
            Self::Current(state) | Self::Older(state) => state.as_ref(),
            Self::Unreadable => None,
        }
    }
}

/// Whether the apply leaves resources.
fn is_to_have_state(order: &Order<'_>, plan: &Plan) -> bool {
    order.mode == PlanMode::Deploy && plan.changes.counts().add > 0
}

fn lost(order: &Order<'_>) -> Error {
    let environment = order.environment();
    let what = format!("the state of `{environment}` is missing after the apply");
    Error::new(Exit::StateNotSaved, what)
        .why("Terraform has saved it, and another program has removed it or its folder")
        .hint("do not deploy here before the state is back: every resource would be created again")
        .hint("restore it, or import the resources of the plan (docs/terraform.md, \"State\")")
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
