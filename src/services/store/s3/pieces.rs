//! How an object is divided into the parts of a multipart upload. Every part but the last must have
//! 5 MiB, so bytes that could be copied sometimes complete a part that is sent.

use crate::services::store::composed::{CopiedRange, Stretch};

/// The usual size of a part that is sent.
const PART: u64 = 8 << 20;
/// The usual size of a part that is copied. S3 copies several at once faster than one.
const COPY: u64 = 32 << 20;
/// The least size of a part that is not the last.
const LEAST: u64 = 5 << 20;
const MOST_PARTS: u64 = 10_000;

/// Bytes of a part that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slice {
    /// From the content of the upload.
    Own { at: u64, len: u64 },
    /// Read from another object.
    Read(CopiedRange),
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Sent(Vec<Slice>),
    Copied(CopiedRange),
}

impl Slice {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Own { len, .. } => *len,
            Self::Read(range) => range.len,
        }
    }

    /// Divides it after `len` bytes.
    fn divide(self, len: u64) -> (Self, Self) {
        match self {
            Self::Own { at, len: all } => {
                (Self::Own { at, len }, Self::Own { at: at + len, len: all - len })
            }
            Self::Read(range) => {
                (Self::Read(range.part(0, len)), Self::Read(range.part(len, range.len - len)))
            }
        }
    }
}

/// Returns the parts of an object with nothing to copy.
pub(crate) fn of_content(size: u64) -> Vec<Piece> {
    of_stretches(size, vec![Stretch::Own { at: 0, len: size }])
}

/// Returns the parts of an object of `size` bytes.
pub(crate) fn of_stretches(size: u64, stretches: Vec<Stretch>) -> Vec<Piece> {
    let (mut pieces, mut sent) = (Vec::new(), Vec::new());
    let part = part_size(size);
    for stretch in stretches {
        let range = match stretch {
            Stretch::Own { at, len } => {
                sent.push(Slice::Own { at, len });
                continue;
            }
            Stretch::Copied(range) => range,
        };
        let lacking = match total(&sent) {
            0 => 0,
            len => LEAST.saturating_sub(len),
        };
        if range.len < lacking + LEAST {
            sent.push(Slice::Read(range));
            continue;
        }
        if lacking > 0 {
            sent.push(Slice::Read(range.part(0, lacking)));
        }
        pieces.extend(sent_pieces(std::mem::take(&mut sent), part, false));
        pieces.extend(copied_pieces(&range.part(lacking, range.len - lacking)));
    }
    pieces.extend(sent_pieces(sent, part, true));
    pieces
}

/// Divides bytes that are sent. Only the last part of the object can be small.
fn sent_pieces(slices: Vec<Slice>, part: u64, is_last: bool) -> Vec<Piece> {
    let mut left = total(&slices);
    let mut slices = slices.into_iter();
    let (mut pieces, mut pending) = (Vec::new(), None::<Slice>);
    while left > 0 {
        // What remains must not be too small for a part of its own.
        let mut lacking = match left {
            left if is_last => left.min(part),
            left if left < part + LEAST => left,
            _ => part,
        };
        left -= lacking;
        let mut piece = Vec::new();
        while lacking > 0 {
            let Some(slice) = pending.take().or_else(|| slices.next()) else { break };
            let (now, later) = match slice.len() > lacking {
                true => {
                    let (now, later) = slice.divide(lacking);
                    (now, Some(later))
                }
                false => (slice, None),
            };
            lacking -= now.len();
            pending = later;
            piece.push(now);
        }
        pieces.push(Piece::Sent(piece));
    }
    pieces
}

/// Divides bytes that are copied into parts of about the same size.
fn copied_pieces(range: &CopiedRange) -> Vec<Piece> {
    let parts = (range.len / COPY).max(1);
    let size = range.len / parts;
    let piece = |n| {
        let len = if n + 1 == parts { range.len - n * size } else { size };
        Piece::Copied(range.part(n * size, len))
    };
    (0..parts).map(piece).collect()
}

fn total(slices: &[Slice]) -> u64 {
    slices.iter().map(Slice::len).sum()
}

/// 8 MiB, or as many whole MiB as keep the object within S3's 10,000 parts.
fn part_size(size: u64) -> u64 {
    size.div_ceil(MOST_PARTS).next_multiple_of(1 << 20).max(PART)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::services::store::composed::CopySource;

    const MIB: u64 = 1 << 20;

    fn copied(at: u64, len: u64) -> CopiedRange {
        let from = Arc::new(CopySource { key: "a".into(), etag: None });
        CopiedRange { at, len, from, start: at + 7 }
    }

    /// Own and copied stretches of these lengths, in turn.
    fn stretches(lens: &[u64]) -> (u64, Vec<Stretch>) {
        let (mut at, mut all) = (0, Vec::new());
        for (n, len) in lens.iter().enumerate().filter(|(_, len)| **len > 0) {
            all.push(match n % 2 {
                0 => Stretch::Own { at, len: *len },
                _ => Stretch::Copied(copied(at, *len)),
            });
            at += len;
        }
        (at, all)
    }

    /// Parts as `sent 8`, `sent 2+3`, `copied 32`, in MiB. Checks that they cover the object.
    #[track_caller]
    fn shown(lens: &[u64]) -> String {
        let (size, stretches) = stretches(lens);
        let (mut at, mut texts) = (0, Vec::new());
        let mut take = |start: u64, len: u64| {
            assert_eq!(start, at);
            at += len;
            len.div_ceil(MIB).to_string()
        };
        for piece in of_stretches(size, stretches) {
            texts.push(match piece {
                Piece::Copied(range) => {
                    assert_eq!(range.start, range.at + 7);
                    format!("copied {}", take(range.at, range.len))
                }
                Piece::Sent(slices) => {
                    let lens: Vec<_> = slices
                        .iter()
                        .map(|slice| match slice {
                            Slice::Own { at, len } => take(*at, *len),
                            Slice::Read(range) => format!("r{}", take(range.at, range.len)),
                        })
                        .collect();
                    format!("sent {}", lens.join("+"))
                }
            });
        }
        assert_eq!(at, size);
        texts.join(", ")
    }

    #[test]
    fn content_is_sent_in_parts_of_eight_mebibytes() {
        let lens = |size| {
            let pieces = of_content(size).into_iter().map(|piece| match piece {
                Piece::Sent(slices) => total(&slices),
                Piece::Copied(range) => panic!("{range:?}"),
            });
            pieces.collect::<Vec<_>>()
        };
        assert_eq!(lens(20 * MIB), [8 * MIB, 8 * MIB, 4 * MIB]);
        assert_eq!(lens(16 * MIB + 1), [8 * MIB, 8 * MIB, 1]);
        assert_eq!(lens(3), [3]);
        assert_eq!(part_size(PART + 1), PART);
        assert_eq!(part_size(MOST_PARTS * PART), PART);
        assert_eq!(part_size(MOST_PARTS * PART + 1), PART + MIB);
        let huge = 5 << 40;
        assert!(huge / part_size(huge) < MOST_PARTS);
    }

    #[test]
    fn only_the_last_part_is_small() {
        assert_eq!(shown(&[0, 121 * MIB, 40_000]), "copied 41, copied 41, copied 41, sent 1");
        assert_eq!(shown(&[0, 5 * MIB, 1]), "copied 5, sent 1");
        // Too little to copy.
        assert_eq!(shown(&[0, 5 * MIB - 1, 1]), "sent r5+1");
        // Bytes of the source complete a part that is sent.
        assert_eq!(shown(&[MIB, 60 * MIB, 1]), "sent 1+r4, copied 56, sent 1");
        assert_eq!(shown(&[MIB, 9 * MIB, 1]), "sent 1+r4, copied 5, sent 1");
        assert_eq!(shown(&[MIB, 9 * MIB - 1, 1]), "sent 1+r7, sent r2+1");
        assert_eq!(shown(&[6 * MIB, 9 * MIB, 1]), "sent 6, copied 9, sent 1");
        assert_eq!(
            shown(&[30 * MIB, 9 * MIB, 12 * MIB, 2 * MIB, 20 * MIB, 70 * MIB, MIB]),
            "sent 8, sent 8, sent 8, sent 6, copied 9, sent 8, sent 4+r2+2, sent 8, sent 10, \
             copied 35, copied 35, sent 1"
        );
        // 12 MiB are one part, because 8 would leave 4.
        assert_eq!(shown(&[12 * MIB, 9 * MIB, 9 * MIB]), "sent 12, copied 9, sent 8, sent 1");
    }
}
