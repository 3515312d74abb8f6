//! What was reviewed is what is applied: the plan of a pull request is recorded, and a deploy with
//! `--reviewed` applies only a plan that does the same.

mod approval;
pub(super) mod exact;
mod found;
mod made_from;
mod plan_key;
mod record;
mod stored_plan;

use jiff::Timestamp;

pub(crate) use self::record::{PLAN, RECORD};
use self::{
    approval::WITHOUT_REVIEW,
    found::{Found, found},
    made_from::{code, words, words_of_run},
    record::{PlanRecord, Records},
};
use super::{
    ledger::{AppliedPlan, Reviewed},
    order::Order,
    prepare::Prepared,
};
use crate::{
    base::error::{Error, Result},
    context::Context,
    terraform::{
        Plan, PlanMode,
        output::effects::{Difference, Effects, Sealed, Sealer, Words, differences, is_only_words},
        state::summary::StateSummary,
    },
};

/// Differences that an error lists. The others are counted. With them, the comment has room for the
/// fixes.
const SHOWN: usize = 15;

/// Records the plan of a pull request, and stores it. A failure is a warning, because the plan
/// itself is good, unless the run is to store it.
pub(super) async fn record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    before: Option<&StateSummary>,
) -> Result<()> {
    let Ok(mut record) = new_record(context, order, prepared, before) else { return Ok(()) };
    let is_asked = order.store_plan == Some(true);
    let log = &context.host.log;
    let writing = async {
        let records = Records::open(context).await?;
        let words = record.words.clone();
        record.effects = sealed(context, &records, &words, planned);
        let of_record = (&records, &record);
        record.plan = match stored_plan::store(context, order, prepared, planned, of_record).await {
            Err(error) if !is_asked => {
                log.warning(&format!("the plan is not stored for --reviewed=exact: {error}"));
                None
            }
            stored => stored?,
        };
        let place = records.put(&record).await?;
        log.detail(&format!("the plan is recorded for --reviewed in `{place}`"));
        Ok(())
    };
    match context.host.interrupt.or_cancel("recording the plan", writing).await {
        Err(error) if !is_asked => {
            log.warning(&format!(
                "the plan was not recorded, so that it cannot be applied with --reviewed: {error}"
            ));
            Ok(())
        }
        written => written,
    }
}

/// Fails if the run is to store its plan and cannot.
pub(super) fn check_storable(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    if order.store_plan != Some(true) {
        return Ok(());
    }
    match new_record(context, order, prepared, None) {
        Ok(_) => Ok(()),
        Err(why) => {
            Err(Error::input("the plan cannot be stored for --reviewed=exact").why(why).hint(
                "use `store-plan: true` (--store-plan) in the workflow of pull requests, or remove \
                 it",
            ))
        }
    }
}

/// Whether the plan changes nothing but the names of the release.
pub(super) fn is_only_release(order: &Order<'_>, prepared: &Prepared, planned: &Plan) -> bool {
    is_only_words(&planned.changes.effects, &words(order, prepared, planned))
}

/// Refuses a release that was not reviewed, before its code is executed: a plan already runs its
/// providers and data sources. Returns whether an earlier run has applied the stored plan.
pub(super) async fn check_approved(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<bool> {
    let Some(rule) = order.review.filter(|_| !order.plan.plan_only) else { return Ok(false) };
    let found = found(context, order, prepared, rule).await?;
    // The release is not one of the default branch.
    if context.host.commanded().is_some() && found.record.code != code(prepared) {
        return Err(other_code(&found.record));
    }
    if !order.is_exact {
        return Ok(false);
    }
    if exact::is_applied(context, order, &found.record).await? {
        return Ok(true);
    }
    exact::check(prepared, &found).map(|_| false)
}

/// Refuses a plan that does not do what was reviewed. Returns whose review it was. GitHub is asked
/// again, because an approval can be withdrawn during the plan.
pub(super) async fn check(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    before: Option<&StateSummary>,
) -> Result<Option<Reviewed>> {
    let Some(rule) = order.review else { return Ok(None) };
    let found = found(context, order, prepared, rule).await?;
    if order.is_exact {
        exact::check_again(prepared, &found, planned, before)?;
    }
    let Found { records, record, pull_request, approvals } = found;
    check_place(&record, prepared, before, pull_request)?;
    let words = words(order, prepared, planned);
    let now = sealed(context, &records, &words, planned);
    // A plan that does nothing needs no review: the job might run again after its apply.
    if !now.is_empty() {
        let found = differences((&record.effects, &record.words), (&now, &words));
        if !found.is_empty() {
            return Err(different(context, &record, &found));
        }
        if record.code != code(prepared) {
            return Err(other_code(&record));
        }
    }
    let approved_by: Vec<String> = approvals.into_iter().map(|it| it.login).collect();
    let plan = planned.stored.as_ref().zip(record.plan).map(|(_, stored)| AppliedPlan {
        version: record.version,
        commit: stored.commit,
        sha256: stored.sha256,
    });
    let reviewed = Reviewed { pull_request, approved_by, plan };
    context.host.log.note(&summary(&reviewed));
    Ok(Some(reviewed))
}

/// The sentence of the report.
pub(super) fn summary(reviewed: &Reviewed) -> String {
    let Reviewed { pull_request, approved_by, plan } = reviewed;
    let people = approved_by.join(", ");
    match plan {
        None if approved_by.is_empty() => {
            format!("The plan does what pull request #{pull_request} showed")
        }
        None => {
            format!("The plan does what pull request #{pull_request} showed, approved by {people}")
        }
        Some(AppliedPlan { version, .. }) => format!(
            "The plan is the one that pull request #{pull_request} stored for {version}, approved \
             by {people}"
        ),
    }
}

/// Refuses another release than that of the newest commit in a run that a comment commands. Its
/// version has only seven digits of the commit.
pub(super) fn check_commit(context: &Context, prepared: &Prepared) -> Result<()> {
    let Some((pull_request, _)) = context.host.commanded() else { return Ok(()) };
    let (number, head) = (pull_request.number, &pull_request.head.sha);
    if prepared.facts.commit() == Some(head.as_str()) {
        return Ok(());
    }
    let commit = prepared.facts.commit().unwrap_or("none");
    Err(Error::refused(format!(
        "the release was not built from the newest commit of pull request #{number}"
    ))
    .why(format!("its commit is {commit}, and the newest one is {head}"))
    .hint("in the pull request's workflow, check out `github.event.pull_request.head.sha`"))
}

/// Refuses a record of another account, region or state.
fn check_place(
    record: &PlanRecord,
    prepared: &Prepared,
    before: Option<&StateSummary>,
    number: u64,
) -> Result<()> {
    let lineage = before.filter(|it| !it.is_pristine()).map(|it| it.lineage.clone());
    let moved = [
        ("account", record.account.clone(), prepared.account_id.clone(), true),
        ("region", Some(record.region.clone()), Some(prepared.account.region.clone()), true),
        // A state might have been created since.
        ("state", record.state_lineage.clone(), lineage, record.state_lineage.is_some()),
    ];
    let found = moved.into_iter().find(|(_, reviewed, now, counts)| *counts && reviewed != now);
    let Some((what, reviewed, now, _)) = found else { return Ok(()) };
    let said = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    Err(Error::refused(format!("pull request #{number} showed a plan for another {what}"))
        .why(format!("reviewed: {}; now: {}", said(reviewed), said(now)))
        .hint("open a pull request with the same change, and have its plan approved"))
}

fn different(context: &Context, record: &PlanRecord, found: &[Difference]) -> Error {
    let shown = found.iter().take(SHOWN).map(|it| format!("\n  - {it}"));
    let mut list: String = shown.collect();
    if found.len() > SHOWN {
        list += &format!("\n  - and {} more", found.len() - SHOWN);
    }
    let environment = &record.environment;
    let error = Error::refused(format!(
        "the plan is not the one that pull request #{} showed for `{environment}`",
        record.pull_request
    ))
    .why(format!("nothing was applied, because these changes differ:{list}"));
    if context.host.commanded().is_some() {
        return error.hint(format!(
            "something has changed since the plan: write `/cdflow plan {environment}`, look at the \
             new plan, and write `/cdflow apply {environment}` again"
        ));
    }
    error
    .hint(
        "something has changed since the review: another deploy, the real resources, or the code. \
         Open a pull request with what is still to do, and have its plan approved",
    )
    .hint(WITHOUT_REVIEW)
}

/// The plan does not show everything that the code does: the commands of provisioners, the settings
/// of providers, and how a value that is known after the apply is made.
fn other_code(record: &PlanRecord) -> Error {
    Error::refused(format!(
        "the code is not the one that pull request #{} showed a plan of",
        record.pull_request
    ))
    .why(
        "the plans are the same, but files in `infra/`, its modules or the configuration differ, \
         and a plan does not show all that they do",
    )
    .hint("update the branch before the merge, so that the plan is made from what is merged")
}

/// Returns the record without its effects. The error says why the run's plan is not for a review.
fn new_record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
) -> Result<PlanRecord, &'static str> {
    let is_wanted =
        order.store_plan == Some(true) || context.manifest.deploy.store_plans != Some(false);
    let is_whole = order.targets.is_empty() && order.replace.is_empty();
    let of_pull_request = "the run is not for a pull request of this repository on GitHub";
    let github = context.host.github().filter(|it| it.outsider.is_none()).ok_or(of_pull_request)?;
    let pull_request =
        github.pull_request.as_ref().filter(|it| !it.is_fork()).ok_or(of_pull_request)?;
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

fn sealed(
    context: &Context,
    records: &Records<'_>,
    words: &Words,
    planned: &Plan,
) -> Effects<Sealed> {
    let redactor = &context.host.log.redactor;
    Sealer { key: &records.key, words, redactor }.seal(&planned.changes.effects)
}
