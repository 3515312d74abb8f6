//! Downloaded programs, kept for the next run: `cdflow/tools/<tool>/<version>/<platform>/` in the
//! runner's tool cache or the user's cache folder, with one folder per digest.
//!
//! A program gets its place by one rename when it is complete and verified, so a killed run leaves
//! none that is half written. Its digest is the name of its folder, and checked before each use.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use semver::Version;
use tempfile::TempDir;

use super::platform::platform;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        limits::Limit,
        log::Log,
    },
    config::flavor::Flavor,
    services::ci::host::Host,
    terraform::{
        cache_folder::{self, LOCK},
        cache_lock::{self, Locked},
    },
};

/// What to do if the disk of the cache is full.
pub(super) const REMEDY: &str =
    "free some space there, or set RUNNER_TOOL_CACHE to a folder on a larger disk";

/// The programs of one version for this platform.
pub(super) struct Cache {
    folder: PathBuf,
    program: &'static str,
}

impl Cache {
    /// In the first folder that can be written and that Terraform's user can enter. None if there
    /// is none.
    pub(super) fn open(flavor: Flavor, version: &Version, host: &Host) -> Option<Self> {
        let below = Path::new("tools").join(flavor.name()).join(version.to_string());
        if let Some(folder) = cache_folder::open(&below.join(platform()), host) {
            return Some(Self { folder, program: flavor.program() });
        }
        host.log.warning(
            "no folder for a cache: each run downloads the program again; set RUNNER_TOOL_CACHE or \
             XDG_CACHE_HOME to a folder that can be written",
        );
        None
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a program that is complete; the one with the digest `pinned` if it is there.
    pub(super) fn find(&self, pinned: Option<Sha256>, log: &Log) -> Result<Option<PathBuf>> {
        let failed = |error: io::Error| Error::io("cannot list", &self.folder, &error);
        let mut found = None;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(digest) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
                continue;
            };
            let program = entry.path().join(self.program);
            match Sha256::of_file(&program) {
                Ok(real) if real == digest => {
                    if found.is_none() || pinned == Some(digest) {
                        found = Some(program);
                    }
                }
                _ => {
                    log.warning(&format!(
                        "`{}` is damaged: it is removed, and downloaded again",
                        program.display()
                    ));
                    fs::remove_dir_all(entry.path())
                        .map_err(|error| Error::io("cannot remove", &entry.path(), &error))?;
                }
            }
        }
        Ok(found)
    }

    /// Waits until no other run downloads. The lock ends with the returned value.
    pub(super) async fn lock(&self, host: &Host) -> Result<File> {
        let (path, limit) = (self.folder.join(LOCK), Limit::ToolLock);
        let note = "another run downloads the same version: waiting for it";
        let locked = cache_lock::wait(&path, limit, note, host, || false).await;
        match locked.map_err(|error| Error::io("cannot lock", &path, &error))? {
            Locked::AtOnce(file) | Locked::AfterWaiting(file) => Ok(file),
            Locked::Never | Locked::NotNeeded => Err(Error::new(
                Exit::Unavailable,
                format!("another run holds `{}`", path.display()),
            )
            .why(limit.passed("it did not finish its download"))
            .hint("end that run, or run again later")),
        }
    }

    /// A folder for a download. Call it under the lock: it removes what killed runs left.
    pub(super) fn stage(&self) -> Result<TempDir> {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().filter_map(io::Result::ok) {
            if cache_folder::is_staged(&entry.file_name().to_string_lossy()) {
                // What cannot be removed takes space, and nothing else.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        cache_folder::stage(&self.folder)
            .map_err(|error| Error::io("cannot write to", &self.folder, &error))
    }

    /// Gives a verified program its place, and returns its path.
    pub(super) fn keep(&self, staged: TempDir, digest: Sha256) -> Result<PathBuf> {
        let place = self.folder.join(digest.to_string());
        let renamed = fs::rename(staged.path(), &place);
        renamed.map_err(|error| Error::io("cannot write", &place, &error))?;
        // Nothing is left to remove there.
        let _ = staged.keep();
        Ok(place.join(self.program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Redactor;

    fn cache(folder: &Path) -> Cache {
        fs::create_dir_all(folder).unwrap();
        Cache { folder: folder.to_owned(), program: "terraform" }
    }

    fn log() -> Log {
        Log::new(Redactor::default(), 0, true, false)
    }

    fn kept(cache: &Cache, content: &[u8]) -> PathBuf {
        let staged = cache.stage().unwrap();
        fs::write(staged.path().join("terraform"), content).unwrap();
        cache.keep(staged, Sha256::of(content)).unwrap()
    }

    #[test]
    fn only_a_whole_program_is_found() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(&root.path().join("1.9.8"));
        assert_eq!(cache.find(None, &log()).unwrap(), None);
        // A killed run leaves what it staged.
        let left = cache.stage().unwrap().keep();
        fs::write(left.join("terraform"), "half").unwrap();
        assert_eq!(cache.find(None, &log()).unwrap(), None);
        let (one, two) = (kept(&cache, b"one"), kept(&cache, b"two"));
        assert!(!left.exists());
        assert_eq!(cache.find(Some(Sha256::of(b"one")), &log()).unwrap(), Some(one.clone()));
        assert_eq!(cache.find(Some(Sha256::of(b"two")), &log()).unwrap(), Some(two.clone()));
        fs::write(&one, "One").unwrap();
        assert_eq!(cache.find(Some(Sha256::of(b"one")), &log()).unwrap(), Some(two));
        assert!(!one.exists());
        assert_eq!(kept(&cache, b"one"), one);
    }
}
