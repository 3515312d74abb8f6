//! Damaged bundles: an error, or the same content.

use std::fs;

use proptest::prelude::*;

use super::{super::layout::SEGMENT, few, noise, open, packed, rejected, staged, tree};
use crate::base::{digest::Sha256, error::Exit};

/// Each damage gives an error or the same content.
#[test]
fn every_flipped_byte() {
    let (_kept, bundle) =
        packed(vec![staged("a.sh", "run"), staged("infra/main.tf", "x = 1\n".repeat(30))]);
    let good = fs::read(&bundle.path).unwrap();
    let (_kept, unpacked) = open(&good, None).unwrap();
    let expected = tree(&unpacked.root);
    let mut harmless = 0;
    for at in 0..good.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            for promised in [None, Some(bundle.digest)] {
                match open(&bad, promised) {
                    Ok((_kept, unpacked)) => {
                        harmless += 1;
                        assert_eq!(tree(&unpacked.root), expected, "byte {at} ^ {flip}");
                    }
                    Err(error) => {
                        assert!(matches!(error.exit(), Exit::Integrity | Exit::Input), "{error}")
                    }
                }
            }
        }
    }
    // Times, versions, padding bits of deflate.
    assert!(harmless < good.len(), "{harmless} of {}", good.len() * 6);
}

#[test]
fn every_truncation() {
    let (_kept, bundle) = packed(vec![staged("a", "run")]);
    let good = fs::read(&bundle.path).unwrap();
    for len in 0..good.len() {
        rejected(&good[..len], "");
    }
    rejected(&good[..10], "got 10 bytes");
    rejected(b"", "got 0 bytes");
    rejected(&good[..good.len() - 5], "truncated or not a zip");
}

#[test]
fn bytes_around() {
    let (_kept, bundle) = packed(few());
    let good = fs::read(&bundle.path).unwrap();
    rejected(&[b"MZ".as_slice(), &good].concat(), "2 extra bytes before");
    rejected(&[good.as_slice(), b"more"].concat(), "4 bytes follow its end record");
    let comment = [&good[..good.len() - 2], &[3, 0], b"abc"].concat();
    rejected(&comment, "3 bytes follow its end record");
    rejected(&[vec![b'x'; 5000], b"not a zip at all".to_vec()].concat(), "not a zip");
}

/// A flipped bit in a segment is found in its block, and the file is removed.
#[test]
fn damaged_segment() {
    let (_kept, bundle) =
        packed(vec![staged("big", noise(SEGMENT as usize + 5)), staged("a", "b")]);
    let mut bytes = fs::read(&bundle.path).unwrap();
    for at in [100, 1_000_000, 2_000_000] {
        bytes[at] ^= 1;
        rejected(&bytes, "bundle entry `big` is rejected");
        bytes[at] ^= 1;
    }
    open(&bytes, None).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Random cuts, overwrites and copies, checked against the digest: an error or the same
    /// content.
    #[test]
    fn random_damage(
        edits in proptest::collection::vec(
            (0_usize..2000, 0_usize..40, proptest::num::u8::ANY, 0..3),
            1..4,
        )
    ) {
        static GOOD: std::sync::LazyLock<(Vec<u8>, Sha256)> = std::sync::LazyLock::new(|| {
            let code = "x = 1\n".repeat(30);
            let (_kept, bundle) =
                packed(vec![staged("a.sh", "run"), staged("infra/main.tf", code)]);
            (fs::read(&bundle.path).unwrap(), bundle.digest)
        });
        let (mut bytes, digest) = GOOD.clone();
        for (at, len, value, kind) in edits {
            let at = at % bytes.len();
            let end = (at + len).min(bytes.len());
            match kind {
                0 => bytes[at..end].fill(value),
                1 if end - at < bytes.len() => drop(bytes.drain(at..end)),
                _ => bytes.extend_from_within(at..end),
            }
        }
        if let Ok((_kept, unpacked)) = open(&bytes, Some(digest)) {
            let tree = tree(&unpacked.root);
            prop_assert_eq!(tree.len(), 3);
            prop_assert_eq!(&tree["a.sh"], &(b"run".to_vec(), 0o755));
        }
    }
}
