//! Fetches a bundle: only what the machine does not have, from the object and from shared segments.

use std::{collections::BTreeMap, fs::OpenOptions, ops::Range, os::unix::fs::FileExt, path::Path};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    bundle::{BundleManifest, MANIFEST, PiecePlace, check_entries},
    file_cache::{CachedFiles, FileCache},
    shared_segments::segment_key,
    stored_bundle::StoredBundle,
};
use crate::{
    base::{
        blocking::blocking,
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    services::store::{ObjectInfo, ObjectPart, ProgressFn, ReleaseStore},
};

/// Bytes at the end of a bundle that are read first. They contain the index, and for most bundles
/// the small files too.
const TAIL: u64 = 64 << 10;
/// A smaller object is read whole.
const SMALLEST: u64 = 1 << 20;
/// Shared segments that are looked for at the same time.
const AT_ONCE: usize = 8;

/// Shared segments, by the digest of their objects, with the keys of these.
type Segments = BTreeMap<Sha256, (String, ObjectInfo)>;

/// What to fetch, and what not.
pub(crate) struct FetchPlan<'a> {
    store: &'a ReleaseStore,
    key: &'a str,
    found: &'a ObjectInfo,
    /// The files that need not be fetched, each verified.
    pub(crate) cached: CachedFiles,
    /// None if the object has no index: then all of it is fetched, and its reader shows why.
    bundle: Option<StoredBundle>,
    segments: Segments,
    /// What is fetched, in bytes of the archive.
    missing: Vec<Range<u64>>,
}

/// Bytes that were read with the index, and where they belong in the archive.
struct ReadAlready<'a> {
    at: u64,
    bytes: &'a [u8],
}

impl<'a> FetchPlan<'a> {
    /// Reads the index of the bundle `key`, and looks for its files in the cache. `expected` is the
    /// bundle digest.
    pub(crate) async fn new(
        store: &'a ReleaseStore,
        key: &'a str,
        found: &'a ObjectInfo,
        expected: Option<Sha256>,
        cache: Option<&FileCache>,
    ) -> Result<Self> {
        let mut plan = Self {
            store,
            key,
            found,
            cached: CachedFiles::default(),
            bundle: None,
            segments: Segments::new(),
            missing: vec![Range { start: 0, end: found.size }],
        };
        let least = if found.size < SMALLEST { found.size } else { TAIL };
        let bundle = match StoredBundle::open(store, key, found, least).await {
            Ok(bundle) => bundle,
            Err(error) if error.exit() == Exit::Integrity => return Ok(plan),
            Err(error) => return Err(error),
        };
        plan.missing = match (manifest(&bundle, expected), cache.cloned()) {
            (Some(manifest), Some(cache)) => {
                let finding = blocking(move || Ok((cached(&manifest, &cache), manifest)));
                let (cached, manifest) = finding.await?;
                let missing = missing(&bundle, &manifest, &cached);
                plan.cached = cached;
                missing
            }
            _ => vec![Range { start: 0, end: bundle.index.len() }],
        };
        plan.segments = plan.find_segments(&bundle).await?;
        plan.bundle = Some(bundle);
        Ok(plan)
    }

    async fn find_segments(&self, bundle: &StoredBundle) -> Result<Segments> {
        let finding = bundle.index.map().left_out().iter().map(async |it| {
            let key = segment_key(&it.sha256);
            match self.store.head(&key).await? {
                Some(found) if found.size > it.len => Ok((it.sha256, (key, found))),
                Some(_) => {
                    let error = self.incomplete(&key, "is too short");
                    Err(error.hint(format!("move it away first: {}", self.store.describe(&key))))
                }
                None => Err(self.incomplete(&key, "does not exist")),
            }
        });
        stream::iter(finding).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn incomplete(&self, key: &str, why: &str) -> Error {
        Error::integrity(format!("{} is incomplete", self.store.describe(self.key)))
            .why(format!("its shared segment {} {why}", self.store.describe(key)))
            .hint(
                "release the same source as a new version: that uploads the segment for all \
                 versions that use it",
            )
            .hint("find out what changed the store: `cdflow prune` keeps what has a use record")
    }

    /// Returns the keys of the shared segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.values().map(|(key, _)| key.as_str())
    }

    /// Returns how much is still to be fetched, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.split().0.iter().map(|part| part.range.end - part.range.start).sum()
    }

    /// Returns how many bytes are received in total.
    pub(crate) fn received(&self) -> u64 {
        self.size() + self.bundle.as_ref().map_or(0, StoredBundle::received)
    }

    /// Returns the size of the archive in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.bundle.as_ref().map_or(self.found.size, |bundle| bundle.index.len())
    }

    /// Writes the archive to the new file `to`, without the data of cached files.
    pub(crate) async fn fetch(&self, to: &Path, progress: ProgressFn<'_>) -> Result<()> {
        let (parts, read) = self.split();
        self.store.fetch_parts(&parts, self.total(), to, progress).await?;
        let failed = |error| Error::io("can't write", to, &error);
        let file = OpenOptions::new().write(true).open(to).map_err(failed)?;
        read.iter().try_for_each(|it| file.write_all_at(it.bytes, it.at)).map_err(failed)
    }

    /// Splits what is missing into parts of objects, and what was read with the index.
    fn split(&self) -> (Vec<ObjectPart<'_>>, Vec<ReadAlready<'_>>) {
        let (mut parts, mut read) = (Vec::new(), Vec::new());
        let own =
            |range: Range<u64>, at| ObjectPart { key: self.key, found: self.found, range, at };
        let Some(bundle) = &self.bundle else {
            return (self.missing.iter().map(|it| own(it.clone(), it.start)).collect(), read);
        };
        let pieces = self.missing.iter().flat_map(|range| bundle.index.map().pieces(range.clone()));
        for piece in pieces {
            match piece.place {
                PiecePlace::Object(start) => {
                    let end = start + piece.len;
                    let tail = bundle.tail_start().clamp(start, end);
                    if start < tail {
                        parts.push(own(start..tail, piece.at));
                    }
                    let at = piece.at + (tail - start);
                    read.extend(bundle.in_tail(tail..end).map(|bytes| ReadAlready { at, bytes }));
                }
                PiecePlace::Shared(sha256, start) => {
                    parts.extend(self.segments.get(&sha256).map(|(key, found)| ObjectPart {
                        key,
                        found,
                        range: start..start + piece.len,
                        at: piece.at,
                    }));
                }
            }
        }
        (parts, read)
    }
}

/// Returns the manifest, if it was read with the index and is the expected one. The reader of the
/// fetched bundle checks it again, and reports what is wrong.
fn manifest(bundle: &StoredBundle, expected: Option<Sha256>) -> Option<BundleManifest> {
    let entry = bundle.index.entry(MANIFEST)?;
    let bytes = bundle.index.decode(entry, bundle.entry_in_tail(entry)?).ok()?;
    if expected.is_some_and(|expected| expected != Sha256::of(&bytes)) {
        return None;
    }
    let manifest = BundleManifest::parse(&bytes).ok()?;
    check_entries(&bundle.index, &manifest).ok().map(|()| manifest)
}

fn cached(manifest: &BundleManifest, cache: &FileCache) -> CachedFiles {
    let kept = manifest.files.iter().filter(|(name, file)| file.is_kept(name));
    kept.filter_map(|(_, file)| Some((file.sha256, cache.find(file.sha256, file.size)?))).collect()
}

/// Returns the ranges of the archive without the data of cached files. Their local headers are
/// fetched, because the reader checks them.
fn missing(
    bundle: &StoredBundle,
    manifest: &BundleManifest,
    cached: &CachedFiles,
) -> Vec<Range<u64>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    for entry in bundle.index.files() {
        let promised = manifest.files.get(&entry.name);
        let is_cached =
            promised.is_some_and(|it| it.is_kept(&entry.name) && cached.contains_key(&it.sha256));
        if is_cached {
            let end = entry.start + entry.len;
            ranges.push(at..end - entry.compressed);
            at = end;
        }
    }
    ranges.push(at..bundle.index.len());
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
            let plan = bundle::SegmentPlan::default();
            bundle::write(files, header, &plan, &path, &Progress::none()).unwrap();
            let store = ReleaseStore::Directory(DirectoryStore::new(folder.path().join("store")));
            let log = Log::new(Redactor::default(), 0, true, false);
            let cache = FileCache::at(folder.path().join("files"), log);
            Self { folder, store, cache }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        async fn found(&self) -> ObjectInfo {
            self.store.head(KEY).await.unwrap().unwrap()
        }

        /// How many files need not be fetched.
        async fn cached(&self, expected: Option<Sha256>) -> usize {
            let found = self.found().await;
            let plan = FetchPlan::new(&self.store, KEY, &found, expected, Some(&self.cache));
            plan.await.unwrap().cached.len()
        }

        /// Fetches and unpacks into a new folder; returns the bytes that were fetched too.
        async fn warm(&self, name: &str) -> (Result<Unpacked>, u64) {
            let found = self.found().await;
            let plan = FetchPlan::new(&self.store, KEY, &found, None, Some(&self.cache));
            let plan = plan.await.unwrap();
            let archive = self.path(&format!("{name}.zip"));
            let received = AtomicU64::new(0);
            let count = |bytes| {
                received.fetch_add(bytes, Ordering::Relaxed);
            };
            plan.fetch(&archive, &count).await.unwrap();
            assert_eq!(received.load(Ordering::Relaxed), plan.size());
            let into = self.path(name);
            fs::create_dir(&into).unwrap();
            (unpack(&archive, &into, &plan.cached), plan.received())
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
        assert_eq!(published.cached(None).await, 0, "the cache is empty");
        let cold = published.cold();
        let before = tree(&cold.root);
        let manifest = cold.manifest.unwrap();
        published.cache.keep(&cold.root.join(PROGRAM), manifest.files[PROGRAM].sha256);
        let (warm, received) = published.warm("warm").await;
        let warm = warm.unwrap();
        assert!(tree(&warm.root) == before);
        assert_eq!((warm.digest, warm.manifest.as_ref()), (cold.digest, Some(&manifest)));
        let size = fs::metadata(published.path("store").join(KEY)).unwrap().len();
        assert!(size > (11 << 20) && received < (5 << 20) + 100_000, "{received} of {size}");
        // With another digest than the promised one, the whole bundle is fetched and rejected.
        assert_eq!(published.cached(Some(Sha256::of(b"other"))).await, 0);
        assert_eq!(published.cached(cold.digest).await, 1);
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
