//! Plans in a merge queue. The queue tests the code that the merge creates, and the plan of that
//! code is compared with the one that the pull request showed. If both do the same, the deploy
//! after the merge can use the merged code, although no reviewer has seen a plan of exactly that.

use super::{
    compared::{check_comparable, check_place, different, not_recorded, plan_in_workflow},
    made_from::comparable_code,
    new_record::{new_record, sealed},
    record::{Place, PlanRecord, QUEUED, RECORD, Records},
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::github::{Api, GitHubError, PullRequest},
    terraform::{Plan, state::summary::StateSummary},
};

const COMPARED: &str = "the plan in the merge queue is compared with the one that the pull request \
                        showed";

/// Compares the plan with the one that the queue's pull request showed. Returns a sentence for the
/// report, or None outside a merge queue. A refusal means that the deploy after the merge would be
/// refused.
pub(in crate::deploy) async fn judge(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    before: Option<&StateSummary>,
) -> Result<Option<String>> {
    let Some(number) = context.host.queued() else { return Ok(None) };
    let comparing = compare(context, (order, prepared, planned), before, number);
    let interrupt = &context.host.interrupt;
    let is_optional = !order.limits.requires_review;
    match interrupt.or_cancel("comparing the plans", comparing).await {
        Ok(()) => {
            let same = format!("The plan does what pull request #{number} showed");
            context.host.log.note(&same);
            Ok(Some(same))
        }
        Err(error)
            if is_optional
                && error.exit() != Exit::Integrity
                && interrupt.requested().is_none() =>
        {
            context.host.log.warning(&format!(
                "a deploy with --reviewed after the merge would be refused: {error}"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a run in the merge queue has shown that `code`, which is not the one of the record, has
/// a plan that does the same.
pub(super) async fn is_same_with(
    records: &Records<'_>,
    record: &PlanRecord,
    code: Sha256,
) -> Result<bool> {
    let place = Place {
        environment: &record.environment,
        pull_request: record.pull_request,
        head: &record.head,
    };
    for name in records.names(&place, QUEUED).await? {
        let queued = records.get(&name, &place).await?;
        if queued.repository == record.repository
            && queued.code == Some(code)
            && queued.differences(record).is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn compare(
    context: &Context,
    (order, prepared, planned): (&Order<'_>, &Prepared, &Plan),
    before: Option<&StateSummary>,
    number: u64,
) -> Result<()> {
    let (pull_request, repository) = ask(context, number).await.map_err(GitHubError::into_error)?;
    let environment = order.environment();
    let missing =
        || not_recorded(environment, number, COMPARED).hint(plan_in_workflow(environment));
    let records = Records::existing(context).await?.ok_or_else(missing)?;
    let place = Place { environment, pull_request: number, head: &pull_request.head.sha };
    let names = records.names(&place, RECORD).await?;
    let shown = records.get(names.first().ok_or_else(missing)?, &place).await?;
    if shown.repository != repository {
        return Err(missing());
    }
    comparable_code(order, prepared)?;
    check_comparable(&shown)?;
    check_place(context, &shown, prepared, before, number)?;
    let mut queued =
        new_record(context, order, prepared, before, &pull_request).map_err(|why| {
            Error::refused(format!("the plan of pull request #{number} cannot be recorded"))
                .why(why)
        })?;
    queued.effects = sealed(context, &records, &queued.words, planned);
    let found = shown.differences(&queued);
    if !found.is_empty() {
        return Err(different(context, &shown, &found));
    }
    if shown.code != queued.code {
        let place = records.put(&queued, QUEUED).await?;
        context.host.log.detail(&format!("the plan is recorded for --reviewed in `{place}`"));
    }
    Ok(())
}

async fn ask(context: &Context, number: u64) -> Result<(PullRequest, u64), GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    Ok((api.pull_request(number).await?, api.repository_id().await?))
}
