//! Copies a state to another location: under locks, verified, and never over another state.
//! The source is not changed.

use super::{
    lock::{HeldLock, LockInfo, StateLock},
    summary::StateSummary,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    services::store::{Content, Metadata, Put, ReleaseStore},
};

/// In bytes; far more than Terraform can handle in practice.
const LIMIT: u64 = 256 << 20;

/// A state file in a store.
pub(crate) struct StateObject {
    pub(crate) store: ReleaseStore,
    pub(crate) key: String,
    pub(crate) locks: Vec<StateLock>,
    /// Whether its locks are acquired. The locks of a foreign state are only checked, and the copy
    /// fails if that state changes meanwhile.
    pub(crate) is_ours: bool,
}

/// How a copy ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Copied {
    /// The source has no state, or an empty one.
    Nothing,
    Done(StateSummary),
    /// The target has an earlier copy, or a later version of one.
    Already(StateSummary),
}

struct ReadState {
    bytes: Vec<u8>,
    summary: StateSummary,
}

/// Copies `from` to `to`, unless `to` has it already. `holder` is written to the locks.
///
/// Fails if a state is locked, or if `to` has another state or a diverged one.
pub(crate) async fn copy(
    from: &StateObject,
    to: &StateObject,
    holder: &LockInfo,
) -> Result<Copied> {
    let foreign: &[StateLock] = if from.is_ours { &[] } else { &from.locks };
    for lock in foreign {
        if let Some(held) = lock.read().await? {
            return Err(locked(lock, Some(&held)));
        }
    }
    let ours = [from, to].into_iter().filter(|object| object.is_ours);
    let mut taken = Vec::new();
    let mut copied = Ok(Copied::Nothing);
    for lock in ours.flat_map(|object| &object.locks) {
        match acquire(lock, holder).await {
            Ok(held) => taken.push((lock, held)),
            Err(error) => {
                copied = Err(error);
                break;
            }
        }
    }
    if copied.is_ok() {
        copied = copy_locked(from, to).await;
    }
    let released = release(&taken).await;
    let copied = copied?;
    released.map(|()| copied)
}

async fn acquire(lock: &StateLock, holder: &LockInfo) -> Result<HeldLock> {
    match lock.acquire(holder).await {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(locked(lock, lock.read().await?.as_ref())),
        Err(error) => Err(release_if_ours(lock, holder, error).await),
    }
}

/// Releases a lock that was acquired although the answer was lost. Otherwise it would stay forever.
async fn release_if_ours(lock: &StateLock, holder: &LockInfo, error: Error) -> Error {
    let is_released = match lock.read().await {
        Ok(Some(held)) if held.holder.id == holder.id => lock.release(&held).await.is_ok(),
        Ok(_) => true,
        Err(_) => false,
    };
    match is_released {
        true => error,
        false => error.hint(format!(
            "the lock at `{}` might still be held: check it with cdflow unlock, \
             and release it if its ID is {}",
            lock.describe(),
            holder.id
        )),
    }
}

fn locked(lock: &StateLock, held: Option<&HeldLock>) -> Error {
    let error = Error::new(Exit::Locked, format!("the state is locked at `{}`", lock.describe()));
    let error = match held.map(|held| &held.holder) {
        Some(holder) => error.why(format!(
            "{} by {} since {} (lock {})",
            holder.operation.escape_debug(),
            holder.who.escape_debug(),
            holder.created.escape_debug(),
            holder.id.escape_debug()
        )),
        None => error,
    };
    error.hint(
        "wait for that run to end; if it is not active any more, release its lock \
         (docs/terraform.md, \"State\")",
    )
}

/// Releases all locks, even if one fails.
async fn release(taken: &[(&StateLock, HeldLock)]) -> Result<()> {
    let mut result = Ok(());
    for (lock, held) in taken.iter().rev() {
        if let Err(error) = lock.release(held).await {
            let what = format!("failed to release the lock at `{}`", lock.describe());
            result = Err(Error::new(error.exit(), what)
                .why(error)
                .hint("release it with cdflow unlock"));
        }
    }
    result
}

async fn copy_locked(from: &StateObject, to: &StateObject) -> Result<Copied> {
    let Some(source) = read(from).await?.filter(|source| !source.summary.is_empty()) else {
        return Ok(Copied::Nothing);
    };
    match read(to).await? {
        Some(there) if there.summary.lineage == source.summary.lineage => {
            return already(from, to, &source, there);
        }
        Some(there) if !there.summary.is_empty() => {
            return Err(another_state(from, to, &source, &there));
        }
        // An empty state of a run that ended before it applied anything.
        Some(_) => to.store.delete(&to.key).await?,
        None => {}
    }
    for lock in &to.locks {
        lock.forget_digest().await?;
    }
    let content = Content::Bytes(source.bytes.clone());
    if to.store.put_new(&to.key, content, &Metadata::default(), &|_| {}).await? == Put::Exists
        && read(to).await?.is_none_or(|there| there.bytes != source.bytes)
    {
        return Err(Error::refused(format!(
            "{} was created by another run meanwhile",
            describe(to)
        ))
        .hint("run again"));
    }
    verify(from, to, &source).await?;
    Ok(Copied::Done(source.summary))
}

/// Checks a target with the same lineage: it must be the copy, or a later version.
fn already(
    from: &StateObject,
    to: &StateObject,
    source: &ReadState,
    there: ReadState,
) -> Result<Copied> {
    if there.summary.serial > source.summary.serial || there.bytes == source.bytes {
        return Ok(Copied::Already(there.summary));
    }
    Err(Error::refused(format!("{} and {} have diverged", describe(from), describe(to)))
        .why(format!(
            "both have the lineage {}, the first has serial {}, the second serial {}",
            source.summary.lineage, source.summary.serial, there.summary.serial
        ))
        .hint(
            "the first was used after it was copied: find out which one is right, \
             and move the other away",
        ))
}

fn another_state(
    from: &StateObject,
    to: &StateObject,
    source: &ReadState,
    there: &ReadState,
) -> Error {
    Error::refused(format!("another state already exists at {}", describe(to)))
        .why(format!(
            "its lineage is {}, that of {} is {}",
            there.summary.lineage,
            describe(from),
            source.summary.lineage
        ))
        .hint("states cannot be merged: find out which one is right, and move the other away")
}

async fn verify(from: &StateObject, to: &StateObject, source: &ReadState) -> Result<()> {
    let copy = read(to).await?;
    let is_same = |read: &ReadState| {
        (&read.summary.lineage, read.summary.serial)
            == (&source.summary.lineage, source.summary.serial)
            && Sha256::of(&read.bytes) == Sha256::of(&source.bytes)
    };
    if !copy.as_ref().is_some_and(is_same) {
        return Err(Error::integrity(format!(
            "{} does not match its source {}",
            describe(to),
            describe(from)
        ))
        .hint("compare both before you deploy anything there"));
    }
    if read(from).await?.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    // The copy was not visible to others yet: this run holds its lock.
    to.store.delete(&to.key).await?;
    Err(Error::new(Exit::Locked, format!("{} changed while it was copied", describe(from)))
        .why("the copy was removed")
        .hint("stop the runs that use it, and run again"))
}

async fn read(object: &StateObject) -> Result<Option<ReadState>> {
    let Some(bytes) = object.store.get(&object.key, LIMIT).await? else { return Ok(None) };
    let damaged = |why: String| {
        Error::integrity(format!("{} is not a Terraform state", describe(object)))
            .why(why)
            .hint("restore an older version if it is damaged; an encrypted state cannot be copied")
    };
    let summary =
        StateSummary::parse(&mut bytes.as_slice()).map_err(|error| damaged(error.to_string()))?;
    let Some(summary) = summary else {
        // An empty file means that no state exists, but a truncated one is an error.
        return match bytes.trim_ascii().is_empty() {
            true => Ok(None),
            false => Err(damaged("it is truncated".to_owned())),
        };
    };
    if summary.lineage.is_empty() {
        return Err(damaged("it has no lineage".to_owned()));
    }
    Ok(Some(ReadState { bytes, summary }))
}

fn describe(object: &StateObject) -> String {
    format!("`{}`", object.store.describe(&object.key))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::services::store::DirectoryStore;

    fn object(folder: &Path, name: &str, is_ours: bool) -> StateObject {
        StateObject {
            store: ReleaseStore::Directory(DirectoryStore::new(folder.to_owned())),
            key: name.to_owned(),
            locks: vec![StateLock::Local { state: folder.join(name) }],
            is_ours,
        }
    }

    fn state(lineage: &str, serial: u64, resources: usize) -> String {
        let resources = vec!["{}"; resources].join(",");
        format!(
            "{{\"version\": 4, \"serial\": {serial}, \"lineage\": \"{lineage}\", \
             \"resources\": [{resources}]}}"
        )
    }

    fn holder() -> LockInfo {
        LockInfo::new("1".into(), "ada", "copy", "")
    }

    #[tokio::test]
    async fn the_target_decides_what_happens() {
        let source = state("a", 3, 1);
        for (there, ends) in [
            (None, "done"),
            (Some(state("b", 1, 0)), "done"),
            (Some(source.clone()), "already"),
            (Some(state("a", 4, 0)), "already"),
            (Some(state("a", 2, 1)), "have diverged"),
            (Some(state("a", 3, 2)), "have diverged"),
            (Some(state("b", 9, 1)), "another state"),
            (Some("{}".to_owned()), "no lineage"),
            (Some("{\"version\": 4, \"serial\": 9,".to_owned()), "it is truncated"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("from"), &source).unwrap();
            there.iter().for_each(|there| fs::write(folder.path().join("to"), there).unwrap());
            let (from, to) =
                (object(folder.path(), "from", true), object(folder.path(), "to", true));
            let copied = match copy(&from, &to, &holder()).await {
                Ok(Copied::Done(_)) => "done".to_owned(),
                Ok(Copied::Already(_)) => "already".to_owned(),
                Ok(Copied::Nothing) => "nothing".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(copied.contains(ends), "{there:?}: {copied}");
            let after = fs::read_to_string(folder.path().join("to")).unwrap();
            let expected = if ends == "done" { &source } else { there.as_ref().unwrap() };
            assert_eq!(after, *expected);
            assert_eq!(fs::read_to_string(folder.path().join("from")).unwrap(), source);
        }
    }

    #[tokio::test]
    async fn an_empty_state_is_nothing_to_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (object(folder.path(), "from", true), object(folder.path(), "to", true));
        assert_eq!(copy(&from, &to, &holder()).await.unwrap(), Copied::Nothing);
        fs::write(folder.path().join("from"), state("a", 3, 0)).unwrap();
        assert_eq!(copy(&from, &to, &holder()).await.unwrap(), Copied::Nothing);
        assert!(!folder.path().join("to").exists());
    }

    #[tokio::test]
    async fn a_locked_state_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("from"), state("a", 3, 1)).unwrap();
        let lock = StateLock::Local { state: folder.path().join("from") };
        let held = lock.acquire(&holder()).await.unwrap().unwrap();
        let (from, to) = (object(folder.path(), "from", true), object(folder.path(), "to", true));
        assert_eq!(copy(&from, &to, &holder()).await.unwrap_err().exit(), Exit::Locked);
        drop(held);
        fs::write(folder.path().join(".from.lock.info"), "{\"ID\": \"7\", \"Who\": \"bob\"}")
            .unwrap();
        let theirs = object(folder.path(), "from", false);
        let refused = copy(&theirs, &to, &holder()).await.unwrap_err();
        assert!(refused.exit() == Exit::Locked && refused.to_string().contains("bob"), "{refused}");
        assert!(!folder.path().join("to").exists());
        fs::remove_file(folder.path().join(".from.lock.info")).unwrap();
        assert!(matches!(copy(&theirs, &to, &holder()).await.unwrap(), Copied::Done(_)));
    }
}
