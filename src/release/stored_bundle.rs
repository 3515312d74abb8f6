//! A bundle as the store has it: an object, and the shared segments that the object leaves out.

use std::ops::Range;

use super::bundle::{BundleEntry, BundleIndex, IndexLookup, PiecePlace};
use crate::{
    base::error::{Error, Result},
    services::store::{ObjectInfo, ReleaseStore},
};

/// A bundle whose index has been read from the end of its object.
pub(crate) struct StoredBundle {
    pub(crate) key: String,
    pub(crate) found: ObjectInfo,
    pub(crate) index: BundleIndex,
    /// The end of the object.
    tail: Vec<u8>,
}

impl StoredBundle {
    /// Reads at least the last `least` bytes of the object that `found` describes. Fails with
    /// `Exit::Integrity` if it has no index.
    pub(crate) async fn open(
        store: &ReleaseStore,
        key: &str,
        found: &ObjectInfo,
        least: u64,
    ) -> Result<Self> {
        let mut from = found.size.saturating_sub(least);
        loop {
            let tail = store.get_range(key, from, found.size - from).await?;
            let located = BundleIndex::locate(&tail, found.size);
            match located.map_err(|error| error.hint(format!("it is {}", store.describe(key))))? {
                IndexLookup::Found(index) => {
                    return Ok(Self { key: key.to_owned(), found: found.clone(), index, tail });
                }
                IndexLookup::NeedMore { from_offset } if from_offset < from => from = from_offset,
                IndexLookup::NeedMore { .. } => {
                    return Err(Error::integrity(format!(
                        "cannot read the index of {}",
                        store.describe(key)
                    )));
                }
            }
        }
    }

    /// Returns how many bytes of the object were read.
    pub(crate) fn received(&self) -> u64 {
        self.tail.len() as u64
    }

    /// Returns the offset in the object from which on its bytes were read.
    pub(crate) fn tail_start(&self) -> u64 {
        self.found.size - self.received()
    }

    /// Returns bytes of the object that were read. None if they were not.
    pub(crate) fn in_tail(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start.checked_sub(self.tail_start())?).ok()?;
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        self.tail.get(start..start.checked_add(len)?)
    }

    /// Returns the content of a small file, of which only the CRC was checked. None if the bundle
    /// does not have it.
    pub(crate) async fn read(&self, store: &ReleaseStore, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.index.entry(name) else { return Ok(None) };
        let bytes = match self.entry_in_tail(entry) {
            Some(bytes) => bytes.to_vec(),
            None => {
                let pieces = self.index.map().pieces(entry.start..entry.start + entry.len);
                match pieces.as_slice() {
                    [piece] if matches!(piece.place, PiecePlace::Object(_)) => {
                        let start = self.index.map().in_object(entry.start);
                        store.get_range(&self.key, start, entry.len).await?
                    }
                    _ => {
                        let why = "it is in a shared segment";
                        return Err(Error::integrity(format!("cannot read `{name}`")).why(why));
                    }
                }
            }
        };
        self.index.decode(entry, &bytes).map(Some)
    }

    /// Returns the local header and the data of an entry, if they were read.
    pub(crate) fn entry_in_tail(&self, entry: &BundleEntry) -> Option<&[u8]> {
        let start = self.index.map().in_object(entry.start);
        self.in_tail(start..start + entry.len).filter(|_| !self.index.map().lacks(entry.start))
    }
}
