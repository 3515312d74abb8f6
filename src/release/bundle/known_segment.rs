//! A segment that is in the store already, and so is neither compressed nor sent again: its bytes
//! are copied from another release, or it is shared.

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
    services::store::composed::CopySource,
};

/// An entry of another bundle, and where its bytes are.
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
    place: SegmentPlace,
}

/// Where the local header and the data of a known segment are.
#[derive(Clone, Debug)]
pub(crate) enum SegmentPlace {
    /// They are copied from this object, from this offset on.
    Copied(Arc<CopySource>, u64),
    /// They stay in the shared segment with this digest.
    Shared(Sha256),
}

/// Segments of other bundles by the names of their entries.
pub(crate) type KnownSegments = BTreeMap<String, KnownSegment>;

impl KnownSegment {
    /// Returns None if the entry is not a segment, or if its checksum was not recorded.
    /// `sha256` is that of the content.
    pub(crate) fn of(entry: &BundleEntry, sha256: Sha256, place: SegmentPlace) -> Option<Self> {
        let checksum = Crc64 { sum: entry.crc64?, len: entry.len };
        (entry.size >= SEGMENT).then(|| Self {
            sha256,
            method: entry.method,
            crc: entry.crc,
            compressed: entry.compressed,
            size: entry.size,
            blocks: entry.blocks.clone(),
            checksum,
            place,
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
            shared: match self.place {
                SegmentPlace::Shared(sha256) => Some(sha256),
                SegmentPlace::Copied(..) => None,
            },
        })
    }

    /// Returns the local header, with which the bytes must begin.
    pub(crate) fn header(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.record(name, false, self.size, 0)?.local())
    }

    pub(super) fn place(&self) -> &SegmentPlace {
        &self.place
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
