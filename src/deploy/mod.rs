//! The road that deploy and destroy share: open the release, plan, record, apply, record.

pub(crate) mod artifact_check;
pub(crate) mod comment_rows;
pub(crate) mod github_deployment;
pub(crate) mod guards;
pub(crate) mod ledger;
pub(crate) mod prepare;
pub(crate) mod preview;
pub(crate) mod rescue_state;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod target;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use self::{
    guards::{
        label::{self, Allowance},
        release,
    },
    ledger::{Action, End, Ledger, Outcome, Start},
    prepare::{Opened, Wanted},
    preview::watch::Watch,
    state::after_failure,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        spelling::nearest,
        units::duration_text,
    },
    cli::args::PlanInputs,
    config::{
        guards::{Effective, Protected, Source},
        names::Environment,
    },
    context::Context,
    report,
    report::{Guard, PlanReport, Report},
    terraform::{
        Applied, Initialised, Plan, PlanMode, PlanRequest, output::changes::Counts,
        state::summary::StateSummary,
    },
};

/// Another run may be writing the end of its destroy.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be done where.
pub(crate) struct Order {
    pub(crate) action: Action,
    pub(crate) wanted: Wanted,
    pub(crate) mode: PlanMode,
    pub(crate) plan: PlanInputs,
    pub(crate) target: Vec<String>,
    pub(crate) replace: Vec<String>,
    /// The refusal for an environment without a state, where that is not fine.
    pub(crate) missing_state: Option<Error>,
    /// The refusal for an environment with one, likewise.
    pub(crate) refuse_existing_state: Option<Error>,
    /// What the plan may destroy, and what of the rest is allowed by its address.
    pub(crate) limits: Effective,
    pub(crate) allow_destroy: Vec<String>,
    /// What earlier runs were allowed to destroy: it may be gone.
    pub(crate) allowed_before: BTreeSet<String>,
    /// The newest run that was known when the release was found not to be older; None where it may be.
    pub(crate) seen: Option<u64>,
    /// What is asked once more before anything is applied.
    pub(crate) watch: Option<Watch>,
}

/// How far a run comes before it applies anything.
enum Begun {
    /// It may apply, and from now on must record its end.
    Started(Box<Start>),
    PlannedOnly,
    /// Why nothing must be applied any more.
    Overtaken(String),
    /// Another run has destroyed what this one is to destroy, and has recorded it.
    Forestalled,
}

/// Why it was stopped before anything was applied; None where it came to its end.
pub(crate) async fn run(
    context: &Context,
    mut order: Order,
    report: &mut Report,
) -> Result<Option<String>> {
    let started = Instant::now();
    report.release_key = Some(context.store.describe(&order.wanted.release.key()));
    let opened = prepare::open(context, &order.wanted).await?;
    report.release_digest = opened.bundle.digest.map(|digest| digest.to_string());
    // A destroy needs no artifact: one that has expired must not keep an environment alive.
    if order.mode == PlanMode::Deploy {
        artifact_check::check(
            context,
            &order.wanted.release.version,
            &opened.account,
            &opened.facts,
        )
        .await?;
    }
    let terraform = &opened.terraform;
    let Some(is_new) = enter_workspace(context, &mut order, terraform).await? else {
        report.outcome = report::Outcome::Destroyed;
        return nothing_to_destroy(context, &order, &opened).await.map(|()| None);
    };
    let told = github_deployment::queue(context, &order, &opened).await;
    let (planned, entry) = match begin(context, &order, &opened, report).await {
        Ok((planned, Begun::Started(entry))) => (planned, entry),
        ended => {
            if let Some(told) = told {
                told.stop(context, stopped_by(&ended)).await;
            }
            // Nothing was applied: a workspace that was made for this plan goes again.
            if is_new && let Err(error) = terraform.delete_workspace().await {
                let environment = &order.wanted.environment;
                context
                    .host
                    .log
                    .warning(&format!("the empty workspace `{environment}` is left: {error}"));
            }
            let (planned, begun) = ended?;
            return Ok(stopped(context, &planned, begun, report));
        }
    };
    if let Some(told) = &told {
        told.begin(context).await;
    }
    let announcing = report::announce_apply(&context.reporting, &context.host, report);
    let applying = carry_out(context, &order, &opened, &planned, &entry, report);
    let carried = beside(announcing, applying).await;
    if let Some(told) = told {
        told.end(context, &carried, report.environment_url.as_deref()).await;
    }
    let text = carried?;
    if order.mode == PlanMode::Destroy {
        github_deployment::retire(context, &order.wanted.environment).await;
    }
    report.outcome = match order.mode {
        PlanMode::Deploy => report::Outcome::Deployed,
        PlanMode::RefreshOnly => report::Outcome::Refreshed,
        PlanMode::Destroy => report::Outcome::Destroyed,
    };
    context.host.log.done(&format!("{text} in {}", duration_text(started.elapsed())));
    Ok(None)
}

/// What GitHub is to show of a run that applies nothing.
fn stopped_by(ended: &Result<(Plan, Begun)>) -> Result<&str, &Error> {
    match ended {
        Ok((_, Begun::Overtaken(why))) => Ok(why),
        Ok(_) => Ok("planned only"),
        Err(error) => Err(error),
    }
}

fn stopped(context: &Context, planned: &Plan, begun: Begun, report: &mut Report) -> Option<String> {
    if let Begun::Overtaken(why) = begun {
        report.outcome = report::Outcome::Superseded;
        context.host.log.done(&format!("Stopped before anything was applied: {why}"));
        return Some(why);
    }
    if let Begun::Forestalled = begun {
        report.outcome = report::Outcome::Destroyed;
        context.host.log.done("Nothing to destroy: another run has destroyed it meanwhile");
        return None;
    }
    report.outcome =
        if planned.has_changes { report::Outcome::Planned } else { report::Outcome::NoChanges };
    context.host.log.done(&format!("Planned only: {}", summary_of(planned)));
    None
}

/// `work`, and what may go on beside it as long as it lasts.
async fn beside<T>(aside: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = aside => work.await,
    }
}

/// Plans, judges the plan, and writes the start entry. Without one nothing is applied.
async fn begin(
    context: &Context,
    order: &Order,
    opened: &Opened,
    report: &mut Report,
) -> Result<(Plan, Begun)> {
    let planned = plan(context, order, opened).await?;
    report.plan = Some(PlanReport::new(&planned, &context.host.log.redactor));
    let judged = label::judge(context, order, opened, &planned.changes).await;
    if order.plan.plan_only {
        report.guard = match judged {
            Ok(allowance) => allowance.told().map(Guard::Allowed),
            Err(refused) if refused.exit() == Exit::Refused => {
                context.host.log.warning(&format!("a deploy would be refused: {refused}"));
                Some(Guard::Refuses(
                    context.host.log.redactor.apply(&refused.to_string()).into_owned(),
                ))
            }
            Err(error) => return Err(error),
        };
        return Ok((planned, Begun::PlannedOnly));
    }
    let allowance = judged?;
    report.guard = allowance.told().map(Guard::Allowed);
    if let Some(seen) = order.seen {
        release::still_not_older(
            context,
            &order.wanted.environment,
            &order.wanted.release.version,
            seen,
        )
        .await?;
    }
    if let Some(watch) = &order.watch
        && let Some(why) = watch.overtaken(context, &order.wanted.environment).await?
    {
        return Ok((planned, Begun::Overtaken(why)));
    }
    let was_deployed = order.mode == PlanMode::Destroy && order.wanted.recorded.is_some();
    if was_deployed
        && !planned.has_changes
        && is_destroyed(context, &order.wanted.environment).await?
    {
        return Ok((planned, Begun::Forestalled));
    }
    let entry = record_start(context, order, &planned, opened, allowance).await?;
    Ok((planned, Begun::Started(Box::new(entry))))
}

/// By the ledger; a destroy that has begun there is given a moment to end.
pub(crate) async fn is_destroyed(context: &Context, environment: &Environment) -> Result<bool> {
    for _ in 0..LOOKS {
        let record = ledger::record(context, environment).await?;
        if record.deployed().is_none() && record.is_destroyed() {
            return Ok(true);
        }
        let is_going_on = record
            .unsettled
            .iter()
            .any(|entry| entry.start.action == Action::Destroy && entry.end.is_none());
        if !is_going_on {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}

/// Also that is recorded, if the ledger knows of a deploy: from now on nothing is deployed there.
async fn nothing_to_destroy(context: &Context, order: &Order, opened: &Opened) -> Result<()> {
    let is_to_record = order.wanted.recorded.is_some() && !order.plan.plan_only;
    // Another run may have done it since we looked.
    if is_to_record && !is_destroyed(context, &order.wanted.environment).await? {
        let ledger = Ledger::of(context, &order.wanted.environment);
        let entry = ledger.start(start_entry(context, order, Counts::default(), opened)).await?;
        ledger.end(&end_entry(context, &entry, true, None, None)).await?;
    }
    context
        .host
        .log
        .done(&format!("Nothing to destroy: {} has no state", order.wanted.environment));
    Ok(())
}

/// True for a workspace without a state, which goes again if nothing is applied; None when there is none and nothing to destroy.
async fn enter_workspace(
    context: &Context,
    order: &mut Order,
    terraform: &Initialised,
) -> Result<Option<bool>> {
    let exists = terraform.has_workspace().await?;
    let is_left_empty = exists && is_left_empty(order, terraform).await;
    if !exists || is_left_empty {
        if let Some(refused) = order.missing_state.take() {
            return Err(refused);
        }
        if order.mode == PlanMode::Destroy {
            return Ok(None);
        }
        context.host.log.note(&format!("{} is a new environment", order.wanted.environment));
        if is_left_empty || create_workspace(context, terraform).await? {
            return Ok(Some(true));
        }
        context.host.log.note("another run has made it at the same time");
    }
    if let Some(refused) = order.refuse_existing_state.take() {
        return Err(refused);
    }
    terraform.select_workspace().await?;
    Ok(Some(false))
}

/// A workspace that was made by a run which died before it applied anything is no state, neither for the guard that wants one
/// nor for the one that wants none. Asked only where one of them stands; the workspace is then selected.
async fn is_left_empty(order: &Order, terraform: &Initialised) -> bool {
    if order.missing_state.is_none() && order.refuse_existing_state.is_none() {
        return false;
    }
    // Without workspaces, what a destroy leaves is an empty state.
    let destroyed = |state: &StateSummary| {
        !terraform.has_workspaces() && order.refuse_existing_state.is_some() && state.is_empty()
    };
    // A state that can't be read is no missing one; the plan says what is wrong with it.
    terraform.select_workspace().await.is_ok()
        && terraform
            .state()
            .await
            .is_ok_and(|state| state.is_none_or(|state| state.is_pristine() || destroyed(&state)))
}

/// Cancelled meanwhile, it may be there all the same, and a later run would take it for a state.
async fn create_workspace(context: &Context, terraform: &Initialised) -> Result<bool> {
    let created = terraform.create_workspace().await;
    if created.is_err() && context.host.interrupt.requested().is_some() {
        // What is not there can't be deleted.
        let _ = terraform.delete_workspace().await;
    }
    created
}

async fn plan(context: &Context, order: &Order, opened: &Opened) -> Result<Plan> {
    context.host.log.step(match order.mode {
        PlanMode::Deploy => "Plan",
        PlanMode::RefreshOnly => "Plan a refresh of the state",
        PlanMode::Destroy => "Plan the destruction",
    });
    let request = PlanRequest {
        mode: order.mode,
        var_file: opened.prepared.var_file.clone(),
        plan_file: opened.prepared.plan_file.clone(),
        targets: order.target.clone(),
        replace: order.replace.clone(),
        lock_timeout: order.plan.lock_timeout.or(context.manifest.deploy.lock_timeout),
        parallelism: order.plan.parallelism,
        has_ephemeral: opened.prepared.has_ephemeral,
    };
    let plan = opened.terraform.plan(request).await?;
    check_addresses(order, &plan)?;
    tell_unprotected(context, order, &plan);
    Ok(plan)
}

/// Terraform takes an address that names nothing for "nothing to do", and this run would be recorded as a success.
fn check_addresses(order: &Order, plan: &Plan) -> Result<()> {
    // A refresh looks at resources without listing them as changes.
    if order.mode == PlanMode::RefreshOnly {
        return Ok(());
    }
    let given = order.target.iter().map(|address| ("--target", address));
    let given = given.chain(order.replace.iter().map(|address| ("--replace", address)));
    // Run again, a deploy may be given what it has destroyed; and a plan of a part doesn't know the rest.
    let is_new =
        |address: &&String| order.target.is_empty() && !order.allowed_before.contains(*address);
    let allowed = order.allow_destroy.iter().filter(is_new);
    let mut given = given.chain(allowed.map(|address| ("--allow-destroy", address)));
    let Some((flag, address)) = given.find(|(_, address)| !plan.changes.knows(address)) else {
        return Ok(());
    };
    let error = Error::input(format!(
        "{flag} `{}` names no resource of the code or the state",
        address.escape_debug()
    ));
    Err(match nearest(address, plan.changes.addresses.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => {
            error.hint("a resource is named as in the plan: `aws_s3_bucket.data`, `module.network`")
        }
    })
}

/// What cdflow.yml protects by an address that nothing has: a typing error would look like protection. Not asked of the account
/// scheme, which speaks to every component, nor of a part of the plan.
fn tell_unprotected(context: &Context, order: &Order, plan: &Plan) {
    if order.mode != PlanMode::Deploy || !order.target.is_empty() {
        return;
    }
    let moved: Vec<&str> =
        plan.changes.resources.iter().filter_map(|change| change.moved_from.as_deref()).collect();
    let is_known = |protected: &Protected, address: &str| {
        plan.changes.knows(address) || moved.iter().any(|moved| protected.covers(moved, ""))
    };
    let ours = order.limits.bounds.iter().filter(|bounds| bounds.source == Source::Component);
    for protected in ours.flat_map(|bounds| &bounds.protect) {
        let Some(address) = protected.address().filter(|address| !is_known(protected, address))
        else {
            continue;
        };
        let near = nearest(address, plan.changes.addresses.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
        context.host.log.warning(&format!(
            "`protect` in cdflow.yml names `{}`, which is neither in the code nor in the state of {}: it protects nothing \
             there yet{near}",
            address.escape_debug(),
            order.wanted.environment
        ));
    }
}

fn summary_of(plan: &Plan) -> String {
    match (plan.has_changes, plan.changes.resources.is_empty()) {
        (false, _) => "no changes".to_owned(),
        (true, true) => format!("{} output(s) or the state alone", plan.changes.outputs.len()),
        (true, false) => plan.changes.counts().to_string(),
    }
}

/// Nothing is changed before the ledger says that it will be.
async fn record_start(
    context: &Context,
    order: &Order,
    plan: &Plan,
    opened: &Opened,
    allowance: Allowance,
) -> Result<Start> {
    context.host.interrupt.check("apply")?;
    let ledger = Ledger::of(context, &order.wanted.environment);
    let start = start_entry(context, order, plan.changes.counts(), opened);
    ledger
        .start(Start { allowed_destroy: allowance.addresses, allowed_by: allowance.by, ..start })
        .await
}

/// Applies and records. Returns what was done.
async fn carry_out(
    context: &Context,
    order: &Order,
    opened: &Opened,
    plan: &Plan,
    entry: &Start,
    report: &mut Report,
) -> Result<String> {
    let terraform = &opened.terraform;
    let applied = match context.host.interrupt.check("apply") {
        // A plan without changes is applied as well: Terraform then checks, under the lock, that nobody was faster.
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
    let result = settle(context, order, opened, applied).await;
    let state = match terraform.state().await {
        Ok(state) => state,
        Err(error) => {
            context.host.log.warning(&format!("the state can't be read back: {error}"));
            None
        }
    };
    if let Some(state) = &state {
        report.state_serial = Some(state.serial);
        report.terraform_outputs.clone_from(&state.outputs);
        report.sensitive_outputs.clone_from(&state.sensitive_outputs);
        report.environment_url = environment_url(context, order, state);
    }
    let result = match (result, order.mode) {
        (Ok(()), PlanMode::Destroy) => {
            leave_workspace(context, order, terraform, state.as_ref()).await
        }
        (result, _) => result,
    };
    let end = end_entry(context, entry, is_complete, result.as_ref().err(), state.as_ref());
    if let Err(error) = Ledger::of(context, &order.wanted.environment).end(&end).await {
        context.host.log.warning(&format!(
            "the ledger's end entry is lost, so this run will show as unfinished: {error}"
        ));
    }
    if result.is_err() {
        after_failure::tell(context, &order.wanted.environment, state.as_ref()).await;
    }
    result?;
    show_outputs(context, order, state.as_ref());
    Ok(done_text(context, order, plan))
}

/// What an apply left behind is told and, if need be, rescued, before its result counts.
async fn settle(context: &Context, order: &Order, opened: &Opened, applied: Applied) -> Result<()> {
    let Applied { result, in_flight, errored_state, .. } = applied;
    if !in_flight.is_empty() {
        context.host.log.warning(&format!(
            "these were under way when Terraform ended, and may exist without being in the state: {}",
            in_flight.join(", ")
        ));
    }
    match errored_state {
        Some(file) => rescue_state::state(context, order, opened, &file, result.err()).await,
        None => result,
    }
}

/// An empty workspace is of no use to anybody.
async fn leave_workspace(
    context: &Context,
    order: &Order,
    terraform: &Initialised,
    state: Option<&StateSummary>,
) -> Result<()> {
    if state.is_some_and(|state| state.resources > 0) {
        context.host.log.warning("the state still has resources, so the workspace stays");
        return Ok(());
    }
    if !terraform.has_workspaces() {
        context.host.log.note("the state is empty now; its object stays");
        return Ok(());
    }
    if let Err(error) = terraform.delete_workspace().await {
        context.host.log.warning(&format!(
            "the empty workspace `{}` is left: {error}",
            order.wanted.environment
        ));
    }
    Ok(())
}

/// None, and a warning, where the code has no such output: that is no reason to fail.
fn environment_url(context: &Context, order: &Order, state: &StateSummary) -> Option<String> {
    let name =
        context.manifest.deploy.url_output.as_ref().filter(|_| order.mode != PlanMode::Destroy)?;
    let url = state.outputs.get(name).and_then(serde_json::Value::as_str);
    let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    if url.is_none() {
        context.host.log.warning(&format!(
            "{} names `{}`, which is no output that is an address (http:// or https://), or a sensitive one",
            context.url_output_by,
            name.escape_debug()
        ));
    }
    url.map(str::to_owned)
}

fn show_outputs(context: &Context, order: &Order, state: Option<&StateSummary>) {
    let Some(state) = state.filter(|_| order.mode != PlanMode::Destroy) else { return };
    if state.outputs.is_empty() && state.sensitive_outputs.is_empty() {
        return;
    }
    context.host.log.step("Outputs");
    for (name, value) in &state.outputs {
        context.host.log.output(&format!("{name} = {value}"));
    }
    for name in &state.sensitive_outputs {
        context.host.log.output(&format!("{name} = (sensitive)"));
    }
}

fn done_text(context: &Context, order: &Order, plan: &Plan) -> String {
    let counts = plan.changes.counts();
    let what =
        format!("{} added, {} changed, {} destroyed", counts.add, counts.change, counts.destroy);
    let (component, version, environment) =
        (&context.identity.component, &order.wanted.release.version, &order.wanted.environment);
    match order.mode {
        PlanMode::Deploy if !order.target.is_empty() => {
            format!(
                "Deployed {component} {version} to {environment} in part ({}): {what}",
                order.target.join(", ")
            )
        }
        PlanMode::Deploy if !plan.has_changes => {
            format!("Deployed {component} {version} to {environment}: no changes")
        }
        PlanMode::Deploy => format!("Deployed {component} {version} to {environment}: {what}"),
        PlanMode::RefreshOnly => format!("Refreshed the state of {component} in {environment}"),
        PlanMode::Destroy => {
            format!("Destroyed {component} in {environment}: {} destroyed", counts.destroy)
        }
    }
}

fn start_entry(context: &Context, order: &Order, plan: Counts, opened: &Opened) -> Start {
    let run = context.host.run.as_deref();
    let actor =
        run.and_then(|run| run.actor.as_deref()).or_else(|| context.host.environment.get("USER"));
    Start {
        format: Start::FORMAT,
        number: Start::UNNUMBERED,
        action: order.action,
        targets: order.target.clone(),
        allowed_destroy: Vec::new(),
        allowed_by: None,
        version: order.wanted.release.version.clone(),
        preview: order.wanted.preview().cloned(),
        pull_request: comment_rows::of_change(&context.host, order.wanted.preview()),
        bundle_digest: opened.bundle.digest,
        account: opened.account_id.clone(),
        region: opened.account.region.clone(),
        plan,
        terraform: format!("{} {}", opened.tool.flavor.name(), opened.tool.version),
        cdflow: env!("CARGO_PKG_VERSION").to_owned(),
        actor: actor.map(str::to_owned),
        run_url: run.and_then(|run| run.url.clone()),
        started: Timestamp::now(),
    }
}

fn end_entry(
    context: &Context,
    start: &Start,
    is_complete: bool,
    error: Option<&Error>,
    state: Option<&StateSummary>,
) -> End {
    let outcome = match error.map(Error::exit) {
        None => Outcome::Succeeded,
        // Cancelled too late to make a difference: the environment is as the release says.
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
        reason: error.map(|error| context.host.log.redactor.apply(&error.to_string()).into_owned()),
        finished: Timestamp::now(),
    }
}
