//! What programs have said about their versions, kept for the next run: asking Terraform takes
//! longer than all that cdflow does before.
//!
//! An answer counts for one file: its path, size, inode and time of change. Only large programs are
//! kept. A small one can be a switcher (tenv, mise, a script) that chooses the version by the
//! folder, so its answer is not a property of the file.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use semver::Version;

use crate::{
    base::{digest::Sha256, small_file},
    services::ci::host::Host,
    terraform::cache_folder,
};

/// In bytes. Terraform and OpenTofu have more than 60 MB, the switchers fewer than 20 MB.
const LARGE: u64 = 40 << 20;

/// Whether a program is too large for a switcher.
pub(super) fn is_large(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|found| found.is_file() && found.size() >= LARGE)
}

/// The file with the version of one program.
pub(super) struct KnownVersion {
    file: PathBuf,
}

impl KnownVersion {
    /// None if the answer of this program is not kept.
    pub(super) fn of(program: &Path, host: &Host) -> Option<Self> {
        let path = fs::canonicalize(program).ok()?;
        let found = fs::metadata(&path).ok()?;
        if !is_large(&path) {
            return None;
        }
        let folder = cache_folder::open(Path::new("versions"), host)?;
        // A replaced file has another inode or ctime, even if somebody has set its mtime.
        let identity = format!(
            "{}\n{} {} {} {}.{} {}.{}",
            path.display(),
            found.size(),
            found.dev(),
            found.ino(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec()
        );
        Some(Self { file: folder.join(Sha256::of(identity.as_bytes()).to_string()) })
    }

    pub(super) fn read(&self) -> Option<Version> {
        let text = small_file::text(&self.file).ok()?;
        text.trim().parse().ok()
    }

    /// Keeps the answer. A failure only means that the program is asked again.
    pub(super) fn keep(&self, version: &Version) {
        let Some(folder) = self.file.parent() else { return };
        let kept = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            writeln!(file, "{version}")?;
            file.persist(&self.file).map_err(|error| error.error)
        });
        drop(kept);
    }
}
