//! The pull request that brought a release, and the plan that it showed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    approval::{self, Approved},
    compared::{check_comparable, not_recorded, plan_in_workflow},
    evidence::Given,
    made_from::comparable_code,
    record::{Place, PlanRecord, RECORD, Records},
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
    },
    config::review_rule::ReviewRule,
    context::Context,
    deploy::{order::Order, prepare::Prepared},
};

/// What a deploy needs of the review, found before anything of the release is executed.
pub(super) struct Found<'c> {
    pub(super) records: Records<'c>,
    /// Has the digest of its code.
    pub(super) record: PlanRecord,
    /// The digest of the release's code.
    pub(super) code: Sha256,
    pub(super) pull_request: u64,
    pub(super) approved_by: BTreeSet<String>,
    /// What is wrong with CODEOWNERS.
    pub(super) warning: Option<String>,
}

/// Returns the pull request that brought the release, its approvals, and the plan that it showed.
/// Refuses a release and a plan whose code cannot be compared.
pub(super) async fn found<'c>(
    context: &'c Context,
    order: &Order<'_>,
    prepared: &Prepared,
    rule: &ReviewRule,
) -> Result<Found<'c>> {
    let code = comparable_code(order, prepared)?;
    let commit = prepared.facts.commit().ok_or_else(|| {
        Error::refused("the release was not reviewed")
            .why("it does not record its commit")
            .hint("make the release from a commit of the repository")
    })?;
    let approved = match context.host.commanded() {
        Some(command) => {
            let rule = Some(rule).filter(|_| order.limits.requires_review);
            approval::of_command(context, command, &order.limits.branches, rule).await?
        }
        None => approval::of_commit(context, commit, &order.limits.branches, rule).await?,
    };
    let number = approved.pull_request.number;
    let opening = Records::existing(context);
    let opened = context.host.interrupt.or_cancel("reading the reviewed plan", opening).await?;
    let records = opened.ok_or_else(|| unseen(order, &approved))?;
    let finding = find(&records, order, &approved);
    let (record, approved_by) =
        context.host.interrupt.or_cancel("reading the reviewed plan", finding).await?;
    check_comparable(&record)?;
    let warning = approved.evidence.warning;
    Ok(Found { records, record, code, pull_request: number, approved_by, warning })
}

/// Returns the newest record that does what enough people saw when they approved, and what the
/// author of the comment saw. Returns who approved, too.
async fn find(
    records: &Records<'_>,
    order: &Order<'_>,
    approved: &Approved,
) -> Result<(PlanRecord, BTreeSet<String>)> {
    let number = approved.pull_request.number;
    let place = Place {
        environment: order.environment(),
        pull_request: number,
        head: &approved.pull_request.head.sha,
    };
    let names = records.names(&place, RECORD).await?;
    if names.is_empty() {
        return Err(unseen(order, approved));
    }
    let (mut newest, mut next) = (None, None);
    let mut seen: Option<(PlanRecord, Given)> = None;
    let mut is_commanded = approved.commanded.is_none();
    for name in names {
        let record = records.get(&name, &place).await?;
        if record.repository != approved.repository {
            return Err(Error::integrity(format!(
                "the plan of pull request #{number} was recorded for another repository"
            ))
            .why(format!("its repository has the ID {}", record.repository))
            .hint("give each repository its own `component` or `team`"));
        }
        // An approval is for the plan that was the newest one at that time.
        newest = newest.or(Some(record.made));
        let is_for = |at: Timestamp| at >= record.made && next.is_none_or(|next| at < next);
        let own = approved.evidence.given.those(|it| is_for(it.at));
        let commands = approved.commanded.is_some_and(is_for);
        next = Some(record.made);
        let (record, given) = match seen.take() {
            Some((later, given)) if is_same(&later, &record) => {
                is_commanded |= commands;
                (later, given.and(own))
            }
            _ => {
                is_commanded = approved.commanded.is_none() || commands;
                (record, own)
            }
        };
        if let Some(people) = approved.evidence.people(&given).filter(|_| is_commanded) {
            return Ok((record, people));
        }
        seen = Some((record, given));
    }
    if approved.commanded.is_some() {
        return Err(not_seen(order, newest, number, order.limits.requires_review));
    }
    let made = newest.map_or_else(String::new, |made| format!(" at {made:.0}"));
    Err(Error::refused(format!(
        "pull request #{number} was approved before it showed a plan for `{}`",
        order.environment()
    ))
    .why(format!("the plan was made{made}, after the approval"))
    .hint("look at the plan in the pull request, approve it again, and run this job again")
    .hint("or, if runs are approved in a GitHub environment, start a new run and approve that"))
}

/// Whether two records of one commit do the same.
fn is_same(one: &PlanRecord, other: &PlanRecord) -> bool {
    one.code == other.code && one.differences(other).is_empty()
}

/// The refusal of a comment that was written before the plan, or before its approvals.
fn not_seen(
    order: &Order<'_>,
    made: Option<Timestamp>,
    number: u64,
    needs_approval: bool,
) -> Error {
    let environment = order.environment();
    let made = made.map_or_else(String::new, |made| format!(" at {made:.0}"));
    let approved = match needs_approval {
        false => "",
        true => ", and its approvals must be for the same plan",
    };
    Error::refused(format!(
        "the comment on pull request #{number} was written before the plan for `{environment}`"
    ))
    .why(format!("the newest plan of its newest commit was made{made}{approved}"))
    .hint("look at that plan, and write the comment again")
}

fn unseen(order: &Order<'_>, approved: &Approved) -> Error {
    let environment = order.environment();
    let number = approved.pull_request.number;
    let error = not_recorded(environment, number, "only what was reviewed is applied");
    match approved.commanded {
        Some(_) => error.hint(format!(
            "write `/cdflow plan {environment}`, look at the plan, and write \
             `/cdflow apply {environment}` again"
        )),
        None => error.hint(plan_in_workflow(environment)),
    }
}
