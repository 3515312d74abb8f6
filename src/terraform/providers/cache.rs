//! Downloaded providers, kept for the next release: one folder for each `h1:` hash of an unpacked
//! package, and one file for each `zh:` hash of an archive.
//!
//! Only a package with a hash of the lock file is used, and its hash is computed before each use.
//! It gets its place by one rename, so that nothing is half written.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Package, hash};
use crate::{
    base::{
        digest::Sha256,
        error::Result,
        limits::Limit,
        log::{Log, Progress},
        run_as::RunAs,
    },
    services::ci::host::Host,
    terraform::{
        cache_folder::{self, LOCK},
        cache_lock::{self, Locked},
    },
};

/// A package that no release has used for as many seconds (60 days) is removed.
const UNUSED: u64 = 60 * 24 * 3600;

/// What a package is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Folder(PathBuf),
    Archive(PathBuf),
}

/// The cache of providers.
#[derive(Clone, Debug)]
pub(crate) struct ProviderCache {
    folder: PathBuf,
}

impl ProviderCache {
    /// The cache of this machine. None if no folder for it can be written.
    pub(crate) fn open(host: &Host) -> Option<Self> {
        Some(Self { folder: cache_folder::open(Path::new("providers"), host)? })
    }

    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns a package that has one of the hashes, verified. Removes what is damaged. Fails if a
    /// signal ends `progress`.
    pub(crate) fn find(
        &self,
        package: &Package,
        hashes: &[String],
        log: &Log,
        progress: &Progress,
    ) -> Result<Option<Content>> {
        let place = package.folder(&self.folder);
        for wanted in hashes {
            let Some(path) = name_of(wanted).map(|name| place.join(name)) else { continue };
            let (content, found) = match wanted.starts_with("h1:") {
                true if path.is_dir() => {
                    (Content::Folder(path.clone()), hash::of_folder(&path, progress))
                }
                false if path.is_file() => {
                    (Content::Archive(path.clone()), hash::of_archive(&path, progress))
                }
                _ => continue,
            };
            progress.step(0)?;
            if found.is_ok_and(|found| found == *wanted) {
                touch(&path);
                return Ok(Some(content));
            }
            log.warning(&format!(
                "`{}` is damaged: it is removed, and downloaded again",
                path.display()
            ));
            remove(&path);
        }
        Ok(None)
    }

    /// Lets one of several releases download a package that has one of the hashes. Returns its lock
    /// if that is this release. A release that waited does not make others wait: what it waited for
    /// is there, or will not be.
    pub(crate) async fn turn(
        &self,
        package: &Package,
        hashes: &[String],
        host: &Host,
    ) -> Option<File> {
        let folder = package.folder(&self.folder);
        let names: Vec<PathBuf> =
            hashes.iter().filter_map(|hash| Some(folder.join(name_of(hash)?))).collect();
        let is_there = || names.iter().any(|path| path.exists());
        // Without the package's own kind of hash it will not be found later.
        if names.is_empty() || is_there() {
            return None;
        }
        let note = format!(
            "another release downloads {} {} for {}: waiting for it",
            package.address, package.version, package.platform
        );
        let limit = Limit::ProviderLock;
        // A cache that cannot be written is none.
        fs::create_dir_all(&folder).ok()?;
        match cache_lock::wait(&folder.join(LOCK), limit, &note, host, is_there).await.ok()? {
            Locked::AtOnce(file) if !is_there() => {
                touch(&folder.join(LOCK));
                Some(file)
            }
            Locked::Never => {
                let why = limit.passed("another release did not finish its download");
                host.log.note(&format!("{why}: this release downloads {} too", package.address));
                None
            }
            _ => None,
        }
    }

    /// Keeps a package, which has this hash. A failure is not one of the release.
    pub(crate) fn keep(
        &self,
        package: &Package,
        content: &Content,
        hash: &str,
        run_as: RunAs,
        log: &Log,
    ) {
        let kept = self.try_keep(package, content, hash, run_as);
        if let Err(error) = kept {
            let address = &package.address;
            let folder = self.folder.display();
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => log.warning(&format!(
                    "{address} is not kept in `{folder}`, so the next release downloads it again: \
                     {error}; free some space there"
                )),
                _ => log.note(&format!("{address} is not kept in `{folder}`: {error}")),
            }
        }
        self.remove_unused();
    }

    fn try_keep(
        &self,
        package: &Package,
        content: &Content,
        hash: &str,
        run_as: RunAs,
    ) -> io::Result<()> {
        let name = name_of(hash).ok_or_else(|| io::Error::other("unknown kind of hash"))?;
        let folder = package.folder(&self.folder);
        let place = folder.join(name);
        if place.exists() {
            return Ok(());
        }
        fs::create_dir_all(&folder)?;
        let staged = cache_folder::stage(&folder)?;
        let ready = staged.path().join("package");
        match content {
            Content::Archive(file) => copy(file, &ready, run_as)?,
            Content::Folder(from) => {
                for entry in walkdir::WalkDir::new(from) {
                    let entry = entry?;
                    let relative = entry.path().strip_prefix(from).map_err(io::Error::other)?;
                    let to = ready.join(relative);
                    match entry.file_type().is_dir() {
                        true => fs::create_dir(to)?,
                        false => copy(entry.path(), &to, run_as)?,
                    }
                }
            }
        }
        match fs::rename(&ready, &place) {
            // Another release was faster.
            Err(_) if place.exists() => Ok(()),
            renamed => renamed,
        }
    }

    /// Removes what has not been used for a long time, and what killed runs left.
    fn remove_unused(&self) {
        let packages = walkdir::WalkDir::new(&self.folder).min_depth(6).max_depth(6);
        for entry in packages.into_iter().filter_map(Result::ok) {
            let age = entry.metadata().ok().and_then(|found| found.modified().ok()?.elapsed().ok());
            if age.is_some_and(|age| age.as_secs() > UNUSED) {
                remove(entry.path());
            }
        }
    }
}

/// Returns the name of a package in its folder.
fn name_of(hash: &str) -> Option<String> {
    match hash.split_once(':')? {
        ("h1", text) => Some(format!("h1-{}", Sha256::from_base64(text)?)),
        ("zh", text) => Some(format!("zh-{}.zip", text.parse::<Sha256>().ok()?)),
        _ => None,
    }
}

/// A hard link needs no space. Terraform's user could change a file of its own, so that is copied.
fn copy(from: &Path, to: &Path, run_as: RunAs) -> io::Result<()> {
    let is_linked = run_as == RunAs::Ourselves && fs::hard_link(from, to).is_ok();
    if !is_linked {
        fs::copy(from, to)?;
        let mode = fs::metadata(to)?.permissions().mode() & 0o755;
        fs::set_permissions(to, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// What is in use by another release keeps its name until it is renamed.
fn remove(path: &Path) {
    // What cannot be removed takes space, and nothing else: its hash is checked before each use.
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn touch(path: &Path) {
    // Then the package counts as unused too early, and is downloaded again.
    let opened = File::options().read(true).open(path);
    let _ = opened.and_then(|file| file.set_modified(SystemTime::now()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Redactor;

    fn log() -> Log {
        Log::new(Redactor::default(), 0, true, false)
    }

    fn package() -> Package {
        Package::new("registry.terraform.io/hashicorp/tiny", "1.0.0", "linux_arm64").unwrap()
    }

    fn write(folder: &Path, content: &str) -> (Content, String) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("terraform-provider-tiny"), content).unwrap();
        (Content::Folder(folder.to_owned()), hash::of_folder(folder, &Progress::none()).unwrap())
    }

    #[test]
    fn only_the_content_of_a_locked_hash_is_used() {
        let root = tempfile::tempdir().unwrap();
        let cache = ProviderCache::at(root.path().join("cache"));
        let (one, h1) = write(&root.path().join("one"), "one");
        let (_, other) = write(&root.path().join("two"), "two");
        let find = |hashes: &[&str]| {
            let hashes: Vec<String> = hashes.iter().map(|hash| (*hash).to_owned()).collect();
            cache.find(&package(), &hashes, &log(), &Progress::none()).unwrap()
        };
        assert_eq!(find(&[&h1]), None);
        cache.keep(&package(), &one, &h1, RunAs::Ourselves, &log());
        cache.keep(&package(), &one, &h1, RunAs::Ourselves, &log());
        let Some(Content::Folder(kept)) = find(&["zh:x", &other, &h1]) else { panic!("not kept") };
        assert_eq!(find(&[&other]), None);
        assert_eq!(find(&["h1:..", "h2:x", "zh:../..", ""]), None);
        // A hard link, so it needs no space of its own.
        use std::os::unix::fs::MetadataExt;
        let inode = |folder: &Path| fs::metadata(folder.join("terraform-provider-tiny")).unwrap();
        assert_eq!(inode(&kept).ino(), inode(&root.path().join("one")).ino());
        // A file more is damage, as a changed one is.
        fs::write(kept.join("more"), "").unwrap();
        assert_eq!(find(&[&h1]), None);
        assert!(!kept.exists());
        assert_eq!(fs::read_dir(kept.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn archives_and_what_is_unused() {
        let root = tempfile::tempdir().unwrap();
        let cache = ProviderCache::at(root.path().join("cache"));
        let file = root.path().join("a.zip");
        fs::write(&file, "zip").unwrap();
        let zh = hash::of_archive(&file, &Progress::none()).unwrap();
        let user = RunAs::User { id: 1, group: 1 };
        cache.keep(&package(), &Content::Archive(file), &zh, user, &log());
        let hashes = [zh];
        let Some(Content::Archive(kept)) =
            cache.find(&package(), &hashes, &log(), &Progress::none()).unwrap()
        else {
            panic!("not kept")
        };
        let old = File::open(&kept).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        cache.remove_unused();
        assert!(!kept.exists());
    }
}
