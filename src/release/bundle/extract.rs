//! Extracts an archive to disk and checks the content.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;

use super::{
    codec::{BlockReader, Decoder},
    entry::{BundleEntry, ContentCheck, damaged, local_len},
    index::BundleIndex,
    layout::{MANIFEST, SEGMENT, reject},
    manifest::BundleManifest,
    record::{BLOCK, LOCAL_LEN},
};
use crate::{
    base::{
        digest::{Hasher, Sha256},
        error::{Error, Result},
        log::Progress,
        parallel::{Item, in_order, threads},
    },
    release::file_cache::{CachedFile, CachedFiles},
};

/// The space that disks usually need for a file or a folder, in bytes.
const CLUSTER: u64 = 4096;
const INPUT: u64 = 64 << 10;

/// Extracts all of `index` from `file` into the empty folder `into`. Checks every header before it
/// writes anything, and every file while it writes: its SHA-256 if there is a manifest (`promise`
/// has the digest of the manifest, too), otherwise only its CRC. Files of `cached` are linked.
pub(crate) fn extract(
    index: &BundleIndex,
    file: &File,
    into: &Path,
    promise: Option<(Sha256, &BundleManifest)>,
    cached: &CachedFiles,
    progress: &Progress,
) -> Result<()> {
    let placed = place(index, file)?;
    let extraction = Extraction { file, into, promise, cached, progress };
    check_space(index, into, |entry| {
        extraction.cached(entry).is_some_and(|cached| cached.is_on_disk_of(into))
    })?;
    make_folders(index, into)?;
    let (kept, placed): (Vec<_>, Vec<_>) =
        placed.into_iter().partition(|placed| extraction.cached(placed.entry).is_some());
    progress.set_total(placed.iter().map(|placed| placed.entry.size).sum());
    kept.iter().try_for_each(|placed| extraction.link(placed.entry))?;
    let (segments, others): (Vec<_>, Vec<_>) = placed
        .into_iter()
        .partition(|placed| !placed.entry.blocks.is_empty() && placed.entry.size >= SEGMENT);
    // One segment keeps every thread busy. One at a time limits memory and gives each file one
    // writer.
    segments.iter().try_for_each(|segment| extraction.write_segment(segment))?;
    extraction.write_all(others)
}

/// An entry whose local header was checked.
struct PlacedEntry<'a> {
    entry: &'a BundleEntry,
    /// Offset of its data in the archive.
    data: u64,
}

fn place<'a>(index: &'a BundleIndex, file: &File) -> Result<Vec<PlacedEntry<'a>>> {
    for folder in index.folder_entries() {
        place_one(index, file, folder)?;
    }
    index.files().iter().map(|entry| place_one(index, file, entry)).collect()
}

/// Reads and checks the bytes before and after the data of an entry.
fn place_one<'a>(
    index: &BundleIndex,
    file: &File,
    entry: &'a BundleEntry,
) -> Result<PlacedEntry<'a>> {
    let failed =
        |error: io::Error| reject(&entry.name, format!("cannot read its local header: {error}"));
    let mut fixed = [0; LOCAL_LEN];
    file.read_exact_at(&mut fixed, entry.start).map_err(failed)?;
    let len = local_len(&fixed);
    let rest = entry.len.checked_sub(len as u64 + entry.compressed);
    let rest = rest.ok_or_else(|| reject(&entry.name, "it overlaps another entry"))?;
    let mut header = vec![0; len];
    file.read_exact_at(&mut header, entry.start).map_err(failed)?;
    index.check_local(entry, &header)?;
    let data = entry.start + len as u64;
    // A data descriptor is shorter than 32 bytes, so more bytes than it has are detected.
    let mut after = vec![0; rest.min(32) as usize];
    file.read_exact_at(&mut after, data + entry.compressed).map_err(failed)?;
    entry.check_rest(&after)?;
    Ok(PlacedEntry { entry, data })
}

/// `is_free`: the file needs no space.
fn check_space(
    index: &BundleIndex,
    into: &Path,
    is_free: impl Fn(&BundleEntry) -> bool,
) -> Result<()> {
    let files = index.files().iter().filter(|entry| !is_free(entry));
    let files: u64 = files.map(|entry| entry.size.next_multiple_of(CLUSTER)).sum();
    let needed = files + index.tree().len() as u64 * CLUSTER;
    let disk = statvfs(into)
        .map_err(|error| Error::io("cannot determine the free space of", into, &error.into()))?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if needed <= free {
        return Ok(());
    }
    Err(Error::input(format!("cannot unpack the bundle into `{}`", into.display()))
        .why(format!("it needs {needed} bytes, but only {free} are free"))
        .hint("free some space, or set TMPDIR to a folder on a larger disk"))
}

/// Creates every folder. An existing one is an error, because another program made it.
fn make_folders(index: &BundleIndex, into: &Path) -> Result<()> {
    index.tree().iter().try_for_each(|folder| {
        let path = into.join(folder);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Error::io("cannot create folder", &path, &error))
    })
}

/// The archive, the target folder, the manifest, and files of it that are cached.
struct Extraction<'a> {
    file: &'a File,
    into: &'a Path,
    promise: Option<(Sha256, &'a BundleManifest)>,
    cached: &'a CachedFiles,
    progress: &'a Progress,
}

impl Extraction<'_> {
    fn cached(&self, entry: &BundleEntry) -> Option<&CachedFile> {
        let (_, manifest) = self.promise?;
        let promised = manifest.files.get(&entry.name).filter(|it| it.is_kept(&entry.name))?;
        self.cached.get(&promised.sha256)
    }

    fn link(&self, entry: &BundleEntry) -> Result<()> {
        let path = self.into.join(&entry.name);
        let linked = self.cached(entry).map_or(Ok(()), |cached| cached.place(&path));
        linked.map_err(|error| Error::io("cannot write file", &path, &error))
    }

    /// Other threads decode the blocks; this one hashes and writes them in order.
    fn write_segment(&self, placed: &PlacedEntry<'_>) -> Result<()> {
        let entry = placed.entry;
        let mut output = self.create(entry)?;
        let mut check = ContentCheck::new(entry);
        in_order(
            threads(),
            blocks(placed).map(|block| {
                let work = block.size as u64;
                Ok(Item { cost: block.len + block.size, work, item: block })
            }),
            BlockReader::new,
            |reader, block| {
                reader
                    .decode(block.len, block.size, |to| self.file.read_exact_at(to, block.at))
                    .map_err(|error| damaged(&entry.name, &error))
            },
            |bytes| {
                check.update(&bytes)?;
                self.progress.step(bytes.len() as u64)?;
                output.write(&bytes)
            },
        )?;
        check.finish()?;
        output.finish()
    }

    /// Each thread writes one file at a time. The largest come first, so that none delays the end.
    fn write_all(&self, mut placed: Vec<PlacedEntry<'_>>) -> Result<()> {
        placed.sort_by_key(|placed| std::cmp::Reverse(placed.entry.size));
        // The cost limits how many files wait. The memory of a stream does not depend on its
        // length.
        let items = placed.into_iter().map(|item| {
            let work = item.entry.size;
            Ok(Item { item, cost: 4096, work })
        });
        in_order(
            threads(),
            items,
            || Ok(Decoder::new()),
            |decoder, placed| self.write_one(decoder, &placed),
            Ok,
        )
    }

    fn write_one(&self, decoder: &mut Decoder, placed: &PlacedEntry<'_>) -> Result<()> {
        let entry = placed.entry;
        let mut output = self.create(entry)?;
        let data =
            ByteRange { file: self.file, at: placed.data, end: placed.data + entry.compressed };
        let data = BufReader::with_capacity(entry.compressed.clamp(1, INPUT) as usize, data);
        entry.decode(decoder, data, &mut |bytes| {
            self.progress.step(bytes.len() as u64)?;
            output.write(bytes)
        })?;
        output.finish()
    }

    fn create<'a>(&self, entry: &'a BundleEntry) -> Result<OutputFile<'a>> {
        let path = self.into.join(&entry.name);
        let failed = |error: io::Error| Error::io("cannot create file", &path, &error);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // Set explicitly, because the umask changes `mode`.
        let mode = if entry.executable { 0o755 } else { 0o644 };
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        let promised = match self.promise {
            None => None,
            Some((digest, _)) if entry.name == MANIFEST => Some(digest),
            Some((_, manifest)) => {
                Some(manifest.files.get(&entry.name).map(|file| file.sha256).ok_or_else(|| {
                    Error::internal(format!(
                        "`{}` is not in the manifest",
                        entry.name.escape_debug()
                    ))
                })?)
            }
        };
        Ok(OutputFile {
            entry,
            path,
            file,
            promise: promised.map(|promised| (promised, Hasher::default())),
        })
    }
}

struct EntryBlock {
    at: u64,
    len: usize,
    size: usize,
}

fn blocks<'a>(placed: &'a PlacedEntry<'_>) -> impl Iterator<Item = EntryBlock> + use<'a> {
    let (mut at, mut left) = (placed.data, placed.entry.size);
    placed.entry.blocks.iter().map(move |len| {
        let block = EntryBlock { at, len: *len as usize, size: left.min(BLOCK) as usize };
        at += u64::from(*len);
        left -= block.size as u64;
        block
    })
}

/// A file that is being extracted.
struct OutputFile<'a> {
    entry: &'a BundleEntry,
    path: PathBuf,
    file: File,
    promise: Option<(Sha256, Hasher)>,
}

impl OutputFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((_, hasher)) = &mut self.promise {
            hasher.update(bytes);
        }
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io("cannot write file", &self.path, &error))
    }

    fn finish(self) -> Result<()> {
        let Some((promised, hasher)) = self.promise else { return Ok(()) };
        let found = hasher.finish();
        if found == promised {
            return Ok(());
        }
        Err(reject(
            &self.entry.name,
            format!("its SHA-256 is {found}, but the manifest has {promised}"),
        ))
    }
}

/// A part of a file as a stream. Several threads can read the same file.
struct ByteRange<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for ByteRange<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = (self.end - self.at).min(to.len() as u64) as usize;
        let n = self.file.read_at(&mut to[..n], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
