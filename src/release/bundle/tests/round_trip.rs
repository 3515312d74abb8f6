//! What is written can be read, and the bytes depend on the content alone.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::{
    super::{
        index::{BundleIndex, IndexLookup},
        layout::SEGMENT,
        record,
        writer::write_with,
        *,
    },
    few, header, noise, open, packed, staged, tree, write_to,
};
use crate::base::{digest::Sha256, error::Exit, interrupt::Interrupt, log::Progress};

#[test]
fn round_trip() {
    let (_kept, bundle) = packed(few());
    let bytes = fs::read(&bundle.path).unwrap();
    assert_eq!(bundle.size(), bytes.len() as u64);
    assert_eq!(bundle.manifest.lock_file, Some(Sha256::of(b"# lock")));
    assert_eq!(bundle.digest, Sha256::of(&bundle.manifest.to_bytes().unwrap()));

    let (_kept, unpacked) = open(&bytes, Some(bundle.digest)).unwrap();
    assert_eq!(unpacked.digest, Some(bundle.digest));
    assert_eq!(unpacked.manifest, Some(bundle.manifest.clone()));
    let mut expected: BTreeMap<_, _> = few()
        .into_iter()
        .map(|file| {
            let EntrySource::Bytes(bytes) = file.source else { unreachable!() };
            (file.name, (bytes, if file.executable { 0o755 } else { 0o644 }))
        })
        .collect();
    expected.insert("manifest.json".into(), (bundle.manifest.to_bytes().unwrap(), 0o644));
    assert_eq!(tree(&unpacked.root), expected);
    let mode = fs::metadata(unpacked.root.join("infra/é")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn segments_come_first_and_keep_their_bytes() {
    let big = noise(SEGMENT as usize + 1_234_567);
    let files = |more: &str| {
        let mut files = few();
        files.push(staged("providers/z.sh", big.clone()));
        files.push(staged("providers/a", noise(SEGMENT as usize)));
        files.push(staged("added", more));
        files
    };
    let (_one, first) = packed(files("one"));
    let (_two, second) = packed(files("another"));
    let (index, file) = BundleIndex::open(&first.path).unwrap();
    let names: Vec<_> = index.files().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names[..3], ["providers/a", "providers/z.sh", "added"]);
    assert!(names[2..].is_sorted() || names.last() == Some(&"manifest.json"));
    let entry = index.entry("providers/z.sh").unwrap();
    assert_eq!(entry.blocks.len(), 7);
    let end = (entry.start + entry.len) as usize;
    assert_eq!(fs::read(&first.path).unwrap()[..end], fs::read(&second.path).unwrap()[..end]);
    assert_eq!(
        index.read(&file, "providers/z.sh").unwrap().unwrap(),
        big,
        "also as one zstd stream"
    );

    let (_kept, unpacked) = open(&fs::read(&first.path).unwrap(), Some(first.digest)).unwrap();
    let tree = tree(&unpacked.root);
    assert_eq!(tree["providers/z.sh"], (big, 0o755));
    assert_eq!(tree["providers/a"], (noise(SEGMENT as usize), 0o644));
}

#[test]
fn same_bytes_for_any_threads_modes_and_times() {
    let seen = [(1, 0o600, 1), (2, 0o664, 1_000_000), (8, 0o755, 2_000_000_000)].map(
        |(threads, mode, time)| {
            let folder = TempDir::new().unwrap();
            let mut files = Vec::new();
            for (name, content) in
                [("b", noise(9)), ("a", noise(70_000)), ("big", noise(SEGMENT as usize * 2 + 1))]
            {
                let path = folder.path().join(name);
                let mut file = fs::File::create(&path).unwrap();
                file.write_all(&content).unwrap();
                file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time))
                    .unwrap();
                files.push(StagedFile {
                    name: format!("x/{name}"),
                    source: EntrySource::Path(path),
                    executable: name == "b",
                });
            }
            if threads == 2 {
                files.reverse();
            }
            let bundle = write_with(
                threads,
                files,
                header(),
                &SegmentPlan::default(),
                &folder.path().join("out.zip"),
                &Progress::none(),
            )
            .unwrap();
            (bundle.digest, Sha256::of_file(&bundle.path).unwrap())
        },
    );
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// The writer stores what the reader would reject as a bomb.
#[test]
fn zeros() {
    let zeros = vec![0; 12 << 20];
    let (_kept, bundle) =
        packed(vec![staged("zeros", zeros.clone()), staged("small", vec![0; 4 << 20])]);
    let (_kept, unpacked) = open(&fs::read(&bundle.path).unwrap(), Some(bundle.digest)).unwrap();
    assert!(tree(&unpacked.root)["zeros"].0 == zeros);
}

#[test]
fn writer_rejects() {
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("out.zip");
    let cases: [(&[&str], &str); 6] = [
        (&["manifest.json"], "twice"),
        (&["a", "a"], "twice"),
        (&["a", "A"], "only in case"),
        (&["a", "a/b"], "both a file and a folder"),
        (&["../a"], "`..`"),
        (&["a\nb"], "control character"),
    ];
    for (names, why) in cases {
        let error = write_to(names.iter().map(|name| staged(name, "")).collect(), &to).unwrap_err();
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.to_string().contains(why), "{error}");
        assert!(!to.exists());
    }
    let from_disk = |path: &Path| {
        vec![StagedFile {
            name: "x".into(),
            source: EntrySource::Path(path.into()),
            executable: false,
        }]
    };
    let error = write_to(from_disk(folder.path()), &to).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    // Claims 0 bytes and gives more, as a file that grows does.
    let error = write_to(from_disk(Path::new("/proc/self/stat")), &to).unwrap_err();
    assert!(error.to_string().contains("changed while it was read"), "{error}");
    assert!(!to.exists());
    fs::write(&to, "mine").unwrap();
    write_to(few(), &to).unwrap_err();
    assert_eq!(fs::read(&to).unwrap(), b"mine");
}

/// After the first of its blocks, or the first of its small files.
#[test]
fn a_signal_ends_packing_and_unpacking_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let many = || -> Vec<StagedFile> {
        (0..500).map(|n| staged(&format!("infra/{n}.tf"), format!("{n}"))).collect()
    };
    let big = || vec![staged("providers/big", noise(3 * SEGMENT as usize))];
    for files in [&many as &dyn Fn() -> Vec<StagedFile>, &big] {
        let (signal, interrupt) = Interrupt::by_hand();
        let progress = Progress::none().until(&interrupt);
        let (to, into) = (folder.path().join("out.zip"), folder.path().join("into"));
        let (_kept, bundle) = packed(files());
        fs::create_dir(&into).unwrap();
        unpack(&bundle.path, &into, None, &Default::default(), &progress).unwrap();
        signal.send(Some(Exit::Terminated)).unwrap();
        let known = SegmentPlan::default();
        let error = write(files(), header(), &known, &to, &progress).unwrap_err();
        assert_eq!(error.exit(), Exit::Terminated, "{error}");
        assert!(!to.exists());
        fs::remove_dir_all(&into).unwrap();
        fs::create_dir(&into).unwrap();
        let error = unpack(&bundle.path, &into, None, &Default::default(), &progress).unwrap_err();
        assert_eq!(error.exit(), Exit::Terminated, "{error}");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 0);
        fs::remove_dir(&into).unwrap();
    }
}

#[test]
fn a_folder_with_content_stays_unchanged() {
    let (kept, bundle) = packed(few());
    assert_eq!(
        unpack(&bundle.path, kept.path(), None, &Default::default(), &Progress::none())
            .unwrap_err()
            .exit(),
        Exit::Internal
    );
    assert!(bundle.path.exists());
}

#[test]
fn located_from_the_tail() {
    let (_kept, bundle) =
        packed((0..50).map(|n| staged(&format!("infra/{n}"), format!("{n}"))).collect());
    let all = fs::read(&bundle.path).unwrap();
    let total = all.len() as u64;
    let (mut from, mut rounds) = (total - 5, 0);
    let index = loop {
        match BundleIndex::locate(&all[from as usize..], total).unwrap() {
            IndexLookup::Found(index) => break index,
            IndexLookup::NeedMore { from_offset } => {
                assert!(from_offset < from);
                (from, rounds) = (from_offset, rounds + 1);
            }
        }
    };
    assert!((1..=2).contains(&rounds));
    let entry = index.entry("infra/7").unwrap();
    let bytes = &all[entry.start as usize..][..entry.len as usize];
    assert_eq!(index.decode(entry, bytes).unwrap(), b"7");
    assert!(index.decode(entry, &bytes[1..]).is_err());
    assert!(index.entry("nothing").is_none());
    assert!(index.is_native());
    let mut bad = bytes.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    assert!(index.decode(entry, &bad).unwrap_err().to_string().contains("CRC"));
}

#[test]
fn zip64_records() {
    let names = (0..70_000).map(|n| record::EntryRecord {
        name: format!("c-1/{n}"),
        method: record::EntryMethod::Stored,
        executable: false,
        crc: 0,
        compressed: 0,
        size: 0,
        offset: 0,
        blocks: vec![],
        crc64: None,
        shared: None,
    });
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for mut record in names {
        record.offset = bytes.len() as u64;
        bytes.extend(record.local());
        directory.extend(record.central());
    }
    let end = record::end(70_000, directory.len() as u64, bytes.len() as u64);
    let total = (bytes.len() + directory.len() + end.len()) as u64;
    let mut tail = [directory.as_slice(), &end].concat();
    let IndexLookup::Found(index) = BundleIndex::locate(&tail, total).unwrap() else {
        panic!("the tail is enough")
    };
    assert_eq!(index.files().len(), 70_000);
    // The two end records have different numbers.
    let at = directory.len() + 24;
    tail[at] ^= 1;
    assert!(BundleIndex::locate(&tail, total).unwrap_err().to_string().contains("contradict"));
}

/// Sizes and offsets beyond 4 GiB, of an archive of which only the tail exists.
#[test]
fn zip64_sizes() {
    let record = |name: &str, offset, size, compressed| record::EntryRecord {
        name: name.into(),
        method: record::EntryMethod::Zstd,
        executable: true,
        crc: 7,
        compressed,
        size,
        offset,
        blocks: vec![],
        crc64: None,
        shared: None,
    };
    let giant = record("c-1/a", 0, 5 << 30, 3 << 30);
    let second = (3 << 30) + giant.local().len() as u64;
    let next = record("c-1/b", second, (4 << 30) - 1, (4 << 30) - 2);
    let third = second + next.local().len() as u64 + (4 << 30) - 2;
    let last = record("c-1/c", third, 3, 2);
    let start = third + last.local().len() as u64 + 2;
    let directory = [giant.central(), next.central(), last.central()].concat();
    let tail = [directory.clone(), record::end(3, directory.len() as u64, start)].concat();
    let IndexLookup::Found(index) = BundleIndex::locate(&tail, start + tail.len() as u64).unwrap()
    else {
        panic!()
    };
    let found: Vec<_> =
        index.files().iter().map(|entry| (entry.start, entry.size, entry.compressed)).collect();
    assert_eq!(
        found,
        [(0, 5 << 30, 3 << 30), (second, (4 << 30) - 1, (4 << 30) - 2), (third, 3, 2)]
    );
    for (entry, record) in index.files().iter().zip([&giant, &next, &last]) {
        assert_eq!(index.check_local(entry, &record.local()).unwrap(), record.local().len());
    }
}
