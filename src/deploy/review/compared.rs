//! Whether a plan is of the same place as the recorded one, and the refusals where it is not, where
//! it does something else, where none is recorded, and where the code of the record is unknown.

use super::{approval::WITHOUT_REVIEW, record::PlanRecord};
use crate::{
    base::error::{Error, Result},
    config::names::Environment,
    context::Context,
    deploy::prepare::Prepared,
    terraform::{output::effects::Difference, state::summary::StateSummary},
};

/// Differences that an error lists. The others are counted. With them, the comment has room for the
/// fixes.
const SHOWN: usize = 15;

/// Refuses a record of another account, region or state.
pub(super) fn check_place(
    context: &Context,
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
        .hint(plan_again(context, &record.environment).unwrap_or_else(|| {
            "open a pull request with the same change, and have its plan approved".to_owned()
        })))
}

/// Refuses a record of a release whose code is not verified.
pub(super) fn check_comparable(record: &PlanRecord) -> Result<()> {
    if record.code.is_some() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the plan of pull request #{} for `{}` cannot be compared",
        record.pull_request, record.environment
    ))
    .why(format!(
        "it was made from release {}, whose bundle has no manifest.json, so its code is not \
         verified",
        record.version
    ))
    .hint(
        "in the pull request's workflow, make the release with this program, and run it again; \
         then have the new plan approved",
    ))
}

/// How the same pull request gets a new plan. None after the merge.
fn plan_again(context: &Context, environment: &Environment) -> Option<String> {
    if context.host.queued().is_some() {
        let update = "update the branch of the pull request, have its new plan approved, and add \
                      it to the queue again";
        return Some(update.to_owned());
    }
    context.host.commanded().map(|_| {
        format!(
            "something has changed since the plan: write `/cdflow plan {environment}`, look at the \
             new plan, and write `/cdflow apply {environment}` again"
        )
    })
}

/// The refusal of a pull request whose newest commit has no recorded plan.
pub(super) fn not_recorded(environment: &Environment, number: u64, why: &str) -> Error {
    Error::refused(format!(
        "the newest commit of pull request #{number} has no recorded plan for `{environment}`"
    ))
    .why(why)
}

/// How a plan is recorded.
pub(super) fn plan_in_workflow(environment: &Environment) -> String {
    format!(
        "in the pull request's workflow, run `deploy` with `environment: {environment}` and \
         `plan-only: true` (docs/reviewed.md)"
    )
}

/// The refusal of a plan that differs in `found` from the recorded one.
pub(super) fn different(context: &Context, record: &PlanRecord, found: &[Difference]) -> Error {
    let shown = found.iter().take(SHOWN).map(|it| format!("\n  - {it}"));
    let mut list: String = shown.collect();
    if found.len() > SHOWN {
        list += &format!("\n  - and {} more", found.len() - SHOWN);
    }
    let environment = &record.environment;
    let is_queued = context.host.queued().is_some();
    let applied = if is_queued { "" } else { "nothing was applied, because " };
    let error = Error::refused(format!(
        "the plan is not the one that pull request #{} showed for `{environment}`",
        record.pull_request
    ))
    .why(format!("{applied}these changes differ:{list}"));
    if let Some(again) = plan_again(context, environment) {
        return error.hint(again);
    }
    error
    .hint(
        "something has changed since the review: another deploy, the real resources, or the code. \
         Open a pull request with what is still to do, and have its plan approved",
    )
    .hint(WITHOUT_REVIEW)
}
