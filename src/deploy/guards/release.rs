//! What must be true of a release before it is deployed to an environment; asked before anything is fetched.

use crate::{
    base::error::{Error, Result},
    config::{
        guards::Effective,
        names::{Environment, Version},
    },
    context::Context,
    deploy::ledger::{self, Action, Entry, Ledger, Outcome, Record, Start},
    release::published::Published,
};

/// An older release does not replace a newer one by accident: a run that was slow, or was run again.
pub(crate) async fn not_older(
    context: &Context,
    environment: &Environment,
    version: &Version,
    record: &Record,
) -> Result<()> {
    match record.deployed() {
        Some(there) => older_than(context, environment, version, there).await,
        None => Ok(()),
    }
}

/// The same once more, of what others have begun while we planned: `seen` is the newest run that [`not_older`] knew of. Who
/// begins after this has planned with the state as it was before, and Terraform refuses the later of the two.
pub(crate) async fn still_not_older(
    context: &Context,
    environment: &Environment,
    version: &Version,
    seen: u64,
) -> Result<()> {
    let record = ledger::record(context, environment).await?;
    let unfinished = record.unsettled.iter().filter(|entry| entry.end.is_none());
    let since = record.settled.iter().chain(unfinished).map(|entry| &entry.start);
    for start in since.filter(|start| start.number > seen && start.action == Action::Deploy) {
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
    // A release that is gone can't be compared.
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
    .hint(format!("to go back to the release before: cdflow rollback {environment}"))
    .hint("if just this release is meant: --allow-downgrade (the Action's input `allow-downgrade: true`)"))
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
    let by = start.actor.as_deref().unwrap_or("somebody");
    match &start.run_url {
        Some(url) => format!("{by} at {:.0}, {url}", start.started),
        None => format!("{by} at {:.0}", start.started),
    }
}

/// `requires`: the same release, by its bundle, was deployed there as a whole.
pub(crate) async fn promoted(
    context: &Context,
    environment: &Environment,
    version: &Version,
    limits: &Effective,
) -> Result<()> {
    if limits.requires.is_empty() {
        return Ok(());
    }
    let release = context.release(version.clone());
    let opened = Published::open(&context.store, &release);
    // A missing release has an error of its own, later.
    let Some(published) =
        context.host.interrupt.or_cancel("looking for the release", opened).await?
    else {
        return Ok(());
    };
    let digest = published.manifest().await?.map(|(digest, _)| digest);
    for before in &limits.requires {
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
            return Err(Error::refused(format!("release {version} goes to `{environment}` only after `{before}`"))
                .why(format!("by the ledger it was not deployed in `{before}` with success and as a whole"))
                .hint(format!("cdflow deploy {before} {version}"))
                .hint("the rule is `requires`, in `deploy` of cdflow.yml or `policy` of the account scheme"));
        }
    }
    Ok(())
}
