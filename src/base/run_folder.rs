//! The working folder of a run: private to cdflow and its programs, and removed at the end of the
//! run.
//!
//! A killed run cannot remove its folder, which may contain secrets; the next run does. Each folder
//! has a lock file, which the run and the programs it starts keep locked as long as any of them
//! lives.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
};

use super::{
    error::{Error, Result},
    log::Log,
    process_env::ProcessEnv,
    run_as::RunAs,
};

const PREFIX: &str = "cdflow-run-";
const LOCK: &str = "lock";
/// The modes of the folder.
const PRIVATE: u32 = 0o700;
const PASSABLE: u32 = 0o710;
/// The content of the lock file; a folder without it is left alone.
const MARK: &[u8] = b"a run of cdflow holds this folder as long as it locks this file\n";
/// Where Terraform leaves a state that it failed to save, relative to the run's folder.
const ERRORED_STATE: &str = "bundle/infra/errored.tfstate";

/// Removed when it is dropped.
///
/// Its mode is 0700. If programs run as another user, that user gets its content. The folder itself
/// remains ours, so that its entries cannot be replaced.
pub(crate) struct PrivateFolder {
    path: PathBuf,
    is_kept: AtomicBool,
    _lock: File,
}

impl PrivateFolder {
    /// In TMPDIR, else in the system's folder for temporary files. Removes what killed runs left
    /// there.
    pub(crate) fn create(environment: &ProcessEnv, log: &Log) -> Result<Self> {
        let parent = PathBuf::from(environment.get("TMPDIR").unwrap_or("/tmp"));
        let made = fs::canonicalize(&parent).and_then(|parent| {
            sweep(&parent, log);
            let folder = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(PRIVATE))
                .tempdir_in(parent)?;
            Ok(Self {
                _lock: lock(folder.path())?,
                path: folder.keep(),
                is_kept: AtomicBool::new(false),
            })
        });
        made.map_err(|error| {
            Error::io("failed to create a private folder in", &parent, &error)
                .hint("set TMPDIR to a folder that can be written")
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder, because its content must not be lost.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Gives everything inside to the user of programs, who can then pass through the folder. Files
    /// with a second name stay ours: they are those of a cache, which that user must not change.
    pub(crate) fn give_content(&self, run_as: RunAs) -> Result<()> {
        let RunAs::User { group, .. } = run_as else { return Ok(()) };
        let failed = |error: io::Error| Error::io("cannot open to other users", &self.path, &error);
        chown(&self.path, None, Some(group)).map_err(failed)?;
        fs::set_permissions(&self.path, Permissions::from_mode(PASSABLE)).map_err(failed)?;
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() != LOCK {
                run_as.give_new(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Creates a home folder for programs: links to everything in `real` except `without`.
    pub(crate) fn home(&self, real: Option<&str>, without: Option<&str>) -> Result<PathBuf> {
        let home = self.folder("home")?;
        let Some(real) = real.map(Path::new).filter(|real| real.is_dir()) else {
            return Ok(home);
        };
        let failed = |error: io::Error| Error::io("cannot list", real, &error);
        for entry in fs::read_dir(real).map_err(failed)?.filter_map(io::Result::ok) {
            if without.is_none_or(|without| entry.file_name() != without) {
                symlink(entry.path(), home.join(entry.file_name())).map_err(failed)?;
            }
        }
        Ok(home)
    }

    /// A new folder inside.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir(&path)
            .map_err(|error| Error::io("failed to create the folder", &path, &error))?;
        Ok(path)
    }

    /// A new file inside, mode 0600.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.path().join(name);
        write_new(&path, content)?;
        Ok(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Relaxed) {
            // The next run removes what cannot be removed now.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes a file that does not exist yet, mode 0600.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(content))
        .map_err(|error| Error::io("can't write", path, &error))
}

/// Reads a file that a program left. The program could have put a link there, to a file that it
/// can't read itself.
pub(crate) fn read_left_file(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let refused = || io::Error::other("it is a link or not a file");
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::ELOOP as i32 => refused(),
        _ => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(refused());
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// The lock file appears only when it is locked, or another run could take it for a dead one's.
fn lock(folder: &Path) -> io::Result<File> {
    let unlocked = folder.join("unlocked");
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unlocked)?;
    file.write_all(MARK)?;
    file.lock()?;
    // Programs inherit it: an apply goes on when its cdflow is killed, and needs the folder.
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
    fs::rename(unlocked, folder.join(LOCK))?;
    Ok(file)
}

/// Errors are ignored: other runs' folders do not affect this run.
fn sweep(parent: &Path, log: &Log) {
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(io::Result::ok) {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|found| {
                found.is_dir()
                    && found.uid() == nix::unistd::geteuid().as_raw()
                    && [PRIVATE, PASSABLE].contains(&(found.mode() & 0o777))
            });
        if !is_ours || !is_abandoned(&entry.path()) {
            continue;
        }
        if entry.path().join(ERRORED_STATE).exists() {
            log.warning(&format!(
                "a killed run left an unsaved state in `{}`: save it in its environment, with \
                 `cdflow shell ENVIRONMENT VERSION -- terraform state push FILE`, then remove the \
                 folder",
                entry.path().join(ERRORED_STATE).display()
            ));
        } else if fs::remove_dir_all(entry.path()).is_ok() {
            log.detail(&format!("removed `{}`, left by a killed run", entry.path().display()));
        }
    }
}

fn is_abandoned(folder: &Path) -> bool {
    let mark = |mut lock: File| {
        let mut content = Vec::new();
        let read = Read::by_ref(&mut lock).take(2 * MARK.len() as u64).read_to_end(&mut content);
        (read.is_ok() && content == MARK).then_some(lock)
    };
    let is_file = fs::symlink_metadata(folder.join(LOCK)).is_ok_and(|found| found.is_file());
    let lock = is_file.then(|| File::open(folder.join(LOCK)).ok()).flatten().and_then(mark);
    lock.is_some_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Redactor;

    fn create(parent: &Path) -> PrivateFolder {
        let environment = ProcessEnv::new([("TMPDIR".into(), parent.into())]);
        PrivateFolder::create(&environment, &Log::new(Redactor::default(), 0, true, false)).unwrap()
    }

    #[test]
    fn a_link_in_place_of_a_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let [secret, link, hard, plain] =
            ["secret", "link", "hard", "plain"].map(|name| folder.path().join(name));
        fs::write(&secret, "s").unwrap();
        symlink(&secret, &link).unwrap();
        fs::hard_link(&secret, &hard).unwrap();
        fs::write(&plain, "state").unwrap();
        assert_eq!(read_left_file(&plain).unwrap(), b"state");
        for path in [link.as_path(), &hard, folder.path()] {
            assert!(read_left_file(path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn only_abandoned_folders_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let other = |name: &str| {
            fs::create_dir(parent.path().join(name)).unwrap();
            parent.path().join(name)
        };
        let [dead, unsaved, young, foreign, similar] = [
            "cdflow-run-dead",
            "cdflow-run-unsaved",
            "cdflow-run-young",
            "other-dead",
            "cdflow-run-mine",
        ]
        .map(other);
        for folder in [&dead, &unsaved, &foreign] {
            fs::write(folder.join(LOCK), MARK).unwrap();
            fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
        }
        fs::create_dir(similar.join(LOCK)).unwrap();
        fs::create_dir_all(unsaved.join("bundle/infra")).unwrap();
        fs::write(unsaved.join(ERRORED_STATE), "{}").unwrap();
        let living = create(parent.path());
        assert!(
            !dead.exists()
                && unsaved.exists()
                && young.exists()
                && foreign.exists()
                && similar.exists()
        );
        let second = create(parent.path());
        assert!(living.path().exists());
        assert_eq!(fs::metadata(second.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
