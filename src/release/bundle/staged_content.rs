//! Reads the content of a file for the bundle, once, and detects a file that changes meanwhile.

use std::io::{self, Read};

use super::{
    record::BLOCK,
    staged_file::{EntrySource, PlannedEntry},
};
use crate::base::{
    digest::{Hasher, Sha256},
    error::{Error, Result},
    log::Progress,
    parallel::Item,
    small_file,
};

/// The content of a file, read once and hashed. Fails if its size has changed.
pub(super) struct EntryContent<'a> {
    planned: &'a PlannedEntry,
    progress: &'a Progress,
    reader: Box<dyn Read + 'a>,
    left: u64,
    sha256: Hasher,
    crc: crc32fast::Hasher,
}

impl<'a> EntryContent<'a> {
    pub(super) fn open(planned: &'a PlannedEntry, progress: &'a Progress) -> Result<Self> {
        let reader: Box<dyn Read> = match &planned.file.source {
            EntrySource::Bytes(bytes) => Box::new(bytes.as_slice()),
            EntrySource::Path(path) => Box::new(
                small_file::open(path).map_err(|error| Error::io("cannot read", path, &error))?,
            ),
        };
        let (sha256, crc) = (Hasher::default(), crc32fast::Hasher::new());
        Ok(Self { planned, progress, reader, left: planned.size, sha256, crc })
    }

    pub(super) fn blocks(&mut self) -> impl Iterator<Item = Result<Item<Vec<u8>>>> {
        std::iter::from_fn(|| {
            let block = self.next_block();
            if let Ok(Some(block)) = &block {
                self.sha256.update(block);
                self.crc.update(block);
            }
            let item = |item: Vec<u8>| Item { cost: 2 * item.len(), work: item.len() as u64, item };
            block.map(|block| block.map(item)).transpose()
        })
    }

    pub(super) fn unhashed_blocks(&mut self) -> impl Iterator<Item = Result<Vec<u8>>> {
        std::iter::from_fn(|| self.next_block().transpose())
    }

    /// Returns the next block. After the last one, checks that the file has ended.
    fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        let mut block = Vec::with_capacity(self.left.min(BLOCK) as usize);
        let most = self.left.clamp(1, BLOCK);
        let read = self
            .reader
            .by_ref()
            .take(most)
            .read_to_end(&mut block)
            .map_err(|error| self.failed(&error))?;
        self.progress.step(read as u64)?;
        match self.left {
            0 if read == 0 => Ok(None),
            left if left != 0 && read as u64 == most => {
                self.left -= most;
                Ok(Some(block))
            }
            _ => Err(changed(self.planned)),
        }
    }

    pub(super) fn finish(self) -> Result<(Sha256, u32)> {
        if self.left == 0 {
            Ok((self.sha256.finish(), self.crc.finalize()))
        } else {
            Err(changed(self.planned))
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        match &self.planned.file.source {
            EntrySource::Path(path) => Error::io("cannot read", path, error),
            EntrySource::Bytes(_) => Error::internal("cannot read memory").why(error),
        }
    }
}

pub(super) fn changed(planned: &PlannedEntry) -> Error {
    let place = match &planned.file.source {
        EntrySource::Path(path) => path.display().to_string(),
        EntrySource::Bytes(_) => planned.file.name.clone(),
    };
    Error::input(format!("`{place}` changed while it was read"))
        .hint("make sure that nothing else writes into the folder, then run the release again")
}
