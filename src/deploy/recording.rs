//! What a run writes to the ledger: an entry before it changes anything, and one when it ends.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    actor::actor,
    comment_rows,
    guards::label::GuardOverride,
    ledger::{self, Action, End, Ledger, Outcome, Reviewed, Start, environments},
    order::Order,
    prepare::Prepared,
    target::Target,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        spelling::nearest,
    },
    config::{identity::Release, names::Environment, scheme::Matched},
    context::Context,
    release::deletion,
    terraform::{
        PlanMode,
        output::{changes::Counts, unknown::UnknownChange},
        state::summary::StateSummary,
    },
};

/// How a run ended.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ended<'r> {
    /// Terraform was started to apply.
    pub(crate) is_applied: bool,
    /// Terraform applied the whole plan.
    pub(crate) is_complete: bool,
    /// Resources changed, and a copy has the state that could not be saved.
    pub(crate) state_not_saved: bool,
    pub(crate) error: Option<&'r Error>,
    pub(crate) state: Option<&'r StateSummary>,
    pub(crate) unknown: &'r [UnknownChange],
}

/// The interval at which the ledger is read while another run might be about to record the end of
/// its destroy.
const INTERVAL: Duration = Duration::from_millis(500);

/// Whether the ledger records that nothing is deployed there. A destroy that is still running gets
/// a few seconds to end.
pub(crate) async fn is_destroyed(context: &Context, environment: &Environment) -> Result<bool> {
    let ledger = Ledger::of(context, environment);
    for _ in 0..=Limit::RunningDestroy.time().as_millis() / INTERVAL.as_millis() {
        let record = ledger::record(context, &ledger).await?;
        if record.deployed().is_none() && record.is_destroyed() {
            return Ok(true);
        }
        let is_running = record
            .unsettled
            .iter()
            .any(|entry| entry.start.action == Action::Destroy && entry.end.is_none());
        if !is_running {
            return Ok(false);
        }
        tokio::time::sleep(INTERVAL).await;
    }
    context
        .host
        .log
        .note(&Limit::RunningDestroy.passed("another destroy has not recorded its end"));
    Ok(false)
}

/// Records the destroy of an environment without state, if the ledger has a deploy to it: nothing
/// is deployed there any more.
pub(crate) async fn nothing_to_destroy(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    let environment = order.environment();
    let has_deploy = order.subject.recorded.is_some();
    if !has_deploy {
        check_meant(context, order).await?;
    }
    // Another run might have recorded it since the ledger was read.
    if has_deploy && !order.plan.plan_only && !is_destroyed(context, environment).await? {
        let ledger = &order.subject.target.ledger;
        let entry = start_entry(context, order, Counts::default(), prepared).await?;
        let recording = async {
            let entry = ledger.start(entry).await?;
            let ended = Ended { is_complete: true, ..Ended::default() };
            ledger.end(&end_entry(context, &entry, ended)).await
        };
        context.host.interrupt.or_last_answer("writing the ledger", recording).await?;
    }
    context.host.log.done(&format!("Nothing to destroy: {environment} has no state"));
    Ok(())
}

/// Fails if the environment was never there, and its name is nearly that of another one.
async fn check_meant(context: &Context, order: &Order<'_>) -> Result<()> {
    let Target { environment, matched, ledger, .. } = &order.subject.target;
    let is_known = environment.is_preview() || matches!(matched, Matched::ByName);
    if is_known || !ledger.newest(1).await?.0.is_empty() {
        return Ok(());
    }
    let mut names = environments::named(context);
    names.extend(Ledger::environments(&context.store, &context.identity, &names).await?);
    names.remove(environment);
    match nearest(environment.as_str(), names.iter().map(Environment::as_str)) {
        None => Ok(()),
        Some(meant) => Err(Error::input(format!(
            "the environment `{environment}` does not exist: it has no state, and its ledger is \
             empty"
        ))
        .hint(format!("did you mean `{meant}`?"))),
    }
}

/// Writes the entry without which nothing is applied.
pub(crate) async fn start(
    context: &Context,
    order: &Order<'_>,
    plan: Counts,
    prepared: &Prepared,
    overridden: GuardOverride,
    reviewed: Option<Reviewed>,
) -> Result<Start> {
    let interrupt = &context.host.interrupt;
    interrupt.check("apply")?;
    let entry = Start {
        allowed_destroy: overridden.addresses,
        allowed_by: overridden.by,
        reviewed,
        ..start_entry(context, order, plan, prepared).await?
    };
    let ledger = &order.subject.target.ledger;
    let mut written = None;
    let announcing = announce(context, order, entry.clone(), &mut written);
    let doing = "writing the start of this run to the ledger";
    let error = match interrupt.or_last_answer(doing, announcing).await {
        Ok(entry) => return Ok(entry),
        Err(error) if interrupt.requested().is_some() => error.hint("nothing was applied"),
        Err(error) => error,
    };
    if written.is_none() && interrupt.requested().is_some() {
        // The store can have written an entry without an answer.
        let looking = interrupt.or_last_read("reading the ledger", ledger.written(&entry));
        written = looking.await.ok().flatten();
    }
    if let Some(entry) = &written {
        end(context, order, entry, Ended { error: Some(&error), ..Ended::default() }).await;
    }
    Err(error)
}

/// Writes the start entry, and sets `written` to it. Fails if the release is being deleted.
async fn announce(
    context: &Context,
    order: &Order<'_>,
    entry: Start,
    written: &mut Option<Start>,
) -> Result<Start> {
    let ledger = &order.subject.target.ledger;
    let entry = written.insert(ledger.start(entry).await?);
    // A destroy needs the release too, but its ledger entry is older, so nothing deletes it.
    if order.mode == PlanMode::Deploy {
        let (store, key) = (&context.store, ledger.start_key(entry));
        let own = &order.subject.release;
        deletion::check_kept(store, own, &key).await?;
        // What a stored plan creates uses the artifact of its own release.
        if let Some(plan) = entry.reviewed.as_ref().and_then(|it| it.plan.as_ref()) {
            let of_plan = Release { version: plan.version.clone(), ..own.clone() };
            deletion::check_kept(store, &of_plan, &key).await?;
        }
    }
    Ok(entry.clone())
}

/// Writes the entry of the end. A failure is a warning, because the apply is over.
///
/// A store that does not answer is not waited for after a signal, or after the second one if
/// something was applied.
pub(crate) async fn end(context: &Context, order: &Order<'_>, start: &Start, ended: Ended<'_>) {
    let entry = end_entry(context, start, ended);
    let log = &context.host.log;
    let (doing, writing) = ("recording the end", order.subject.target.ledger.end(&entry));
    let interrupt = &context.host.interrupt;
    let written = match ended.is_applied {
        true => interrupt.or_last_answer_to_second(doing, writing).await,
        false => interrupt.or_last_answer(doing, writing).await,
    };
    match written {
        Ok(0) => {}
        Ok(left_out) => log.warning(&format!(
            "the ledger has no room for {left_out} of the {} unknown changes: keep this log, which \
             names all of them",
            entry.unknown_changes.len()
        )),
        Err(error) => log.warning(&format!(
            "failed to record the end of this run, so the ledger shows it as unfinished: {error}"
        )),
    }
}

async fn start_entry(
    context: &Context,
    order: &Order<'_>,
    plan: Counts,
    prepared: &Prepared,
) -> Result<Start> {
    let run = context.host.run.as_deref();
    let preview = order.subject.preview();
    Ok(Start {
        format: Start::FORMAT,
        number: Start::UNNUMBERED,
        environment: Some(order.environment().clone()),
        action: order.action(),
        rollback: order.is_rollback,
        targets: order.targets.clone(),
        allowed_destroy: Vec::new(),
        allowed_by: None,
        reviewed: None,
        version: order.version().clone(),
        commit: prepared.facts.commit().map(str::to_owned),
        preview: preview.cloned(),
        pull_request: comment_rows::of_change(&context.host, preview),
        bundle_digest: prepared.bundle.digest,
        account: prepared.account_id.clone(),
        region: prepared.account.region.clone(),
        plan,
        terraform: prepared.tool.label(),
        cdflow: env!("CARGO_PKG_VERSION").to_owned(),
        actor: actor(context).await,
        run_url: run.and_then(|run| run.url.clone()),
        started: Timestamp::now(),
        token: Start::new_token()?,
    })
}

fn end_entry(context: &Context, start: &Start, ended: Ended<'_>) -> End {
    let Ended { is_complete, is_applied: _, state_not_saved, error, state, unknown } = ended;
    // A pristine state was never written: it does not prove that anything was deployed.
    let state = state.filter(|state| !state.is_pristine());
    let outcome = match error.map(Error::exit) {
        None => Outcome::Succeeded,
        // The cancel came too late to change anything: the environment is as the release says.
        Some(Exit::Interrupted | Exit::Terminated) if is_complete => Outcome::Succeeded,
        Some(Exit::Interrupted | Exit::Terminated) => Outcome::Interrupted,
        Some(_) => Outcome::Failed,
    };
    End {
        format: Start::FORMAT,
        number: start.number,
        outcome,
        state_serial: state.map(|state| state.serial),
        state_lineage: state.map(|state| state.lineage.clone()),
        state_not_saved,
        reason: error.map(|error| context.host.log.redactor.apply(&error.to_string()).into_owned()),
        unknown_changes: unknown.to_vec(),
        unknown_changes_left_out: 0,
        finished: Timestamp::now(),
    }
}
