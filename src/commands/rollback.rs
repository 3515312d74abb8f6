//! rollback: deploy the release that was deployed before.

use crate::{
    base::error::{Error, Result},
    cli::args::RollbackInputs,
    config::names::{Environment, Version},
    context::Context,
    deploy::{
        self,
        confirmation::Confirmation,
        ledger::{Action, Entry, Outcome, Record, environments},
        order::Order,
        target::Target,
    },
    report::Report,
};

pub(crate) async fn run(
    context: &Context,
    inputs: RollbackInputs,
    report: &mut Report,
) -> Result<()> {
    report.set_subject(&inputs.environment, None);
    let target = Target::resolve(context, inputs.environment)?;
    let confirmation = Confirmation::of(&context.host, &inputs.confirm_apply)?;
    let record = target.record(context).await?;
    let now = current_version(context, &target.environment, &record)?;
    let before = before(context, &target, now).await?.start;
    report.set_subject(&target.environment, Some(&before.version));
    context.host.log.step(&format!(
        "Roll {} back from {now} to {}, as of run {}",
        target.environment, before.version, before.number
    ));
    let order = Order::rollback(context, target, before, &record, inputs.plan);
    let order =
        Order { allow_destroy: inputs.allow_destroy, asks: confirmation.is_asked(), ..order };
    deploy::run(context, order, report).await.map(drop)
}

/// Returns the version of the newest deploy. A failed one counts, because it might have changed
/// something.
fn current_version<'r>(
    context: &Context,
    environment: &Environment,
    record: &'r Record,
) -> Result<&'r Version> {
    let nothing = || environments::not_deployed(context, environment);
    if !record.is_deployed() {
        return Err(nothing().hint(
            match record.settled.is_none() && record.unsettled.is_empty() {
                true => format!("deploy first: cdflow deploy {environment} VERSION"),
                false => format!("see earlier deploys: cdflow history {environment}"),
            },
        ));
    }
    let tried = record.unsettled.iter().find(|entry| entry.start.action == Action::Deploy);
    let newest = tried.or(record.settled.as_ref()).ok_or_else(nothing)?;
    Ok(&newest.start.version)
}

/// Returns the newest complete, successful deploy of another version. Its bundle must still exist.
async fn before(context: &Context, target: &Target<'_>, now: &Version) -> Result<Entry> {
    let environment = &target.environment;
    let looking = target.ledger.find(|entry| {
        entry.start.action == Action::Deploy
            && entry.start.targets.is_empty()
            && entry.start.version != *now
            && entry.end.as_ref().is_some_and(|end| end.outcome == Outcome::Succeeded)
    });
    let before =
        context.host.interrupt.or_cancel("reading the ledger", looking).await?.ok_or_else(
            || {
                Error::input(format!("`{environment}` has no earlier release to roll back to"))
                .why(format!(
                    "the ledger has no complete, successful deploy of a version other than {now}"
                ))
                .hint(format!("deploy the version you want: cdflow deploy {environment} VERSION"))
            },
        )?;
    let key = context.release(before.start.version.clone()).key();
    match context
        .host
        .interrupt
        .or_cancel("looking for the release", context.store.head(&key))
        .await?
    {
        Some(_) => Ok(before),
        None => Err(Error::input(format!(
            "release {}, to roll `{environment}` back to, no longer exists",
            before.start.version
        ))
        .why(format!("{} is missing", context.store.describe(&key)))
        .hint(format!("deploy another version from the history: cdflow history {environment}"))),
    }
}
