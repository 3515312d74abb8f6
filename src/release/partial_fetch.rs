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
    /// Bytes that were read to find that out.
    pub(crate) index: u64,
}

impl FetchPlan {
    /// Returns how much is still to be fetched, in bytes.
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
    let (size, read, cache) = (found.size, tail.len() as u64, cache.clone());
    blocking(move || {
        let cached = cached(&manifest, &cache);
        let missing = missing(&index, &manifest, &cached, size);
        Ok((!cached.is_empty()).then_some(FetchPlan { cached, missing, index: read }))
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
        let is_cached =
            promised.is_some_and(|it| it.is_kept(&entry.name) && cached.contains_key(&it.sha256));
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

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::{
        base::{
            log::{Log, Progress},
            redact::Redactor,
        },
        release::bundle::{
            self, BundleHeader, EntrySource, StagedFile, TerraformIdentity, Unpacked,
        },
        services::store::DirectoryStore,
    };

    const KEY: &str = "team/app/app-1.zip";
    const PROGRAM: &str = "providers/r/hashicorp/big/1.0.0/linux_amd64/terraform-provider-big";

    struct Published {
        folder: tempfile::TempDir,
        store: ReleaseStore,
        cache: FileCache,
    }

    fn unpack(archive: &Path, into: &Path, cached: &CachedFiles) -> Result<Unpacked> {
        bundle::unpack(archive, into, None, cached, &Progress::none())
    }

    /// Bytes that cannot be compressed.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(&mut next).take(len).collect()
    }

    impl Published {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let staged = |name: &str, content: Vec<u8>, executable| StagedFile {
                name: name.into(),
                source: EntrySource::Bytes(content),
                executable,
            };
            let files = vec![
                staged("infra/main.tf", b"# code".to_vec(), false),
                staged("release.json", b"{}".to_vec(), false),
                staged(PROGRAM, noise(6 << 20), true),
                // As big, but the code can write it.
                staged("infra/data.bin", noise(5 << 20), true),
            ];
            let sha256 = Sha256::of(b"");
            let terraform = TerraformIdentity {
                name: "terraform".into(),
                version: "1.11.4".into(),
                platform: None,
                sha256,
            };
            let path = folder.path().join("store").join(KEY);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let header = BundleHeader { source_digest: sha256, terraform };
            let known = bundle::KnownSegments::new();
            bundle::write(files, header, &known, &path, &Progress::none()).unwrap();
            let store = ReleaseStore::Directory(DirectoryStore::new(folder.path().join("store")));
            let log = Log::new(Redactor::default(), 0, true, false);
            let cache = FileCache::at(folder.path().join("files"), log);
            Self { folder, store, cache }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        async fn plan(&self, expected: Option<Sha256>) -> Option<FetchPlan> {
            let found = self.store.head(KEY).await.unwrap().unwrap();
            plan(&self.store, KEY, &found, expected, &self.cache).await.unwrap()
        }

        /// Fetches and unpacks into a new folder; returns the bytes that were fetched too.
        async fn warm(&self, name: &str) -> (Result<Unpacked>, u64) {
            let plan = self.plan(None).await.unwrap();
            let found = self.store.head(KEY).await.unwrap().unwrap();
            let archive = self.path(&format!("{name}.zip"));
            let received = AtomicU64::new(0);
            let count = |bytes| {
                received.fetch_add(bytes, Ordering::Relaxed);
            };
            let fetching = self.store.fetch_ranges(KEY, &found, &plan.missing, &archive, &count);
            fetching.await.unwrap();
            assert_eq!(received.load(Ordering::Relaxed), plan.size());
            let into = self.path(name);
            fs::create_dir(&into).unwrap();
            (unpack(&archive, &into, &plan.cached), plan.size())
        }

        fn cold(&self) -> Unpacked {
            let into = self.path("cold");
            fs::create_dir(&into).unwrap();
            let archive = self.path("store").join(KEY);
            unpack(&archive, &into, &CachedFiles::default()).unwrap()
        }
    }

    fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
        let files = entries.map(|entry| entry.unwrap()).filter(|it| it.file_type().is_file());
        let relative = |path: &Path| path.strip_prefix(root).unwrap().to_owned();
        files.map(|it| (relative(it.path()), fs::read(it.path()).unwrap())).collect()
    }

    #[tokio::test]
    async fn only_what_is_not_cached_is_fetched() {
        let published = Published::new();
        assert!(published.plan(None).await.is_none(), "the cache is empty");
        let cold = published.cold();
        let before = tree(&cold.root);
        let manifest = cold.manifest.unwrap();
        published.cache.keep(&cold.root.join(PROGRAM), manifest.files[PROGRAM].sha256);
        let (warm, received) = published.warm("warm").await;
        let warm = warm.unwrap();
        assert!(tree(&warm.root) == before);
        assert_eq!((warm.digest, warm.manifest.as_ref()), (cold.digest, Some(&manifest)));
        let size = fs::metadata(published.path("store").join(KEY)).unwrap().len();
        assert!(size > (11 << 20) && received < (5 << 20) + 10_000, "{received} of {size}");
        // With another digest than the promised one, the whole bundle is fetched and rejected.
        assert!(published.plan(Some(Sha256::of(b"other"))).await.is_none());
        assert!(published.plan(cold.digest).await.is_some());
    }

    /// Everything but the data of a cached file is checked as ever.
    #[tokio::test]
    async fn a_damaged_bundle_is_rejected_on_a_warm_machine_too() {
        let published = Published::new();
        let cold = published.cold();
        let manifest = cold.manifest.unwrap();
        published.cache.keep(&cold.root.join(PROGRAM), manifest.files[PROGRAM].sha256);
        let path = published.path("store").join(KEY);
        let good = fs::read(&path).unwrap();
        let find = |text: &str| {
            good.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
        };
        for (number, at) in
            [find(PROGRAM), find(PROGRAM) - 12, find("infra/main.tf"), find("infra/data.bin") + 99]
                .into_iter()
                .enumerate()
        {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, bad).unwrap();
            let (warm, _) = published.warm(&format!("bad{number}")).await;
            assert_eq!(warm.unwrap_err().exit(), crate::base::error::Exit::Integrity, "byte {at}");
        }
    }
}
