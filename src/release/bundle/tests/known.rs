//! A bundle with bytes of another one is, byte for byte, the bundle that is written whole.

use std::{fs, os::unix::fs::FileExt, sync::Arc};

use tempfile::TempDir;

use super::{
    super::{index::BundleIndex, layout::SEGMENT, *},
    few, header, noise, open, packed, staged,
};
use crate::{
    base::{crc64::Crc64, digest::Sha256, log::Progress},
    services::store::composed::CopySource,
};

fn files(big: &[(&str, &[u8])], more: &str) -> Vec<StagedFile> {
    let mut files = few();
    files.extend(big.iter().map(|(name, content)| staged(name, *content)));
    files.push(staged("added", more));
    files
}

/// The segments of a bundle, by name.
fn known(bundle: &Bundle) -> KnownSegments {
    let (index, _) = BundleIndex::open(&bundle.path).unwrap();
    let from = Arc::new(CopySource { key: "t/c/c-1.zip".into(), etag: Some("e".into()) });
    let found = index.files().iter().filter_map(|entry| {
        let sha256 = bundle.manifest.files.get(&entry.name)?.sha256;
        let place = SegmentPlace::Copied(Arc::clone(&from), entry.start);
        Some((entry.name.clone(), KnownSegment::of(entry, sha256, place)?))
    });
    found.collect()
}

#[test]
fn copied_segments_make_the_same_bytes() {
    let (a, b, c) = (noise(SEGMENT as usize), noise(SEGMENT as usize + 999), vec![0; 12 << 20]);
    let (_one, first) = packed(files(&[("p/a", &a), ("p/b.sh", &b), ("p/zeros", &c)], "one"));
    let segments = known(&first);
    assert_eq!(segments.keys().collect::<Vec<_>>(), ["p/a", "p/b.sh", "p/zeros"]);
    let (index, file) = BundleIndex::open(&first.path).unwrap();
    for entry in index.files() {
        let mut bytes = vec![0; entry.len as usize];
        file.read_exact_at(&mut bytes, entry.start).unwrap();
        let recorded = (entry.size >= SEGMENT).then(|| Crc64::of(&bytes).sum);
        assert_eq!(entry.crc64, recorded, "{}", entry.name);
    }

    // The provider between two others is another one, and comes with the new release.
    for (own, ranges) in [("none", 1), ("p/b.sh", 2), ("p/a", 1)] {
        let new: Vec<u8> = b.iter().rev().copied().collect();
        let mut big: Vec<(&str, &[u8])> = vec![("p/a", &a), ("p/b.sh", &b), ("p/zeros", &c)];
        if let Some(changed) = big.iter_mut().find(|(name, _)| *name == own) {
            changed.1 = &new;
        }
        let mut segments = known(&first);
        segments.remove(own);
        let plan = SegmentPlan { known: segments, share_in: None };
        let folder = TempDir::new().unwrap();
        let to = folder.path().join("holes.zip");
        let second = write(files(&big, "two"), header(), &plan, &to, &Progress::none()).unwrap();
        let (_kept, whole) = packed(files(&big, "two"));
        assert_eq!((second.digest, second.checksum), (whole.digest, whole.checksum));
        assert_eq!(second.copies.len(), ranges);
        let content = second.content();
        assert!(content.copied() > content.size() / 2, "{content:?}");
        // What the store does.
        let mut bytes = fs::read(&to).unwrap();
        let source = fs::read(&first.path).unwrap();
        for range in &second.copies {
            let (at, start, len) = (range.at as usize, range.start as usize, range.len as usize);
            assert!(bytes[at..at + len].iter().all(|byte| *byte == 0), "a hole");
            bytes[at..at + len].copy_from_slice(&source[start..start + len]);
        }
        assert_eq!(bytes, fs::read(&whole.path).unwrap());
        assert_eq!(second.checksum, Crc64::of(&bytes));
        let (_kept, unpacked) = open(&bytes, Some(second.digest)).unwrap();
        assert_eq!(Sha256::of_file(&unpacked.root.join("p/b.sh")).unwrap(), {
            if own == "p/b.sh" { Sha256::of(&new) } else { Sha256::of(&b) }
        });
    }
}

#[test]
fn only_segments_with_a_recorded_checksum_are_known() {
    let (_kept, bundle) = packed(files(&[("p/a", &noise(SEGMENT as usize))], "one"));
    let (index, _) = BundleIndex::open(&bundle.path).unwrap();
    let from = Arc::new(CopySource { key: "k".into(), etag: None });
    let of = |name: &str| {
        let entry = index.entry(name).unwrap();
        KnownSegment::of(entry, Sha256::of(b"x"), SegmentPlace::Copied(Arc::clone(&from), 0))
    };
    assert!(of("p/a").is_some() && of("added").is_none());
    // A file of another size is not the one that was found.
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("x.zip");
    let other = files(&[("p/a", &noise(SEGMENT as usize + 1))], "one");
    let plan = SegmentPlan { known: known(&bundle), share_in: None };
    let error = write(other, header(), &plan, &to, &Progress::none()).unwrap_err();
    assert!(error.to_string().contains("is not the segment that was found"), "{error}");
    assert!(!to.exists());
}
