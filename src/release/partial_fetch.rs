//! Finds out which parts of a bundle must be fetched, if a machine has some of its files already.

use std::ops::Range;

use super::{
    bundle::{BundleIndex, BundleManifest, IndexLookup, MANIFEST, check_entries},
    file_cache::{CachedFiles, FileCache},
};
use crate::{
    base::{blocking::blocking, digest::Sha256, error::Result},
    services::store::{ObjectInfo, ReleaseStore},
};

/// Bytes at the end of a bundle that are read first. They contain the index, and for most bundles
/// the small files too.
const TAIL: u64 = 64 << 10;
/// A smaller bundle is fetched whole: its files are not kept.
const SMALLEST: u64 = 1 << 20;

/// What to fetch, and what not.
pub(crate) struct FetchPlan {
    /// The files that need not be fetched, each verified.
    pub(crate) cached: CachedFiles,
    /// Everything else, in bytes.
    pub(crate) missing: Vec<Range<u64>>,
}

impl FetchPlan {
    /// Returns how much is fetched, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.missing.iter().map(|range| range.end - range.start).sum()
    }
}

/// Looks for the files of a bundle in the cache. None if none of them is there, or if the bundle
/// cannot be read without fetching it whole: that shows why.
pub(crate) async fn plan(
    store: &ReleaseStore,
    key: &str,
    found: &ObjectInfo,
    expected: Option<Sha256>,
    cache: &FileCache,
) -> Result<Option<FetchPlan>> {
    if found.size < SMALLEST {
        return Ok(None);
    }
    let mut from = found.size - TAIL;
    let (index, tail) = loop {
        let tail = store.get_range(key, from, found.size - from).await?;
        match BundleIndex::locate(&tail, found.size) {
            Ok(IndexLookup::Found(index)) => break (index, tail),
            Ok(IndexLookup::NeedMore { from_offset }) if from_offset < from => from = from_offset,
            _ => return Ok(None),
        }
    };
    let Some(manifest) = manifest(&index, &tail, from, expected) else { return Ok(None) };
    let (size, cache) = (found.size, cache.clone());
    blocking(move || {
        let cached = cached(&manifest, &cache);
        let missing = missing(&index, &manifest, &cached, size);
        Ok((!cached.is_empty()).then_some(FetchPlan { cached, missing }))
    })
    .await
}

/// Returns the manifest, if it is in the tail and the expected one. The reader of the fetched
/// bundle checks it again, and reports what is wrong.
fn manifest(
    index: &BundleIndex,
    tail: &[u8],
    from: u64,
    expected: Option<Sha256>,
) -> Option<BundleManifest> {
    let entry = index.entry(MANIFEST)?;
    let at = usize::try_from(entry.start.checked_sub(from)?).ok()?;
    let bytes = tail.get(at..at.checked_add(usize::try_from(entry.len).ok()?)?)?;
    let bytes = index.decode(entry, bytes).ok()?;
    if expected.is_some_and(|expected| expected != Sha256::of(&bytes)) {
        return None;
    }
    let manifest = BundleManifest::parse(&bytes).ok()?;
    check_entries(index, &manifest).ok().map(|()| manifest)
}

fn cached(manifest: &BundleManifest, cache: &FileCache) -> CachedFiles {
    let kept = manifest.files.iter().filter(|(name, file)| file.is_kept(name));
    kept.filter_map(|(_, file)| Some((file.sha256, cache.find(file.sha256, file.size)?))).collect()
}

/// Returns the ranges without the data of cached files. Their local headers are fetched, because
/// the reader checks them.
fn missing(
    index: &BundleIndex,
    manifest: &BundleManifest,
    cached: &CachedFiles,
    size: u64,
) -> Vec<Range<u64>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    for entry in index.files() {
        let promised = manifest.files.get(&entry.name);
        let is_cached = promised
            .is_some_and(|it| it.is_kept(&entry.name) && cached.contains_key(&it.sha256));
        if is_cached {
            let end = entry.start + entry.len;
            ranges.push(at..end - entry.compressed);
            at = end;
        }
    }
    ranges.push(at..size);
    ranges.retain(|range| range.start < range.end);
    ranges
}
