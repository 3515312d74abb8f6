//! A segment that another release in the store has. Its bytes are copied from there, so that it is
//! neither compressed nor sent again.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    entry::BundleEntry,
    layout::SEGMENT,
    record::{EntryMethod, EntryRecord},
    staged_file::{EntrySource, StagedFile},
};
use crate::{
    base::{
        crc64::Crc64,
        digest::Sha256,
        error::{Error, Result},
    },
    services::store::composed::{CopiedRange, CopySource},
};

/// An entry of another bundle, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct KnownSegment {
    /// Of the content, which is that of the file with this name.
    sha256: Sha256,
    method: EntryMethod,
    crc: u32,
    compressed: u64,
    size: u64,
    blocks: Vec<u32>,
    checksum: Crc64,
    from: Arc<CopySource>,
    start: u64,
}

/// Segments of other bundles by the names of their entries.
pub(crate) type KnownSegments = BTreeMap<String, KnownSegment>;

impl KnownSegment {
    /// Returns None if the entry is not a segment, or if its checksum was not recorded.
    pub(crate) fn of(entry: &BundleEntry, sha256: Sha256, from: &Arc<CopySource>) -> Option<Self> {
        let checksum = Crc64 { sum: entry.crc64?, len: entry.len };
        (entry.size >= SEGMENT).then(|| Self {
            sha256,
            method: entry.method,
            crc: entry.crc,
            compressed: entry.compressed,
            size: entry.size,
            blocks: entry.blocks.clone(),
            checksum,
            from: Arc::clone(from),
            start: entry.start,
        })
    }

    pub(super) fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Of the local header and the data.
    pub(super) fn checksum(&self) -> Crc64 {
        self.checksum
    }

    /// Returns the entry of a new bundle that has these bytes at `offset`. Fails if the file has
    /// another size.
    pub(super) fn record(
        &self,
        name: &str,
        executable: bool,
        size: u64,
        offset: u64,
    ) -> Result<EntryRecord> {
        if size != self.size {
            return Err(Error::internal(format!("`{name}` is not the segment that was found")));
        }
        Ok(EntryRecord {
            name: name.to_owned(),
            method: self.method,
            executable,
            crc: self.crc,
            compressed: self.compressed,
            size: self.size,
            offset,
            blocks: self.blocks.clone(),
            crc64: Some(self.checksum.sum),
        })
    }

    pub(super) fn range(&self, at: u64) -> CopiedRange {
        let from = Arc::clone(&self.from);
        CopiedRange { at, len: self.checksum.len, from, start: self.start }
    }
}

/// Returns the files that become segments, with their sizes in bytes. Leaves out what cannot be
/// read, which the writer reports.
pub(crate) fn segments(files: &[StagedFile]) -> Vec<(&StagedFile, u64)> {
    let size = |file: &StagedFile| match &file.source {
        EntrySource::Path(path) => std::fs::metadata(path).map_or(0, |found| found.len()),
        EntrySource::Bytes(bytes) => bytes.len() as u64,
    };
    let sized = files.iter().map(|file| (file, size(file)));
    sized.filter(|(_, size)| *size >= SEGMENT).collect()
}
