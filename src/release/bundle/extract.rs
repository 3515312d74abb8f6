//! From the archive onto the disk, checked on the way.

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
    layout::{MANIFEST, SEGMENT, refuse},
    manifest::BundleManifest,
    record::{BLOCK, LOCAL_LEN},
};
use crate::base::{
    digest::{Hasher, Sha256},
    error::{Error, Result},
    parallel::{Item, in_order, threads},
};

/// What disks commonly take at least for a file or a folder.
const CLUSTER: u64 = 4096;
const INPUT: u64 = 64 << 10;

/// Extracts all of `index` from `file` into the empty folder `into`. Every header is checked before anything is written,
/// every file as it lands: by its SHA-256 with a manifest (its own digest comes with it), else by its CRC alone.
pub(crate) fn extract(
    index: &BundleIndex,
    file: &File,
    into: &Path,
    promise: Option<(Sha256, &BundleManifest)>,
) -> Result<()> {
    let placed = place(index, file)?;
    check_space(index, into)?;
    make_folders(index, into)?;
    let site = Site { file, into, promise };
    let (segments, others): (Vec<_>, Vec<_>) = placed
        .into_iter()
        .partition(|placed| !placed.entry.blocks.is_empty() && placed.entry.size >= SEGMENT);
    // A segment keeps every thread busy by itself; one after the other bounds memory and gives each file one writer.
    segments.iter().try_for_each(|segment| site.land_segment(segment))?;
    site.land_all(others)
}

/// An entry whose local header is in order.
struct PlacedEntry<'a> {
    entry: &'a BundleEntry,
    /// Where in the archive its data begins.
    data: u64,
}

fn place<'a>(index: &'a BundleIndex, file: &File) -> Result<Vec<PlacedEntry<'a>>> {
    for folder in index.folder_entries() {
        place_one(index, file, folder)?;
    }
    index.files().iter().map(|entry| place_one(index, file, entry)).collect()
}

/// Reads and checks what stands before and behind the data of an entry.
fn place_one<'a>(
    index: &BundleIndex,
    file: &File,
    entry: &'a BundleEntry,
) -> Result<PlacedEntry<'a>> {
    let failed =
        |error: io::Error| refuse(&entry.name, format!("its local header can't be read: {error}"));
    let mut fixed = [0; LOCAL_LEN];
    file.read_exact_at(&mut fixed, entry.start).map_err(failed)?;
    let len = local_len(&fixed);
    let rest = entry.len.checked_sub(len as u64 + entry.compressed);
    let rest = rest.ok_or_else(|| refuse(&entry.name, "it overlaps another entry"))?;
    let mut header = vec![0; len];
    file.read_exact_at(&mut header, entry.start).map_err(failed)?;
    index.check_local(entry, &header)?;
    let data = entry.start + len as u64;
    // A descriptor is shorter; a byte more than it has tells that something else is there.
    let mut behind = vec![0; rest.min(32) as usize];
    file.read_exact_at(&mut behind, data + entry.compressed).map_err(failed)?;
    entry.check_rest(&behind)?;
    Ok(PlacedEntry { entry, data })
}

fn check_space(index: &BundleIndex, into: &Path) -> Result<()> {
    let files: u64 = index.files().iter().map(|entry| entry.size.next_multiple_of(CLUSTER)).sum();
    let needed = files + index.tree().len() as u64 * CLUSTER;
    let disk = statvfs(into)
        .map_err(|error| Error::io("can't ask for the free space of", into, &error.into()))?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if needed <= free {
        return Ok(());
    }
    Err(Error::input(format!("can't unpack the bundle into `{}`", into.display()))
        .why(format!("it needs {needed} bytes, {free} are free"))
        .hint("free some space, or set TMPDIR to a folder on a larger disk"))
}

/// Makes every folder anew: one that is already there would not be ours, so it is an error.
fn make_folders(index: &BundleIndex, into: &Path) -> Result<()> {
    index.tree().iter().try_for_each(|folder| {
        let path = into.join(folder);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Error::io("can't create folder", &path, &error))
    })
}

/// From where to where, and what was promised.
struct Site<'a> {
    file: &'a File,
    into: &'a Path,
    promise: Option<(Sha256, &'a BundleManifest)>,
}

impl Site<'_> {
    /// Threads decode the blocks; this one hashes and writes them in order.
    fn land_segment(&self, placed: &PlacedEntry<'_>) -> Result<()> {
        let entry = placed.entry;
        let mut landing = self.landing(entry)?;
        let mut check = ContentCheck::new(entry);
        in_order(
            threads(),
            blocks(placed).map(|block| Ok(Item { cost: block.len + block.size, item: block })),
            BlockReader::new,
            |reader, block| {
                reader
                    .decode(block.len, block.size, |to| self.file.read_exact_at(to, block.at))
                    .map_err(|error| damaged(&entry.name, &error))
            },
            |bytes| {
                check.update(&bytes)?;
                landing.write(&bytes)
            },
        )?;
        check.finish()?;
        landing.finish()
    }

    /// Each thread lands one file at a time, the largest first so that none of them comes alone at the end.
    fn land_all(&self, mut placed: Vec<PlacedEntry<'_>>) -> Result<()> {
        placed.sort_by_key(|placed| std::cmp::Reverse(placed.entry.size));
        // The cost bounds how many wait, not what they take: a stream needs its buffers whatever its length.
        let items = placed.into_iter().map(|item| Ok(Item { item, cost: 4096 }));
        in_order(
            threads(),
            items,
            || Ok(Decoder::new()),
            |decoder, placed| self.land(decoder, &placed),
            Ok,
        )
    }

    fn land(&self, decoder: &mut Decoder, placed: &PlacedEntry<'_>) -> Result<()> {
        let entry = placed.entry;
        let mut landing = self.landing(entry)?;
        let data =
            ByteRange { file: self.file, at: placed.data, end: placed.data + entry.compressed };
        let data = BufReader::with_capacity(entry.compressed.clamp(1, INPUT) as usize, data);
        entry.decode(decoder, data, &mut |bytes| landing.write(bytes))?;
        landing.finish()
    }

    fn landing<'a>(&self, entry: &'a BundleEntry) -> Result<Landing<'a>> {
        let path = self.into.join(&entry.name);
        let failed = |error: io::Error| Error::io("can't create file", &path, &error);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // Not by way of `mode`, which the umask cuts.
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
        Ok(Landing {
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

/// A file that is being written.
struct Landing<'a> {
    entry: &'a BundleEntry,
    path: PathBuf,
    file: File,
    promise: Option<(Sha256, Hasher)>,
}

impl Landing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((_, hasher)) = &mut self.promise {
            hasher.update(bytes);
        }
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io("can't write file", &self.path, &error))
    }

    fn finish(self) -> Result<()> {
        let Some((promised, hasher)) = self.promise else { return Ok(()) };
        let found = hasher.finish();
        if found == promised {
            return Ok(());
        }
        Err(refuse(
            &self.entry.name,
            format!("its SHA-256 is {found}, but the manifest promises {promised}"),
        ))
    }
}

/// A part of a file as a stream that shares the file with other threads.
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
