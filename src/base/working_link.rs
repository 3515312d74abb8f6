//! A path to a run's working folder that is the same in every run.
//!
//! Terraform code can keep the absolute path of its folder, as `abspath(path.module)` does. The
//! name of the private folder is random, so each deploy of the same release would change such a
//! resource. Terraform takes PWD for its folder if PWD names the same folder, also through a link.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

/// A link with a constant name, which no other run has at the same time. Removed when dropped.
pub(crate) struct WorkingLink {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl WorkingLink {
    /// Links to `target` from `parent`. Fails with `WouldBlock` if another run has the link.
    pub(crate) fn create(parent: &Path, name: &str, target: &Path) -> io::Result<Self> {
        let path = parent.join(format!("cdflow-work-{name}"));
        let lock_path = parent.join(format!("cdflow-work-{name}.lock"));
        let no_follow = nix::fcntl::OFlag::O_NOFOLLOW.bits();
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow)
            .open(&lock_path)?;
        lock.try_lock()?;
        // A run that ends removes the file that it has locked.
        let (locked, named) = (lock.metadata()?, fs::symlink_metadata(&lock_path)?);
        if (locked.dev(), locked.ino()) != (named.dev(), named.ino()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let link = Self { path, lock_path, _lock: lock };
        // Left by a killed run.
        match fs::remove_file(&link.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(target, &link.path)?,
        }
        Ok(link)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkingLink {
    fn drop(&mut self) {
        // The next run replaces a link that cannot be removed now.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.lock_path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_has_the_link() {
        let parent = tempfile::tempdir().unwrap();
        let create = || WorkingLink::create(parent.path(), "shop-ci", Path::new("/tmp"));
        let link = create().unwrap();
        assert_eq!(fs::read_link(link.path()).unwrap(), Path::new("/tmp"));
        assert_eq!(create().err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        let path = link.path().to_owned();
        drop(link);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        // A killed run leaves the link; a folder of somebody else is not removed.
        symlink("/elsewhere", &path).unwrap();
        assert_eq!(fs::read_link(create().unwrap().path()).unwrap(), Path::new("/tmp"));
        fs::create_dir(&path).unwrap();
        assert!(create().is_err() && path.is_dir());
    }
}
