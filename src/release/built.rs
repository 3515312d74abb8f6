//! An image that a pull request built is the image that is deployed after the merge.
//!
//! Runs for pull requests leave a mark in the release store, which other runs look for before they
//! build: `<team>/<component>/built/<source digest>/<version>`.
//!
//! Runs outside of pull requests leave none: a tree that is released again under a new version is
//! built again, with the base images of that day.

use super::{facts::ReleaseFacts, published::Published};
use crate::{
    base::{digest::Sha256, error::Result},
    config::{identity::Release, names::Version},
    services::{
        ci::host::Host,
        store::{Content, Metadata, ReleaseStore},
    },
};

/// Marks of one source digest that are looked at.
const MARKS: usize = 100;

/// A release that a pull request made from the same sources.
pub(crate) struct Built {
    pub(crate) version: Version,
    facts: ReleaseFacts,
}

impl Built {
    /// Returns the digest of its image if that is in `repository`.
    pub(crate) fn digest_in(&self, repository: &str) -> Option<&str> {
        self.facts.image_id()?.strip_prefix(repository)?.strip_prefix('@')
    }
}

/// Returns the newest release that a pull request made from `sources`; None within a pull request,
/// or if there is none. Trouble is a warning, because the image can be built again.
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
        let what = "cannot look for an image that a pull request built";
        host.log.warning(&format!("{what}, so it is built again: {error}"));
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
        let made_from = published.manifest.as_ref().map(|(_, manifest)| manifest.source_digest);
        if made_from == Some(sources) {
            let facts = published.facts().await?;
            return Ok(Some(Built { version: earlier.version, facts }));
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
            "failed to record that a pull request built this image, so that it is built again \
             after the merge: {error}"
        ));
    }
}
