//! The stamp of a cached file: what the system said about the file when its content was hashed. As
//! long as that is the same, the file is not hashed again.

use std::{
    fs::{self, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::SystemTime,
};

use nix::unistd::geteuid;

use super::link::NEW;
use crate::base::small_file;

/// The end of the name of a stamp, next to its file.
pub(super) const SUFFIX: &str = ".stamp";
/// The permission of a group and of others to write.
const OF_OTHERS: u32 = 0o022;
/// The permission of anybody to write.
const OF_ANYBODY: u32 = 0o222;
/// Differs after each start of the system. What was written just before a power failure might not
/// be on the disk, although its size and time are.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the text of a stamp. None on a system that does not identify its start: then files are
/// hashed before each use.
fn text_of(found: &Metadata) -> Option<String> {
    let boot = small_file::text(Path::new(BOOT)).ok()?;
    let (seconds, nanos) = (found.mtime(), found.mtime_nsec());
    let (size, device, inode) = (found.len(), found.dev(), found.ino());
    Some(format!("1 {size} {seconds}.{nanos:09} {device} {inode} {}\n", boot.trim()))
}

/// Whether the stamp describes the file. It is believed only if both files are
/// ours, and no other user can write them.
pub(super) fn matches(stamp: &Path, found: &Metadata) -> bool {
    is_ours(found, OF_ANYBODY)
        && fs::symlink_metadata(stamp).is_ok_and(|it| it.is_file() && is_ours(&it, OF_OTHERS))
        && text_of(found).is_some_and(|text| small_file::text(stamp).is_ok_and(|it| it == text))
}

/// Whether a folder is ours, and no other user can write it.
pub(super) fn is_our_folder(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir() && is_ours(&it, OF_OTHERS))
}

fn is_ours(found: &Metadata, forbidden: u32) -> bool {
    found.uid() == geteuid().as_raw() && found.mode() & forbidden == 0
}

/// Writes the stamp of a file that was hashed while it had this metadata.
pub(super) fn write(stamp: &Path, found: &Metadata) -> io::Result<()> {
    let Some(text) = text_of(found) else { return Ok(()) };
    let folder = stamp.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(NEW).tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.persist(stamp).map(drop).map_err(|error| error.error)
}

/// Records that the file was used now.
pub(super) fn touch(stamp: &Path) {
    // Otherwise it counts as unused too early, and is fetched again.
    let _ = small_file::open(stamp).and_then(|file| file.set_modified(SystemTime::now()));
}
