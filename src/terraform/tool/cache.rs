//! Downloaded programs, kept for the next run: `cdflow/tools/<tool>/<version>/<platform>/` in the
//! runner's tool cache or the user's cache folder, with one folder per digest.
//!
//! `signed-by` in that folder has the fingerprints of the keys that signed the sum of its archive.
//! A program counts only for components that trust one of them: the key of a mirror is one of an
//! account scheme, and others may use the same machine.
//!
//! A program gets its place by one rename when it is complete and verified, so a killed run leaves
//! none that is half written. Its digest is the name of its folder, and checked before each use.

use std::{
    fs::{self, File},
    io::{self, Write},
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
        small_file,
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

/// The file with the fingerprints of keys, one in each line.
const SIGNED_BY: &str = "signed-by";

/// Whose key may have signed.
pub(super) type Trusts<'a> = &'a dyn Fn(&str) -> bool;

/// The programs of one version for this platform.
pub(super) struct Cache {
    folder: PathBuf,
    program: &'static str,
}

impl Cache {
    /// In the first folder that can be written and that Terraform's user can enter. None if there
    /// is none.
    pub(super) fn open(flavor: Flavor, version: &Version, host: &Host) -> Option<Self> {
        if let Some(folder) = cache_folder::open(&below(flavor, version), host) {
            return Some(Self { folder, program: flavor.program() });
        }
        host.log.warning(
            "no folder for a cache: each run downloads the program again; set RUNNER_TOOL_CACHE or \
             XDG_CACHE_HOME to a folder that can be written",
        );
        None
    }

    /// Returns every cache that has the version, also those that cannot be written.
    pub(super) fn existing(
        flavor: Flavor,
        version: &Version,
        host: &Host,
    ) -> impl Iterator<Item = Self> {
        let folders = cache_folder::existing(&below(flavor, version), host).into_iter();
        folders.map(move |folder| Self { folder, program: flavor.program() })
    }

    /// Returns the versions that any cache has.
    pub(super) fn versions(flavor: Flavor, host: &Host) -> Vec<Version> {
        let folders = cache_folder::existing(&Path::new("tools").join(flavor.name()), host);
        let entries = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a program that is complete and signed by a key that counts; the one with the digest
    /// `pinned` if it is there.
    pub(super) fn find(
        &self,
        pinned: Option<Sha256>,
        trusts: Trusts<'_>,
        log: &Log,
    ) -> Result<Option<(PathBuf, Sha256)>> {
        let failed = |error: io::Error| Error::io("cannot list", &self.folder, &error);
        let mut found = None;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(digest) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
                continue;
            };
            if !signers(&entry.path()).iter().any(|key| trusts(key)) {
                log.detail(&format!(
                    "`{}` is not used: no key of this component signed it",
                    entry.path().display()
                ));
                continue;
            }
            let program = entry.path().join(self.program);
            match Sha256::of_file(&program) {
                Ok(real) if real == digest => {
                    if found.is_none() || pinned == Some(digest) {
                        found = Some((program, digest));
                    }
                }
                _ => {
                    log.warning(&format!(
                        "`{}` is damaged: it is removed, and downloaded again",
                        program.display()
                    ));
                    // It might be in a folder that cannot be written.
                    let _ = fs::remove_dir_all(entry.path());
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

    /// Gives a verified program its place, and returns its path. `signed_by` is a fingerprint.
    pub(super) fn keep(&self, staged: TempDir, digest: Sha256, signed_by: &str) -> Result<PathBuf> {
        let place = self.folder.join(digest.to_string());
        let failed = |error: io::Error| Error::io("cannot write", &place, &error);
        let is_there =
            Sha256::of_file(&place.join(self.program)).is_ok_and(|found| found == digest);
        if is_there {
            // The same program, which another key signed.
            sign(&place, signed_by).map_err(failed)?;
            return Ok(place.join(self.program));
        }
        sign(staged.path(), signed_by).map_err(failed)?;
        fs::rename(staged.path(), &place).map_err(failed)?;
        // Nothing is left to remove there.
        let _ = staged.keep();
        Ok(place.join(self.program))
    }
}

/// Returns the place of a version below a cache.
fn below(flavor: Flavor, version: &Version) -> PathBuf {
    Path::new("tools").join(flavor.name()).join(version.to_string()).join(platform())
}

fn signers(folder: &Path) -> Vec<String> {
    let text = small_file::text(&folder.join(SIGNED_BY)).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn sign(folder: &Path, signed_by: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(folder.join(SIGNED_BY))?;
    writeln!(file, "{signed_by}")
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
        cache.keep(staged, Sha256::of(content), "A").unwrap()
    }

    fn found(cache: &Cache, pinned: Option<Sha256>, trusted: &str) -> Option<PathBuf> {
        let found = cache.find(pinned, &|key| key == trusted, &log()).unwrap();
        found.map(|(program, _)| program)
    }

    #[test]
    fn only_a_whole_program_is_found() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(&root.path().join("1.9.8"));
        assert_eq!(found(&cache, None, "A"), None);
        // A killed run leaves what it staged.
        let left = cache.stage().unwrap().keep();
        fs::write(left.join("terraform"), "half").unwrap();
        assert_eq!(found(&cache, None, "A"), None);
        let (one, two) = (kept(&cache, b"one"), kept(&cache, b"two"));
        assert!(!left.exists());
        assert_eq!(found(&cache, Some(Sha256::of(b"one")), "A"), Some(one.clone()));
        assert_eq!(found(&cache, Some(Sha256::of(b"two")), "A"), Some(two.clone()));
        fs::write(&one, "One").unwrap();
        assert_eq!(found(&cache, Some(Sha256::of(b"one")), "A"), Some(two));
        assert!(!one.exists());
        assert_eq!(kept(&cache, b"one"), one);
    }

    #[test]
    fn a_program_counts_only_for_those_who_trust_its_key() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(&root.path().join("1.9.8"));
        let one = kept(&cache, b"one");
        assert_eq!(found(&cache, None, "B"), None);
        assert_eq!(found(&cache, None, ""), None);
        // The same program from another place.
        let staged = cache.stage().unwrap();
        fs::write(staged.path().join("terraform"), "one").unwrap();
        assert_eq!(cache.keep(staged, Sha256::of(b"one"), "B").unwrap(), one);
        for key in ["A", "B"] {
            assert_eq!(found(&cache, None, key), Some(one.clone()));
        }
        // As older versions of cdflow kept it.
        fs::remove_file(one.with_file_name(SIGNED_BY)).unwrap();
        assert_eq!(found(&cache, None, "A"), None);
        assert_eq!(kept(&cache, b"one"), one);
        assert_eq!(found(&cache, None, "A"), Some(one));
    }
}
