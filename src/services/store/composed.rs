//! An object that is put together from a file and from bytes that other objects of the store have.

use std::{path::PathBuf, sync::Arc};

use super::put::Put;
use crate::base::crc64::Crc64;

/// An object to copy from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CopySource {
    pub(crate) key: String,
    /// If the object has another one, it is not copied from.
    pub(crate) etag: Option<String>,
}

/// Bytes of a new object that another object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopiedRange {
    /// Offset in the new object.
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) from: Arc<CopySource>,
    /// Offset in the object that is copied from.
    pub(crate) start: u64,
}

/// The content of a new object.
#[derive(Clone, Debug)]
pub(crate) struct Composed {
    /// Has the size of the object, and its bytes except the copied ones.
    pub(crate) file: PathBuf,
    /// Of the whole object; its length is the object's size.
    pub(crate) checksum: Crc64,
    /// Sorted, without overlaps.
    pub(crate) copies: Vec<CopiedRange>,
}

/// The result of writing a composed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ComposedPut {
    Put(Put),
    /// Nothing was written, for this reason: upload all bytes instead.
    NotCopied(String),
}

/// Consecutive bytes of a composed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// From the file, at the same offset.
    Own {
        at: u64,
        len: u64,
    },
    Copied(CopiedRange),
}

impl CopiedRange {
    pub(crate) fn end(&self) -> u64 {
        self.at + self.len
    }

    /// Returns the part of `len` bytes that begins `skip` bytes after the start.
    pub(crate) fn part(&self, skip: u64, len: u64) -> Self {
        Self { at: self.at + skip, len, from: Arc::clone(&self.from), start: self.start + skip }
    }

    /// Appends to `ranges`, as one range with the last one if the bytes are consecutive in both
    /// objects.
    pub(crate) fn append_to(self, ranges: &mut Vec<Self>) {
        match ranges.last_mut() {
            Some(last)
                if last.from == self.from
                    && last.end() == self.at
                    && last.start + last.len == self.start =>
            {
                last.len += self.len;
            }
            _ => ranges.push(self),
        }
    }
}

impl Composed {
    pub(crate) fn size(&self) -> u64 {
        self.checksum.len
    }

    /// Returns how many bytes are copied.
    pub(crate) fn copied(&self) -> u64 {
        self.copies.iter().map(|range| range.len).sum()
    }

    /// Returns all bytes, in order.
    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        let (mut found, mut at) = (Vec::new(), 0);
        for range in &self.copies {
            if range.at > at {
                found.push(Stretch::Own { at, len: range.at - at });
            }
            found.push(Stretch::Copied(range.clone()));
            at = range.end();
        }
        if self.size() > at {
            found.push(Stretch::Own { at, len: self.size() - at });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_ranges_are_one() {
        let from = |key: &str| Arc::new(CopySource { key: key.into(), etag: None });
        let (a, b) = (from("a"), from("b"));
        let range = |at, len, from: &Arc<CopySource>, start| CopiedRange {
            at,
            len,
            from: Arc::clone(from),
            start,
        };
        let mut copies = Vec::new();
        for next in [
            range(10, 5, &a, 0),
            range(15, 5, &a, 5),
            range(20, 5, &b, 10),
            range(30, 5, &b, 20),
            range(35, 5, &b, 26),
        ] {
            next.append_to(&mut copies);
        }
        let expected = [
            range(10, 10, &a, 0),
            range(20, 5, &b, 10),
            range(30, 5, &b, 20),
            range(35, 5, &b, 26),
        ];
        assert_eq!(copies, expected);
        let checksum = Crc64 { sum: 0, len: 50 };
        let composed = Composed { file: PathBuf::new(), checksum, copies };
        assert_eq!(composed.copied(), 25);
        let copied = expected.map(Stretch::Copied);
        let stretches = [
            Stretch::Own { at: 0, len: 10 },
            copied[0].clone(),
            copied[1].clone(),
            Stretch::Own { at: 25, len: 5 },
            copied[2].clone(),
            copied[3].clone(),
            Stretch::Own { at: 40, len: 10 },
        ];
        assert_eq!(composed.stretches(), stretches);
        assert_eq!(range(10, 10, &a, 3).part(2, 5), range(12, 5, &a, 5));
    }
}
