//! The release store: where bundles and the ledger live. An object is written once and never
//! changed; both kinds of store keep that promise by themselves, without a lock and without asking
//! first.

use std::{collections::BTreeMap, ops::Range, path::Path};

use crate::base::{
    error::{Error, Result},
    interrupt::Interrupt,
    on_heap::on_heap,
};

mod background;
pub(crate) mod composed;
mod folder;
mod folder_copy;
mod partial_file;
mod put;
pub(crate) mod s3;
#[cfg(test)]
pub(crate) mod testing;
mod unwritable;

use self::composed::{Composed, ComposedPut};
pub(crate) use self::{folder::DirectoryStore, put::Put, s3::client::S3Store};

/// Receives the number of bytes transferred since its last call. Bytes that are sent again count
/// again.
pub(crate) type ProgressFn<'a> = &'a (dyn Fn(u64) + Sync);

/// The prefix of a file that is being written. Such files are never listed, and keys must not
/// contain it.
const TEMPORARY: &str = ".tmp-";

/// Where releases and the ledger are kept. Cheap to clone.
#[derive(Clone)]
pub(crate) enum ReleaseStore {
    S3(S3Store),
    Directory(DirectoryStore),
}

/// User metadata of an object; keys are lowercase with hyphens (`cdflow-bundle-digest`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata(pub(crate) BTreeMap<String, String>);

/// The content of a new object.
pub(crate) enum Content<'a> {
    Bytes(Vec<u8>),
    File(&'a Path),
}

/// What is known of an existing object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectInfo {
    pub(crate) size: u64,
    /// Always empty in a folder: read the bundle's own manifest instead.
    pub(crate) metadata: Metadata,
    pub(crate) modified: Option<jiff::Timestamp>,
    /// Identifies one version of the object; not a hash of its bytes. None in a folder.
    pub(crate) etag: Option<String>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: Option<jiff::Timestamp>,
}

/// Bytes of an object, and where they belong in a new file.
#[derive(Clone, Debug)]
pub(crate) struct ObjectPart<'a> {
    pub(crate) key: &'a str,
    /// Describes the object.
    pub(crate) found: &'a ObjectInfo,
    /// In the object.
    pub(crate) range: Range<u64>,
    /// In the file.
    pub(crate) at: u64,
}

/// Calls the same method on either kind of store.
macro_rules! either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            ReleaseStore::S3($store) => $call,
            ReleaseStore::Directory($store) => $call,
        }
    };
}

/// Calls the same asynchronous method on either kind of store.
macro_rules! ask {
    ($self:ident, $store:ident => $call:expr) => {
        either!($self, $store => on_heap(|| $call).await)
    };
}

impl ReleaseStore {
    /// Writes an object unless the key exists. It is written completely or not at all, and never
    /// replaces another.
    ///
    /// If this future is dropped, the write is cancelled in the background: await [`Self::settle`]
    /// before the process ends.
    pub(crate) async fn put_new(
        &self,
        key: &str,
        content: Content<'_>,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
    ) -> Result<Put> {
        self.put_until(key, content, metadata, progress, &Interrupt::never()).await
    }

    /// Like [`Self::put_new`], but stops after a signal: no further request starts, and the result
    /// says how the last one ended.
    pub(crate) async fn put_until(
        &self,
        key: &str,
        content: Content<'_>,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
    ) -> Result<Put> {
        ask!(self, store => store.put_until(key, content, metadata, progress, interrupt))
    }

    /// Like [`Self::put_until`], for an object of which other objects have some bytes.
    pub(crate) async fn put_composed(
        &self,
        key: &str,
        composed: Composed,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
    ) -> Result<ComposedPut> {
        ask!(self, store => store.put_composed(key, composed, metadata, progress, interrupt))
    }

    /// Returns what is known of an object without reading its content; None if it does not exist.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        ask!(self, store => store.head(key))
    }

    /// Returns the content of a small object; None if it does not exist. More than `limit` bytes
    /// are an integrity error.
    pub(crate) async fn get(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        ask!(self, store => store.get(key, limit))
    }

    /// Returns exactly `len` bytes from `start` on. An object with fewer bytes is an integrity
    /// error.
    pub(crate) async fn get_range(&self, key: &str, start: u64, len: u64) -> Result<Vec<u8>> {
        ask!(self, store => store.get_range(key, start, len))
    }

    /// Downloads an object to the new file `to` (mode 0600), which appears only when it is
    /// complete. Returns None and writes no file if the object does not exist.
    pub(crate) async fn fetch(
        &self,
        key: &str,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<Option<ObjectInfo>> {
        ask!(self, store => store.fetch(key, to, progress))
    }

    /// Downloads these parts of objects to the new file `to` (mode 0600) of `size` bytes.
    /// Everything else in it is zero.
    pub(crate) async fn fetch_parts(
        &self,
        parts: &[ObjectPart<'_>],
        size: u64,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<()> {
        ask!(self, store => store.fetch_parts(parts, size, to, progress))
    }

    /// Returns at most `max` objects whose key starts with `prefix` (which may end within a name),
    /// in the order of the keys' bytes, from the first one greater than `after`.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<ListedObject>> {
        ask!(self, store => store.list(prefix, after, max))
    }

    /// Returns every object whose key starts with `prefix`, in the order of the keys' bytes: one
    /// request per 1000 objects.
    pub(crate) async fn list_all(&self, prefix: &str) -> Result<Vec<ListedObject>> {
        const PAGE: usize = 1000;
        let mut found: Vec<ListedObject> = Vec::new();
        loop {
            let after = found.last().map(|listed| listed.key.as_str());
            let page = self.list(prefix, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Returns the folders directly under `prefix` that contain objects, sorted, without slashes.
    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        ask!(self, store => store.folders(prefix))
    }

    /// Deletes an object. A missing object is not an error.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        ask!(self, store => store.delete(key))
    }

    /// Waits until what dropped calls left behind is cleaned up (limited by the timeouts of the
    /// calls). The error names what could not be removed, and how to remove it manually.
    pub(crate) async fn settle(&self) -> Result<()> {
        ask!(self, store => store.settle())
    }

    /// Returns the object as messages name it: `s3://bucket/key` or `file:/path`.
    pub(crate) fn describe(&self, key: &str) -> String {
        either!(self, store => store.describe(key))
    }
}

/// Rejects keys that S3 and a file system would interpret differently.
fn check_key(key: &str) -> Result<()> {
    check_prefix(key)?;
    if key.is_empty() || key.ends_with('/') || key.len() > 1024 {
        return Err(bad_key(key, "it must name an object, in at most 1024 bytes"));
    }
    Ok(())
}

/// Checks a prefix like a key, but it may be empty and may end anywhere.
fn check_prefix(prefix: &str) -> Result<()> {
    let mut segments = prefix.split('/').rev();
    let last = segments.next().unwrap_or_default();
    if segments.clone().any(str::is_empty) {
        return Err(bad_key(prefix, "it has an empty segment"));
    }
    if segments
        .chain([last])
        .any(|segment| segment == "." || segment == ".." || segment.starts_with(TEMPORARY))
    {
        return Err(bad_key(prefix, "segments `.`, `..` and `.tmp-…` are not allowed"));
    }
    if prefix.chars().any(|c| c.is_control() || c == '\\') {
        return Err(bad_key(prefix, "it has a control character or a backslash"));
    }
    Ok(())
}

fn bad_key(key: &str, why: &str) -> Error {
    Error::input(format!("key `{}` is refused", key.escape_debug())).why(why)
}

/// The error for an object of more than `limit` bytes.
fn too_large(object: &str, size: u64, limit: u64) -> Error {
    Error::integrity(format!("`{object}` is too large"))
        .why(format!("it has {size} bytes, at most {limit} are expected"))
}

/// The error for an object that is not the one that a read began with.
fn changed(object: &str) -> Error {
    Error::integrity(format!("`{object}` can't be read"))
        .why("the object changed while it was being read")
}

/// Says that an object has fewer bytes than expected.
fn too_short(object: &str, got: u64, wanted: u64) -> String {
    format!("`{object}`: got {got} of {wanted} bytes")
}

/// The error for a missing object that must exist.
fn missing(object: &str) -> Error {
    Error::input(format!("`{object}` does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_rejected_not_repaired() {
        for good in
            ["a", "team/comp/comp-1.zip", "team/comp/ledger/live/1.json", "a/.hidden", "a..b/c"]
        {
            check_key(good).unwrap();
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/..",
            "a/./b",
            "a/.tmp-x",
            "a\\b",
            "a\nb",
            &"x".repeat(1025),
        ] {
            check_key(bad).unwrap_err();
        }
        for good in ["", "a/", "team/comp/comp-"] {
            check_prefix(good).unwrap();
        }
        for bad in ["/", "a/../b", "..", "a//"] {
            check_prefix(bad).unwrap_err();
        }
    }

    #[tokio::test]
    async fn both_kinds_keep_the_same_promises() {
        let folder = tempfile::tempdir().unwrap();
        let s3 = testing::bucket().await;
        let (bucket, root) = (s3.describe(""), folder.path().join("releases"));
        let directory = DirectoryStore::new(root.clone());
        let kinds = [
            (ReleaseStore::S3(s3), bucket, "s3"),
            (ReleaseStore::Directory(directory), format!("file:{}/", root.display()), "directory"),
        ];
        for (store, place, name) in kinds {
            let silent = |_| ();
            let put = async |text: &str| {
                let content = Content::Bytes(text.into());
                store.put_new("t/c/c-1.zip", content, &Metadata::default(), &silent).await.unwrap()
            };
            assert_eq!(store.head("t/c/c-1.zip").await.unwrap(), None);
            assert_eq!((put("one").await, put("two").await), (Put::Created, Put::Exists));
            assert_eq!(store.head("t/c/c-1.zip").await.unwrap().unwrap().size, 3);
            assert_eq!(store.get("t/c/c-1.zip", 3).await.unwrap().unwrap(), b"one");
            assert_eq!(store.get_range("t/c/c-1.zip", 1, 2).await.unwrap(), b"ne");
            let to = folder.path().join(name);
            assert_eq!(store.fetch("t/c/c-1.zip", &to, &silent).await.unwrap().unwrap().size, 3);
            assert_eq!(std::fs::read(to).unwrap(), b"one");
            let part = folder.path().join(format!("{name}-part"));
            let found = store.head("t/c/c-1.zip").await.unwrap().unwrap();
            let key = "t/c/c-1.zip";
            let parts = [(0..1, 3), (1..1, 0), (2..3, 1)];
            let parts = parts.map(|(range, at)| ObjectPart { key, found: &found, range, at });
            store.fetch_parts(&parts, 5, &part, &silent).await.unwrap();
            assert_eq!(std::fs::read(&part).unwrap(), b"\0e\0o\0");
            let other = ObjectInfo { size: 4, ..found.clone() };
            let beyond = [ObjectPart { key, found: &other, range: 3..4, at: 0 }];
            let again = store.fetch_parts(&beyond, 4, &folder.path().join("x"), &silent).await;
            assert_eq!(again.unwrap_err().exit(), crate::base::error::Exit::Integrity);
            assert_eq!(store.list("t/c/c-", None, 9).await.unwrap()[0].key, "t/c/c-1.zip");
            assert_eq!(store.folders("t").await.unwrap(), ["c"]);
            store.delete("t/c/c-1.zip").await.unwrap();
            assert_eq!(store.folders("").await.unwrap(), [""; 0]);
            assert_eq!(store.describe("a/b"), format!("{place}a/b"));
            store.settle().await.unwrap();
            let refused = store
                .put_new("t/../x", Content::Bytes(Vec::new()), &Metadata::default(), &silent)
                .await;
            assert_eq!(refused.unwrap_err().exit(), crate::base::error::Exit::Input);
        }
    }
}
