//! Copies a state to another location: under locks, verified, and never over another state.
//! The source is not changed.

use super::{
    local_folder,
    lock::StateLock,
    object::StateObject,
    stored::{self, StateFile, Stored},
    summary::StateSummary,
    taken_locks::{Holder, TakenLocks, locked},
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        interrupt::Interrupt,
    },
    services::store::{Content, Metadata, Put},
};

/// How a copy ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Copied {
    /// The source has no state, or an empty one.
    Nothing,
    Done(StateSummary),
    /// The target has an earlier copy, or a later version of one.
    Already(StateSummary),
}

/// Copies `from` to `to`, unless `to` has it already. `holder` is written to the locks.
///
/// Fails if a state is locked, or if `to` has another state or a diverged one. After a signal, the
/// copy is finished if the services answer.
pub(crate) async fn copy(
    from: &StateObject,
    to: &StateObject,
    holder: &Holder,
    interrupt: &Interrupt,
) -> Result<Copied> {
    let foreign: &[StateLock] = if from.is_ours { &[] } else { &from.locks };
    for lock in foreign {
        let held = interrupt.or_cancel("reading the lock of the state", lock.read()).await?;
        if let Some(held) = held {
            return Err(locked(lock, Some(&held)));
        }
    }
    let ours = [from, to].into_iter().filter(|object| object.is_ours);
    let taken = TakenLocks::take(ours.flat_map(|object| &object.locks), holder, interrupt).await?;
    let copied = interrupt.or_last_answer("copying the state", copy_locked(from, to)).await;
    let released = taken.release().await;
    match (copied, released) {
        (Ok(copied), released) => released.map(|()| copied),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => Err(error.also(&left)),
    }
}

/// Keeps other runs from the folder of a local state, which the copy replaces. Fails if one uses
/// it.
async fn use_alone(to: &StateObject) -> Result<Option<local_folder::UsedFolder>> {
    let folder = to.locks.iter().find_map(|lock| match lock {
        StateLock::Local { state } => state.parent(),
        _ => None,
    });
    let Some(folder) = folder else { return Ok(None) };
    let used = local_folder::begin(folder).await?;
    match used.as_ref().is_none_or(local_folder::UsedFolder::is_ours_alone) {
        true => Ok(used),
        false => Err(Error::new(Exit::Locked, format!("another run uses {}", to.describe()))
            .hint("wait for that run to end, and run again")),
    }
}

async fn copy_locked(from: &StateObject, to: &StateObject) -> Result<Copied> {
    let Some(source) = read(from).await?.filter(|source| !source.summary.is_empty()) else {
        return Ok(Copied::Nothing);
    };
    let there = stored::read(to).await?;
    let has_object = !matches!(there, Stored::Missing);
    match readable(to, there)? {
        Some(there) if there.summary.lineage == source.summary.lineage => {
            return already(from, to, &source, there);
        }
        Some(there) if !there.summary.is_empty() => {
            return Err(another_state(from, to, &source, &there));
        }
        _ => {}
    }
    let _used = use_alone(to).await?;
    if has_object {
        // An empty state of a run that ended before it applied anything.
        to.store.delete(&to.key).await?;
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
            to.describe()
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
    source: &StateFile,
    there: StateFile,
) -> Result<Copied> {
    if there.summary.serial > source.summary.serial || there.bytes == source.bytes {
        return Ok(Copied::Already(there.summary));
    }
    Err(Error::refused(format!("{} and {} have diverged", from.describe(), to.describe()))
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
    source: &StateFile,
    there: &StateFile,
) -> Error {
    Error::refused(format!("another state already exists at {}", to.describe()))
        .why(format!(
            "its lineage is {}, that of {} is {}",
            there.summary.lineage,
            from.describe(),
            source.summary.lineage
        ))
        .hint("states cannot be merged: find out which one is right, and move the other away")
}

async fn verify(from: &StateObject, to: &StateObject, source: &StateFile) -> Result<()> {
    let copy = read(to).await?;
    let is_same = |read: &StateFile| {
        (&read.summary.lineage, read.summary.serial)
            == (&source.summary.lineage, source.summary.serial)
            && Sha256::of(&read.bytes) == Sha256::of(&source.bytes)
    };
    if !copy.as_ref().is_some_and(is_same) {
        return Err(Error::integrity(format!(
            "{} does not match its source {}",
            to.describe(),
            from.describe()
        ))
        .hint("compare both before you deploy anything there"));
    }
    if read(from).await?.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    // The copy was not visible to others yet: this run holds its lock.
    to.store.delete(&to.key).await?;
    Err(Error::new(Exit::Locked, format!("{} changed while it was copied", from.describe()))
        .why("the copy was removed")
        .hint("stop the runs that use it, and run again"))
}

async fn read(object: &StateObject) -> Result<Option<StateFile>> {
    readable(object, stored::read(object).await?)
}

fn readable(object: &StateObject, stored: Stored) -> Result<Option<StateFile>> {
    match stored {
        Stored::Missing | Stored::Empty => Ok(None),
        Stored::Readable(file) => Ok(Some(file)),
        Stored::ForTerraform(why) => {
            Err(Error::integrity(format!("{} cannot be copied", object.describe()))
                .why(why)
                .hint("copy it with Terraform or OpenTofu: `state pull`, then `state push`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        services::store::{DirectoryStore, ReleaseStore},
        terraform::state::lock::LockInfo,
    };

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

    fn holder() -> Holder {
        let info = LockInfo::new("1".into(), "ada", "copy", "");
        Holder { info, environment: "ci".parse().unwrap() }
    }

    #[tokio::test]
    async fn the_target_decides_what_happens() {
        let source = state("a", 3, 1);
        for (there, ends) in [
            (None, "done"),
            (Some(String::new()), "done"),
            (Some(state("b", 1, 0)), "done"),
            (Some(source.clone()), "already"),
            (Some(state("a", 4, 0)), "already"),
            (Some(state("a", 2, 1)), "have diverged"),
            (Some(state("a", 3, 2)), "have diverged"),
            (Some(state("b", 9, 1)), "another state"),
            (Some("{}".to_owned()), "no `version`"),
            (Some("{\"version\": 4}".to_owned()), "no lineage"),
            (Some("{\"version\": 4, \"serial\": 9,".to_owned()), "it is truncated"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("from"), &source).unwrap();
            there.iter().for_each(|there| fs::write(folder.path().join("to"), there).unwrap());
            let (from, to) =
                (object(folder.path(), "from", true), object(folder.path(), "to", true));
            let copied = match copy(&from, &to, &holder(), &Interrupt::never()).await {
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
        assert_eq!(
            copy(&from, &to, &holder(), &Interrupt::never()).await.unwrap(),
            Copied::Nothing
        );
        fs::write(folder.path().join("from"), state("a", 3, 0)).unwrap();
        assert_eq!(
            copy(&from, &to, &holder(), &Interrupt::never()).await.unwrap(),
            Copied::Nothing
        );
        assert!(!folder.path().join("to").exists());
    }

    #[tokio::test]
    async fn a_locked_state_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("from"), state("a", 3, 1)).unwrap();
        let lock = StateLock::Local { state: folder.path().join("from") };
        let held = lock.acquire(&holder().info).await.unwrap().unwrap();
        let (from, to) = (object(folder.path(), "from", true), object(folder.path(), "to", true));
        assert_eq!(
            copy(&from, &to, &holder(), &Interrupt::never()).await.unwrap_err().exit(),
            Exit::Locked
        );
        drop(held);
        fs::write(folder.path().join(".from.lock.info"), "{\"ID\": \"7\", \"Who\": \"bob\"}")
            .unwrap();
        let theirs = object(folder.path(), "from", false);
        let refused = copy(&theirs, &to, &holder(), &Interrupt::never()).await.unwrap_err();
        assert!(refused.exit() == Exit::Locked && refused.to_string().contains("bob"), "{refused}");
        assert!(!folder.path().join("to").exists());
        fs::remove_file(folder.path().join(".from.lock.info")).unwrap();
        assert!(matches!(
            copy(&theirs, &to, &holder(), &Interrupt::never()).await.unwrap(),
            Copied::Done(_)
        ));
    }
}
