//! Whole bundles: round trips, and archives that somebody made to hurt.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    index::{BundleIndex, IndexLookup},
    layout::SEGMENT,
    record,
    writer::write_with,
    *,
};
use crate::base::{
    digest::Sha256,
    error::{Exit, Result},
};

fn header() -> BundleHeader {
    let terraform = TerraformIdentity {
        name: "terraform".into(),
        version: "1.11.4".into(),
        sha256: Sha256::of(b"terraform"),
    };
    BundleHeader { source_digest: Sha256::of(b"source"), terraform }
}

fn staged(name: &str, content: impl Into<Vec<u8>>) -> StagedFile {
    StagedFile {
        name: name.into(),
        source: EntrySource::Bytes(content.into()),
        executable: name.ends_with(".sh"),
    }
}

fn few() -> Vec<StagedFile> {
    vec![
        staged("release.json", "{\"release\": {}}"),
        staged("infra/main.tf", "resource \"null_resource\" \"a\" {}\n".repeat(20)),
        staged("infra/.terraform.lock.hcl", "# lock"),
        staged("infra/empty", ""),
        staged("infra/é/run.sh", "#!/bin/sh\n"),
    ]
}

/// Bytes that deflate and zstd can shrink, but not to nothing.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 60) as u8
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

/// Path to content and mode, folders left out.
fn tree(root: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let files = walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (
                name,
                (
                    fs::read(entry.path()).unwrap(),
                    entry.metadata().unwrap().permissions().mode() & 0o7777,
                ),
            )
        })
        .collect()
}

fn packed(files: Vec<StagedFile>) -> (TempDir, Bundle) {
    let folder = TempDir::new().unwrap();
    let bundle = write(files, header(), &folder.path().join("bundle.zip")).unwrap();
    (folder, bundle)
}

/// Unpacks bytes; after a failure nothing may be left behind.
fn open(bytes: &[u8], expected: Option<Sha256>) -> Result<(TempDir, Unpacked)> {
    let folder = TempDir::new().unwrap();
    let (archive, into) = (folder.path().join("x.zip"), folder.path().join("into"));
    fs::write(&archive, bytes).unwrap();
    fs::create_dir(&into).unwrap();
    match unpack(&archive, &into, expected) {
        Ok(unpacked) => Ok((folder, unpacked)),
        Err(error) => {
            assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "left behind after: {error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "escaped after: {error}");
            Err(error)
        }
    }
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    match open(bytes, None) {
        Ok(_) => panic!("accepted; expected: {why}"),
        Err(error) => {
            assert_eq!(error.exit(), Exit::Integrity, "{error}");
            assert!(error.to_string().contains(why), "expected `{why}`, got: {error}");
            assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
        }
    }
}

#[test]
fn round_trip() {
    let (_kept, bundle) = packed(few());
    let bytes = fs::read(&bundle.path).unwrap();
    assert_eq!(bundle.size, bytes.len() as u64);
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
fn same_bytes_whatever_the_surroundings() {
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
            let bundle =
                write_with(threads, files, header(), &folder.path().join("out.zip")).unwrap();
            (bundle.digest, Sha256::of_file(&bundle.path).unwrap())
        },
    );
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// What would look like a bomb to the reader is stored by the writer.
#[test]
fn zeros() {
    let zeros = vec![0; 12 << 20];
    let (_kept, bundle) =
        packed(vec![staged("zeros", zeros.clone()), staged("small", vec![0; 4 << 20])]);
    let (_kept, unpacked) = open(&fs::read(&bundle.path).unwrap(), Some(bundle.digest)).unwrap();
    assert!(tree(&unpacked.root)["zeros"].0 == zeros);
}

#[test]
fn writer_refuses() {
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("out.zip");
    let cases: [(&[&str], &str); 6] = [
        (&["manifest.json"], "twice"),
        (&["a", "a"], "twice"),
        (&["a", "A"], "but for case"),
        (&["a", "a/b"], "both a file and a folder"),
        (&["../a"], "`..`"),
        (&["a\nb"], "control character"),
    ];
    for (names, why) in cases {
        let error =
            write(names.iter().map(|name| staged(name, "")).collect(), header(), &to).unwrap_err();
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
    let error = write(from_disk(folder.path()), header(), &to).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    // Claims 0 bytes and gives more, as a file that grows does.
    let error = write(from_disk(Path::new("/proc/self/stat")), header(), &to).unwrap_err();
    assert!(error.to_string().contains("changed while it was read"), "{error}");
    assert!(!to.exists());
    fs::write(&to, "mine").unwrap();
    write(few(), header(), &to).unwrap_err();
    assert_eq!(fs::read(&to).unwrap(), b"mine");
}

#[test]
fn digest_is_checked_first() {
    let (_kept, bundle) = packed(few());
    let bytes = fs::read(&bundle.path).unwrap();
    let error = open(&bytes, Some(Sha256::of(b"other"))).unwrap_err();
    assert_eq!(error.exit(), Exit::Integrity);
    assert!(error.to_string().contains(&bundle.digest.to_string()), "{error}");
    assert!(error.to_string().contains(&Sha256::of(b"other").to_string()), "{error}");

    let error =
        open(&raw(&[Zip::file("c-1/release.json", b"{}")]), Some(bundle.digest)).unwrap_err();
    assert!(error.to_string().contains("no manifest.json"), "{error}");
}

#[test]
fn a_used_folder_is_left_alone() {
    let (kept, bundle) = packed(few());
    assert_eq!(unpack(&bundle.path, kept.path(), None).unwrap_err().exit(), Exit::Internal);
    assert!(bundle.path.exists());
}

/// An error, or the same content: never another.
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
        refused(&good[..len], "");
    }
    refused(&good[..10], "got 10 bytes");
    refused(b"", "got 0 bytes");
    refused(&good[..good.len() - 5], "truncated or not a zip");
}

#[test]
fn bytes_around() {
    let (_kept, bundle) = packed(few());
    let good = fs::read(&bundle.path).unwrap();
    refused(&[b"MZ".as_slice(), &good].concat(), "2 bytes stand before it");
    refused(&[good.as_slice(), b"more"].concat(), "4 bytes follow its end record");
    let comment = [&good[..good.len() - 2], &[3, 0], b"abc"].concat();
    refused(&comment, "3 bytes follow its end record");
    refused(&[vec![b'x'; 5000], b"not a zip at all".to_vec()].concat(), "not a zip");
}

/// A small damage deep in a segment: found by the block, the file goes.
#[test]
fn damaged_segment() {
    let (_kept, bundle) =
        packed(vec![staged("big", noise(SEGMENT as usize + 5)), staged("a", "b")]);
    let mut bytes = fs::read(&bundle.path).unwrap();
    for at in [100, 1_000_000, 2_000_000] {
        bytes[at] ^= 1;
        refused(&bytes, "bundle entry `big` is refused");
        bytes[at] ^= 1;
    }
    open(&bytes, None).unwrap();
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
    // The two end records tell different numbers.
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

// -- archives made by hand --

/// An entry of which every field can be wrong.
#[derive(Clone)]
struct Zip {
    name: Vec<u8>,
    local_name: Vec<u8>,
    mode: u32,
    flags: u16,
    method: u16,
    crc: u32,
    size: u32,
    compressed: u32,
    local_size: u32,
    data: Vec<u8>,
    behind: Vec<u8>,
    offset: Option<u32>,
    comment: Vec<u8>,
}

impl Zip {
    fn file(name: impl Into<Vec<u8>>, data: &[u8]) -> Self {
        let name = name.into();
        let size = data.len() as u32;
        Self {
            local_name: name.clone(),
            name,
            mode: 0o100_644,
            flags: 0,
            method: 0,
            crc: crc32fast::hash(data),
            size,
            compressed: size,
            local_size: size,
            data: data.to_vec(),
            behind: vec![],
            offset: None,
            comment: vec![],
        }
    }

    fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    fn common(&self, size: u32, name: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [20, self.flags, self.method, 0, 0x21] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [self.crc, self.compressed, size] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}

fn raw(entries: &[Zip]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(bytes.len() as u32);
        bytes.extend(record::LOCAL.to_le_bytes());
        bytes.extend(entry.common(entry.local_size, &entry.local_name));
        bytes.extend([entry.local_name.as_slice(), &entry.data, &entry.behind].concat());
        directory.extend(record::CENTRAL.to_le_bytes());
        directory.extend([63, 3]);
        directory.extend(entry.common(entry.size, &entry.name));
        directory.extend((entry.comment.len() as u16).to_le_bytes());
        directory.extend([0; 4]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend([entry.name.as_slice(), &entry.comment].concat());
    }
    let end = record::end(entries.len() as u64, directory.len() as u64, bytes.len() as u64);
    [bytes, directory, end].concat()
}

fn good() -> Zip {
    Zip::file("c-1/release.json", b"{}")
}

#[test]
fn reference_bundle() {
    let mut deflated = Zip::file("c-1/.terraform/x", b"");
    let content = b"0123456789".repeat(10);
    let mut compressed = Vec::new();
    codec::Deflater::new().append(&content, &mut compressed).unwrap();
    (deflated.method, deflated.crc) = (8, crc32fast::hash(&content));
    (deflated.size, deflated.local_size, deflated.compressed) = (100, 100, compressed.len() as u32);
    deflated.data = compressed;
    let mut streamed = deflated.clone();
    streamed.name = b"c-1/streamed".to_vec();
    streamed.local_name = streamed.name.clone();
    streamed.flags = record::FLAG_DESCRIPTOR;
    let fields = [record::DESCRIPTOR, streamed.crc, streamed.compressed, streamed.size];
    streamed.behind = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
    let bytes = raw(&[
        Zip::file("c-1/", b"").mode(0o040_755),
        good().mode(0o600),
        Zip::file("c-1/infra/", b"").mode(0o040_775),
        Zip::file("c-1/infra/run", b"#!").mode(0o100_711),
        deflated,
        streamed.clone(),
    ]);
    let (_kept, unpacked) = open(&bytes, None).unwrap();
    assert!(unpacked.manifest.is_none() && unpacked.digest.is_none());
    let expected = [
        (".terraform/x", (content.clone(), 0o644)),
        ("infra/run", (b"#!".to_vec(), 0o755)),
        ("release.json", (b"{}".to_vec(), 0o644)),
        ("streamed", (content, 0o644)),
    ];
    assert_eq!(tree(&unpacked.root), expected.map(|(name, file)| (name.to_owned(), file)).into());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.zip");
    fs::write(&path, &bytes).unwrap();
    let (index, file) = BundleIndex::open(&path).unwrap();
    assert!(!index.is_native());
    assert_eq!(index.read(&file, "release.json").unwrap().unwrap(), b"{}");

    // Written to a pipe: the local header knows nothing yet.
    let mut piped = raw(std::slice::from_ref(&streamed));
    piped[14..26].fill(0);
    let (_kept, unpacked) = open(&piped, None).unwrap();
    assert_eq!(tree(&unpacked.root).len(), 1);

    streamed.behind[5] ^= 1;
    refused(&raw(&[good(), streamed.clone()]), "data descriptor is damaged");
    streamed.behind.clear();
    refused(&raw(&[good(), streamed]), "data descriptor is damaged");
}

#[test]
fn hostile_names() {
    let cases: [(&[u8], &str); 17] = [
        (b"c-1/../x", "`..`"),
        (b"c-1/../../x", "`..`"),
        (b"../x", "`..`"),
        (b"/etc/passwd", "absolute"),
        (b"c-1//x", "empty"),
        (b"c-1/./x", "`.`"),
        (b"c-1/a\\..\\b", "backslash"),
        (b"c-1/a\0b", "NUL"),
        (b"c-1/a\x1b[31mb", "control character"),
        (b"c-1/\n::add-mask::x", "control character"),
        (b"C:/x", "drive letter"),
        (b"c-1/\xff", "not UTF-8"),
        ("c-1/é".as_bytes(), "not marked as UTF-8"),
        (b"", "empty"),
        (b"other/x", "nor one folder"),
        (b"c-1/RELEASE.json", "but for case"),
        (b"c-1/release.json/x", "both a file and a folder"),
    ];
    for (name, why) in cases {
        refused(&raw(&[good(), Zip::file(name, b"x")]), why);
    }
    refused(&raw(&[good(), good()]), "twice");
    refused(&raw(&[]), "nor one folder");
    refused(&raw(&[Zip::file("release.json", b"{}")]), "nor one folder");
    let mut twin = [Zip::file("c-1/\u{e9}", b""), Zip::file("c-1/\u{c9}", b"")];
    twin.iter_mut().for_each(|zip| zip.flags = record::FLAG_UTF8);
    refused(&raw(&twin), "but for case");
}

#[test]
fn hostile_modes() {
    let file = |mode| Zip::file("c-1/x", b"/etc/passwd").mode(mode);
    for (mode, why) in [
        (0o120_777, "symbolic link"),
        (0o010_644, "neither a file nor a folder"),
        (0o020_644, "neither a file nor a folder"),
        (0o060_644, "neither a file nor a folder"),
        (0o140_644, "neither a file nor a folder"),
        (0o104_755, "setuid"),
        (0o102_755, "setuid, setgid"),
        (0o101_755, "sticky"),
        (0o040_755, "a folder by its mode"),
    ] {
        refused(&raw(&[good(), file(mode)]), why);
    }
    refused(&raw(&[good(), Zip::file("c-1/x/", b"").mode(0o100_644)]), "a file by its mode");
    refused(&raw(&[good(), Zip::file("c-1/x/", b"data").mode(0o040_755)]), "folder with content");
    // A link, then a file below it.
    refused(
        &raw(&[Zip::file("c-1/l", b"/tmp").mode(0o120_777), Zip::file("c-1/l/x", b"")]),
        "symbolic link",
    );
}

#[test]
fn hostile_headers() {
    let change = |change: fn(&mut Zip), why: &str| {
        let mut entry = Zip::file("c-1/x", b"content");
        change(&mut entry);
        refused(&raw(&[good(), entry]), why);
    };
    change(|zip| zip.flags = 1, "encrypted");
    change(|zip| zip.flags = 1 << 6, "encrypted");
    change(|zip| zip.flags = 1 << 13, "encrypted");
    change(|zip| zip.flags = 1 << 5, "flags");
    change(|zip| zip.flags = 1 << 15, "flags");
    change(|zip| zip.method = 12, "method 12");
    change(|zip| zip.comment = b"PK".to_vec(), "comment");
    change(|zip| zip.local_name = b"c-1/y".to_vec(), "gives the name `c-1/y`");
    change(|zip| zip.local_name = b"d-1/x".to_vec(), "gives the name `d-1/x`");
    change(|zip| zip.local_size = 1, "size is 1 in the local header, 7");
    change(|zip| zip.crc ^= 1, "CRC");
    change(|zip| zip.behind = vec![0], "belong to no entry");
    change(|zip| zip.offset = Some(0), "overlaps");
    change(|zip| zip.offset = Some(40), "overlaps");
    change(|zip| zip.offset = Some(u32::MAX - 1), "overlaps");
    change(|zip| (zip.size, zip.local_size) = (6, 6), "larger than the 6 bytes it claims");
    change(|zip| (zip.size, zip.local_size) = (8, 8), "has 7 bytes, not the 8");
    change(|zip| zip.compressed = 4_000_000, "overlaps");
    change(|zip| (zip.method, zip.size, zip.local_size) = (8, 9, 9), "damaged");
    change(|zip| (zip.method, zip.size, zip.local_size) = (93, 9, 9), "damaged");
    let shifted = raw(&[Zip { offset: Some(1), ..good() }]);
    refused(&shifted, "stand before its first entry");
}

#[test]
fn bombs() {
    let zeros = vec![0; 50 << 20];
    let mut data = Vec::new();
    codec::Deflater::new().append(&zeros, &mut data).unwrap();
    let mut bomb = Zip::file("c-1/bomb", b"");
    (bomb.method, bomb.crc, bomb.compressed) = (8, crc32fast::hash(&zeros), data.len() as u32);
    (bomb.size, bomb.local_size) = (zeros.len() as u32, zeros.len() as u32);
    bomb.data = data;
    refused(&raw(&[good(), bomb.clone()]), "more than 200:1");
    (bomb.size, bomb.local_size) = (10, 10);
    refused(&raw(&[good(), bomb]), "larger than the 10 bytes it claims");

    let record = |name: &str, size: u64| record::EntryRecord {
        name: name.into(),
        method: record::EntryMethod::Zstd,
        executable: false,
        crc: 0,
        compressed: 4 << 30,
        size,
        offset: 0,
        blocks: vec![],
    };
    let locate = |records: Vec<record::EntryRecord>| {
        let (mut at, mut directory) = (0, Vec::new());
        for mut record in records {
            record.offset = at;
            at += record.local().len() as u64 + record.compressed;
            directory.extend(record.central());
        }
        let entries =
            directory.windows(4).filter(|window| *window == record::CENTRAL.to_le_bytes()).count()
                as u64;
        let end = record::end(entries, directory.len() as u64, at);
        let tail = [directory, end].concat();
        BundleIndex::locate(&tail, at + tail.len() as u64).unwrap_err().to_string()
    };
    assert!(locate(vec![record("c-1/a", (5 << 30) + 1)]).contains("more than 5368709120"));
    assert!(
        locate((0..4).map(|n| record(&format!("c-1/{n}"), 5 << 30)).collect())
            .contains("exceed 17179869184")
    );
    let end = record::end(200_001, 0, 0);
    assert!(
        BundleIndex::locate(&end, end.len() as u64)
            .unwrap_err()
            .to_string()
            .contains("200001 entries")
    );
}

/// The entries of a native bundle against its manifest.
#[test]
fn manifest_and_entries_must_agree() {
    let (_kept, bundle) = packed(vec![staged("a", "one"), staged("run.sh", "two")]);
    let manifest = Zip::file("manifest.json", &bundle.manifest.to_bytes().unwrap());
    let (a, run) = (Zip::file("a", b"one"), Zip::file("run.sh", b"two").mode(0o100_755));
    let kept =
        open(&raw(&[a.clone(), run.clone(), manifest.clone()]), Some(bundle.digest)).unwrap();
    assert_eq!(tree(&kept.1.root).len(), 3);
    let check = |entries: &[&Zip], why| {
        refused(&raw(&entries.iter().map(|zip| (*zip).clone()).collect::<Vec<_>>()), why)
    };
    check(&[&a, &manifest, &run], "not the last entry");
    check(&[&a, &manifest], "the manifest lists it");
    check(&[&a, &run, &Zip::file("extra", b""), &manifest], "doesn't list it");
    check(&[&a, &run.clone().mode(0o100_644), &manifest], "size or mode");
    check(&[&a, &run.clone().mode(0o100_700), &manifest], "neither 0644 nor 0755");
    check(&[&Zip::file("a", b"longer"), &run, &manifest], "size or mode");
    check(&[&Zip::file("a", b"eno"), &run, &manifest], "SHA-256");
    check(&[&a, &run, &Zip::file("x/", b"").mode(0o040_755), &manifest], "a folder, which bundles");
    check(
        &[&Zip { flags: record::FLAG_DESCRIPTOR, ..a.clone() }, &run, &manifest],
        "data descriptor",
    );
    check(&[&a, &run, &manifest.clone().mode(0o100_755)], "executable");
}

#[test]
fn block_index_must_fit() {
    let blocks = |blocks: Vec<u32>| {
        let record = record::EntryRecord {
            name: "c-1/x".into(),
            method: record::EntryMethod::Zstd,
            executable: false,
            crc: 0,
            compressed: 20,
            size: (2 << 20) + 1,
            offset: 0,
            blocks,
        };
        let (data, directory) = ([record.local(), vec![0; 20]].concat(), record.central());
        let end = record::end(1, directory.len() as u64, data.len() as u64);
        let all = [data, directory, end].concat();
        match BundleIndex::locate(&all, all.len() as u64) {
            Ok(IndexLookup::Found(index)) => Ok(index.files()[0].blocks.len()),
            Ok(IndexLookup::NeedMore { .. }) => panic!("all is there"),
            Err(error) => Err(error.to_string()),
        }
    };
    assert_eq!(blocks(vec![10, 9, 1]), Ok(3));
    for bad in [vec![20], vec![10, 10, 1], vec![10, 5, 4, 1], vec![u32::MAX, 19, 2]] {
        let error = blocks(bad.clone()).expect_err(&format!("{bad:?}"));
        assert!(error.contains("block index"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut, overwritten and doubled at random, against the promised digest: an error or the same content.
    #[test]
    fn random_damage(edits in proptest::collection::vec((0_usize..2000, 0_usize..40, proptest::num::u8::ANY, 0..3), 1..4)) {
        static GOOD: std::sync::LazyLock<(Vec<u8>, Sha256)> = std::sync::LazyLock::new(|| {
            let (_kept, bundle) = packed(vec![staged("a.sh", "run"), staged("infra/main.tf", "x = 1\n".repeat(30))]);
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
