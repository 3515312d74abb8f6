//! Objects in S3 of which another object has some bytes: what is sent, and what happens if it
//! cannot be copied.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tempfile::TempDir;

use crate::{
    base::{crc64::Crc64, interrupt::Interrupt},
    services::store::{
        Content, Metadata, Put, S3Store,
        composed::{Composed, ComposedPut, CopiedRange, CopySource},
        testing::{Fault, bucket, proxy, refusal, store},
    },
};

const MIB: usize = 1 << 20;

fn silent(_: u64) {}

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn value(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// A bucket with the object `old` of 14 MiB, and an object that has some of its bytes.
struct Case {
    own: S3Store,
    _folder: TempDir,
    composed: Composed,
    /// All bytes of the new object.
    whole: Vec<u8>,
}

impl Case {
    /// `before` own bytes, 12 MiB from byte 1000 of `old` on, 1000 own bytes.
    async fn new(before: usize) -> Self {
        let own = bucket().await;
        let old = bytes(14 * MIB);
        let content = Content::Bytes(old.clone());
        own.put_new("old", content, &Metadata::default(), &silent).await.unwrap();
        let etag = own.head("old").await.unwrap().unwrap().etag;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new");
        let (head, tail) = (vec![b'h'; before], vec![b't'; 1000]);
        std::fs::write(&file, [head.clone(), vec![0; 12 * MIB], tail.clone()].concat()).unwrap();
        let whole = [head, old[1000..1000 + 12 * MIB].to_vec(), tail].concat();
        let from = Arc::new(CopySource { key: "old".into(), etag });
        let range = CopiedRange { at: before as u64, len: 12 * MIB as u64, from, start: 1000 };
        let checksum = Crc64::of(&whole);
        let composed = Composed { file, checksum, copies: vec![range] };
        Self { own, _folder: folder, composed, whole }
    }

    async fn put(&self, store: &S3Store) -> ComposedPut {
        let (composed, metadata) = (self.composed.clone(), Metadata::default());
        let never = Interrupt::never();
        store.put_composed("new", composed, &metadata, &silent, &never).await.unwrap()
    }

    async fn through(&self, rule: impl Fn(&str) -> Fault + Send + Sync + 'static) -> S3Store {
        store(&proxy(rule).await, &self.own.bucket.name, None)
    }

    async fn is_clean(&self) {
        let uploads = self.own.client.list_multipart_uploads().bucket(&self.own.bucket.name);
        assert_eq!(uploads.send().await.unwrap().uploads().len(), 0);
        assert_eq!(self.own.head("new").await.unwrap(), None);
    }
}

#[tokio::test]
async fn only_new_bytes_are_sent() {
    for (before, least) in [(0, 1000), (MIB, 5 * MIB + 1000), (6 * MIB, 6 * MIB + 1000)] {
        let case = Case::new(before).await;
        let (sent, copies) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (seen, copied) = (Arc::clone(&sent), Arc::clone(&copies));
        let watched = case
            .through(move |head| {
                let len = value(head, "content-length").map_or(0, |len| len.parse().unwrap());
                seen.fetch_add(len, Ordering::Relaxed);
                if value(head, "x-amz-copy-source").is_some() {
                    copied.lock().unwrap().push(head.to_owned());
                }
                Fault::Pass
            })
            .await;
        let moved = AtomicU64::new(0);
        let count = |n| {
            moved.fetch_add(n, Ordering::Relaxed);
        };
        let (composed, metadata, never) =
            (case.composed.clone(), Metadata::default(), Interrupt::never());
        let put = watched.put_composed("new", composed, &metadata, &count, &never).await.unwrap();
        assert_eq!(put, ComposedPut::Put(Put::Created));
        // In two ranges, because moto's checksum of the whole is of another kind than it says.
        let half = case.whole.len() as u64 / 2;
        let mut read = case.own.get_range("new", 0, half).await.unwrap();
        let rest = case.whole.len() as u64 - half;
        read.extend(case.own.get_range("new", half, rest).await.unwrap());
        assert!(read == case.whole);
        assert_eq!(case.own.head("new").await.unwrap().unwrap().size, read.len() as u64);
        assert_eq!(moved.load(Ordering::Relaxed), least as u64);
        // The rest is the list of parts.
        let extra = sent.load(Ordering::Relaxed) - least as u64;
        assert!(extra < 2000, "{extra} bytes more");
        let copies = std::mem::take(&mut *copies.lock().unwrap());
        assert_eq!(copies.len(), 1);
        for (name, expected) in [
            ("x-amz-copy-source", format!("{}/old", case.own.bucket.name)),
            ("x-amz-copy-source-if-match", case.composed.copies[0].from.etag.clone().unwrap()),
        ] {
            assert_eq!(value(&copies[0], name), Some(expected));
        }
        assert_eq!(case.put(&watched).await, ComposedPut::Put(Put::Exists));
    }
}

/// What moto does not check: S3 compares the checksum of the whole object.
#[tokio::test]
async fn s3_compares_the_checksum_that_was_recorded() {
    let case = Case::new(0).await;
    let sums = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sums);
    let watched = case
        .through(move |head| {
            if head.starts_with("POST") && head.contains("uploadId=") {
                seen.lock().unwrap().push(value(head, "x-amz-checksum-crc64nvme"));
            }
            Fault::Pass
        })
        .await;
    case.put(&watched).await;
    let expected = super::body::base64_crc(Crc64::of(&case.whole).sum);
    assert_eq!(*sums.lock().unwrap(), [Some(expected)]);
}

#[tokio::test]
async fn what_cannot_be_copied_is_reported_and_leaves_nothing() {
    let copy = "x-amz-copy-source:";
    let combine = "uploadId=";
    let result = |sum: &str| {
        let body = format!(
            "<CopyPartResult><ETag>\"e\"</ETag><ChecksumCRC64NVME>{sum}</ChecksumCRC64NVME>\
             </CopyPartResult>"
        );
        Fault::Answer("200 OK", String::new(), body)
    };
    type Answer = Box<dyn Fn() -> Fault + Send + Sync>;
    let fail = |status, code| -> Answer { Box::new(move || refusal(status, code)) };
    let cases: [(&str, &str, Answer); 9] = [
        ("PUT", copy, fail("403 Forbidden", "AccessDenied")),
        ("PUT", copy, fail("400 Bad Request", "KMS.DisabledException")),
        ("PUT", copy, fail("404 Not Found", "NoSuchKey")),
        ("PUT", copy, fail("412 Precondition Failed", "PreconditionFailed")),
        ("PUT", copy, fail("400 Bad Request", "InvalidRequest")),
        ("PUT", copy, fail("501 Not Implemented", "NotImplemented")),
        ("PUT", copy, Box::new(move || result("AAAAAAAAAAA="))),
        ("PUT", copy, fail("200 OK", "InternalError")),
        ("POST", combine, fail("400 Bad Request", "BadDigest")),
    ];
    let case = Case::new(0).await;
    for (verb, part, answer) in cases {
        let text = match answer() {
            Fault::Answer(_, _, body) if body.starts_with("<Error>") => {
                body.split(['<', '>']).nth(4).unwrap().to_owned()
            }
            _ => "their checksum does not match the recorded one".to_owned(),
        };
        let failing = case
            .through(move |head| {
                let head = head.replace("X-Amz-Copy-Source:", copy);
                match head.starts_with(verb) && head.contains(part) {
                    true => answer(),
                    false => Fault::Pass,
                }
            })
            .await;
        let put = case.put(&failing).await;
        let ComposedPut::NotCopied(why) = &put else { panic!("{text}: {put:?}") };
        assert!(why.contains(&text) && !why.contains('\n'), "{text}: {why}");
        case.is_clean().await;
    }
    // The source is deleted, or its bytes that complete a part cannot be read.
    for before in [0, MIB] {
        let case = Case::new(before).await;
        case.own.delete("old").await.unwrap();
        let put = case.put(&case.own).await;
        let ComposedPut::NotCopied(why) = &put else { panic!("{put:?}") };
        assert!(why.contains("/old`"), "{why}");
        case.is_clean().await;
    }
}

#[tokio::test]
async fn a_cancel_while_s3_copies_leaves_nothing() {
    let case = Case::new(0).await;
    let copying = Arc::new(tokio::sync::Notify::new());
    let reached = Arc::clone(&copying);
    let hanging = case
        .through(move |head| match value(head, "x-amz-copy-source").is_some() {
            true => {
                reached.notify_one();
                Fault::Hang
            }
            false => Fault::Pass,
        })
        .await;
    tokio::select! {
        put = case.put(&hanging) => panic!("{put:?}"),
        () = copying.notified() => {}
    }
    hanging.settle().await.unwrap();
    case.is_clean().await;
}
