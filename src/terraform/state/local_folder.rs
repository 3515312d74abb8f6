//! The folder of a local workspace, and whether other runs of cdflow use it.
//!
//! Terraform locks the file of a local state. A run that waits for that lock has the file open, and
//! would later write its state into it even if it was removed meanwhile. So no run removes the file
//! while another run uses the folder. Terraform itself removes an empty file that it has created,
//! which is why cdflow creates it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::OFlag;

use crate::base::{
    blocking::blocking,
    error::{Error, Exit, Result},
    limits::{Limit, PAUSE},
};

/// A shared lock on the folder, which ends with this value.
#[derive(Debug)]
pub(crate) struct UsedFolder {
    /// None if the file system has no such locks.
    locked: Option<File>,
}

enum Attempt {
    Used(UsedFolder),
    Missing,
    /// Another run is removing the folder.
    Busy,
}

/// Begins to use the folder. None if it does not exist, or another run has just removed it.
pub(crate) async fn begin(folder: &Path) -> Result<Option<UsedFolder>> {
    let until = tokio::time::Instant::now() + Limit::StateLock.time();
    loop {
        let path = folder.to_owned();
        match blocking(move || attempt(&path)).await? {
            Attempt::Used(used) => return Ok(Some(used)),
            Attempt::Missing => return Ok(None),
            Attempt::Busy if tokio::time::Instant::now() > until => {
                return Err(Error::new(
                    Exit::Locked,
                    format!("another run is removing the workspace `{}`", folder.display()),
                )
                .why(Limit::StateLock.passed("it has not ended"))
                .hint("find out why that run does not end, and run again"));
            }
            Attempt::Busy => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn attempt(path: &Path) -> Result<Attempt> {
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path);
    let folder = match opened {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Missing),
        Err(error) => return Err(Error::io("cannot open the workspace", path, &error)),
    };
    match folder.try_lock_shared() {
        Ok(()) if is_at(&folder, path) => Ok(Attempt::Used(UsedFolder { locked: Some(folder) })),
        // Removed since it was opened.
        Ok(()) => Ok(Attempt::Missing),
        Err(TryLockError::WouldBlock) => Ok(Attempt::Busy),
        Err(TryLockError::Error(_)) => Ok(Attempt::Used(UsedFolder { locked: None })),
    }
}

impl UsedFolder {
    /// Whether no other run uses the folder. If so, none can begin to until this value is dropped.
    pub(crate) fn is_ours_alone(&self) -> bool {
        let Some(folder) = &self.locked else { return true };
        let is_taken = matches!(folder.try_lock(), Err(TryLockError::WouldBlock));
        if is_taken {
            // The attempt has released the shared lock.
            let _ = folder.try_lock_shared();
        }
        !is_taken
    }
}

/// Creates an empty file, unless there is something in its place. True if it is new.
pub(crate) fn create_empty(file: &Path) -> Result<bool> {
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("cannot create", file, &error)),
    }
}

/// Whether `path` leads to this open file or folder.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: io::Result<std::fs::Metadata>| found.map(|it| (it.dev(), it.ino())).ok();
    let open = identity(file.metadata());
    open.is_some() && open == identity(std::fs::metadata(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_folder_is_removed_only_by_its_last_user() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("ci");
        assert!(begin(&folder).await.unwrap().is_none());
        fs::create_dir(&folder).unwrap();
        let first = begin(&folder).await.unwrap().unwrap();
        let second = begin(&folder).await.unwrap().unwrap();
        assert!(!first.is_ours_alone() && !second.is_ours_alone());
        drop(first);
        assert!(second.is_ours_alone());
        // The next run waits, and finds that the folder was removed.
        let path = folder.clone();
        let waiting = tokio::spawn(async move { begin(&path).await });
        tokio::time::sleep(PAUSE).await;
        assert!(!waiting.is_finished());
        fs::remove_dir(&folder).unwrap();
        drop(second);
        assert!(waiting.await.unwrap().unwrap().is_none());
    }

    #[tokio::test]
    async fn another_thing_in_place_of_the_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("ci");
        fs::write(&file, "").unwrap();
        let error = begin(&file).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{}`", file.display())), "{error}");
        assert!(!create_empty(&file).unwrap() && create_empty(&root.path().join("new")).unwrap());
    }

    #[test]
    fn a_lock_of_a_removed_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terraform.tfstate");
        fs::write(&path, "{}").unwrap();
        let file = File::open(&path).unwrap();
        assert!(is_at(&file, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
        fs::write(&path, "{}").unwrap();
        assert!(!is_at(&file, &path), "another file has its name");
    }
}
