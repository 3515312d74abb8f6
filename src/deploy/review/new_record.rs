//! The record of the plan that a run has just made.

use jiff::Timestamp;

use super::{
    made_from::{code, words_of_run},
    record::{PlanRecord, Records},
};
use crate::{
    base::error::Result,
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::github::PullRequest,
    terraform::{
        Plan, PlanMode,
        output::effects::{Effects, Sealed, Sealer, Words},
        state::summary::StateSummary,
    },
};

const OF_NO_PULL_REQUEST: &str = "the run is not for a pull request of this repository on GitHub";

/// Returns the record of a run for a pull request, without its effects. The error says why the
/// run's plan is not for a review.
pub(super) fn own_record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
) -> Result<PlanRecord, &'static str> {
    let run = context.host.github().ok_or(OF_NO_PULL_REQUEST)?;
    let pull_request = run.pull_request.as_ref().ok_or(OF_NO_PULL_REQUEST)?;
    new_record(context, order, prepared, before, pull_request)
}

/// Returns the record of a plan for `pull_request`, as `own_record` does.
pub(super) fn new_record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
    pull_request: &PullRequest,
) -> Result<PlanRecord, &'static str> {
    let is_wanted =
        order.store_plan == Some(true) || context.manifest.deploy.store_plans != Some(false);
    let is_whole = order.targets.is_empty() && order.replace.is_empty();
    let github =
        context.host.github().filter(|it| it.outsider.is_none()).ok_or(OF_NO_PULL_REQUEST)?;
    if pull_request.is_fork() {
        return Err(OF_NO_PULL_REQUEST);
    }
    let (repository, run) =
        github.repository_id.zip(github.run_id).ok_or("GitHub does not name the run")?;
    if !is_wanted {
        return Err("`deploy.store-plans` is `false`");
    }
    if !order.plan.plan_only || order.mode != PlanMode::Deploy || !is_whole {
        return Err("--target, --replace or --refresh-only limits the plan");
    }
    if order.environment().is_preview() {
        return Err("previews need no review");
    }
    let before = before.filter(|state| !state.is_pristine());
    Ok(PlanRecord {
        component: context.identity.prefix(),
        environment: order.environment().clone(),
        repository,
        pull_request: pull_request.number,
        head: pull_request.head.sha.clone(),
        run,
        attempt: github.attempt,
        run_url: context.host.run.as_ref().and_then(|run| run.url.clone()),
        made: Timestamp::now(),
        version: order.version().clone(),
        bundle_digest: prepared.bundle.digest,
        source_digest: prepared.bundle.manifest.as_ref().map(|it| it.source_digest),
        code: code(prepared),
        account: prepared.account_id.clone(),
        region: prepared.account.region.clone(),
        state_lineage: before.map(|state| state.lineage.clone()),
        state_serial: before.map(|state| state.serial),
        terraform: prepared.tool.label(),
        words: words_of_run(order, prepared),
        effects: Effects::default(),
        plan: None,
    })
}

/// Returns what the plan does, without the values that are secret.
pub(super) fn sealed(
    context: &Context,
    records: &Records<'_>,
    words: &Words,
    planned: &Plan,
) -> Effects<Sealed> {
    let redactor = &context.host.log.redactor;
    Sealer { key: &records.key, words, redactor }.seal(&planned.changes.effects)
}
