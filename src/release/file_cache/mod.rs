//! Big files of releases that this machine has deployed, each under its SHA-256. A deploy neither
//! fetches nor unpacks a file that is there.
//!
//! A file gets its name by one rename, when it is complete and verified. It has no write permission
//! and belongs to cdflow's user. It is used if its stamp says that it has not changed since it was
//! hashed, otherwise after it was hashed again. Any number of runs can use one cache at once: a run
//! keeps a file open from the check until it is in place, so that removing it disturbs no run.

mod eviction;
mod link;
mod stamp;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::{self, File, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;

pub(crate) use self::eviction::Usage;
use super::cache_dir::CacheDir;
use crate::{
    base::{
        digest::{self, Sha256},
        error::Result,
        interrupt::Interrupt,
        log::Log,
        process_env::ProcessEnv,
        units::bytes_text,
    },
    config::settings::CacheChoice,
    services::ci::host::Host,
    terraform::cache_folder,
};

/// The name of the cache in its folder.
const NAME: &str = "files";
/// The mode of a cached file. A hard link shares it.
const MODE: u32 = 0o555;
/// The mode of a copy for one run.
const OF_RUN: u32 = 0o755;
/// Bytes that stay free on the disk of the cache: nothing is kept that would need them.
const RESERVE: u64 = 2_000_000_000;

/// Files of a bundle that need not be fetched.
pub(crate) type CachedFiles = HashMap<Sha256, CachedFile>;

/// The cache. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FileCache {
    folder: PathBuf,
    /// The folder belongs to us alone. Files of another folder are always hashed.
    trusts_stamps: bool,
    /// The folder that `cache-dir` names.
    asked: Option<CacheDir>,
    log: Log,
    interrupt: Interrupt,
}

/// A file of the cache with the right content, open.
#[derive(Debug)]
pub(crate) struct CachedFile {
    path: PathBuf,
    file: File,
    sha256: Sha256,
}

impl FileCache {
    /// Opens the cache of the run, which creates its folder. None if it is switched off, or if no
    /// folder for it can be written. Fails if `cache-dir` names a folder that must not be used.
    pub(crate) fn open(choice: Option<&CacheChoice>, host: &Host) -> Result<Option<Self>> {
        let log = host.log.clone();
        let (folder, asked) = match choice {
            Some(CacheChoice::Off) => return Ok(None),
            Some(CacheChoice::Folder(folder)) => {
                let asked = CacheDir::open(folder, &host.environment)?;
                (asked.folder.join(NAME), Some(asked))
            }
            None => {
                // Terraform's user needs no way to the cache: it gets links.
                let Some(folder) = cache_folder::open_for_us(Path::new(NAME), host) else {
                    return Ok(None);
                };
                (folder, None)
            }
        };
        // The umask might let a group write it.
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o755));
        // A checkout can contain the folder of `cache-dir`, with stamps that others wrote.
        let trusts_stamps = asked.is_none() && stamp::is_our_folder(&folder);
        let interrupt = host.interrupt.clone();
        Ok(Some(Self { folder, trusts_stamps, asked, log, interrupt }))
    }

    /// Returns where the cache of the run is or will be, without creating it.
    pub(crate) fn places(choice: Option<&CacheChoice>, environment: &ProcessEnv) -> Vec<PathBuf> {
        match choice {
            Some(CacheChoice::Off) => Vec::new(),
            Some(CacheChoice::Folder(folder)) => vec![folder.join(NAME)],
            None => cache_folder::places(Path::new(NAME), environment),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(folder: PathBuf, log: Log) -> Self {
        fs::create_dir_all(&folder).expect("a folder for the cache of a test");
        Self { folder, trusts_stamps: true, asked: None, log, interrupt: Interrupt::never() }
    }

    /// Returns a file with this content and size. Removes one with another content.
    pub(crate) fn find(&self, sha256: Sha256, size: u64) -> Option<CachedFile> {
        let path = self.path(sha256);
        let opened = link::open(&path);
        if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return None;
        }
        let checked = opened.and_then(|(file, found)| {
            let is_good = found.len() == size
                && (self.is_stamped(sha256, &found) || self.hash(&file, &found, sha256)?);
            Ok(is_good.then_some(CachedFile { path: path.clone(), file, sha256 }))
        });
        match checked {
            Ok(Some(cached)) => {
                stamp::touch(&self.stamp(sha256));
                Some(cached)
            }
            Ok(None) => {
                self.remove_damaged(&path);
                None
            }
            // The run ends.
            Err(_) if self.interrupt.requested().is_some() => None,
            Err(error) => {
                self.log.note(&format!("`{}` is not used: {error}", path.display()));
                None
            }
        }
    }

    /// Keeps a file of this run, whose content was verified. A failure is not one of the run.
    pub(crate) fn keep(&self, file: &Path, sha256: Sha256) {
        if let Err(error) = self.try_keep(file, sha256) {
            self.log.note(&format!(
                "a provider is not kept in `{}`, so the next deploy fetches it again: {error}",
                self.folder.display()
            ));
        }
        eviction::evict(&self.folder, Usage::LIMIT, &self.log);
        if let Some(asked) = &self.asked {
            asked.restore_owner(&self.log);
        }
    }

    /// Removes a cached file if its content is not what its name says. Returns whether it was.
    pub(crate) fn check_again(&self, cached: &CachedFile) -> bool {
        let hashed = cached.file.try_clone().and_then(|file| self.hash_of(&file));
        let is_cancelled = hashed.is_err() && self.interrupt.requested().is_some();
        let is_damaged = !is_cancelled && !hashed.is_ok_and(|found| found == cached.sha256);
        if is_damaged {
            self.remove_damaged(&cached.path);
        }
        is_damaged
    }

    /// Removes everything, because the disk is full. Returns whether that was anything.
    pub(crate) fn clear(&self) -> bool {
        let before = Usage::of(&self.folder);
        eviction::evict(&self.folder, 0, &self.log);
        Usage::of(&self.folder) != before
    }

    fn path(&self, sha256: Sha256) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    fn stamp(&self, sha256: Sha256) -> PathBuf {
        self.folder.join(format!("{sha256}{}", stamp::SUFFIX))
    }

    fn is_stamped(&self, sha256: Sha256, found: &Metadata) -> bool {
        self.trusts_stamps && stamp::matches(&self.stamp(sha256), found)
    }

    /// Hashes the file, and stamps it if it is what its name says.
    fn hash(&self, file: &File, before: &Metadata, sha256: Sha256) -> io::Result<bool> {
        let found = self.hash_of(file)?;
        let after = file.metadata()?;
        let unchanged = (before.len(), before.mtime(), before.mtime_nsec())
            == (after.len(), after.mtime(), after.mtime_nsec());
        if found != sha256 || !unchanged {
            return Ok(false);
        }
        if self.trusts_stamps {
            // Otherwise it is hashed again at the next use.
            let stamped = file.set_permissions(Permissions::from_mode(MODE));
            let _ = stamped.and_then(|()| stamp::write(&self.stamp(sha256), &after));
        }
        Ok(true)
    }

    /// Fails after a signal.
    fn hash_of(&self, file: &File) -> io::Result<Sha256> {
        let size = file.metadata()?.len();
        let progress = self.log.progress("hashing", size).until(&self.interrupt);
        digest::copy(&mut progress.reader(link::FromStart::new(file)), &mut io::sink())
    }

    fn remove_damaged(&self, path: &Path) {
        let place = path.display();
        match fs::remove_file(path) {
            Ok(()) => {
                self.log.warning(&format!("`{place}` is damaged: it is removed, and fetched again"))
            }
            Err(error) => self.log.warning(&format!(
                "`{place}` is damaged, and it cannot be removed ({error}): it is not used"
            )),
        }
    }

    fn try_keep(&self, file: &Path, sha256: Sha256) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let (source, found) = link::open(file)?;
        let is_elsewhere = fs::metadata(&self.folder)?.dev() != found.dev();
        if self.free()? < RESERVE + if is_elsewhere { found.len() } else { 0 } {
            return Err(io::Error::other(format!(
                "less than {} would be free there",
                bytes_text(RESERVE)
            )));
        }
        let staged = tempfile::Builder::new().prefix(link::NEW).tempdir_in(&self.folder)?;
        let new = staged.path().join("file");
        // A hard link has one mode at both places. No program of the run needs to write it.
        fs::set_permissions(file, Permissions::from_mode(MODE))?;
        link::place(&source, file, &new, MODE)?;
        let path = self.path(sha256);
        fs::rename(&new, &path)?;
        if self.trusts_stamps {
            stamp::write(&self.stamp(sha256), &fs::symlink_metadata(&path)?)?;
        }
        Ok(())
    }

    /// Returns the free space on the disk of the cache, in bytes.
    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }
}

impl CachedFile {
    /// Puts the file at the new path `to`, of which only the run's own folder is above.
    pub(crate) fn place(&self, to: &Path) -> io::Result<()> {
        link::place(&self.file, &self.path, to, OF_RUN)
    }

    /// Whether a link to it in `folder` needs no space.
    pub(crate) fn is_on_disk_of(&self, folder: &Path) -> bool {
        let device = |found: io::Result<Metadata>| found.map(|found| found.dev()).ok();
        device(self.file.metadata()).is_some_and(|one| device(fs::metadata(folder)) == Some(one))
    }
}
