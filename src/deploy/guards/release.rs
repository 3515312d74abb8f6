//! Guards of the release, evaluated before it is fetched: downgrade protection and `requires`.

use crate::{
    base::error::{Error, Result},
    config::{
        guards::DeployGuards,
        names::{Environment, Version},
    },
    context::Context,
    deploy::ledger::{self, Action, Entry, Ledger, Outcome, Record, Start},
    release::published::Published,
};

/// Refuses a release that is older than the deployed one, for example from a slow or repeated run.
pub(crate) async fn not_older(
    context: &Context,
    environment: &Environment,
    version: &Version,
    record: &Record,
) -> Result<()> {
    let is_there = record.with_state().is_some() || record.unfinished().is_some();
    match record.deployed().filter(|_| is_there) {
        Some(there) => older_than(context, environment, version, there).await,
        None => Ok(()),
    }
}

/// Checks again, against the deploys that began during the plan. `newest_known` is the newest run
/// that [`not_older`] saw. A run that begins even later has planned with the old state, and
/// Terraform rejects the second of two such plans.
pub(crate) async fn still_not_older(
    context: &Context,
    environment: &Environment,
    version: &Version,
    newest_known: u64,
) -> Result<()> {
    let record = ledger::record(context, &Ledger::of(context, environment)).await?;
    let unfinished = record.unsettled.iter().filter(|entry| entry.end.is_none());
    let since = record.settled.iter().chain(unfinished).map(|entry| &entry.start);
    for start in since.filter(|start| start.number > newest_known && start.action == Action::Deploy)
    {
        older_than(context, environment, version, start).await?;
    }
    Ok(())
}

async fn older_than(
    context: &Context,
    environment: &Environment,
    version: &Version,
    there: &Start,
) -> Result<()> {
    if there.version == *version {
        return Ok(());
    }
    let (ours, theirs) =
        (published_at(context, version).await?, published_at(context, &there.version).await?);
    // A deleted release has no date to compare.
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
    if ours >= theirs {
        return Ok(());
    }
    Err(Error::refused(format!(
        "release {version} is older than {}, which is deployed in `{environment}`",
        there.version
    ))
    .why(format!(
        "{version} was published at {ours:.0}, {} at {theirs:.0}; it was deployed by {}",
        there.version,
        who(there)
    ))
    .hint(format!("return to the release before: cdflow rollback {environment}"))
    .hint(
        "or deploy exactly this one: --allow-downgrade (the Action's input \
         `allow-downgrade: true`)",
    ))
}

async fn published_at(context: &Context, version: &Version) -> Result<Option<jiff::Timestamp>> {
    let key = context.release(version.clone()).key();
    let found = context
        .host
        .interrupt
        .or_cancel("looking for the release", context.store.head(&key))
        .await?;
    Ok(found.and_then(|found| found.modified))
}

fn who(start: &Start) -> String {
    let by = start.actor.as_deref().unwrap_or("an unknown user");
    match &start.run_url {
        Some(url) => format!("{by} at {:.0}, {url}", start.started),
        None => format!("{by} at {:.0}", start.started),
    }
}

/// Evaluates `requires`: the same bundle must have been deployed to the other environment,
/// completely and successfully.
pub(crate) async fn promoted(
    context: &Context,
    environment: &Environment,
    version: &Version,
    limits: &DeployGuards,
) -> Result<()> {
    if limits.requires.is_empty() {
        return Ok(());
    }
    let release = context.release(version.clone());
    let opened = Published::open(&context.store, &release);
    // A missing release is reported later.
    let Some(published) =
        context.host.interrupt.or_cancel("looking for the release", opened).await?
    else {
        return Ok(());
    };
    let digest = published.manifest.as_ref().map(|(digest, _)| *digest);
    for (before, rule) in &limits.requires {
        let is_proof = |entry: &Entry| {
            let start = &entry.start;
            start.action == Action::Deploy
                && start.targets.is_empty()
                && start.version == *version
                && start.bundle_digest == digest
                && entry.end.as_ref().is_some_and(|end| end.outcome == Outcome::Succeeded)
        };
        let ledger = Ledger::of(context, before);
        if context
            .host
            .interrupt
            .or_cancel("reading the ledger", ledger.find(is_proof))
            .await?
            .is_none()
        {
            return Err(Error::refused(format!(
                "release {version} must be deployed to `{before}` before `{environment}`"
            ))
            .why(format!("the ledger has no complete, successful deploy of it to `{before}`"))
            .hint(format!("deploy it there first: cdflow deploy {before} {version}"))
            .hint(format!("or change the rule: {rule}")));
        }
    }
    Ok(())
}
