//! The release store: where bundles and the ledger live. An object is written once and never changed; both kinds of
//! store keep that promise by themselves, without a lock and without asking first.

use std::{collections::BTreeMap, path::Path};

use crate::base::error::{Error, Result};

mod background;
mod folder;
mod partial_file;
pub(crate) mod s3;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use self::{folder::DirectoryStore, s3::client::S3Store};

/// Told the number of bytes that were moved since the last call. What is sent again counts again.
pub(crate) type ProgressFn<'a> = &'a (dyn Fn(u64) + Sync);

/// A file that is being written. Never listed, refused in keys.
const TEMPORARY: &str = ".tmp-";

/// Cheap to clone.
#[derive(Clone)]
pub(crate) enum ReleaseStore {
    S3(S3Store),
    Directory(DirectoryStore),
}

/// User metadata of an object; keys are lowercase with hyphens (`cdflow-bundle-digest`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata(pub(crate) BTreeMap<String, String>);

/// What is to be stored.
pub(crate) enum Content<'a> {
    Bytes(Vec<u8>),
    File(&'a Path),
}

/// How a conditional write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    /// There was (or meanwhile is) an object of this name; it was left alone. After a lost answer it may be our own:
    /// compare its digest.
    Exists,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectInfo {
    pub(crate) size: u64,
    /// Always empty in a directory: read what the bundle says of itself.
    pub(crate) metadata: Metadata,
    pub(crate) modified: Option<jiff::Timestamp>,
    /// Names one state of the object; not a hash of its bytes. None in a directory.
    pub(crate) etag: Option<String>,
}

/// A line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: Option<jiff::Timestamp>,
}

/// The same call on whichever store it is.
macro_rules! either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            ReleaseStore::S3($store) => $call,
            ReleaseStore::Directory($store) => $call,
        }
    };
}

impl ReleaseStore {
    /// Writes an object unless there is one of this name; all of it or nothing, and never over another.
    ///
    /// When this future is dropped, the write is called off in the background: await [`Self::settle`] before the
    /// process ends.
    pub(crate) async fn put_new(
        &self,
        key: &str,
        content: Content<'_>,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
    ) -> Result<Put> {
        either!(self, store => store.put_new(key, content, metadata, progress).await)
    }

    /// What is known of an object without reading it; None when there is none.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        either!(self, store => store.head(key).await)
    }

    /// A small object as a whole. More than `limit` bytes is an integrity error.
    pub(crate) async fn get(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        either!(self, store => store.get(key, limit).await)
    }

    /// Exactly `len` bytes from `start` on; an object that has fewer is an integrity error.
    pub(crate) async fn get_range(&self, key: &str, start: u64, len: u64) -> Result<Vec<u8>> {
        either!(self, store => store.get_range(key, start, len).await)
    }

    /// A whole object into a new file `to` (mode 0600), which appears only when it is complete. None, and no file, when
    /// there is no such object.
    pub(crate) async fn fetch(
        &self,
        key: &str,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<Option<ObjectInfo>> {
        either!(self, store => store.fetch(key, to, progress).await)
    }

    /// At most `max` objects whose key begins with `prefix` (which may end within a name), in the order of the keys'
    /// bytes, from the first one greater than `after`.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<ListedObject>> {
        either!(self, store => store.list(prefix, after, max).await)
    }

    /// The names directly under the folder `prefix` that have objects beneath them, sorted, without slashes.
    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        either!(self, store => store.folders(prefix).await)
    }

    /// Removes an object; one that is not there is removed already.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        either!(self, store => store.delete(key).await)
    }

    /// Waits until everything that dropped calls left behind is cleaned up (bounded by the timeouts of the calls). The
    /// error names what could not be, and how to remove it by hand.
    pub(crate) async fn settle(&self) -> Result<()> {
        either!(self, store => store.settle().await)
    }

    /// The object as messages name it: `s3://bucket/key` or `file:/path`.
    pub(crate) fn describe(&self, key: &str) -> String {
        either!(self, store => store.describe(key))
    }
}

/// Refuses what would mean different things to S3 and to a file system.
fn check_key(key: &str) -> Result<()> {
    check_prefix(key)?;
    if key.is_empty() || key.ends_with('/') || key.len() > 1024 {
        return Err(bad_key(key, "it must name an object, in at most 1024 bytes"));
    }
    Ok(())
}

/// As a key, but it may be empty and may end anywhere.
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

/// Asked for more than `limit`, or got it.
fn too_large(object: &str, size: u64, limit: u64) -> Error {
    Error::integrity(format!("`{object}` is too large"))
        .why(format!("it has {size} bytes, at most {limit} are expected"))
}

/// Fewer bytes than promised.
fn too_short(object: &str, got: u64, wanted: u64) -> String {
    format!("`{object}`: got {got} of {wanted} bytes")
}

/// There is no such object, where there has to be one.
fn missing(object: &str) -> Error {
    Error::input(format!("`{object}` does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_refused_not_repaired() {
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
