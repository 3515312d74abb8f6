//! The SHA-256 of big files that this machine has hashed before, such as providers. A file is
//! hashed again if the system says anything else about it than at that time.

use std::{
    fs::{self, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::geteuid;

use crate::{
    base::{
        digest::{self, Sha256},
        log::Progress,
        small_file,
    },
    services::ci::host::Host,
    terraform::cache_folder,
};

/// Differs after each start of the system. What was written just before a power failure might not
/// be on the disk, although its size and times are.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// The permission of a group and of others to write.
const OF_OTHERS: u32 = 0o022;
/// A file that changed as many seconds ago can change again without another time.
const UNSETTLED: i64 = 2;
/// A stamp that no release has used for as many seconds (60 days) is removed.
const UNUSED: u64 = 60 * 24 * 3600;

/// The stamps of this machine, one small file each. Without a folder, every file is hashed.
pub(crate) struct HashedFiles {
    folder: Option<PathBuf>,
}

/// What the system says about a file. The time of the last change (ctime) cannot be set by a
/// program, so that no write goes unnoticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    text: String,
    /// In seconds since 1970.
    changed: i64,
}

impl HashedFiles {
    pub(crate) fn open(host: &Host) -> Self {
        Self::at(cache_folder::open_for_us(Path::new("hashes"), host))
    }

    fn at(folder: Option<PathBuf>) -> Self {
        let is_own = |folder: &PathBuf| fs::symlink_metadata(folder).is_ok_and(|it| is_ours(&it));
        Self { folder: folder.filter(is_own) }
    }

    /// Returns the SHA-256 of a file, from its stamp if it has one.
    pub(crate) fn hash(&self, path: &Path, progress: &Progress) -> io::Result<Sha256> {
        let mut file = small_file::open(path)?;
        let state = FileState::of(&file.metadata()?);
        if let Some(known) = state.as_ref().and_then(|state| self.find(state)) {
            return Ok(known);
        }
        let sha256 = digest::copy(&mut progress.reader(&mut file), &mut io::sink())?;
        if FileState::of(&file.metadata()?) == state {
            self.keep(state.as_ref(), sha256);
        }
        Ok(sha256)
    }

    /// Records the hash of a file that had this state before and after it was hashed. A failure
    /// only costs time later.
    pub(crate) fn keep(&self, state: Option<&FileState>, sha256: Sha256) {
        let (Some(folder), Some(state)) = (&self.folder, state) else { return };
        if jiff::Timestamp::now().as_second() - state.changed > UNSETTLED {
            let _ = write(folder, &folder.join(state.name()), sha256);
        }
    }

    fn find(&self, state: &FileState) -> Option<Sha256> {
        let path = self.folder.as_ref()?.join(state.name());
        let found = fs::symlink_metadata(&path).ok()?;
        if !found.is_file() || !is_ours(&found) {
            return None;
        }
        let sha256 = small_file::text(&path).ok()?.trim_end().parse().ok()?;
        // Otherwise it counts as unused too early.
        let _ = small_file::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(sha256)
    }
}

impl FileState {
    /// None on a system that does not identify its start: then files are hashed each time.
    pub(crate) fn of(found: &Metadata) -> Option<Self> {
        let boot = small_file::text(Path::new(BOOT)).ok()?;
        let (modified, changed) = (found.mtime(), found.ctime());
        let text = format!(
            "1 {} {} {} {modified}.{:09} {changed}.{:09} {}",
            found.dev(),
            found.ino(),
            found.len(),
            found.mtime_nsec(),
            found.ctime_nsec(),
            boot.trim()
        );
        Some(Self { text, changed })
    }

    fn name(&self) -> String {
        Sha256::of(self.text.as_bytes()).to_string()
    }
}

/// Only what no other user can write is believed.
fn is_ours(found: &Metadata) -> bool {
    found.uid() == geteuid().as_raw() && found.mode() & OF_OTHERS == 0
}

fn write(folder: &Path, path: &Path, sha256: Sha256) -> io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(new, "{sha256}")?;
    new.persist(path).map_err(|error| error.error)?;
    for entry in fs::read_dir(folder)?.flatten() {
        let used = entry.metadata().and_then(|found| found.modified());
        if used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age.as_secs() > UNUSED)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::PermissionsExt};

    use super::*;

    /// A folder of stamps with one that says that `file` has the hash of `other`.
    fn forged(file: &Path, folder: &Path) -> HashedFiles {
        let state = FileState::of(&fs::metadata(file).unwrap()).unwrap();
        write(folder, &folder.join(state.name()), Sha256::of(b"other")).unwrap();
        HashedFiles::at(Some(folder.to_owned()))
    }

    #[test]
    fn a_file_that_nothing_has_touched_is_not_hashed_again() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = place.path().join("file");
        fs::write(&file, "one").unwrap();
        let files = forged(&file, folder.path());
        // The stamp is believed, so the file was not read.
        assert_eq!(files.hash(&file, &Progress::none()).unwrap(), Sha256::of(b"other"));
        assert_eq!(
            HashedFiles::at(None).hash(&file, &Progress::none()).unwrap(),
            Sha256::of(b"one")
        );

        // The same size and time of modification, and other bytes.
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        assert_eq!(files.hash(&file, &Progress::none()).unwrap(), Sha256::of(b"two"));
        // Another file in its place.
        let files = forged(&file, folder.path());
        fs::rename(&file, place.path().join("old")).unwrap();
        fs::write(&file, "six").unwrap();
        assert_eq!(files.hash(&file, &Progress::none()).unwrap(), Sha256::of(b"six"));
    }

    #[test]
    fn stamps_that_others_can_write_are_ignored() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = place.path().join("file");
        fs::write(&file, "one").unwrap();
        let files = forged(&file, folder.path());
        for entry in fs::read_dir(folder.path()).unwrap().flatten() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o666)).unwrap();
        }
        assert_eq!(files.hash(&file, &Progress::none()).unwrap(), Sha256::of(b"one"));
        let files = forged(&file, folder.path());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(files.hash(&file, &Progress::none()).unwrap(), Sha256::of(b"other"));
        let files = HashedFiles::at(files.folder);
        assert_eq!(files.hash(&file, &Progress::none()).unwrap(), Sha256::of(b"one"));
    }

    #[test]
    fn a_file_that_has_just_changed_gets_no_stamp() {
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = place.path().join("file");
        fs::write(&file, "one").unwrap();
        let files = HashedFiles::at(Some(folder.path().to_owned()));
        files.hash(&file, &Progress::none()).unwrap();
        let stamps = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(stamps(), 0);
        let mut state = FileState::of(&fs::metadata(&file).unwrap()).unwrap();
        state.changed -= UNSETTLED + 1;
        files.keep(Some(&state), Sha256::of(b"one"));
        assert_eq!(stamps(), 1);
        // What is not used any more is removed.
        let old = folder.path().join("old");
        fs::write(&old, "").unwrap();
        let long_ago = jiff::Timestamp::now().as_second() as u64 - UNUSED - 9;
        let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(long_ago);
        File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
        files.keep(Some(&state), Sha256::of(b"one"));
        assert_eq!(stamps(), 1);
    }
}
