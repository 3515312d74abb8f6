//! A bundle without the bytes of its providers, which are objects of their own, has the same
//! content and the same digest as a complete one.

use std::fs;

use tempfile::TempDir;

use super::{
    super::{archive_map::PiecePlace, index::*, layout::SEGMENT, *},
    few, header, noise, open, packed, staged, tree,
};
use crate::base::{crc64::Crc64, digest::Sha256, log::Progress};

const ONE: &str = "providers/r/hashicorp/one/1.0.0/linux_amd64/terraform-provider-one.sh";
const TWO: &str = "providers/r/hashicorp/two/1.0.0/linux_amd64/terraform-provider-two.sh";

/// Two providers, a large file between them that is not a provider, and small files.
fn files(more: &str) -> Vec<StagedFile> {
    let mut files = few();
    let big = |len: usize, by: u8| noise(len).iter().map(|byte| byte ^ by).collect::<Vec<u8>>();
    files.push(staged(ONE, big(SEGMENT as usize, 1)));
    files.push(staged("providers/r/hashicorp/one/data.bin", big(SEGMENT as usize + 9, 2)));
    files.push(staged(TWO, big(SEGMENT as usize + 99, 3)));
    files.push(staged("added", more));
    files
}

struct Shared {
    folder: TempDir,
    bundle: Bundle,
}

fn shared(more: &str, known: KnownSegments) -> Shared {
    let folder = TempDir::new().unwrap();
    let share_in = folder.path().join("segments");
    fs::create_dir(&share_in).unwrap();
    let plan = SegmentPlan { known, share_in: Some(share_in) };
    let to = folder.path().join("bundle.zip");
    let bundle = write(files(more), header(), &plan, &to, &Progress::none()).unwrap();
    Shared { folder, bundle }
}

fn index(object: &[u8]) -> Result<BundleIndex, String> {
    match BundleIndex::locate(object, object.len() as u64) {
        Ok(IndexLookup::Found(index)) => Ok(index),
        Ok(IndexLookup::NeedMore { .. }) => panic!("all of it is there"),
        Err(error) => Err(error.to_string()),
    }
}

/// What a deploy does.
fn composed(index: &BundleIndex, object: &[u8], segments: &[SharedSegment]) -> Vec<u8> {
    let mut archive = vec![0; index.len() as usize];
    for piece in index.map().pieces(0..index.len()) {
        let (at, len) = (piece.at as usize, piece.len as usize);
        let (bytes, start) = match &piece.place {
            PiecePlace::Object(start) => (object.to_vec(), *start as usize),
            PiecePlace::Shared(sha256, start) => {
                let segment = segments.iter().find(|it| it.sha256 == *sha256).unwrap();
                (fs::read(segment.file.as_ref().unwrap()).unwrap(), *start as usize)
            }
        };
        archive[at..at + len].copy_from_slice(&bytes[start..start + len]);
    }
    archive
}

#[test]
fn a_bundle_is_assembled_from_its_object_and_segments() {
    let Shared { folder: _folder, bundle } = shared("one", KnownSegments::new());
    let (_whole_folder, whole) = packed(files("one"));
    assert_eq!(bundle.digest, whole.digest, "the digest does not depend on how it is stored");
    assert_eq!(bundle.shared.len(), 2);
    let object = fs::read(&bundle.path).unwrap();
    assert_eq!(Crc64::of(&object), bundle.checksum);
    let left_out: u64 = bundle.shared.iter().map(|it| it.len).sum();
    assert!(bundle.copies.is_empty() && left_out > bundle.size());
    for segment in &bundle.shared {
        let file = segment.file.as_ref().unwrap();
        assert_eq!(Sha256::of_file(file).unwrap(), segment.sha256);
        // An archive of its own.
        let (index, opened) =
            BundleIndex::open(file).map(|(it, file)| (it.files().len(), file)).unwrap();
        assert!(index == 1 && opened.metadata().unwrap().len() > segment.len);
    }
    let index = index(&object).unwrap();
    assert_eq!(index.len(), bundle.size() + left_out);
    let archive = composed(&index, &object, &bundle.shared);
    let (_kept, unpacked) = open(&archive, Some(bundle.digest)).unwrap();
    let (_kept_whole, expected) = open(&fs::read(&whole.path).unwrap(), None).unwrap();
    assert!(tree(&unpacked.root) == tree(&expected.root));
    // The object alone is not a complete archive, and neither is a truncated one.
    let error = open(&object, None).unwrap_err().to_string();
    assert!(error.contains("bytes are in shared segments"), "{error}");
    let error = self::index(&object[1..]).map(|_| ()).unwrap_err();
    assert!(error.contains("it is truncated"), "{error}");
}

#[test]
fn a_second_bundle_writes_no_segment_again() {
    let first = shared("one", KnownSegments::new());
    let object = fs::read(&first.bundle.path).unwrap();
    let index = index(&object).unwrap();
    let known: KnownSegments = index
        .files()
        .iter()
        .filter_map(|entry| {
            let sha256 = first.bundle.manifest.files.get(&entry.name)?.sha256;
            let place = SegmentPlace::Shared(entry.shared?);
            Some((entry.name.clone(), KnownSegment::of(entry, sha256, place)?))
        })
        .collect();
    assert_eq!(known.keys().collect::<Vec<_>>(), [ONE, TWO]);
    let second = shared("two", known);
    let again = shared("two", KnownSegments::new());
    assert!(second.bundle.shared.iter().all(|it| it.file.is_none()));
    assert!(again.bundle.shared.iter().all(|it| it.file.is_some()));
    assert_eq!(fs::read_dir(second.folder.path().join("segments")).unwrap().count(), 0);
    let read = |it: &Shared| fs::read(&it.bundle.path).unwrap();
    assert!(read(&second) == read(&again), "the same object, whether the segments are new or not");
    assert_eq!(second.bundle.checksum, Crc64::of(&read(&second)));
}
