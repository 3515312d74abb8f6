//! prune: deletes releases that were never deployed, are old, and are not among the newest, old
//! records of plans, marks of deletions that were killed, and unused shared segments.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{SignedDuration, Timestamp};

use self::{
    deletion::{Deleted, Deletion},
    images::ReleaseImages,
    listed::Listed,
    segments::{Freed, Unneeded},
    stored::{Location, Object, Stored},
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        units::bytes_text,
    },
    cli::args::PruneInputs,
    config::{
        component::ComponentType,
        names::{Environment, Version},
        scheme::Storage,
    },
    context::Context,
    deploy::ledger::{Ledger, environments},
    services::store::{ListedObject, ReleaseStore},
};

mod deletion;
mod images;
pub(super) mod listed;
mod marks;
mod plans;
mod segments;
mod stored;

pub(crate) async fn run(context: &Context, inputs: PruneInputs) -> Result<()> {
    let PruneInputs { keep, older_than, dry_run, json } = inputs;
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let lambda = lambda_stores(context)?;
    let stores: Vec<&ReleaseStore> = std::iter::once(&context.store).chain(&lambda).collect();
    // The ledger is read last, so that it includes deploys that happen during the listing.
    let stored = interrupt.or_cancel("listing the releases", list(context, &stores, "")).await?;
    let known = environments::named(context);
    let reading = Ledger::versions(&context.store, &context.identity, &known, None);
    let deployed = interrupt.or_cancel("reading the ledger", reading).await?;
    let count = stored.len();
    let minimum_age = SignedDuration::try_from(older_than.0).unwrap_or(SignedDuration::MAX);
    let mut unused = unused(stored, &deployed, keep, minimum_age, Timestamp::now());
    let listing = plans::old(context, minimum_age);
    let old_plans = interrupt.or_cancel("listing the recorded plans", listing).await?;
    let listing = marks::dead(context);
    let old_marks = interrupt.or_cancel("listing the marks of deletions", listing).await?;
    let mut images = None;
    if !unused.is_empty() {
        images = interrupt.or_cancel("listing the images", ReleaseImages::list(context)).await?;
        add_images(&mut unused, images.as_ref());
    }
    let listed = Listed { context, count, releases: unused.clone() };
    if !json {
        listed.table(context.host.screen()).iter().for_each(|line| log.output(line));
    }
    let mut deleted = Deleted::default();
    let images = images.as_ref();
    let ended = match dry_run {
        true => {
            deleted.plans = plans::count(&old_plans);
            deleted.marks = old_marks.len();
            let versions = unused.into_iter().map(|(version, _)| version).collect();
            match Unneeded::find(context, &versions).await {
                Ok(unneeded) => {
                    deleted.segments = unneeded.freed();
                    Ok(())
                }
                Err(error) => warn_if_denied(context, error),
            }
        }
        false => {
            let deletion = Deletion { context, stores: &stores, images, destroyed: None };
            match deletion.run(unused, &mut deleted).await {
                Ok(()) => clean(context, &old_plans, &old_marks, &mut deleted).await,
                failed => failed,
            }
        }
    };
    if json {
        log.json(&listed.document(dry_run, &deleted));
    }
    if let Err(error) = ended {
        return Err(if json { error } else { with_deleted(error, &deleted) });
    }
    if deleted.plans > 0 {
        let deleted_or = if dry_run { "would delete" } else { "deleted" };
        log.note(&format!("{deleted_or} {} old recorded plan(s)", deleted.plans));
    }
    if deleted.marks > 0 {
        let removed = if dry_run { "would remove" } else { "removed" };
        log.note(&format!(
            "{removed} {} mark(s) that killed deletions have left of deleted releases",
            deleted.marks
        ));
    }
    if deleted.segments.count > 0 {
        let Freed { count, bytes } = deleted.segments;
        let deleted_or = if dry_run { "would delete" } else { "deleted" };
        let size = bytes_text(bytes);
        log.note(&format!("{deleted_or} {count} unused shared segment(s), {size}"));
    }
    log.done(&if listed.releases.is_empty() {
        format!(
            "No release to delete: {count} release(s), all of them deployed, too new or among the \
             newest {keep}"
        )
    } else if dry_run {
        let size = bytes_text(bytes(&listed.releases));
        format!("Would delete {} of {count} release(s), {size}", listed.releases.len())
    } else {
        let size = bytes_text(bytes(&deleted.releases));
        let kept = match deleted.kept.len() {
            0 => String::new(),
            kept => format!("; kept {kept}, because their deploys have begun"),
        };
        format!("Deleted {} of {count} release(s), {size}{kept}", deleted.releases.len())
    });
    Ok(())
}

/// Deletes what does not belong to a release that exists.
async fn clean(
    context: &Context,
    plans: &[String],
    marks: &[String],
    deleted: &mut Deleted,
) -> Result<()> {
    deleted.plans = plans::delete(context, plans).await?;
    deleted.marks = marks::remove(context, marks).await?;
    let deleting = match Unneeded::find(context, &BTreeSet::new()).await {
        Ok(unneeded) => unneeded.delete(context, &mut deleted.segments).await,
        Err(error) => Err(error),
    };
    deleting.or_else(|error| warn_if_denied(context, error))
}

/// A missing permission for shared segments is only a warning, because unused ones do no harm.
fn warn_if_denied(context: &Context, error: Error) -> Result<()> {
    if !matches!(error.exit(), Exit::Credentials | Exit::Input) {
        return Err(error);
    }
    context.host.log.warning(&format!("cannot delete unused shared segments: {error}"));
    Ok(())
}

/// Adds what was deleted before the error.
fn with_deleted(error: Error, deleted: &Deleted) -> Error {
    let versions: Vec<&str> =
        deleted.releases.iter().map(|(version, _)| version.as_str()).collect();
    let error = match versions.as_slice() {
        [] => error,
        _ => error.hint(format!("deleted before that: {}", versions.join(", "))),
    };
    let error = match &deleted.unanswered {
        Some(version) => error.hint(format!("perhaps deleted, in whole or in part: {version}")),
        None if versions.is_empty() => error.hint("no release was deleted"),
        None => error,
    };
    error.hint("run it again: it continues with what is left")
}

/// Deletes the releases of a preview, except those that were deployed to another environment.
pub(crate) async fn of_preview(context: &Context, environment: &Environment) -> Result<()> {
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let lambda = lambda_stores(context)?;
    let stores: Vec<&ReleaseStore> = std::iter::once(&context.store).chain(&lambda).collect();
    let prefix = format!("{environment}-");
    let mut stored =
        interrupt.or_cancel("listing the releases", list(context, &stores, &prefix)).await?;
    let images = interrupt.or_cancel("listing the images", ReleaseImages::list(context)).await?;
    // An interrupted run can leave images without bundles.
    for version in images.iter().flat_map(|images| images.of_preview(&prefix)) {
        stored.entry(version).or_default();
    }
    let mut unused: Vec<_> = stored.into_iter().collect();
    if unused.is_empty() {
        return Ok(());
    }
    let known = environments::named(context);
    let reading = Ledger::versions(&context.store, &context.identity, &known, Some(environment));
    let deployed = interrupt.or_cancel("reading the ledger", reading).await?;
    unused.retain(|(version, _)| !deployed.contains(version));
    add_images(&mut unused, images.as_ref());
    let destroyed = Some(environment);
    let deletion = Deletion { context, stores: &stores, images: images.as_ref(), destroyed };
    let mut deleted = Deleted::default();
    deletion.run(unused, &mut deleted).await?;
    log.note(&format!("deleted {} release(s) of the preview", deleted.releases.len()));
    Ok(())
}

/// The size of all objects.
fn bytes(releases: &[(Version, Stored)]) -> u64 {
    releases.iter().flat_map(|(_, stored)| &stored.objects).map(|object| object.size).sum()
}

fn add_images(releases: &mut [(Version, Stored)], images: Option<&ReleaseImages>) {
    let Some(images) = images else { return };
    for (version, stored) in releases {
        let size = images.size(version);
        stored.objects.extend(size.map(|size| Object {
            at: Location::Image,
            place: images.describe(version),
            size,
        }));
    }
}

/// Returns every store of Lambda zips in the scheme, because a component can have had its zips in
/// one region and in several at different times.
fn lambda_stores(context: &Context) -> Result<Vec<ReleaseStore>> {
    if context.manifest.kind != ComponentType::Lambda {
        return Ok(Vec::new());
    }
    let scheme = &context.scheme;
    let mut places: Vec<(&str, &Storage)> =
        scheme.lambda_buckets.iter().map(|(region, place)| (region.as_str(), place)).collect();
    if let Some(place) =
        scheme.lambda_bucket.as_ref().filter(|one| places.iter().all(|(_, other)| other != one))
    {
        places.push((&scheme.default_region, place));
    }
    places.into_iter().map(|(region, place)| context.store_at(place, region)).collect()
}

/// Lists what is stored for the versions that begin with `version`.
async fn list(
    context: &Context,
    stores: &[&ReleaseStore],
    version: &str,
) -> Result<BTreeMap<Version, Stored>> {
    let prefix = format!("{}{version}", context.identity.releases_prefix());
    let mut found: BTreeMap<Version, Stored> = BTreeMap::new();
    for (number, store) in stores.iter().enumerate() {
        for ListedObject { key, size, modified } in store.list_all(&prefix).await? {
            // Ignore objects that are not part of a release.
            let Some(version) = context.identity.version_in(&key) else { continue };
            let stored = found.entry(version).or_default();
            stored.modified = match (stored.objects.is_empty(), stored.modified) {
                (true, _) => modified,
                (false, before) => before.zip(modified).map(|(one, other)| one.max(other)),
            };
            let place = store.describe(&key);
            stored.objects.push(Object { at: Location::Store { number, key }, place, size });
        }
    }
    Ok(found)
}

/// Returns the releases to delete, oldest first. A version of unknown age counts as new.
fn unused(
    stored: BTreeMap<Version, Stored>,
    deployed: &BTreeSet<Version>,
    keep: usize,
    minimum_age: SignedDuration,
    now: Timestamp,
) -> Vec<(Version, Stored)> {
    let mut newest_first: Vec<(Version, Stored)> = stored.into_iter().collect();
    newest_first.sort_by_key(|(_, stored)| Reverse(stored.modified.unwrap_or(Timestamp::MAX)));
    let old = newest_first.into_iter().skip(keep).filter(|(version, stored)| {
        let age = stored.modified.map(|modified| now.duration_since(modified));
        !deployed.contains(version) && age.is_some_and(|age| age >= minimum_age)
    });
    let mut oldest_first: Vec<_> = old.collect();
    oldest_first.reverse();
    oldest_first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployed_recent_and_newest_releases_are_kept() {
        const DAY: i64 = 86400;
        let now = Timestamp::from_second(1000 * DAY).unwrap();
        let day = SignedDuration::from_secs(DAY);
        // Version N is N days old; one has no known age.
        let stored = || {
            let known = (1..=9_i64).map(|days| {
                let modified = Timestamp::from_second((1000 - days) * DAY).unwrap();
                (
                    days.to_string().parse().unwrap(),
                    Stored { objects: vec![], modified: Some(modified) },
                )
            });
            known
                .chain([("unknown".parse().unwrap(), Stored::default())])
                .collect::<BTreeMap<Version, Stored>>()
        };
        let deployed: BTreeSet<Version> =
            ["7", "missing"].map(|version| version.parse().unwrap()).into();
        let deleted = |keep, days| {
            let unused = unused(stored(), &deployed, keep, day * days, now);
            unused.into_iter().map(|(version, _)| version.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(deleted(0, 0), "9 8 6 5 4 3 2 1");
        assert_eq!(deleted(0, 5), "9 8 6 5");
        // The newest three are the one of unknown age, 1 and 2.
        assert_eq!(deleted(3, 0), "9 8 6 5 4 3");
        assert_eq!(deleted(8, 3), "9 8");
        assert_eq!(deleted(10, 0), "");
        assert_eq!(deleted(0, 10), "");
        assert_eq!(deleted(0, i32::MAX), "");
    }
}
