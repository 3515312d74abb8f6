//! Finds the segments of a new bundle that published releases have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use super::{
    bundle::{
        BundleEntry, EntrySource, KnownSegment, KnownSegments, SegmentPlace, StagedFile, is_kept,
        segments,
    },
    hashed_files::HashedFiles,
    listing,
    published::Published,
    shared_segments::{SegmentStorage, segment_key},
};
use crate::{
    base::{
        blocking::blocking,
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    config::identity::{Identity, Layout, Release},
    services::{
        ci::host::Host,
        store::{ListedObject, ReleaseStore, composed::CopySource},
    },
};

/// Releases of the component that are looked into.
const OWN: usize = 2;
/// Releases of other components of the team that are looked into.
const OTHERS: usize = 3;
/// Keys of the team that are listed, in one request.
const LISTED: usize = 1000;

/// The segments of a new release.
pub(crate) struct SegmentSearch<'a> {
    pub(crate) store: &'a ReleaseStore,
    pub(crate) release: &'a Release,
    pub(crate) storage: SegmentStorage,
    /// The SHA-256 of files that this release has hashed, by the name of the entry.
    pub(crate) hashed: BTreeMap<String, Sha256>,
    pub(crate) machine: Arc<HashedFiles>,
    pub(crate) host: &'a Host,
}

/// A file that becomes a segment.
struct Wanted {
    name: String,
    size: u64,
    path: PathBuf,
}

impl SegmentSearch<'_> {
    /// Looks into the newest releases of the component, then of the team. If the store cannot be
    /// read, all bytes are uploaded.
    pub(crate) async fn find(mut self, files: &[StagedFile]) -> KnownSegments {
        let mut wanted = wanted(files);
        let mut known = KnownSegments::new();
        if wanted.is_empty() {
            return known;
        }
        let found = self.search(&mut wanted, &mut known).await;
        if let Err(error) = found {
            self.host.log.detail(&format!("cannot look for segments in other releases: {error}"));
        }
        known
    }

    async fn search(&mut self, wanted: &mut Vec<Wanted>, known: &mut KnownSegments) -> Result<()> {
        let Release { identity, version } = self.release;
        let listed = listing::list(self.store, identity).await?;
        let own = listed.into_iter().filter(|it| it.version != *version).map(|it| it.version);
        let own = own.map(|version| Release { identity: identity.clone(), version });
        let own: Vec<Release> = own.filter(|it| self.is_trusted(it)).take(OWN).collect();
        self.take(own, wanted, known).await?;
        if wanted.is_empty() || identity.layout == Layout::Classic {
            return Ok(());
        }
        let team = format!("{}/", identity.team);
        let listed = self.store.list(&team, None, LISTED).await?;
        let others = newest_of_others(identity, listed);
        let others = others.into_iter().filter(|it| self.is_trusted(it)).take(OTHERS).collect();
        self.take(others, wanted, known).await
    }

    /// The release of a pull request can be made by code without a review. Its bytes do not enter
    /// other releases.
    fn is_trusted(&self, other: &Release) -> bool {
        !other.is_of_pull_request() || self.release.is_of_pull_request()
    }

    async fn take(
        &mut self,
        releases: Vec<Release>,
        wanted: &mut Vec<Wanted>,
        known: &mut KnownSegments,
    ) -> Result<()> {
        for release in releases {
            if wanted.is_empty() {
                break;
            }
            match Published::open(self.store, &release).await {
                Ok(Some(published)) => self.take_from(&release, &published, wanted, known).await?,
                // It was deleted, or a reader of it would report the same.
                Ok(None) => {}
                Err(error) => self.host.log.detail(&error.to_string()),
            }
        }
        Ok(())
    }

    /// Moves the segments of `published` from `wanted` to `known`.
    async fn take_from(
        &mut self,
        release: &Release,
        published: &Published<'_>,
        wanted: &mut Vec<Wanted>,
        known: &mut KnownSegments,
    ) -> Result<()> {
        let Some((_, manifest)) = &published.manifest else { return Ok(()) };
        let etag = published.found().etag.clone();
        let from = Arc::new(CopySource { key: release.key(), etag });
        let mut left = Vec::new();
        for file in wanted.drain(..) {
            let entry = published.index().entry(&file.name);
            let recorded = manifest.files.get(&file.name).filter(|it| it.size == file.size);
            let segment = match entry.zip(recorded) {
                Some((entry, recorded)) if self.hash(&file).await? == recorded.sha256 => {
                    self.known(published, entry, recorded.sha256, &from).await?
                }
                _ => None,
            };
            match segment {
                Some(segment) => {
                    known.insert(file.name, segment);
                }
                None => left.push(file),
            }
        }
        *wanted = left;
        Ok(())
    }

    /// Returns the segment that is this entry of another bundle. None if its bytes must become a
    /// shared segment, or if they are in one that is missing or of another file.
    async fn known(
        &self,
        published: &Published<'_>,
        entry: &BundleEntry,
        sha256: Sha256,
        from: &Arc<CopySource>,
    ) -> Result<Option<KnownSegment>> {
        let map = published.index().map();
        let Some(shared) = entry.shared.filter(|_| map.lacks(entry.start)) else {
            if self.storage == SegmentStorage::Shared
                && is_kept(&entry.name, entry.executable, entry.size)
            {
                return Ok(None);
            }
            let place = SegmentPlace::Copied(Arc::clone(from), map.in_object(entry.start));
            return Ok(KnownSegment::of(entry, sha256, place));
        };
        let key = segment_key(&shared);
        let place = match self.storage {
            SegmentStorage::InBundle => {
                SegmentPlace::Copied(Arc::new(CopySource { key: key.clone(), etag: None }), 0)
            }
            SegmentStorage::Shared | SegmentStorage::SharedIfThere => SegmentPlace::Shared(shared),
        };
        let Some(known) = KnownSegment::of(entry, sha256, place) else { return Ok(None) };
        let header = known.header(&entry.name)?;
        match self.store.get_range(&key, 0, header.len() as u64).await {
            Ok(found) => Ok((found == header).then_some(known)),
            Err(error) if matches!(error.exit(), Exit::Input | Exit::Integrity) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn hash(&mut self, file: &Wanted) -> Result<Sha256> {
        if let Some(sha256) = self.hashed.get(&file.name) {
            return Ok(*sha256);
        }
        let (path, machine) = (file.path.clone(), Arc::clone(&self.machine));
        let progress = self.host.progress("hashing", file.size);
        let sha256 = blocking(move || {
            let failed = |error| Error::io("cannot read", &path, &error);
            machine.hash(&path, &progress).map_err(|error| progress.or_cancelled(failed(error)))
        })
        .await?;
        self.hashed.insert(file.name.clone(), sha256);
        Ok(sha256)
    }
}

fn wanted(files: &[StagedFile]) -> Vec<Wanted> {
    let found = segments(files).into_iter().filter_map(|(file, size)| match &file.source {
        EntrySource::Path(path) => {
            Some(Wanted { name: file.name.clone(), size, path: path.clone() })
        }
        EntrySource::Bytes(_) => None,
    });
    found.collect()
}

/// Returns the newest listed release of each other component of the team, newest first.
fn newest_of_others(own: &Identity, listed: Vec<ListedObject>) -> Vec<Release> {
    let mut listed = listed;
    listed.sort_by_key(|object| std::cmp::Reverse(object.modified));
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for object in listed {
        let mut parts = object.key.split('/').skip(1);
        let (Some(component), Some(_), None) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Ok(component) = component.parse() else { continue };
        let identity = Identity { component, ..own.clone() };
        let Some(version) = identity.version_in(&object.key) else { continue };
        if identity.component != own.component && seen.insert(identity.component.to_string()) {
            found.push(Release { identity, version });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_of_each_other_component() {
        let own = Identity {
            team: "t".parse().unwrap(),
            component: "own".parse().unwrap(),
            layout: Layout::ByTeam,
        };
        let object = |(key, second): (&str, i64)| ListedObject {
            key: key.to_owned(),
            size: 1,
            modified: Some(jiff::Timestamp::new(second, 0).unwrap()),
        };
        let listed = [
            ("t/a/a-1.zip", 1),
            ("t/a/a-2.zip", 3),
            ("t/a/deleting/a-3.zip", 9),
            ("t/a/ledger/live/9999999998.end.json", 9),
            ("t/b/b-1.zip", 2),
            ("t/b/notes.txt", 9),
            ("t/b-c/b-c-1-x.zip", 4),
            ("t/own/own-7.zip", 9),
        ];
        let found = newest_of_others(&own, listed.into_iter().map(object).collect());
        let keys: Vec<String> = found.iter().map(Release::key).collect();
        assert_eq!(keys, ["t/b-c/b-c-1-x.zip", "t/a/a-2.zip", "t/b/b-1.zip"]);
    }
}
