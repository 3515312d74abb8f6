//! What was reviewed is what is applied: the plan of a pull request is recorded, and a deploy with
//! `--reviewed` applies only a plan that does the same.

mod approval;
mod base_branch;
mod compared;
mod evidence;
pub(super) mod exact;
mod found;
mod made_from;
mod new_record;
mod owned_files;
mod plan_key;
pub(super) mod queued;
mod record;
mod refusal;
mod requirement;
mod run_approval;
mod stored_plan;

use self::{
    compared::{check_comparable, check_place, different},
    found::{Found, found},
    made_from::words,
    new_record::{own_record, sealed},
    record::{PlanRecord, Records},
};
pub(crate) use self::{
    plan_key::purpose,
    record::{PLAN, QUEUED, RECORD},
};
use super::{
    ledger::{AppliedPlan, Reviewed},
    order::Order,
    prepare::Prepared,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
    },
    context::Context,
    terraform::{
        Plan,
        output::effects::{differences, is_only_words},
        state::summary::StateSummary,
    },
};

/// Records the plan of a pull request, and stores it. A failure is a warning, because the plan
/// itself is good, unless the run is to store it.
pub(super) async fn record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    before: Option<&StateSummary>,
) -> Result<()> {
    let Ok(mut record) = own_record(context, order, prepared, before) else { return Ok(()) };
    let is_asked = order.store_plan == Some(true);
    let log = &context.host.log;
    if let Err(refused) = check_comparable(&record) {
        log.warning(&format!("a deploy with --reviewed would be refused: {refused}"));
    }
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
        let place = records.put(&record, RECORD).await?;
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
    // A merge queue runs the workflow of pull requests, and compares its plan with the stored one.
    if order.store_plan != Some(true) || context.host.queued().is_some() {
        return Ok(());
    }
    match own_record(context, order, prepared, None) {
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
    let rule = order.review.as_ref().filter(|_| !order.plan.plan_only);
    let Some(rule) = rule else { return Ok(false) };
    let found = found(context, order, prepared, rule).await?;
    if let Some(warning) = &found.warning {
        context.host.log.warning(warning);
    }
    // The release is not one of the default branch.
    if context.host.commanded().is_some() && found.record.code != Some(found.code) {
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
    let Some(rule) = &order.review else { return Ok(None) };
    let found = found(context, order, prepared, rule).await?;
    if order.is_exact {
        exact::check_again(prepared, &found, planned, before)?;
    }
    let Found { records, record, code, pull_request, approved_by, .. } = found;
    check_place(context, &record, prepared, before, pull_request)?;
    let words = words(order, prepared, planned);
    let now = sealed(context, &records, &words, planned);
    // A plan that does nothing needs no review: the job might run again after its apply.
    if !now.is_empty() {
        let found = differences((&record.effects, &record.words), (&now, &words));
        if !found.is_empty() {
            return Err(different(context, &record, &found));
        }
        if record.code != Some(code) && !is_queued(context, &records, &record, code).await? {
            return Err(other_code(&record));
        }
    }
    let plan = planned.stored.as_ref().zip(record.plan).map(|(_, stored)| AppliedPlan {
        version: record.version,
        commit: stored.commit,
        sha256: stored.sha256,
    });
    let approved_by = approved_by.into_iter().collect();
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

/// Whether the merge queue has planned the code of the release.
async fn is_queued(
    context: &Context,
    records: &Records<'_>,
    record: &PlanRecord,
    code: Sha256,
) -> Result<bool> {
    let reading = queued::is_same_with(records, record, code);
    context.host.interrupt.or_cancel("reading the plans of the merge queue", reading).await
}
