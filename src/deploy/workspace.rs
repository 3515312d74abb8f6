//! The Terraform workspace of an environment: created before the plan, deleted after a destroy.

use super::{
    guards,
    ledger::{Action, text},
    order::Order,
};
use crate::{
    base::error::Result,
    context::Context,
    terraform::{Initialised, PlanMode, state::summary::StateSummary},
};

pub(crate) enum Workspace {
    /// This run has created it, and deletes it again if nothing is applied.
    New,
    Existing,
    /// There is none, and so nothing to destroy.
    Missing,
}

/// Selects the workspace, or creates it for a deploy. Fails with the order's error if a state is
/// missing or exists although it must not.
pub(crate) async fn enter(
    context: &Context,
    order: &mut Order<'_>,
    terraform: &Initialised,
) -> Result<Workspace> {
    let exists = terraform.has_workspace().await?;
    let has_no_state = exists && has_no_state(context, order, terraform).await?;
    if !exists || has_no_state {
        check_missing(context, order).await?;
        match order.mode {
            PlanMode::Destroy if !exists => return Ok(Workspace::Missing),
            // A deploy might be about to write it: the plan waits for its lock.
            PlanMode::Destroy => return Ok(Workspace::Existing),
            _ => {}
        }
        context.host.log.note(&format!("{} is a new environment", order.environment()));
        // Another run might be about to write a state in a workspace that it has created.
        if has_no_state {
            return Ok(Workspace::Existing);
        }
        if create(context, terraform).await? {
            return Ok(Workspace::New);
        }
        context.host.log.note("another run created its workspace at the same time");
    }
    if let Some(refused) = order.refuse_existing_state.take() {
        return Err(refused);
    }
    terraform.select_workspace().await?;
    Ok(Workspace::Existing)
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

/// Whether nothing was ever applied in the workspace. Checked only if the order depends on it; the
/// workspace is then selected.
async fn has_no_state(
    context: &Context,
    order: &Order<'_>,
    terraform: &Initialised,
) -> Result<bool> {
    if !order.guards_missing_state && order.refuse_existing_state.is_none() {
        return Ok(false);
    }
    // A state that cannot be read is not missing; the plan reports what is wrong with it.
    if terraform.select_workspace().await.is_err() {
        return Ok(false);
    }
    match terraform.state().await {
        Ok(None) => Ok(true),
        Ok(Some(state)) if state.is_pristine() => Ok(true),
        // A destroy leaves an empty state, at least until it has deleted the workspace.
        Ok(Some(state)) if order.refuse_existing_state.is_some() && state.is_empty() => {
            Ok(!terraform.has_workspaces()
                || order.subject.target.record(context).await?.is_destroyed())
        }
        Ok(Some(state)) => check_current(context, order, terraform, &state).await.map(|()| false),
        Err(_) => Ok(false),
    }
}

/// Fails if the state is not the one that the last run left.
async fn check_current(
    context: &Context,
    order: &Order<'_>,
    terraform: &Initialised,
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
    match (record.last_state(), terraform.state().await?) {
        (Some(last), Some(state)) => {
            guards::state::outdated(environment, &last, &state).map_or(Ok(()), Err)
        }
        _ => Ok(()),
    }
}

/// Returns whether this run created it; false: another run did at the same time.
async fn create(context: &Context, terraform: &Initialised) -> Result<bool> {
    let created = terraform.create_workspace().await;
    if created.is_err() && context.host.interrupt.requested().is_some() {
        // Terraform might have created it before it was cancelled. A later run would then find a
        // state here. Deleting fails if there is none, which is fine.
        let _ = terraform.delete_workspace().await;
    }
    created
}

/// Deletes a workspace that has no resources.
pub(crate) async fn delete_empty(context: &Context, order: &Order<'_>, terraform: &Initialised) {
    if let Err(error) = terraform.delete_workspace().await {
        context.host.log.warning(&format!(
            "failed to delete the empty workspace `{}`: {error}",
            order.environment()
        ));
    }
}

/// Deletes the workspace after a destroy, unless the state still has resources.
pub(crate) async fn leave(
    context: &Context,
    order: &Order<'_>,
    terraform: &Initialised,
    state: Option<&StateSummary>,
) {
    let log = &context.host.log;
    if state.is_some_and(|state| state.resources > 0) {
        log.warning("the workspace is kept, because the state still has resources");
    } else if !terraform.has_workspaces() {
        log.note("the state is now empty; its object is kept");
    } else {
        delete_empty(context, order, terraform).await;
    }
}
