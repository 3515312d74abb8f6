//! The Terraform workspace of an environment: created before the plan, removed after a destroy.

use super::{
    guards,
    ledger::{Action, text},
    order::Order,
    prepare::Prepared,
    state::workspace_state,
};
use crate::{
    base::error::{Exit, Result},
    context::Context,
    terraform::{PlanMode, state::summary::StateSummary},
};

pub(crate) enum Workspace {
    /// This run has created it, and removes it again if nothing is applied.
    New,
    /// With its state, if it has one.
    Existing(Option<StateSummary>),
    /// There is none, and so nothing to destroy.
    Missing,
}

/// Selects the workspace, or creates it for a deploy. Fails with the order's error if a state is
/// missing or exists although it must not.
pub(crate) async fn enter(
    context: &Context,
    order: &mut Order<'_>,
    prepared: &Prepared,
) -> Result<Workspace> {
    let looking = workspace_state::exists(prepared);
    let exists = context.host.interrupt.or_cancel("looking for the state", looking).await?;
    let state = if exists { read(context, prepared).await? } else { None };
    let has_no_state = exists && has_no_state(context, order, prepared, state.as_ref()).await?;
    if !exists || has_no_state {
        check_missing(context, order).await?;
        match order.mode {
            PlanMode::Destroy if !exists => return Ok(Workspace::Missing),
            // A deploy might be about to write it: the plan waits for its lock.
            PlanMode::Destroy => return Ok(Workspace::Existing(state)),
            _ => {}
        }
        context.host.log.note(&format!("{} is a new environment", order.environment()));
        // Another run might be about to write a state in a workspace that it has created.
        if has_no_state {
            return Ok(Workspace::Existing(state));
        }
        if create(context, prepared).await? {
            prepared.terraform.select_workspace()?;
            return Ok(Workspace::New);
        }
        context.host.log.note("another run created its workspace at the same time");
    }
    if let Some(refused) = order.refuse_existing_state.take() {
        return Err(refused);
    }
    prepared.terraform.select_workspace()?;
    Ok(Workspace::Existing(state))
}

/// Selects the workspace and reads its state.
async fn read(context: &Context, prepared: &Prepared) -> Result<Option<StateSummary>> {
    prepared.terraform.select_workspace()?;
    let reading = workspace_state::read(context, prepared);
    context.host.interrupt.or_cancel("reading the state", reading).await
}

/// Evaluates the guards of a missing state. The ledger is read again: a destroy might have ended
/// since the order was made, and a missing state then has an explanation.
async fn check_missing(context: &Context, order: &Order<'_>) -> Result<()> {
    let target = &order.subject.target;
    let record = target.record(context).await?;
    if order.guards_missing_state
        && let Some(refused) = guards::state::missing(context, target, &record, order.mode)
    {
        return Err(refused);
    }
    if let Some(start) = record.unfinished().filter(|start| start.action == Action::Deploy) {
        context.host.log.warning(&format!(
            "{} has not recorded its end: it is in progress, or it died and what it created might \
             exist without being in a state",
            text::run(start)
        ));
    }
    Ok(())
}

/// Whether nothing was ever applied in the workspace. Checked only if the order depends on it.
async fn has_no_state(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    state: Option<&StateSummary>,
) -> Result<bool> {
    if !order.guards_missing_state && order.refuse_existing_state.is_none() {
        return Ok(false);
    }
    match state {
        None => Ok(true),
        Some(state) if state.is_pristine() => Ok(true),
        // A destroy leaves an empty state, at least until it has removed the workspace.
        Some(state) if order.refuse_existing_state.is_some() && state.is_empty() => {
            Ok(!prepared.terraform.has_workspaces()
                || order.subject.target.record(context).await?.is_destroyed())
        }
        Some(state) => check_current(context, order, prepared, state).await.map(|()| false),
    }
}

/// Fails if the state is not the one that the last run left.
async fn check_current(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    state: &StateSummary,
) -> Result<()> {
    let Some(last) = order.last_state.as_ref().filter(|_| order.guards_missing_state) else {
        return Ok(());
    };
    let environment = order.environment();
    if guards::state::outdated(environment, last, state).is_none() {
        return Ok(());
    }
    // Since the order was made, another run might have destroyed the environment and deployed it.
    let record = order.subject.target.record(context).await?;
    match (record.last_state(), workspace_state::read(context, prepared).await?) {
        (Some(last), Some(state)) => {
            guards::state::outdated(environment, &last, &state).map_or(Ok(()), Err)
        }
        _ => Ok(()),
    }
}

/// Returns whether this run created it; false: another run did at the same time.
async fn create(context: &Context, prepared: &Prepared) -> Result<bool> {
    let created = workspace_state::create(prepared).await;
    if created.is_err() && context.host.interrupt.requested().is_some() {
        // It might have been created before the signal. A later run would then find a state here.
        let _ = workspace_state::remove(context, prepared).await;
    }
    created
}

/// Removes a workspace that has no resources.
pub(crate) async fn remove_empty(context: &Context, order: &Order<'_>, prepared: &Prepared) {
    let (log, environment) = (&context.host.log, order.environment());
    match workspace_state::remove(context, prepared).await {
        Ok(()) => {}
        // Its run needs the workspace, or leaves an empty one, which is not an obstacle.
        Err(error) if error.exit() == Exit::Locked => log.note(&format!(
            "the empty workspace `{environment}` is kept, because {}",
            error.story()
        )),
        Err(error) => {
            log.warning(&format!("failed to remove the empty workspace `{environment}`: {error}"))
        }
    }
}

/// Removes the workspace after a destroy, unless the state still has resources.
pub(crate) async fn leave(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    state: Option<&StateSummary>,
) {
    let log = &context.host.log;
    if state.is_some_and(|state| state.resources > 0) {
        log.warning("the workspace is kept, because the state still has resources");
    } else if !prepared.terraform.has_workspaces() {
        log.note("the state is now empty; its object is kept");
    } else {
        remove_empty(context, order, prepared).await;
    }
}
