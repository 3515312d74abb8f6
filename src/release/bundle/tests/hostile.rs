//! Archives that a bundle's writer would never make: hostile ones, and those of the reference
//! program.

use std::fs;

use tempfile::TempDir;

use super::{
    super::{
        codec,
        index::{BundleIndex, IndexLookup},
        record,
    },
    few, open, packed, rejected, staged, tree,
};
use crate::base::{digest::Sha256, error::Exit};

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

/// An entry with fields that can all be wrong.
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
    after: Vec<u8>,
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
            after: vec![],
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
        bytes.extend([entry.local_name.as_slice(), &entry.data, &entry.after].concat());
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
    codec::Deflater::new().unwrap().append(&content, &mut compressed).unwrap();
    (deflated.method, deflated.crc) = (8, crc32fast::hash(&content));
    (deflated.size, deflated.local_size, deflated.compressed) = (100, 100, compressed.len() as u32);
    deflated.data = compressed;
    let mut streamed = deflated.clone();
    streamed.name = b"c-1/streamed".to_vec();
    streamed.local_name = streamed.name.clone();
    streamed.flags = record::FLAG_DESCRIPTOR;
    let fields = [record::DESCRIPTOR, streamed.crc, streamed.compressed, streamed.size];
    streamed.after = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
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

    // Written to a pipe: the local header has no sizes yet.
    let mut piped = raw(std::slice::from_ref(&streamed));
    piped[14..26].fill(0);
    let (_kept, unpacked) = open(&piped, None).unwrap();
    assert_eq!(tree(&unpacked.root).len(), 1);

    streamed.after[5] ^= 1;
    rejected(&raw(&[good(), streamed.clone()]), "data descriptor is damaged");
    streamed.after.clear();
    rejected(&raw(&[good(), streamed]), "data descriptor is damaged");
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
        (b"c-1/RELEASE.json", "only in case"),
        (b"c-1/release.json/x", "both a file and a folder"),
    ];
    for (name, why) in cases {
        rejected(&raw(&[good(), Zip::file(name, b"x")]), why);
    }
    rejected(&raw(&[good(), good()]), "twice");
    rejected(&raw(&[]), "nor one folder");
    rejected(&raw(&[Zip::file("release.json", b"{}")]), "nor one folder");
    let mut twin = [Zip::file("c-1/\u{e9}", b""), Zip::file("c-1/\u{c9}", b"")];
    twin.iter_mut().for_each(|zip| zip.flags = record::FLAG_UTF8);
    rejected(&raw(&twin), "only in case");
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
        rejected(&raw(&[good(), file(mode)]), why);
    }
    rejected(&raw(&[good(), Zip::file("c-1/x/", b"").mode(0o100_644)]), "a file by its mode");
    rejected(&raw(&[good(), Zip::file("c-1/x/", b"data").mode(0o040_755)]), "folder with content");
    // A link, then a file below it.
    rejected(
        &raw(&[Zip::file("c-1/l", b"/tmp").mode(0o120_777), Zip::file("c-1/l/x", b"")]),
        "symbolic link",
    );
}

#[test]
fn hostile_headers() {
    let change = |change: fn(&mut Zip), why: &str| {
        let mut entry = Zip::file("c-1/x", b"content");
        change(&mut entry);
        rejected(&raw(&[good(), entry]), why);
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
    change(|zip| zip.after = vec![0], "belong to no entry");
    change(|zip| zip.offset = Some(0), "overlaps");
    change(|zip| zip.offset = Some(40), "overlaps");
    change(|zip| zip.offset = Some(u32::MAX - 1), "overlaps");
    change(
        |zip| (zip.size, zip.local_size) = (6, 6),
        "larger than the 6 bytes that its header claims",
    );
    change(|zip| (zip.size, zip.local_size) = (8, 8), "has 7 bytes, but its header claims 8");
    change(|zip| zip.compressed = 4_000_000, "overlaps");
    change(|zip| (zip.method, zip.size, zip.local_size) = (8, 9, 9), "damaged");
    change(|zip| (zip.method, zip.size, zip.local_size) = (93, 9, 9), "damaged");
    let shifted = raw(&[Zip { offset: Some(1), ..good() }]);
    rejected(&shifted, "extra bytes before its first entry");
}

#[test]
fn bombs() {
    let zeros = vec![0; 50 << 20];
    let mut data = Vec::new();
    codec::Deflater::new().unwrap().append(&zeros, &mut data).unwrap();
    let mut bomb = Zip::file("c-1/bomb", b"");
    (bomb.method, bomb.crc, bomb.compressed) = (8, crc32fast::hash(&zeros), data.len() as u32);
    (bomb.size, bomb.local_size) = (zeros.len() as u32, zeros.len() as u32);
    bomb.data = data;
    rejected(&raw(&[good(), bomb.clone()]), "more than 200:1");
    (bomb.size, bomb.local_size) = (10, 10);
    rejected(&raw(&[good(), bomb]), "larger than the 10 bytes that its header claims");

    let record = |name: &str, size: u64| record::EntryRecord {
        name: name.into(),
        method: record::EntryMethod::Zstd,
        executable: false,
        crc: 0,
        compressed: 4 << 30,
        size,
        offset: 0,
        blocks: vec![],
        crc64: None,
        shared: None,
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
        rejected(&raw(&entries.iter().map(|zip| (*zip).clone()).collect::<Vec<_>>()), why)
    };
    check(&[&a, &manifest, &run], "not the last entry");
    check(&[&a, &manifest], "the manifest lists it");
    check(&[&a, &run, &Zip::file("extra", b""), &manifest], "does not list it");
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
            crc64: None,
            shared: None,
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
