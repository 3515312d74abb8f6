//! The index of an archive, read from its tail and checked: the entries and their offsets.
//!
//! cdflow's own bundles ("native") have `manifest.json` at the top. Those of the reference program
//! have none, and keep everything below `<component>-<version>/`; names here omit that folder.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use super::{
    archive_map::ArchiveMap,
    central_directory::{CentralDirectory, LOOKBACK, RawEntry, common_folder, damaged_directory},
    codec::Decoder,
    entry::{BundleEntry, LocalHeader},
    layout::{MANIFEST, MAX_TOTAL, NameTree, reject, reject_archive},
};
use crate::base::error::{Error, Result};

/// The largest entry that is decoded into memory, in bytes.
const MAX_IN_MEMORY: u64 = 64 << 20;

/// The result of `BundleIndex::locate`.
#[derive(Debug)]
pub(crate) enum IndexLookup {
    /// Call `locate` again with all bytes of the object from this offset to the end.
    NeedMore {
        from_offset: u64,
    },
    Found(BundleIndex),
}

/// The files of an archive, by name.
#[derive(Debug)]
pub(crate) struct BundleIndex {
    files: Vec<BundleEntry>,
    folders: Vec<BundleEntry>,
    by_name: HashMap<String, usize>,
    /// Every folder that the names imply, parents first.
    tree: Vec<String>,
    /// `<component>-<version>/` in a bundle of the reference program.
    prefix: Option<String>,
    /// The length of the archive in bytes.
    len: u64,
    map: ArchiveMap,
}

impl BundleIndex {
    /// Finds the index in `tail`, the end of an object of `stored` bytes. 64 KiB are usually
    /// enough.
    pub(crate) fn locate(tail: &[u8], stored: u64) -> Result<IndexLookup> {
        let tail_start = stored
            .checked_sub(tail.len() as u64)
            .ok_or_else(|| Error::internal("the tail of the bundle is longer than the bundle"))?;
        let Some(directory) = CentralDirectory::find(tail, stored)? else {
            return Ok(IndexLookup::NeedMore { from_offset: stored.saturating_sub(LOOKBACK) });
        };
        let missing = directory.total - stored;
        // All missing bytes are before the directory.
        let Some(offset) = directory.offset.checked_sub(missing) else {
            return Err(damaged_directory());
        };
        if offset < tail_start {
            return Ok(IndexLookup::NeedMore { from_offset: offset });
        }
        let from = (offset - tail_start) as usize;
        let bytes = tail.get(from..from + directory.len as usize).ok_or_else(damaged_directory)?;
        let mut index = Self::from_raw(directory.entries(bytes)?, directory.offset)?;
        index.len = directory.total;
        let could_lack = if index.is_native() { &index.files[..] } else { &[] };
        index.map = ArchiveMap::new(could_lack, missing)?;
        Ok(IndexLookup::Found(index))
    }

    /// Reads the index of a local archive, which must be complete.
    pub(crate) fn open(archive: &Path) -> Result<(Self, File)> {
        let failed = |error: io::Error| Error::io("cannot read bundle", archive, &error);
        let file = File::open(archive).map_err(failed)?;
        let total = file.metadata().map_err(failed)?.len();
        let mut from = total.saturating_sub(64 << 10);
        loop {
            let mut tail = vec![0; (total - from) as usize];
            file.read_exact_at(&mut tail, from).map_err(failed)?;
            match Self::locate(&tail, total)? {
                IndexLookup::Found(index) if index.map.left_out().is_empty() => {
                    return Ok((index, file));
                }
                IndexLookup::Found(index) => {
                    let missing = index.len - total;
                    return Err(reject_archive(format!(
                        "it is incomplete: {missing} bytes are in shared segments"
                    )));
                }
                IndexLookup::NeedMore { from_offset } if from_offset < from => from = from_offset,
                IndexLookup::NeedMore { .. } => return Err(damaged_directory()),
            }
        }
    }

    /// Returns the file `name`, for a range request of `start..start + len`.
    pub(crate) fn entry(&self, name: &str) -> Option<&BundleEntry> {
        self.by_name.get(name).map(|at| &self.files[*at])
    }

    /// Returns the length of the archive in bytes: more than its object has, if that lacks
    /// segments.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns where the bytes of the archive are.
    pub(crate) fn map(&self) -> &ArchiveMap {
        &self.map
    }

    /// Returns every file, in the order of the archive.
    pub(crate) fn files(&self) -> &[BundleEntry] {
        &self.files
    }

    /// Returns true for a bundle with a manifest, false for one of the reference program.
    pub(crate) fn is_native(&self) -> bool {
        self.prefix.is_none()
    }

    /// Returns the content of a small file from its `len` bytes. Checks the CRC, but not the
    /// manifest.
    pub(crate) fn decode(&self, entry: &BundleEntry, bytes: &[u8]) -> Result<Vec<u8>> {
        if entry.size > MAX_IN_MEMORY {
            return Err(reject(
                &entry.name,
                format!("{} bytes are more than the 64 MiB read into memory", entry.size),
            ));
        }
        if bytes.len() as u64 != entry.len {
            return Err(reject(&entry.name, format!("got {} of {} bytes", bytes.len(), entry.len)));
        }
        let data = self.check_local(entry, bytes)?;
        let (data, rest) = bytes[data..]
            .split_at_checked(entry.compressed as usize)
            .ok_or_else(damaged_directory)?;
        entry.check_rest(rest)?;
        let mut content = Vec::with_capacity(entry.size.min(1 << 20) as usize);
        entry.decode(&mut Decoder::new(), data, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    /// Returns the content of a small file of a local archive; None if it has no such file.
    pub(crate) fn read(&self, file: &File, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(name) else { return Ok(None) };
        // Compressed data can be larger than the content, but not twice as large.
        if entry.len > 2 * MAX_IN_MEMORY {
            return Err(reject(name, "it is too large to read into memory"));
        }
        let mut bytes = vec![0; entry.len as usize];
        file.read_exact_at(&mut bytes, entry.start).map_err(|error| reject(name, error))?;
        self.decode(entry, &bytes).map(Some)
    }

    /// Returns every folder, parents first.
    pub(crate) fn tree(&self) -> &[String] {
        &self.tree
    }

    /// Returns the folders that have their own entry (only in bundles of the reference program).
    pub(crate) fn folder_entries(&self) -> &[BundleEntry] {
        &self.folders
    }

    /// Compares the local header at the start of `bytes` with the directory. Returns the offset of
    /// the data in `bytes`.
    pub(crate) fn check_local(&self, entry: &BundleEntry, bytes: &[u8]) -> Result<usize> {
        let local = LocalHeader::parse(bytes)
            .ok_or_else(|| reject(&entry.name, "its local header is damaged"))?;
        let prefix = self.prefix.as_deref().unwrap_or_default().as_bytes();
        if local.name.strip_prefix(prefix) != Some(entry.spelled().as_bytes()) {
            let other = local.name.escape_ascii();
            return Err(reject(&entry.name, format!("its local header gives the name `{other}`")));
        }
        entry.check_fields(&local.common)?;
        Ok(local.len)
    }

    fn from_raw(raw: Vec<RawEntry>, directory_offset: u64) -> Result<Self> {
        let native = raw.iter().any(|raw| raw.name == MANIFEST);
        let prefix = if native { None } else { Some(common_folder(&raw)?) };
        let mut index = Self {
            files: vec![],
            folders: vec![],
            by_name: HashMap::new(),
            tree: vec![],
            prefix,
            len: 0,
            map: ArchiveMap::default(),
        };
        let (mut tree, mut total) = (NameTree::default(), 0);
        let ends: Vec<u64> =
            raw.iter().skip(1).map(|raw| raw.start).chain([directory_offset]).collect();
        for (at, (raw, end)) in raw.into_iter().zip(ends).enumerate() {
            raw.check_place(at, end)?;
            raw.check_attributes(native)?;
            total += raw.common.size;
            if total > MAX_TOTAL {
                return Err(reject_archive(format!(
                    "its files exceed {MAX_TOTAL} bytes in total: at least {total}"
                )));
            }
            index.add(raw, end, &mut tree)?;
        }
        index.tree = tree.folders().into_iter().map(str::to_owned).collect();
        Ok(index)
    }

    fn add(&mut self, raw: RawEntry, end: u64, tree: &mut NameTree) -> Result<()> {
        let folder = raw.is_folder();
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let name =
            raw.name.strip_prefix(prefix).unwrap_or_default().trim_end_matches('/').to_owned();
        let claimed = match (folder, name.is_empty()) {
            (false, _) => tree.add_file(&name),
            (true, false) => tree.add_folder(&name),
            // The common folder itself.
            (true, true) => Ok(()),
        };
        claimed.map_err(|why| reject(&raw.name, why))?;
        let entry = raw.into_entry(name, end)?;
        if folder {
            self.folders.push(entry);
        } else {
            self.by_name.insert(entry.name.clone(), self.files.len());
            self.files.push(entry);
        }
        Ok(())
    }
}
