//! Which environments have a ledger. A list of the store that lacks one is not believed: `prune`
//! would delete the releases that are deployed there.

use std::collections::BTreeSet;

use super::{LISTS, Ledger, Record, lacks, size::ENTRY_LIMIT};
use crate::{
    base::{
        at_once::at_once,
        error::{Error, Result},
        spelling::nearest,
    },
    config::{
        identity::Identity,
        names::{Environment, Version},
    },
    context::Context,
    services::store::ReleaseStore,
};

/// Returns the environments that the account scheme and cdflow.yml name.
pub(crate) fn named(context: &Context) -> BTreeSet<Environment> {
    let scheme = &context.scheme;
    let listed = scheme.environments().keys().filter_map(|name| name.parse().ok());
    let limits = [&context.manifest.deploy.limits(), &scheme.policy.guards];
    listed.chain(limits.iter().flat_map(|limits| limits.named()).cloned()).collect()
}

/// Returns the named environment that a mistyped one was probably meant to be. None for an
/// environment that is named itself, and for a preview.
pub(crate) fn meant(context: &Context, environment: &Environment) -> Option<Environment> {
    let named = named(context);
    if environment.is_preview() || named.contains(environment) {
        return None;
    }
    nearest(environment.as_str(), named.iter().map(Environment::as_str))?.parse().ok()
}

/// Returns the error for an environment that has to be deployed and is not.
pub(crate) fn not_deployed(context: &Context, environment: &Environment) -> Error {
    let error =
        Error::input(format!("the ledger says that nothing is deployed in `{environment}`"));
    match meant(context, environment) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error,
    }
}

/// Returns the preview that a version was probably made for: `pr-7` for `pr-7-a1b2c3d`.
pub(crate) fn preview_of(version: &Version) -> Option<Environment> {
    let (number, _) = version.as_str().strip_prefix("pr-")?.split_once('-')?;
    Some(Environment::of_pull_request(number.parse().ok()?))
}

/// Returns the environments that have a ledger.
pub(crate) async fn with_ledger(context: &Context) -> Result<Vec<Environment>> {
    let known = named(context);
    Ledger::environments(&context.store, &context.identity, &known).await
}

/// Returns the recent runs of each of these environments.
pub(crate) async fn records(
    context: &Context,
    environments: &[Environment],
) -> Result<Vec<(Environment, Record)>> {
    let reading = environments.iter().map(|environment| async move {
        let record = Ledger::of(context, environment).record().await?;
        Ok((environment.clone(), record))
    });
    at_once(reading).await
}

impl Ledger<'_> {
    /// Returns the environments that have a ledger. A list without one of `known` that has a ledger
    /// is an error.
    pub(crate) async fn environments(
        store: &ReleaseStore,
        identity: &Identity,
        known: &BTreeSet<Environment>,
    ) -> Result<Vec<Environment>> {
        let names = folders(store, identity, known).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Returns every version that must be kept: those in the ledger of any environment, whether
    /// the deploy succeeded or not. Reads these ledgers completely.
    ///
    /// `destroyed` is an environment whose releases are no longer needed. Of its versions, only
    /// those are kept whose deploy is in progress or came after the destroy. `known` is as in
    /// [`Self::environments`].
    pub(crate) async fn versions(
        store: &ReleaseStore,
        identity: &Identity,
        known: &BTreeSet<Environment>,
        destroyed: Option<&Environment>,
    ) -> Result<BTreeSet<Version>> {
        let mut versions = BTreeSet::new();
        for name in folders(store, identity, known).await? {
            // A ledger that is skipped here could make prune delete a deployed release.
            let environment: Environment = name.parse().map_err(|invalid| {
                let place = store.describe(&identity.ledgers_prefix());
                Error::integrity(format!(
                    "unexpected folder `{}` in {place}: not the name of an environment",
                    name.escape_debug()
                ))
                .why(invalid)
                .hint("find out what it contains, and move it elsewhere")
            })?;
            let ledger = Ledger::new(store, identity, &environment);
            let entries = match destroyed == Some(&environment) {
                true => ledger.record().await?.live(),
                false => ledger.newest(usize::MAX).await?.0,
            };
            for start in entries.into_iter().map(|entry| entry.start) {
                // What a stored plan has created uses the artifact of its own release.
                versions.extend(start.reviewed.and_then(|it| it.plan).map(|plan| plan.version));
                versions.insert(start.version);
            }
        }
        Ok(versions)
    }
}

/// Lists the folders of the ledgers. Each environment of `known` that is not in the list is looked
/// up by the name of its first entry.
async fn folders(
    store: &ReleaseStore,
    identity: &Identity,
    known: &BTreeSet<Environment>,
) -> Result<Vec<String>> {
    let mut missing = None;
    for _ in 0..LISTS {
        let names = store.folders(&identity.ledgers_prefix()).await?;
        missing = first_not_in(&names, store, identity, known).await?;
        if missing.is_none() {
            return Ok(names);
        }
    }
    let place = store.describe(&identity.ledgers_prefix());
    let missing = missing.map(|it| it.to_string()).unwrap_or_default();
    Err(lacks(&format!("the ledgers lacks the one of `{missing}`"), &place))
}

async fn first_not_in(
    names: &[String],
    store: &ReleaseStore,
    identity: &Identity,
    known: &BTreeSet<Environment>,
) -> Result<Option<Environment>> {
    let is_unlisted = |it: &&Environment| names.iter().all(|name| name != it.as_str());
    let unlisted: Vec<&Environment> = known.iter().filter(is_unlisted).collect();
    let asking = unlisted.into_iter().map(|environment| async move {
        let first = Ledger::new(store, identity, environment).key(1, "start");
        let exists = store.get(&first, ENTRY_LIMIT).await?.is_some();
        Ok(exists.then(|| environment.clone()))
    });
    let found: Vec<Option<Environment>> = at_once(asking).await?;
    Ok(found.into_iter().flatten().next())
}
