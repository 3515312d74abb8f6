//! What deploy, destroy, rollback and previews share: prepare, plan, guard, record, apply, record.

mod actor;
mod apply;
pub(crate) mod artifact_check;
pub(crate) mod comment_rows;
pub(crate) mod confirmation;
pub(crate) mod github_deployment;
pub(crate) mod guards;
mod hooks;
pub(crate) mod ledger;
pub(crate) mod order;
mod outcome;
mod plan;
pub(crate) mod prepare;
pub(crate) mod preview;
pub(crate) mod push_command;
pub(crate) mod recording;
pub(crate) mod rescue_state;
pub(crate) mod review;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod target;
mod unknown_changes;
mod workspace;

use std::time::Instant;

use jiff::Timestamp;

use self::{
    guards::{hold, label, origin, plan_role, release},
    ledger::Start,
    order::Order,
    prepare::Prepared,
    state::lock_holder,
    workspace::Workspace,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        units::duration_text,
    },
    context::Context,
    report::{self, Guard, PlanReport, Report},
    terraform::{Plan, PlanMode, state::summary::StateSummary},
};

/// What happens to a plan.
enum Decision {
    /// It is applied, and its end must be recorded.
    Apply(Box<Start>),
    PlannedOnly,
    /// Something else has happened since the run began, which makes it pointless.
    Superseded(String),
    /// Another run has recorded the destroy that this one was to do.
    AlreadyDestroyed,
}

/// Carries out `order`. Returns why it was superseded before anything was applied, or None.
pub(crate) async fn run(
    context: &Context,
    mut order: Order<'_>,
    report: &mut Report,
) -> Result<Option<String>> {
    let began = Timestamp::now();
    match carry_out(context, &mut order, report).await {
        Err(error) => Err(lock_holder::explain(context, &order.subject.target, began, error).await),
        done => done,
    }
}

async fn carry_out(
    context: &Context,
    order: &mut Order<'_>,
    report: &mut Report,
) -> Result<Option<String>> {
    let (started, asked_before) = (Instant::now(), context.host.log.time_asked());
    context.host.log.step(&order.title());
    report.release_key = Some(context.store.describe(&order.subject.release.key()));
    report::begin_check(&context.reporting, &context.host, report).await;
    plan_role::check(context, &order.subject)?;
    hold::check(context, order, report).await?;
    let prepared = prepare::prepare(context, &order.subject).await?;
    add_context(order, &prepared, report);
    review::check_commit(context, &prepared)?;
    origin::check_ingredients(context, order, &prepared)?;
    refused_or_warned(context, order, hooks::check_required(context, order, &prepared))?;
    refused_or_warned(context, order, origin::check_branch(context, order, &prepared).await)?;
    report.warnings.extend(prepared.tool_warning.clone());
    review::check_storable(context, order, &prepared)?;
    if review::check_approved(context, order, &prepared).await? {
        report.outcome = report::Outcome::NoChanges;
        context.host.log.done("Nothing to do: the stored plan was applied by an earlier run");
        return Ok(None);
    }
    report.release_digest = prepared.bundle.digest.map(|digest| digest.to_string());
    // A destroy needs no artifact: an expired one must not keep an environment alive.
    if order.mode == PlanMode::Deploy {
        artifact_check::check(context, order.version(), &prepared.account, &prepared.facts).await?;
    }
    let mut workspace = workspace::enter(context, order, &prepared).await?;
    if matches!(workspace, Workspace::Missing) {
        report.outcome = report::Outcome::Destroyed;
        return recording::nothing_to_destroy(context, order, &prepared).await.map(|()| None);
    }
    let deployment = github_deployment::queue(context, order, &prepared).await;
    let mut is_again = false;
    let mut json;
    let applied = loop {
        let decided = decide(context, order, &prepared, workspace.state(), report).await;
        let (planned, entry) = match decided {
            Ok((mut planned, Decision::Apply(entry))) => {
                json = planned.json.take();
                (planned, entry)
            }
            stopped => {
                if let Some(deployment) = deployment {
                    deployment.stop(context, reason_to_stop(&stopped)).await;
                }
                if workspace.is_to_remove(&prepared) {
                    workspace::remove_empty(context, order, &prepared).await;
                }
                let (planned, decision) = stopped?;
                // The run that destroyed it has kept the workspace, because this run used it.
                if matches!(decision, Decision::AlreadyDestroyed) {
                    workspace::leave(context, order, &prepared, workspace.state()).await;
                }
                return Ok(stop(context, &planned, decision, report));
            }
        };
        if let Some(deployment) = &deployment {
            deployment.begin(context).await;
        }
        let announcing = report::announce_apply(&context.reporting, &context.host, report);
        let applying = apply::apply(context, order, &prepared, &planned, &entry, report);
        let applied = alongside(announcing, applying).await;
        let Err(error) = &applied else { break applied };
        if is_again || !is_destroyed_since(context, order, &workspace, error).await {
            break applied;
        }
        is_again = true;
        match workspace::enter_again(context, order, &prepared).await {
            Ok(entered) => workspace = entered,
            Err(error) => break Err(error),
        }
    };
    if let Some(deployment) = deployment {
        let redactor = &context.host.log.redactor;
        let url = report.environment_url.as_deref().filter(|url| !redactor.finds(url));
        deployment.end(context, &applied, url).await;
    }
    let summary = applied?;
    if order.mode == PlanMode::Destroy {
        github_deployment::retire(context, order.environment()).await;
    }
    report.outcome = outcome::of_apply(order.mode);
    let asked = context.host.log.time_asked().saturating_sub(asked_before);
    let took = started.elapsed().saturating_sub(asked);
    context.host.log.done(&format!("{summary} in {}", duration_text(took)));
    match context.host.interrupt.requested() {
        // A cancelled run has this exit code whenever the signal arrived.
        Some(exit) => Err(Error::new(exit, "cancelled after apply: everything was applied")),
        None => {
            hooks::after_apply(context, order, &prepared, json.as_deref(), report).await?;
            Ok(None)
        }
    }
}

/// Turns a refusal into a warning if nothing will be applied.
pub(crate) fn refused_or_warned(
    context: &Context,
    order: &Order<'_>,
    judged: Result<()>,
) -> Result<()> {
    match judged {
        Err(refused) if order.plan.plan_only && refused.exit() == Exit::Refused => {
            context.host.log.warning(&format!("a deploy would be refused: {refused}"));
            Ok(())
        }
        judged => judged,
    }
}

/// Adds to the report what is known once the release is prepared.
fn add_context(order: &Order<'_>, prepared: &Prepared, report: &mut Report) {
    let has_head = report.context.pull_request.is_some();
    let of_release = prepared.facts.commit().map(str::to_owned).filter(|_| !has_head);
    let context = &mut report.context;
    context.commit = of_release.or_else(|| context.commit.take());
    context.account_alias = Some(prepared.account.alias.clone());
    context.account_id = prepared.account_id.clone().or_else(|| prepared.account.id.clone());
    context.region = Some(prepared.account.region.clone());
    context.deployed = order.subject.deployed.as_ref().map(ToString::to_string);
    context.is_first = order.subject.deployed.is_none();
    context.is_destroy = order.mode == PlanMode::Destroy;
    context.tool = Some(prepared.tool.label());
}

/// Whether a plan is stale because another run has destroyed the environment, and removed its
/// state, since this one looked.
async fn is_destroyed_since(
    context: &Context,
    order: &Order<'_>,
    workspace: &Workspace,
    error: &Error,
) -> bool {
    let had_resources = workspace.state().is_some_and(|state| state.resources > 0);
    if order.mode != PlanMode::Deploy || error.exit() != Exit::Integrity || !had_resources {
        return false;
    }
    let record = order.subject.target.record(context).await;
    record.is_ok_and(|record| record.is_destroyed())
}

/// Plans, evaluates the guards, and writes the start entry, without which nothing is applied.
async fn decide(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
    report: &mut Report,
) -> Result<(Plan, Decision)> {
    let planned = match order.review.as_ref().filter(|_| order.is_exact) {
        Some(rule) => review::exact::open(context, order, prepared, rule, before).await?,
        None => plan::plan(context, order, prepared, before).await?,
    };
    let stateful = context.manifest.report.stateful.as_deref().unwrap_or_default();
    let mut shown = PlanReport::new(&planned, stateful, &context.host.log.redactor);
    shown.only_release = review::is_only_release(order, prepared, &planned);
    if let Some(said) = shown.said_of_release() {
        context.host.log.note(&said);
    }
    report.plan = Some(shown);
    report.warnings.extend(planned.left_out());
    report.context.planned_serial = before.map(|state| state.serial);
    unknown_changes::warn_of_earlier(context, order, &planned.changes);
    let judged = label::judge(context, order, prepared, &planned.changes).await;
    if order.plan.plan_only {
        review::record(context, order, prepared, &planned, before).await?;
        let queued = review::queued::judge(context, order, prepared, &planned, before).await;
        report.guard = match judged.and_then(|overridden| Ok((overridden, queued?))) {
            Ok((overridden, queued)) => {
                report.reviewed = queued;
                overridden.summary().map(Guard::Allowed)
            }
            Err(refused) if refused.exit() == Exit::Refused => {
                context.host.log.warning(&format!("a deploy would be refused: {refused}"));
                let text = context.host.log.redactor.apply(&refused.to_string()).into_owned();
                Some(Guard::Refuses(text))
            }
            Err(error) => return Err(error),
        };
        hooks::on_plan(context, order, prepared, planned.json.as_deref(), report).await?;
        return Ok((planned, Decision::PlannedOnly));
    }
    let overridden = judged?;
    report.guard = overridden.summary().map(Guard::Allowed);
    hooks::on_plan(context, order, prepared, planned.json.as_deref(), report).await?;
    let reviewed = review::check(context, order, prepared, &planned, before).await?;
    report.reviewed = reviewed.as_ref().map(review::summary);
    // Before the checks of what other runs did, because a person takes a while to answer.
    confirmation::confirm(context, order, &planned).await?;
    let environment = order.environment();
    workspace::check_recreated(context, order, prepared, before, &planned.changes).await?;
    if let Some(newest) = order.newest_known_run {
        release::still_not_older(context, environment, order.version(), newest).await?;
    }
    if let Some(watch) = &order.watch
        && let Some(why) = watch.superseded(context, environment).await?
    {
        return Ok((planned, Decision::Superseded(why)));
    }
    let was_deployed = order.mode == PlanMode::Destroy && order.subject.recorded.is_some();
    if was_deployed && !planned.has_changes && recording::is_destroyed(context, environment).await?
    {
        return Ok((planned, Decision::AlreadyDestroyed));
    }
    // Another pull request might hold the environment by now.
    hold::check(context, order, report).await?;
    hold::take_on_apply(context, order).await?;
    let counts = planned.changes.counts();
    let entry = recording::start(context, order, counts, prepared, overridden, reviewed).await?;
    Ok((planned, Decision::Apply(Box::new(entry))))
}

/// What GitHub shows of a run that applies nothing.
fn reason_to_stop(stopped: &Result<(Plan, Decision)>) -> Result<&str, &Error> {
    match stopped {
        Ok((_, Decision::Superseded(why))) => Ok(why),
        Ok(_) => Ok("planned only"),
        Err(error) => Err(error),
    }
}

fn stop(
    context: &Context,
    planned: &Plan,
    decision: Decision,
    report: &mut Report,
) -> Option<String> {
    let log = &context.host.log;
    match decision {
        Decision::Superseded(why) => {
            report.outcome = report::Outcome::Superseded;
            log.done(&format!("Stopped before the apply: {why}"));
            return Some(why);
        }
        Decision::AlreadyDestroyed => {
            report.outcome = report::Outcome::Destroyed;
            log.done("Nothing to destroy: another run destroyed it at the same time");
        }
        Decision::PlannedOnly | Decision::Apply(_) => {
            report.outcome = outcome::of_plan(planned);
            log.done(&format!("Planned only: {}", outcome::plan_summary(planned)));
        }
    }
    None
}

/// Runs `work` to its end, and `aside` for at most as long.
async fn alongside<T>(aside: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = aside => work.await,
    }
}
