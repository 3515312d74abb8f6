//! The store in S3, against moto; what moto never does comes from a proxy before it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use futures_util::future::join_all;

use super::body::base64_crc;
use crate::{
    base::{
        crc64::Crc64,
        error::{Exit, Result},
        interrupt::Interrupt,
    },
    config::scheme::Encryption,
    services::store::{
        Content, Metadata, Put, S3Store,
        testing::{Fault, bucket, moto, proxy, refusal, store},
    },
};

const MIB: usize = 1 << 20;

fn silent(_: u64) {}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

fn metadata() -> Metadata {
    Metadata(
        [("cdflow-version", "1.2.3"), ("cdflow-bundle-digest", "ab")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
    )
}

async fn put(store: &S3Store, key: &str, bytes: Vec<u8>) -> Result<Put> {
    store.put_new(key, Content::Bytes(bytes), &metadata(), &silent).await
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

async fn open_uploads(store: &S3Store) -> usize {
    store
        .client
        .list_multipart_uploads()
        .bucket(&store.bucket.name)
        .send()
        .await
        .unwrap()
        .uploads()
        .len()
}

/// The same bucket, seen through a proxy.
async fn through(
    store_: &S3Store,
    rule: impl Fn(&str) -> Fault + Send + Sync + 'static,
) -> S3Store {
    store(&proxy(rule).await, &store_.bucket.name, None)
}

/// Applies `fault` to the first `times` requests that begin with `verb` and contain `part`.
fn first(
    times: usize,
    verb: &'static str,
    part: &'static str,
    fault: fn() -> Fault,
) -> impl Fn(&str) -> Fault + Send + Sync {
    let seen = AtomicUsize::new(0);
    move |head| {
        let line = head.lines().next().unwrap_or_default();
        let hit = line.starts_with(verb)
            && line.contains(part)
            && seen.fetch_add(1, Ordering::Relaxed) < times;
        if hit { fault() } else { Fault::Pass }
    }
}

#[tokio::test]
async fn a_small_object_is_written_once() {
    let store = bucket().await;
    let moved = AtomicU64::new(0);
    let count = |n| {
        moved.fetch_add(n, Ordering::Relaxed);
    };
    let put_one =
        store.put_new("t/c/c-1.zip", Content::Bytes(b"one".to_vec()), &metadata(), &count).await;
    assert_eq!(put_one.unwrap(), Put::Created);
    assert_eq!(moved.load(Ordering::Relaxed), 3);
    assert_eq!(put(&store, "t/c/c-1.zip", b"two".to_vec()).await.unwrap(), Put::Exists);
    assert_eq!(store.get("t/c/c-1.zip", 3).await.unwrap().unwrap(), b"one");
    let found = store.head("t/c/c-1.zip").await.unwrap().unwrap();
    assert_eq!((found.size, found.metadata), (3, metadata()));
    assert!(found.etag.is_some() && found.modified.is_some());
    assert_eq!(put(&store, "empty", Vec::new()).await.unwrap(), Put::Created);
    assert_eq!(store.head("empty").await.unwrap().unwrap().size, 0);
    assert_eq!(store.get("empty", 0).await.unwrap().unwrap(), b"");
    store.delete("empty").await.unwrap();
    store.delete("empty").await.unwrap();
    assert_eq!(store.head("empty").await.unwrap(), None);
    assert_eq!(store.get("empty", 0).await.unwrap(), None);
}

#[tokio::test]
async fn limits_and_ranges_are_checked() {
    let store = bucket().await;
    put(&store, "a", b"0123456789".to_vec()).await.unwrap();
    let object = store.describe("a");
    let error = store.get("a", 9).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Integrity);
    assert_eq!(
        error.to_string(),
        format!("`{object}` is too large: it has 10 bytes, at most 9 are expected")
    );
    assert_eq!(store.get_range("a", 2, 3).await.unwrap(), b"234");
    assert_eq!(store.get_range("a", 10, 0).await.unwrap(), b"");
    for (start, got) in [(8, 2), (10, 0)] {
        let error = store.get_range("a", start, 3).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{object}`: got {got} of 3 bytes: from byte {start} on")
        );
        assert_eq!(error.exit(), Exit::Integrity);
    }
    assert_eq!(
        store.get_range("b", 0, 1).await.unwrap_err().to_string(),
        format!("`{}` does not exist", store.describe("b"))
    );
}

#[tokio::test]
async fn a_large_object_goes_up_in_parts_and_comes_back_in_ranges() {
    let store = bucket().await;
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let content = bytes(20_000_000, 0);
    std::fs::write(&from, &content).unwrap();
    let moved = AtomicU64::new(0);
    let count = |n| {
        moved.fetch_add(n, Ordering::Relaxed);
    };

    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let watched = through(&store, move |head| {
        seen.lock().unwrap().push(head.to_owned());
        Fault::Pass
    })
    .await;
    let put = watched.put_new("big", Content::File(&from), &metadata(), &count).await.unwrap();
    assert_eq!((put, moved.swap(0, Ordering::Relaxed)), (Put::Created, 20_000_000));
    // Moto keeps no CRC64NVME (without a library of its own); so what was sent is looked at.
    let mut heads = std::mem::take(&mut *heads.lock().unwrap());
    assert!(heads.pop().unwrap().starts_with("GET /"), "the uploads that others left");
    let sent: Vec<_> = heads.iter().map(|head| header(head, "x-amz-checksum-crc64nvme")).collect();
    let mut sums: Vec<_> =
        content.chunks(8 * MIB).map(|part| Some(base64_crc(Crc64::of(part).sum))).collect();
    assert_eq!(
        (sent.len(), &sent[0], &sent[4]),
        (5, &None, &Some(base64_crc(Crc64::of(&content).sum)))
    );
    let mut of_parts = sent[1..4].to_vec();
    sums.sort();
    of_parts.sort();
    assert_eq!(of_parts, sums);
    for (name, value) in [
        ("if-none-match", "*"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("x-amz-mp-object-size", "20000000"),
    ] {
        assert_eq!(header(&heads[4], name).as_deref(), Some(value));
    }
    assert_eq!(open_uploads(&store).await, 0);

    let found = store.fetch("big", &to, &count).await.unwrap().unwrap();
    assert_eq!((found.size, found.metadata), (20_000_000, metadata()));
    assert_eq!(moved.load(Ordering::Relaxed), 20_000_000);
    assert!(std::fs::read(&to).unwrap() == content);
    assert_eq!(store.fetch("none", &folder.path().join("none"), &silent).await.unwrap(), None);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_eight_writers_wins() {
    let store = bucket().await;
    let racing = through(&store, |_| Fault::Pass).await;
    let folder = tempfile::tempdir().unwrap();
    let puts = join_all((0..8).map(|n| put(&racing, "big", bytes(9 * MIB, n)))).await;
    let winners: Vec<u8> =
        (0..8).filter(|n| *puts[*n as usize].as_ref().unwrap() == Put::Created).collect();
    assert_eq!(winners.len(), 1, "{puts:?}");
    store.fetch("big", &folder.path().join("to"), &silent).await.unwrap();
    assert!(std::fs::read(folder.path().join("to")).unwrap() == bytes(9 * MIB, winners[0]));
    assert_eq!(open_uploads(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_came_meanwhile_stays() {
    let store = bucket().await;
    let other = store.clone();
    let started = tokio::sync::Notify::new();
    let notify = |_| started.notify_one();
    let metadata = metadata();
    let slow = through(&store, |head| {
        if head.starts_with("POST") && head.contains("uploadId=") {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        Fault::Pass
    })
    .await;
    let large = slow.put_new("x", Content::Bytes(bytes(9 * MIB, 0)), &metadata, &notify);
    let small = async {
        started.notified().await;
        put(&other, "x", b"first".to_vec()).await
    };
    let (large, small) = tokio::join!(large, small);
    assert_eq!((large.unwrap(), small.unwrap()), (Put::Exists, Put::Created));
    assert_eq!(store.get("x", 5).await.unwrap().unwrap(), b"first");
    assert_eq!(open_uploads(&store).await, 0);
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing() {
    let store = bucket().await;
    let metadata = metadata();
    for part in 0..3 {
        let sent = AtomicUsize::new(0);
        let moving = tokio::sync::Notify::new();
        let notify = |_| {
            if sent.fetch_add(1, Ordering::Relaxed) == part {
                moving.notify_one()
            }
        };
        let content = Content::Bytes(bytes(60 * MIB, 0));
        tokio::select! {
            put = store.put_new("x", content, &metadata, &notify) => panic!("{put:?}"),
            () = moving.notified() => {}
        }
        store.settle().await.unwrap();
        assert_eq!(open_uploads(&store).await, 0);
        assert_eq!(store.head("x").await.unwrap(), None);
    }
    // Dropped as early as can be: while the upload is being opened.
    let early = store.put_new("x", Content::Bytes(bytes(9 * MIB, 0)), &metadata, &silent);
    let _ = tokio::time::timeout(std::time::Duration::from_millis(2), early).await;
    store.settle().await.unwrap();
    assert_eq!(open_uploads(&store).await, 0);
    assert_eq!(store.head("x").await.unwrap(), None);
}

#[tokio::test]
async fn an_abort_that_fails_is_reported() {
    let store = bucket().await;
    let failing = through(&store, |head| match head {
        _ if head.starts_with("DELETE") => refusal("403 Forbidden", "AccessDenied"),
        _ if head.starts_with("PUT") && head.contains("partNumber=2&") => {
            refusal("403 Forbidden", "AccessDenied")
        }
        _ => Fault::Pass,
    })
    .await;
    let error = put(&failing, "x", bytes(20 * MIB, 0)).await.unwrap_err();
    let text = error.to_string();
    let bucket = &store.bucket.name;
    assert_eq!(error.exit(), Exit::Credentials);
    let why = "AccessDenied: said the test (HTTP 403, region eu-west-1, request id REQ1)";
    assert!(
        text.starts_with(&format!("part 2 of `s3://{bucket}/x` can't be written: {why}\n")),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "of `x` is still open: {why}; remove it: aws s3api abort-multipart-upload"
        )),
        "{text}"
    );

    let moving = tokio::sync::Notify::new();
    let (notify, metadata) = (|_| moving.notify_one(), metadata());
    let failing =
        through(&store, first(9, "DELETE", "", || refusal("403 Forbidden", "AccessDenied"))).await;
    let content = Content::Bytes(bytes(60 * MIB, 0));
    tokio::select! {
        put = failing.put_new("x", content, &metadata, &notify) => panic!("{put:?}"),
        () = moving.notified() => {}
    }
    let text = failing.settle().await.unwrap_err().to_string();
    assert!(
        text.starts_with("a cancelled upload could not be cleaned up\n  -> upload `"),
        "{text}"
    );
    failing.settle().await.unwrap();
    assert_eq!(open_uploads(&store).await, 2);
}

#[tokio::test]
async fn a_conflict_is_begun_again() {
    let store = bucket().await;
    let conflict = || refusal("409 Conflict", "ConditionalRequestConflict");
    for (verb, part, size) in [("PUT", "small", 5), ("POST", "large?uploadId", 9 * MIB)] {
        let key = if size == 5 { "small" } else { "large" };
        let twice = through(&store, first(2, verb, part, conflict)).await;
        assert_eq!(put(&twice, key, bytes(size, 0)).await.unwrap(), Put::Created);
        assert_eq!(put(&twice, key, bytes(size, 0)).await.unwrap(), Put::Exists);
        // Another writer has won.
        let always = through(&store, first(usize::MAX, verb, part, conflict)).await;
        assert_eq!(put(&always, key, bytes(size, 1)).await.unwrap(), Put::Exists);
        store.delete(key).await.unwrap();
        let text = put(&always, key, bytes(size, 1)).await.unwrap_err().to_string();
        assert!(
            text.contains("can't be written: ConditionalRequestConflict: said the test (HTTP 409"),
            "{text}"
        );
    }
    assert_eq!(open_uploads(&store).await, 0);
}

#[tokio::test]
async fn a_lost_answer_looks_like_an_object_that_exists() {
    let store = bucket().await;
    let losing = through(&store, first(1, "PUT", "small", || Fault::Lose)).await;
    assert_eq!(put(&losing, "small", bytes(5, 0)).await.unwrap(), Put::Exists);
    let tries = AtomicUsize::new(0);
    let losing =
        through(&store, move |head| match head.starts_with("POST") && head.contains("uploadId=") {
            true if tries.fetch_add(1, Ordering::Relaxed) == 0 => Fault::Lose,
            true => refusal("404 Not Found", "NoSuchUpload"),
            false => Fault::Pass,
        })
        .await;
    assert_eq!(put(&losing, "large", bytes(9 * MIB, 0)).await.unwrap(), Put::Exists);
    assert_eq!(store.head("large").await.unwrap().unwrap().size, 9 * MIB as u64);
    assert_eq!(open_uploads(&store).await, 0);
}

#[tokio::test]
async fn every_call_names_the_owner() {
    let own = bucket().await;
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let rule = move |head: &str| {
        let owner = header(head, "x-amz-expected-bucket-owner");
        seen.lock().unwrap().push((owner, head.lines().next().unwrap_or_default().to_owned()));
        match head.contains("partNumber=1&") && head.contains("/broken?") {
            true => refusal("400 Bad Request", "InvalidRequest"),
            false => Fault::Pass,
        }
    };
    let store = store(&proxy(rule).await, &own.bucket.name, Some("123456789012"));
    put(&store, "small", bytes(5, 0)).await.unwrap();
    put(&store, "large", bytes(9 * MIB, 0)).await.unwrap();
    put(&store, "broken", bytes(9 * MIB, 0)).await.unwrap_err();
    store.head("none").await.unwrap();
    store.get("small", 5).await.unwrap();
    store.get_range("large", 0, 5).await.unwrap();
    store.fetch("large", &folder.path().join("large"), &silent).await.unwrap();
    store.list("", None, 10).await.unwrap();
    store.folders("").await.unwrap();
    store.delete("small").await.unwrap();
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    assert!(asked.len() > 18, "{asked:?}");
    let silent: Vec<_> =
        asked.iter().filter(|(owner, _)| owner.as_deref() != Some("123456789012")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[tokio::test]
async fn cut_bodies_are_read_on() {
    let store = bucket().await;
    let folder = tempfile::tempdir().unwrap();
    let content = bytes(20_000_000, 0);
    put(&store, "big", content.clone()).await.unwrap();
    let cutting = through(&store, first(4, "GET", "big", || Fault::Cut(3_000_000))).await;
    let moved = AtomicU64::new(0);
    let count = |n| {
        moved.fetch_add(n, Ordering::Relaxed);
    };
    let to = folder.path().join("to");
    cutting.fetch("big", &to, &count).await.unwrap().unwrap();
    assert!(std::fs::read(&to).unwrap() == content);
    assert_eq!(moved.load(Ordering::Relaxed), 20_000_000);
    let cutting = through(&store, first(2, "GET", "big", || Fault::Cut(1000))).await;
    assert_eq!(cutting.get_range("big", 5, 5000).await.unwrap(), content[5..5005]);

    put(&store, "a", bytes(1000, 0)).await.unwrap();
    let never = through(&store, first(usize::MAX, "GET", "a", || Fault::Cut(700))).await;
    let object = store.describe("a");
    for error in [
        never.fetch("a", &folder.path().join("a"), &silent).await.unwrap_err(),
        never.get("a", 1000).await.unwrap_err(),
        never.get_range("a", 0, 1000).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert_eq!(error.exit(), Exit::Unavailable, "{text}");
        assert!(
            text.starts_with(&format!("`{object}` can't be read: got "))
                && text.contains(" of 1000 bytes"),
            "{text}"
        );
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

#[tokio::test]
async fn an_object_that_changes_is_refused() {
    let store = bucket().await;
    let folder = tempfile::tempdir().unwrap();
    put(&store, "a", bytes(1000, 0)).await.unwrap();
    let changed = through(
        &store,
        first(1, "GET", "a", || refusal("412 Precondition Failed", "PreconditionFailed")),
    )
    .await;
    let error = changed.fetch("a", &folder.path().join("a"), &silent).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Integrity);
    let object = store.describe("a");
    assert_eq!(
        error.to_string(),
        format!("`{object}` can't be read: the object changed while it was being read")
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_pages_and_folders() {
    let store = bucket().await;
    for batch in 0..11 {
        let puts =
            (0..100).map(|n| (batch * 100) + n).map(|n| format!("t/c/{:03}/{n:04}", n / 300));
        let puts = puts.map(|key| async { put(&store, &{ key }, b"x".to_vec()).await.unwrap() });
        join_all(puts).await;
    }
    let all = store.list("t/", None, 5000).await.unwrap();
    assert_eq!(all.len(), 1100);
    assert!(all.is_sorted_by_key(|listed| &listed.key));
    assert!(all.iter().all(|listed| listed.size == 1 && listed.modified.is_some()));
    assert_eq!(store.list("t/", None, 1050).await.unwrap(), all[..1050]);
    assert_eq!(store.list("t/c/", Some("t/c/001/0500"), 3).await.unwrap(), all[501..504]);
    assert_eq!(store.list("none", None, 10).await.unwrap(), []);
    assert_eq!(store.folders("t/c").await.unwrap(), ["000", "001", "002", "003"]);
    assert_eq!(store.folders("").await.unwrap(), ["t"]);
    assert_eq!(store.folders("t/c/000").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_missing_bucket_is_never_an_empty_one() {
    let store = store(moto(), "nowhere", None);
    let folder = tempfile::tempdir().unwrap();
    let errors = [
        ("`s3://nowhere/a` can't be read", store.head("a").await.unwrap_err()),
        ("`s3://nowhere/a` can't be read", store.get("a", 1).await.unwrap_err()),
        ("`s3://nowhere/a` can't be read", store.get_range("a", 0, 1).await.unwrap_err()),
        (
            "`s3://nowhere/a` can't be read",
            store.fetch("a", &folder.path().join("a"), &silent).await.unwrap_err(),
        ),
        ("`s3://nowhere/a` can't be listed", store.list("a", None, 1).await.unwrap_err()),
        ("`s3://nowhere/` can't be listed", store.folders("").await.unwrap_err()),
        ("`s3://nowhere/a` can't be deleted", store.delete("a").await.unwrap_err()),
        ("`s3://nowhere/a` can't be written", put(&store, "a", vec![0]).await.unwrap_err()),
        (
            "`s3://nowhere/a` can't be written",
            put(&store, "a", bytes(9 * MIB, 0)).await.unwrap_err(),
        ),
    ];
    for (what, error) in errors {
        let text = error.to_string();
        assert_eq!(error.exit(), Exit::Input, "{text}");
        assert!(text.starts_with(&format!("{what}: NoSuchBucket: ")), "{text}");
        assert!(text.contains("(HTTP 404, region eu-west-1"), "{text}");
        assert!(
            text.ends_with(
                "\n  -> check the bucket's name in the account scheme, or create the bucket"
            ),
            "{text}"
        );
    }
}

#[tokio::test]
async fn refusals_are_understood() {
    let store_ = bucket().await;
    let name = store_.bucket.name.clone();
    let ask = |rule: fn(&str) -> Fault, owner| {
        let name = name.clone();
        async move { store(&proxy(rule).await, &name, owner).head("a").await.unwrap_err() }
    };

    let moved = ask(
        |_| {
            Fault::Answer(
                "301 Moved Permanently",
                "x-amz-bucket-region: us-east-2\r\n".into(),
                String::new(),
            )
        },
        None,
    )
    .await;
    assert_eq!(moved.exit(), Exit::Input);
    assert!(
        moved.to_string().contains(
            "-> correct the region in the account scheme (for the scheme's own bucket: \
             AWS_REGION): the bucket is in region `us-east-2`, the configured region is `eu-west-1`"
        ),
        "{moved}"
    );

    // A HEAD is refused without words; the GET after it says why.
    let expired = ask(
        |head| match head.starts_with("HEAD") {
            true => Fault::Answer("400 Bad Request", String::new(), String::new()),
            false => refusal("400 Bad Request", "ExpiredToken"),
        },
        None,
    )
    .await;
    assert_eq!(expired.exit(), Exit::Credentials);
    let why = "ExpiredToken: said the test (HTTP 400, region eu-west-1, request id REQ1)";
    assert!(expired.to_string().contains(why), "{expired}");

    let denied = |head: &str| {
        let bucket_itself = !head.lines().next().unwrap_or_default().contains("/a");
        let owned = head.contains("x-amz-expected-bucket-owner");
        if bucket_itself && !owned { Fault::Pass } else { refusal("403 Forbidden", "AccessDenied") }
    };
    let foreign = ask(denied, Some("111111111111")).await;
    assert_eq!(foreign.exit(), Exit::Refused);
    assert!(
        foreign
            .to_string()
            .contains(&format!("bucket `{name}` does not belong to account 111111111111")),
        "{foreign}"
    );
    assert_eq!(ask(denied, None).await.exit(), Exit::Credentials);

    let down = ask(|_| refusal("503 Slow Down", "SlowDown"), None).await;
    assert_eq!(down.exit(), Exit::Unavailable);
}

#[tokio::test]
async fn no_server_and_no_credentials() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = store(&closed, "b", None).head("a").await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable, "{error}");
    assert!(error.to_string().contains("onnection refused"), "{error}");

    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .endpoint_url(format!("http://{}", moto()))
        .build();
    let no_profile = aws_config::profile::ProfileFileCredentialsProvider::builder()
        .profile_name("cdflow-no-such-profile");
    let no_profile = aws_sdk_s3::config::SharedCredentialsProvider::new(no_profile.build());
    let config = config.into_builder().credentials_provider(no_profile).build();
    let error =
        S3Store::new(&config, "b".into(), "eu-west-1".into(), None).get("a", 1).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Credentials, "{error}");
    assert!(error.to_string().contains("\n  -> set AWS_ACCESS_KEY_ID and"), "{error}");
}

#[tokio::test]
async fn trouble_now_and_then_is_survived() {
    let store = bucket().await;
    let count = Arc::new(AtomicUsize::new(0));
    let folder = tempfile::tempdir().unwrap();
    let shaky = through(&store, move |_| match count.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => refusal("503 Slow Down", "SlowDown"),
        _ => Fault::Pass,
    })
    .await;
    let content = bytes(30 * MIB, 0);
    assert_eq!(put(&shaky, "x", content.clone()).await.unwrap(), Put::Created);
    shaky.fetch("x", &folder.path().join("x"), &silent).await.unwrap().unwrap();
    assert!(std::fs::read(folder.path().join("x")).unwrap() == content);
}

/// A signal after the last request was sent: the future returns what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_write_returns_how_its_last_request_ended() {
    let store = bucket().await;
    for (verb, part, size) in [("PUT", "/small", 5), ("POST", "uploadId=", 9 * MIB)] {
        let (signal, interrupt) = Interrupt::by_hand();
        let slow = through(&store, move |head| {
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with(verb) && line.contains(part) {
                signal.send(Some(Exit::Interrupted)).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            Fault::Pass
        })
        .await;
        let key = if size == 5 { "small" } else { "large" };
        let content = Content::Bytes(bytes(size, 0));
        let put = slow.put_until(key, content, &metadata(), &silent, &interrupt).await;
        assert_eq!(put.unwrap(), Put::Created, "{key}");
        assert!(store.head(key).await.unwrap().is_some());
    }
    // Before the last request, nothing is written.
    let (signal, interrupt) = Interrupt::by_hand();
    let stop = |_| {
        let _ = signal.send(Some(Exit::Interrupted));
    };
    let content = Content::Bytes(bytes(60 * MIB, 0));
    let error = store.put_until("x", content, &metadata(), &stop, &interrupt).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Interrupted);
    assert_eq!((store.head("x").await.unwrap(), open_uploads(&store).await), (None, 0));
}

#[tokio::test]
async fn uploads_that_a_killed_run_left_are_aborted() {
    let store = bucket().await;
    let open = async |key: &str| {
        let call = store.client.create_multipart_upload().bucket(&store.bucket.name).key(key);
        call.send().await.unwrap();
    };
    for key in ["a/x-1.zip", "a/x-1.zip", "a/x-1.zip.other", "a/x-2.zip", "b/x-1.zip"] {
        open(key).await;
    }
    assert_eq!(put(&store, "a/x-1.zip", bytes(9 * MIB, 0)).await.unwrap(), Put::Created);
    // moto says of every upload that it began in 2010. That of another component stays.
    assert_eq!(open_uploads(&store).await, 1);
    open("a/x-1.zip").await;
    assert_eq!(put(&store, "a/x-1.zip", bytes(9 * MIB, 0)).await.unwrap(), Put::Exists);
    assert_eq!(open_uploads(&store).await, 1);
}

/// They could still succeed.
#[tokio::test]
async fn uploads_of_other_keys_are_aborted_after_a_day() {
    let store = bucket().await;
    let hours_ago = |hours: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        then.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
    };
    let upload = |key: &str, id: &str, hours: i64| {
        let began = hours_ago(hours);
        format!(
            "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{began}</Initiated>\
             </Upload>"
        )
    };
    let uploads = [
        upload("a/x-1.zip", "same", 0),
        upload("a/x-2.zip", "young", 23),
        upload("a/x-3.zip", "old", 25),
    ];
    let list =
        format!("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", uploads.concat());
    let (aborted, lists) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (seen, listed) = (Arc::clone(&aborted), Arc::clone(&lists));
    let store = through(&store, move |head| {
        if head.starts_with("GET") && head.contains("?uploads") {
            listed.fetch_add(1, Ordering::Relaxed);
            return Fault::Answer("200 OK", String::new(), list.clone());
        }
        if head.starts_with("DELETE") {
            seen.lock().unwrap().push(head.lines().next().unwrap().to_owned());
        }
        Fault::Pass
    })
    .await;
    assert_eq!(put(&store, "a/x-1.zip", bytes(9 * MIB, 0)).await.unwrap(), Put::Created);
    let aborted = aborted.lock().unwrap();
    for (id, is_aborted) in [("same", true), ("young", false), ("old", true)] {
        let id = format!("uploadId={id}");
        assert_eq!(aborted.iter().any(|line| line.contains(&id)), is_aborted, "{id} {aborted:?}");
    }
    assert_eq!(lists.load(Ordering::Relaxed), 1);
}

/// The connection stays open and nothing comes any more.
#[tokio::test]
async fn a_body_that_hangs_is_given_up() {
    let store = bucket().await;
    put(&store, "a", bytes(200_000, 0)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let once = through(&store, first(1, "GET", "/a", || Fault::Stall(20_000))).await;
    assert_eq!(once.get("a", 200_000).await.unwrap().unwrap(), bytes(200_000, 0));
    let always = through(&store, first(usize::MAX, "GET", "/a", || Fault::Stall(20_000))).await;
    let began = std::time::Instant::now();
    let error = always.fetch("a", &folder.path().join("a"), &silent).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit(), Exit::Unavailable, "{text}");
    assert!(text.contains("(the limit `aws-idle`)"), "{text}");
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
}

#[tokio::test]
async fn a_list_without_end_or_with_holes_is_an_error() {
    let store = bucket().await;
    put(&store, "t/a", b"x".to_vec()).await.unwrap();
    let page = |more: &str, count: &str| {
        let key = "<Contents><Key>t/a</Key><Size>1</Size></Contents>";
        Fault::Answer(
            "200 OK",
            String::new(),
            format!("<ListBucketResult>{key}{count}{more}</ListBucketResult>"),
        )
    };
    let same = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>";
    for (more, count, why) in [
        (same, "", "no end"),
        ("<IsTruncated>true</IsTruncated>", "", "cut off"),
        ("", "", "does not say whether there is more"),
        ("<IsTruncated>false</IsTruncated>", "<KeyCount>3</KeyCount>", "1 of 3 names"),
    ] {
        let answering = through(&store, move |_| page(more, count)).await;
        for error in [
            answering.list("t/", None, 5000).await.unwrap_err(),
            answering.folders("t").await.unwrap_err(),
        ] {
            assert_eq!(error.exit(), Exit::Unavailable);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

#[tokio::test]
async fn a_web_page_is_not_an_object() {
    let store = bucket().await;
    put(&store, "a", bytes(10, 0)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let page = |head: &str| match head.starts_with("GET") {
        true => {
            Fault::Answer("200 OK", "content-type: text/html\r\n".into(), "<html>Log in".into())
        }
        false => Fault::Pass,
    };
    let portal = through(&store, page).await;
    for error in [
        portal.get("a", 100).await.unwrap_err(),
        portal.fetch("a", &folder.path().join("a"), &silent).await.unwrap_err(),
    ] {
        assert_eq!(error.exit(), Exit::Unavailable);
        assert!(error.to_string().contains("is a web page (text/html)"), "{error}");
    }
}

#[tokio::test]
async fn every_write_asks_for_the_encryption() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/1";
    let kms = Encryption::Kms { key: key.to_owned() };
    for (encryption, name, used) in [
        (None, None, None),
        (Some(Encryption::Aes256), Some("AES256"), None),
        (Some(kms), Some("aws:kms"), Some(key)),
    ] {
        let store = bucket().await.encrypted(encryption);
        for (key, size) in [("small", 1), ("large", 9 * MIB)] {
            assert_eq!(put(&store, key, bytes(size, 0)).await.unwrap(), Put::Created);
            let head = store.client.head_object().bucket(&store.bucket.name).key(key);
            let head = head.send().await.unwrap();
            let found = head.server_side_encryption().map(|found| found.as_str());
            assert_eq!((found, head.ssekms_key_id()), (name, used), "{key}");
        }
    }
}

/// A successful answer of something that is not S3.
#[tokio::test]
async fn a_list_that_is_not_one_is_unavailable() {
    let store = bucket().await;
    for body in ["<html><body>Sign in</body></html>", "", "{}"] {
        let answer = move |_: &str| Fault::Answer("200 OK", String::new(), body.to_owned());
        let elsewhere = through(&store, answer).await;
        for error in [
            elsewhere.list("t/", None, 10).await.unwrap_err(),
            elsewhere.folders("t").await.unwrap_err(),
        ] {
            let text = error.to_string();
            assert_eq!(error.exit(), Exit::Unavailable, "{text}");
            assert!(text.contains("answers in place of AWS"), "{text}");
            assert!(text.contains("-> check the endpoint"), "{text}");
        }
    }
}
