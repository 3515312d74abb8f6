//! Where the bytes of an archive are: in its object, and in the shared segments that the object
//! leaves out.

use std::{collections::BTreeSet, ops::Range};

use super::{
    entry::BundleEntry,
    layout::{MAX_TOTAL, SEGMENT, reject_archive},
};
use crate::base::{digest::Sha256, error::Result};

/// Which bytes of an archive its object does not have.
#[derive(Debug, Default)]
pub(crate) struct ArchiveMap {
    /// In the order of the archive.
    left_out: Vec<LeftOut>,
}

/// Bytes of the archive that a shared segment begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) sha256: Sha256,
}

/// Consecutive bytes of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivePiece {
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) place: PiecePlace,
}

/// Where bytes are, and their offset there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PiecePlace {
    Object(u64),
    Shared(Sha256, u64),
}

impl ArchiveMap {
    /// `missing` is the length of the archive minus that of the object, in bytes. Fails unless it
    /// is zero or the sum of all shared segments.
    pub(super) fn new(files: &[BundleEntry], missing: u64) -> Result<Self> {
        if missing == 0 {
            return Ok(Self::default());
        }
        let shared = files.iter().filter(|entry| entry.size >= SEGMENT).filter_map(|entry| {
            Some(LeftOut { at: entry.start, len: entry.len, sha256: entry.shared? })
        });
        let left_out: Vec<LeftOut> = shared.collect();
        let different: BTreeSet<_> = left_out.iter().map(|it| it.sha256).collect();
        if different.len() < left_out.len() {
            return Err(reject_archive("it has the same shared segment twice"));
        }
        // The sizes of all files have a limit, and compression adds little.
        let is_sound = left_out.iter().map(|it| it.len).sum::<u64>() == missing
            && missing <= MAX_TOTAL + MAX_TOTAL / 8;
        match is_sound {
            true => Ok(Self { left_out }),
            false => Err(reject_archive("it is truncated: its directory extends beyond its end")),
        }
    }

    /// The shared segments that the object needs.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether the object lacks the segment that begins at this offset.
    pub(crate) fn lacks(&self, at: u64) -> bool {
        self.left_out.iter().any(|it| it.at == at)
    }

    /// Returns the offset in the object of a byte of the archive, or of the next one that the
    /// object has.
    pub(crate) fn in_object(&self, at: u64) -> u64 {
        let before = self.left_out.iter().take_while(|it| it.at < at);
        at - before.map(|it| it.len.min(at - it.at)).sum::<u64>()
    }

    /// Splits a range of the archive.
    pub(crate) fn pieces(&self, range: Range<u64>) -> Vec<ArchivePiece> {
        let (mut found, mut at) = (Vec::new(), range.start);
        let mut push = |from: u64, to: u64, place| {
            if from < to {
                found.push(ArchivePiece { at: from, len: to - from, place });
            }
        };
        for hole in &self.left_out {
            let (start, end) = (hole.at.max(at), (hole.at + hole.len).min(range.end));
            if start < end {
                push(at, start, PiecePlace::Object(self.in_object(at)));
                push(start, end, PiecePlace::Shared(hole.sha256, start - hole.at));
                at = end;
            }
        }
        push(at, range.end, PiecePlace::Object(self.in_object(at)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ArchiveMap {
        let hole = |at, len, name: &str| LeftOut { at, len, sha256: Sha256::of(name.as_bytes()) };
        ArchiveMap { left_out: vec![hole(0, 10, "a"), hole(10, 5, "b"), hole(20, 10, "c")] }
    }

    /// Each piece as `archive offset+length@place offset`.
    fn pieces(map: &ArchiveMap, range: Range<u64>) -> String {
        let names = ["a", "b", "c"].map(|name| (Sha256::of(name.as_bytes()), name));
        let text = |piece: &ArchivePiece| match &piece.place {
            PiecePlace::Object(at) => format!("{}+{}@{at}", piece.at, piece.len),
            PiecePlace::Shared(sha256, at) => {
                let (_, name) = names.iter().find(|(it, _)| it == sha256).unwrap();
                format!("{}+{}@{name}{at}", piece.at, piece.len)
            }
        };
        map.pieces(range).iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_byte_has_one_place() {
        let map = map();
        assert_eq!(pieces(&map, 0..40), "0+10@a0 10+5@b0 15+5@0 20+10@c0 30+10@5");
        assert_eq!(pieces(&map, 3..12), "3+7@a3 10+2@b0");
        assert_eq!(pieces(&map, 16..18), "16+2@1");
        assert_eq!(pieces(&map, 18..25), "18+2@3 20+5@c0");
        assert_eq!(pieces(&map, 29..31), "29+1@c9 30+1@5");
        assert_eq!(pieces(&map, 35..35), "");
        assert_eq!(pieces(&ArchiveMap::default(), 3..9), "3+6@3");
        assert_eq!((map.in_object(15), map.in_object(30), map.in_object(39)), (0, 5, 14));
    }
}
