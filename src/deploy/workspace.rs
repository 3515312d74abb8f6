//! The Terraform workspace of an environment: created before the plan, removed after a destroy.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    guards,
    ledger::{Action, Record, text},
    order::Order,
    prepare::Prepared,
    state::{
        held_lock::{held, plain},
        workspace_state::{self, Found},
    },
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::PAUSE,
    },
    config::duration::HumanDuration,
    context::Context,
    terraform::{
        PlanMode,
        output::changes::{ChangeAction, Changes},
        state::{empty, lock::LockInfo, place::StatePlace, summary::StateSummary},
    },
};

pub(crate) enum Workspace {
    /// This run has created it, and removes it again if nothing is applied.
    New,
    /// With its state, if it has one.
    Existing(Option<StateSummary>),
    /// There is none, and so nothing to destroy.
    Missing,
}

impl Workspace {
    /// Whether nothing is lost if the workspace is removed after a run that applied nothing. A
    /// folder without a state might be of an earlier run that died.
    pub(crate) fn is_to_remove(&self, prepared: &Prepared) -> bool {
        let is_local = matches!(prepared.state_home.place, StatePlace::Local { .. });
        match self {
            Self::New => true,
            Self::Existing(state) => is_local && state.is_none(),
            Self::Missing => false,
        }
    }

    /// Returns the state before the plan.
    pub(crate) fn state(&self) -> Option<&StateSummary> {
        match self {
            Self::Existing(state) => state.as_ref(),
            Self::New | Self::Missing => None,
        }
    }
}

/// Selects the workspace, or creates it for a deploy. Fails with the order's error if a state is
/// missing or exists although it must not.
pub(crate) async fn enter(
    context: &Context,
    order: &mut Order<'_>,
    prepared: &Prepared,
) -> Result<Workspace> {
    let (found, has_no_state) = judge(context, order, prepared).await?;
    let log = &context.host.log;
    if has_no_state && order.mode != PlanMode::Destroy {
        log.note(&format!("{} is a new environment", order.environment()));
    }
    let state = match found {
        Found::Nothing if order.mode == PlanMode::Destroy => return Ok(Workspace::Missing),
        Found::Nothing => {
            if create(context, order, prepared).await? {
                return Ok(Workspace::New);
            }
            log.note("another run created its workspace at the same time");
            None
        }
        // Another run might be about to write a state in a workspace that it has created: the plan
        // waits for its lock.
        Found::Workspace(state) if has_no_state => return existing(prepared, state),
        Found::Workspace(state) => state,
    };
    match order.refuse_existing_state.take() {
        Some(refused) => Err(refused),
        None => existing(prepared, state),
    }
}

fn existing(prepared: &Prepared, state: Option<StateSummary>) -> Result<Workspace> {
    workspace_state::create_file(prepared)?;
    Ok(Workspace::Existing(state))
}

/// Enters an environment that another run has destroyed since this one planned. The entry of this
/// run in the ledger does not show that the environment is wanted.
pub(crate) async fn enter_again(
    context: &Context,
    order: &mut Order<'_>,
    prepared: &Prepared,
) -> Result<Workspace> {
    let target = &order.subject.target;
    let record = Record { unsettled: Vec::new(), ..target.record(context).await? };
    if order.guards_missing_state
        && let Some(refused) = guards::state::missing(context, target, &record, order.mode)
    {
        return Err(refused);
    }
    context.host.log.note("another run destroyed the environment meanwhile: planning again");
    enter(context, order, prepared).await
}

/// Looks for the workspace, and evaluates the guards of its state. Also returns whether it has no
/// state yet.
///
/// While another run writes a local state, the file is empty or cut off. So an error counts only if
/// no run holds the lock.
async fn judge(context: &Context, order: &Order<'_>, prepared: &Prepared) -> Result<(Found, bool)> {
    let interrupt = &context.host.interrupt;
    let waits = order.plan.lock_timeout.or(context.manifest.deploy.lock_timeout);
    let until = Instant::now() + waits.map_or(Duration::ZERO, |HumanDuration(time)| time);
    let mut was_written = true;
    loop {
        let error = match judge_once(context, order, prepared).await {
            Ok(judged) => return Ok(judged),
            Err(error) if [Exit::Refused, Exit::Integrity].contains(&error.exit()) => error,
            Err(error) => return Err(error),
        };
        match workspace_state::writer(prepared).await {
            Some((_, held)) if Instant::now() >= until => {
                return Err(is_written(order, &held.holder));
            }
            Some(_) => was_written = true,
            // That run might have ended since the state was read.
            None if was_written => was_written = false,
            None => return Err(error),
        }
        interrupt.check("waiting for the state lock")?;
        sleep(PAUSE).await;
    }
}

async fn judge_once(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<(Found, bool)> {
    let looking = workspace_state::find(context, prepared);
    let found = context.host.interrupt.or_cancel("reading the state", looking).await?;
    let has_no_state = match &found {
        Found::Nothing => true,
        Found::Workspace(state) => has_no_state(context, order, prepared, state.as_ref()).await?,
    };
    if has_no_state {
        check_missing(context, order, prepared).await?;
    }
    Ok((found, has_no_state))
}

/// The error for a local state that another run writes at this moment.
fn is_written(order: &Order<'_>, holder: &LockInfo) -> Error {
    let environment = order.environment();
    let (operation, who) = (plain(&holder.operation), plain(&holder.who));
    let operation = operation.strip_prefix("OperationType").unwrap_or(&operation).to_lowercase();
    Error::new(Exit::Locked, format!("the state of `{environment}` is locked"))
        .why(format!(
            "{operation} by {who} since {} (lock {})",
            plain(&holder.created),
            plain(&holder.id)
        ))
        .hint(
            "wait for that run to end, \
             or set `lock-timeout` (--lock-timeout 5m) so that cdflow waits for it",
        )
}

/// Evaluates the guards of a missing state. The ledger is read again: a destroy might have ended
/// since the order was made, and a missing state then has an explanation.
pub(crate) async fn check_missing(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    let target = &order.subject.target;
    let record = target.record(context).await?;
    if order.guards_missing_state
        && let Some(refused) = guards::state::missing(context, target, &record, order.mode)
    {
        return Err(refused);
    }
    if order.mode != PlanMode::Destroy {
        check_unfinished(context, order, &record).await?;
        check_digest(context, order, prepared, &record).await?;
    }
    Ok(())
}

/// Evaluates the guards of a missing state if the plan creates what the state had: another run has
/// destroyed the environment while this one waited for its lock.
pub(crate) async fn check_recreated(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
    planned: &Changes,
) -> Result<()> {
    let had = |address: &String| before.is_some_and(|state| state.addresses.contains(address));
    let is_lost = planned
        .resources
        .iter()
        .any(|change| change.action == ChangeAction::Create && had(&change.address));
    if order.mode != PlanMode::Deploy
        || !is_lost
        || !order.subject.target.record(context).await?.is_destroyed()
    {
        return Ok(());
    }
    let environment = order.environment();
    context.host.log.note(&format!(
        "another run destroyed {environment} while this one waited; it is created again"
    ));
    check_missing(context, order, prepared).await
}

/// Fails if the newest run was to create resources and has not recorded its end, unless a run that
/// holds the lock might be that one.
async fn check_unfinished(context: &Context, order: &Order<'_>, record: &Record) -> Result<()> {
    let Some(start) = record.unfinished().filter(|start| start.action == Action::Deploy) else {
        return Ok(());
    };
    let environment = order.environment();
    if order.guards_missing_state
        && start.plan.add > 0
        && held(context, environment).await?.is_empty()
    {
        return Err(guards::state::unfinished(environment, start));
    }
    context.host.log.warning(&format!(
        "{} has not recorded its end: it is in progress, or it died and what it created might \
         exist without being in a state",
        text::run(start)
    ));
    Ok(())
}

/// Fails if the lock table knows a state whose object is missing, and that was not destroyed.
async fn check_digest(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    record: &Record,
) -> Result<()> {
    let object = prepared.state_home.object()?;
    if record.is_destroyed()
        || !prepared.terraform.has_workspaces()
        || !empty::has_digest(&object).await?
        || object.store.head(&object.key).await?.is_some()
    {
        return Ok(());
    }
    let refused = guards::state::only_digest(order.environment());
    if order.guards_missing_state {
        return Err(refused);
    }
    context.host.log.warning(&format!("the old digest is removed: {}", refused.story()));
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
async fn create(context: &Context, order: &Order<'_>, prepared: &Prepared) -> Result<bool> {
    let created = workspace_state::create(prepared).await;
    if created.is_err() && context.host.interrupt.requested().is_some() {
        // It might have been created before the signal. A later run would then find a state here.
        let _ = workspace_state::remove(context, order.environment(), prepared).await;
    }
    created
}

/// Removes a workspace that has no resources.
pub(crate) async fn remove_empty(context: &Context, order: &Order<'_>, prepared: &Prepared) {
    let (log, environment) = (&context.host.log, order.environment());
    match workspace_state::remove(context, environment, prepared).await {
        Ok(()) => {}
        // Another run needs the workspace, or leaves an empty one, which is not an obstacle.
        Err(error) if [Exit::Locked, Exit::Refused].contains(&error.exit()) => log.note(&format!(
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
