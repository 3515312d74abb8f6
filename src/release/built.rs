//! What a pull request built is what is deployed after the merge: a later release of the same
//! sources has its image, and says whether it also has its code.
//!
//! Runs for pull requests leave a mark in the release store, which other runs look for before they
//! build: `<team>/<component>/built/<source digest>/<version>`.
//!
//! Runs outside of pull requests leave none: a tree that is released again under a new version is
//! built again, with the base images of that day.

use std::collections::{BTreeMap, BTreeSet};

use super::{bundle::BundleManifest, facts::ReleaseFacts, published::Published};
use crate::{
    base::{digest::Sha256, error::Result, log::Log},
    config::{identity::Release, names::Version},
    services::{
        ci::host::Host,
        store::{Content, Metadata, ReleaseStore},
    },
};

/// Marks of one source digest that are looked at.
const MARKS: usize = 100;
/// Names in a warning.
const SHOWN: usize = 3;

/// A release that a pull request made from the same sources.
pub(crate) struct Built {
    pub(crate) version: Version,
    facts: ReleaseFacts,
    manifest: BundleManifest,
}

impl Built {
    /// Returns the digest of its image if that is in `repository`.
    pub(crate) fn digest_in(&self, repository: &str) -> Option<&str> {
        self.facts.image_id()?.strip_prefix(repository)?.strip_prefix('@')
    }

    /// Returns the entries of code that only one of both releases has, or that differ. The sources
    /// are the same, so these are what `init` fetched: modules, and lines of the lock file.
    fn differences(&self, ours: &BundleManifest) -> BTreeSet<String> {
        let (theirs, ours): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (self.manifest.code().collect(), ours.code().collect());
        let names = theirs.keys().chain(ours.keys());
        names.filter(|name| theirs.get(*name) != ours.get(*name)).map(ToString::to_string).collect()
    }

    /// Says whether a release with this manifest has the code that the pull request planned. If
    /// not, returns a warning.
    pub(crate) fn compare(&self, ours: &BundleManifest, log: &Log) -> Option<String> {
        let version = &self.version;
        let found: Vec<String> = self.differences(ours).into_iter().collect();
        if found.is_empty() {
            log.note(&format!("the same code and modules as in release {version}"));
            return None;
        }
        let names = match found.as_slice() {
            names if names.len() <= SHOWN => names.join(", "),
            names => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
        };
        Some(format!(
            "this release differs from {version}, which a pull request made from the same \
             sources, in {names}; a deploy with --reviewed can refuse it\n  -> pin the modules and \
             commit the lock file, so that both releases get the same"
        ))
    }
}

/// Returns the newest release that a pull request made from `sources`; None within a pull request,
/// or if there is none. Trouble is a warning, because everything can be built again.
pub(crate) async fn find(
    host: &Host,
    store: &ReleaseStore,
    release: &Release,
    sources: Sha256,
) -> Result<Option<Built>> {
    if host.run.as_ref().is_some_and(|run| run.change.is_some()) {
        return Ok(None);
    }
    let found = newest(store, release, sources).await;
    Ok(found.unwrap_or_else(|error| {
        let what = "cannot look for a release that a pull request made";
        host.log.warning(&format!("{what}, so nothing of it is used: {error}"));
        None
    }))
}

async fn newest(store: &ReleaseStore, release: &Release, sources: Sha256) -> Result<Option<Built>> {
    let prefix = release.identity.built_prefix(&sources);
    let mut marks = store.list(&prefix, None, MARKS).await?;
    marks.sort_by_key(|mark| std::cmp::Reverse(mark.modified));
    for mark in marks {
        let version = mark.key.strip_prefix(&prefix).and_then(|name| name.parse().ok());
        let Some(version) = version else { continue };
        let earlier = Release { version, ..release.clone() };
        let Some(published) = Published::open(store, &earlier).await? else { continue };
        let Some((_, manifest)) = &published.manifest else { continue };
        if manifest.source_digest == sources {
            let facts = published.facts().await?;
            let manifest = manifest.clone();
            return Ok(Some(Built { version: earlier.version, facts, manifest }));
        }
    }
    Ok(None)
}

/// Leaves the mark of a release that a pull request made. A failure is a warning.
pub(crate) async fn remember(
    host: &Host,
    store: &ReleaseStore,
    release: &Release,
    sources: Sha256,
) {
    if host.run.as_ref().is_none_or(|run| run.change.is_none()) {
        return;
    }
    let key = format!("{}{}", release.identity.built_prefix(&sources), release.version);
    let content = Content::Bytes(Vec::new());
    if let Err(error) = store.put_new(&key, content, &Metadata::default(), &|_| {}).await {
        host.log.warning(&format!(
            "failed to record that a pull request made this release, so that nothing of it is \
             used after the merge: {error}"
        ));
    }
}
