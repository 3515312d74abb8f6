//! The pull request that brought a release, and the plan that it showed.

use super::{
    approval::{self, Approved},
    record::{Place, PlanRecord, Records},
};
use crate::{
    base::error::{Error, Result},
    config::guards::ReviewRule,
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::github::Approval,
    terraform::output::effects::differences,
};

/// What a deploy needs of the review, found before anything of the release is executed.
pub(super) struct Found<'c> {
    pub(super) records: Records<'c>,
    pub(super) record: PlanRecord,
    pub(super) pull_request: u64,
    pub(super) approvals: Vec<Approval>,
}

/// Returns the pull request that brought the release, its approvals, and the plan that it showed.
pub(super) async fn found<'c>(
    context: &'c Context,
    order: &Order<'_>,
    prepared: &Prepared,
    rule: ReviewRule,
) -> Result<Found<'c>> {
    let commit = prepared.facts.commit().ok_or_else(|| {
        Error::refused("the release was not reviewed")
            .why("it does not record its commit")
            .hint("make the release from a commit of the repository")
    })?;
    let approved = approval::of_commit(context, commit, rule).await?;
    let number = approved.pull_request.number;
    let opening = Records::existing(context);
    let opened = context.host.interrupt.or_cancel("reading the reviewed plan", opening).await?;
    let records = opened.ok_or_else(|| not_recorded(order, number))?;
    let finding = find(&records, order, &approved, rule);
    let (record, approvals) =
        context.host.interrupt.or_cancel("reading the reviewed plan", finding).await?;
    Ok(Found { records, record, pull_request: number, approvals })
}

/// Returns the newest record that does what enough people saw when they approved.
async fn find(
    records: &Records<'_>,
    order: &Order<'_>,
    approved: &Approved,
    rule: ReviewRule,
) -> Result<(PlanRecord, Vec<Approval>)> {
    let number = approved.pull_request.number;
    let place = Place {
        environment: order.environment(),
        pull_request: number,
        head: &approved.pull_request.head.sha,
    };
    let names = records.names(&place).await?;
    if names.is_empty() {
        return Err(not_recorded(order, number));
    }
    let (mut newest, mut next) = (None, None);
    let mut seen: Option<(PlanRecord, Vec<Approval>)> = None;
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
        let is_for = |it: &&Approval| it.at >= record.made && next.is_none_or(|next| it.at < next);
        let own: Vec<Approval> = approved.approvals.iter().filter(is_for).cloned().collect();
        next = Some(record.made);
        let (record, approvals) = match seen.take() {
            Some((later, approvals)) if is_same(&later, &record) => {
                (later, [approvals, own].concat())
            }
            _ => (record, own),
        };
        if approvals.len() >= rule.approvals {
            return Ok((record, approvals));
        }
        seen = Some((record, approvals));
    }
    let made = newest.map_or_else(String::new, |made| format!(" at {made:.0}"));
    Err(Error::refused(format!(
        "pull request #{number} was approved before it showed a plan for `{}`",
        order.environment()
    ))
    .why(format!("the plan was made{made}, after the approval"))
    .hint("look at the plan in the pull request, approve it again, and run this job again"))
}

/// Whether two records of one commit do the same.
fn is_same(one: &PlanRecord, other: &PlanRecord) -> bool {
    one.code == other.code
        && differences((&one.effects, &one.words), (&other.effects, &other.words)).is_empty()
}

fn not_recorded(order: &Order<'_>, number: u64) -> Error {
    let environment = order.environment();
    Error::refused(format!(
        "the newest commit of pull request #{number} has no recorded plan for `{environment}`"
    ))
    .why("only what was reviewed is applied")
    .hint(format!(
        "in the pull request's workflow, run `deploy` with `environment: {environment}` and \
         `plan-only: true` (docs/reviewed.md)"
    ))
}
