//! The Terraform workspace of an environment: created before the plan, deleted after a destroy.

use super::order::Order;
use crate::{
    base::error::Result,
    context::Context,
    terraform::{Initialised, PlanMode, state::summary::StateSummary},
};

pub(crate) enum Workspace {
    /// It has no state, and is deleted again if nothing is applied.
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
    let has_no_state = exists && has_no_state(order, terraform).await;
    if !exists || has_no_state {
        if let Some(refused) = order.refuse_missing_state.take() {
            return Err(refused);
        }
        if order.mode == PlanMode::Destroy {
            return Ok(Workspace::Missing);
        }
        context.host.log.note(&format!("{} is a new environment", order.environment()));
        if has_no_state || create(context, terraform).await? {
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

/// Whether a run created the workspace and died before it applied anything. Such a workspace
/// counts as missing. Checked only if the order depends on it; the workspace is then selected.
async fn has_no_state(order: &Order<'_>, terraform: &Initialised) -> bool {
    if order.refuse_missing_state.is_none() && order.refuse_existing_state.is_none() {
        return false;
    }
    // Without workspaces, a destroy leaves an empty state.
    let is_destroyed = |state: &StateSummary| {
        !terraform.has_workspaces() && order.refuse_existing_state.is_some() && state.is_empty()
    };
    // A state that cannot be read is not missing; the plan reports what is wrong with it.
    terraform.select_workspace().await.is_ok()
        && terraform
            .state()
            .await
            .is_ok_and(|state| state.is_none_or(|it| it.is_pristine() || is_destroyed(&it)))
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
