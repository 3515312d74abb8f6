//! The empty state of a new environment in S3, created and removed without Terraform.

use semver::Version;
use serde_json::json;

use super::{
    object::StateObject,
    stored::{self, Stored},
    taken_locks::{Holder, TakenLocks},
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        interrupt::Interrupt,
    },
    services::store::{Content, Metadata, Put},
};

/// The serial number of the state that `workspace new` writes.
const SERIAL: u64 = 1;

/// What became of a state that was to be removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// With the lineage of the state.
    Done(String),
    /// There was none. What the lock table kept of an earlier one is deleted.
    Missing,
    /// Only Terraform can read it.
    ForTerraform,
}

/// Creates an empty state as `terraform workspace new` does. False if there is one already, perhaps
/// of another run that began at the same time.
///
/// No lock is needed, because the object is written only if it does not exist; so a run that is
/// killed leaves none.
pub(crate) async fn create(object: &StateObject, written_by: &Version) -> Result<bool> {
    let state = json!({
        "version": 4,
        "terraform_version": written_by.to_string(),
        "serial": SERIAL,
        "lineage": new_lineage()?,
        "outputs": {},
        "resources": [],
        "check_results": null,
    });
    let text = format!("{state:#}\n");
    forget_lost(object).await?;
    let content = Content::Bytes(text.into_bytes());
    let put = object.store.put_new(&object.key, content, &Metadata::default(), &|_| {}).await?;
    Ok(put == Put::Created)
}

/// Deletes the digest of a state whose object is missing. It would make a new one look damaged.
pub(crate) async fn forget_lost(object: &StateObject) -> Result<()> {
    match has_digest(object).await? && object.store.head(&object.key).await?.is_none() {
        true => forget_digest(object).await,
        false => Ok(()),
    }
}

/// Whether the lock table has the digest of a state, which Terraform writes with each one.
pub(crate) async fn has_digest(object: &StateObject) -> Result<bool> {
    for lock in &object.locks {
        if lock.digest().await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn forget_digest(object: &StateObject) -> Result<()> {
    for lock in &object.locks {
        lock.forget_digest().await?;
    }
    Ok(())
}

/// Removes a state that has no resources, while this run holds its locks.
///
/// `terraform workspace delete` releases the lock first, and ignores a failure of that.
pub(crate) async fn remove(
    object: &StateObject,
    holder: &Holder,
    interrupt: &Interrupt,
) -> Result<Removed> {
    let taken = TakenLocks::take(&object.locks, holder, interrupt).await?;
    let removed = interrupt.or_last_answer("removing the empty state", remove_locked(object)).await;
    let released = taken.release().await;
    let removed = removed?;
    released.map(|()| removed)
}

async fn remove_locked(object: &StateObject) -> Result<Removed> {
    let removed = match stored::read(object).await? {
        // A run that creates a state writes it without a lock, but only where none exists.
        Stored::Missing => Removed::Missing,
        Stored::Empty => {
            object.store.delete(&object.key).await?;
            Removed::Missing
        }
        Stored::Readable(file) if file.summary.resources == 0 => {
            object.store.delete(&object.key).await?;
            Removed::Done(file.summary.lineage)
        }
        Stored::Readable(file) => {
            return Err(Error::new(Exit::Refused, format!("{} is kept", object.describe()))
                .why(format!("it has {} resources", file.summary.resources)));
        }
        Stored::ForTerraform(_) => return Ok(Removed::ForTerraform),
    };
    forget_digest(object).await?;
    Ok(removed)
}

/// Returns a random UUID.
fn new_lineage() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal("cannot get random bytes from the system").why(error))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        services::store::{ReleaseStore, testing},
        terraform::state::lock::{LockInfo, StateLock},
    };

    const LOCK: &str = "platform/shop/ci/terraform.tfstate.tflock";

    async fn object() -> StateObject {
        let store = testing::bucket().await;
        let lock = StateLock::LockFile { store: store.clone(), key: LOCK.to_owned() };
        StateObject {
            store: ReleaseStore::S3(store),
            key: "platform/shop/ci/terraform.tfstate".to_owned(),
            locks: vec![lock],
            is_ours: true,
        }
    }

    fn holder(id: &str) -> Holder {
        let info = LockInfo::new(id.into(), "ada", "remove", "");
        Holder { info, environment: "ci".parse().unwrap() }
    }

    async fn put(object: &StateObject, key: &str, text: &str) {
        let content = Content::Bytes(text.into());
        object.store.put_new(key, content, &Metadata::default(), &|_| {}).await.unwrap();
    }

    #[tokio::test]
    async fn it_is_created_once_and_removed_with_its_lock() {
        let object = object().await;
        let version = Version::new(1, 11, 4);
        assert!(create(&object, &version).await.unwrap());
        assert!(!create(&object, &version).await.unwrap());
        let Stored::Readable(file) = stored::read(&object).await.unwrap() else { panic!() };
        assert!(file.summary.is_pristine() && file.summary.lineage.len() == 36);
        let lineage = file.summary.lineage;
        assert_eq!(
            remove(&object, &holder("1"), &Interrupt::never()).await.unwrap(),
            Removed::Done(lineage)
        );
        assert!(object.store.list("", None, 9).await.unwrap().is_empty());
        assert_eq!(
            remove(&object, &holder("2"), &Interrupt::never()).await.unwrap(),
            Removed::Missing
        );
        assert!(object.store.list("", None, 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_in_use_is_kept() {
        for (state, lock, reason) in [
            ("{\"version\": 4, \"lineage\": \"l\", \"resources\": [{}]}", None, "has 1 resources"),
            ("{\"version\": 4, \"lineage\": \"l\"}", Some("{\"ID\": \"x\"}"), "is locked"),
            ("<html>", None, "line 1 column 1 is not"),
            ("{\"version\": 4, ", None, "truncated"),
        ] {
            let object = object().await;
            put(&object, &object.key, state).await;
            if let Some(lock) = lock {
                put(&object, LOCK, lock).await;
            }
            let error =
                remove(&object, &holder("1"), &Interrupt::never()).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{state}: {error}");
            let left = object.store.list("", None, 9).await.unwrap().len();
            assert_eq!(left, 1 + usize::from(lock.is_some()), "only the lock of another");
        }
        let object = object().await;
        put(&object, &object.key, "{\"serial\": 1, \"encrypted_data\": \"…\"}").await;
        assert_eq!(
            remove(&object, &holder("1"), &Interrupt::never()).await.unwrap(),
            Removed::ForTerraform
        );
    }
}
