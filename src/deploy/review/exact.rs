//! `--reviewed=exact`: the stored plan of the pull request is applied, and no new one is made.
//! Everything that it was made from must be as it was.

use super::{
    found::{Found, found},
    made_from::words_of,
    plan_key,
    record::{PlanRecord, StoredPlan},
    stored_plan,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    config::{identity::Release, review_rule::ReviewRule},
    context::Context,
    deploy::{order::Order, plan, prepare::Prepared},
    terraform::{Plan, StoredFrom, state::summary::StateSummary},
};

/// Variables that an error names.
const SHOWN: usize = 10;

/// Fetches and reads the stored plan.
pub(crate) async fn open(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    rule: &ReviewRule,
    before: Option<&StateSummary>,
) -> Result<Plan> {
    let found = found(context, order, prepared, rule).await?;
    let stored = check(prepared, &found)?;
    check_state(&found.record, before)?;
    let reading = async {
        let of_plan = found.record.version.clone();
        let release = Release { version: of_plan, ..order.subject.release.clone() };
        if context.store.head(&release.key()).await?.is_none() {
            return Err(moved(
                &found.record,
                &format!("release {}, from which it was made, was deleted", release.version),
            ));
        }
        let identity = plan_key::for_opening(context, order, prepared, &stored.key).await?;
        let of_record = (&found.records, &found.record);
        stored_plan::fetch(context, prepared, of_record, (stored, identity)).await
    };
    context.host.interrupt.or_cancel("reading the stored plan", reading).await?;
    let from = StoredFrom {
        sha256: stored.sha256,
        words: found.record.words.clone(),
        has_changes: stored.has_changes,
        serial: found.record.state_serial,
    };
    plan::open(context, order, prepared, from).await
}

/// Whether the plan was applied already: the job runs again.
pub(super) async fn is_applied(
    context: &Context,
    order: &Order<'_>,
    record: &PlanRecord,
) -> Result<bool> {
    let Some(stored) = &record.plan else { return Ok(false) };
    let deployed = order.subject.target.record(context).await?;
    let Some(last) = deployed.running() else { return Ok(false) };
    let applied = last.reviewed.as_ref().and_then(|it| it.plan.as_ref());
    Ok(last.version == *order.version() && applied.is_some_and(|it| it.sha256 == stored.sha256))
}

/// Fails unless what the plan was made from is as it was, apart from the state.
pub(super) fn check<'f>(prepared: &Prepared, found: &'f Found<'_>) -> Result<&'f StoredPlan> {
    let record = &found.record;
    let stored = record.plan.as_ref().ok_or_else(|| not_stored(record))?;
    let short = |digest: Option<Sha256>| digest.map(|it| it.to_string()[..12].to_owned());
    let compared = [
        ("code", short(record.code), short(Some(found.code))),
        ("account", record.account.clone(), prepared.account_id.clone()),
        ("region", Some(record.region.clone()), Some(prepared.account.region.clone())),
        ("tool", Some(record.terraform.clone()), Some(prepared.tool.label())),
    ];
    let said = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let differs = compared.into_iter().find(|(_, stored, now)| stored != now);
    if let Some((what, before, now)) = differs {
        let why = format!("the {what} has changed: stored: {}; now: {}", said(before), said(now));
        return Err(moved(record, &why));
    }
    let words = words_of(prepared);
    let now = stored_plan::variables(prepared, &found.records, &words);
    let names: std::collections::BTreeSet<&String> =
        now.keys().chain(stored.variables.keys()).collect();
    let differ = names.into_iter().filter(|name| now.get(*name) != stored.variables.get(*name));
    let differ: Vec<String> = differ.map(|name| format!("`{name}`")).collect();
    if differ.is_empty() {
        return Ok(stored);
    }
    let more = match differ.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = differ.get(..SHOWN).unwrap_or(&differ).join(", ");
    Err(moved(record, &format!("the values of variables have changed: {shown}{more}")))
}

/// Fails unless the plan is that of the record, and the state is the one that it was made for.
pub(super) fn check_again(
    prepared: &Prepared,
    found: &Found<'_>,
    planned: &Plan,
    before: Option<&StateSummary>,
) -> Result<()> {
    let stored = check(prepared, found)?;
    if planned.stored.as_ref().is_none_or(|from| from.sha256 != stored.sha256) {
        return Err(moved(
            &found.record,
            "the pull request stored a newer plan during this deploy",
        ));
    }
    check_state(&found.record, before)
}

/// Fails unless the state has the lineage and the serial of the plan.
fn check_state(record: &PlanRecord, before: Option<&StateSummary>) -> Result<()> {
    let before = before.filter(|it| !it.is_pristine());
    let now = (before.map(|it| it.lineage.clone()), before.map(|it| it.serial));
    let stored = (record.state_lineage.clone(), record.state_serial);
    if stored == now {
        return Ok(());
    }
    let said = |(lineage, serial): (Option<String>, Option<u64>)| match lineage.zip(serial) {
        Some((lineage, serial)) => format!("serial {serial}, lineage {lineage}"),
        None => "no state".to_owned(),
    };
    let why = format!("the state has changed since: stored: {}; now: {}", said(stored), said(now));
    Err(moved(record, &why))
}

/// Turns Terraform's refusal of a plan, which it gives under the lock of the state, into ours.
pub(crate) fn explain(planned: &Plan, error: Error, now: Option<&StateSummary>) -> Error {
    let now = now.map(|it| it.serial);
    let stale = planned.stored.as_ref().filter(|from| from.serial != now);
    let Some(from) = stale.filter(|_| error.exit() == Exit::Integrity) else { return error };
    let said = |serial: Option<u64>| {
        serial.map_or_else(|| "no state".to_owned(), |serial| format!("serial {serial}"))
    };
    let why = format!(
        "another run has changed the state just now: stored: {}; now: {}",
        said(from.serial),
        said(now)
    );
    hints(Error::refused("the stored plan cannot be applied").why(why))
}

fn not_stored(record: &PlanRecord) -> Error {
    Error::refused(format!(
        "the plan of pull request #{} for `{}` is not stored",
        record.pull_request, record.environment
    ))
    .why("its workflow recorded what the plan does, and not the plan itself")
    .hint(
        "set `plan-encryption` in the account scheme, and `store-plan: true` in the workflow of \
           pull requests",
    )
    .hint("or deploy with --reviewed (`reviewed: true`), which makes a new plan")
}

fn moved(record: &PlanRecord, why: &str) -> Error {
    hints(
        Error::refused(format!(
            "the stored plan of pull request #{} for `{}` cannot be applied",
            record.pull_request, record.environment
        ))
        .why(why),
    )
}

fn hints(error: Error) -> Error {
    error
        .hint(
            "deploy with --reviewed (`reviewed: true`): it makes a new plan, and applies it if it \
             does the same",
        )
        .hint("or open a pull request with what is still to do, and have its plan approved")
}
