//! Keeps the cache of files small: what was used longest ago is removed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{link::NEW, stamp};
use crate::base::{digest::Sha256, log::Log};

/// A file that no deploy has used for as many seconds (60 days) is removed.
const UNUSED: u64 = 60 * 24 * 3600;
/// What a killed run left is removed after as many seconds (a day).
const LEFT: u64 = 24 * 3600;

/// What is in a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

impl Usage {
    /// The most that a cache has, in bytes.
    pub(crate) const LIMIT: u64 = 8_000_000_000;

    /// Looks into a folder, which might not exist.
    pub(crate) fn of(folder: &Path) -> Self {
        let files = list(folder);
        Self { files: files.len(), bytes: files.iter().map(|file| file.size).sum() }
    }
}

struct Kept {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

/// Removes what was used longest ago until the files have at most `limit` bytes, and what was not
/// used for a long time. Runs that use these files are not disturbed.
pub(super) fn evict(folder: &Path, limit: u64, log: &Log) {
    let mut files = list(folder);
    files.sort_by_key(|file| std::cmp::Reverse(file.used));
    let mut total = 0;
    for file in files {
        total += file.size;
        if total > limit || is_older(file.used, UNUSED) {
            remove(&file.path, log);
        }
    }
    remove_left(folder);
}

fn remove(path: &Path, log: &Log) {
    // The file first: a stamp without a file is nothing, a file without a stamp is hashed.
    let removed = fs::remove_file(path).and_then(|()| fs::remove_file(stamp_of(path)));
    if let Err(error) = removed {
        log.detail(&format!("cannot remove `{}`: {error}", path.display()));
    }
}

fn remove_left(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_alone = name.strip_suffix(stamp::SUFFIX).is_some_and(|of| !folder.join(of).exists());
        let modified = entry.metadata().and_then(|found| found.modified());
        let is_old = modified.is_ok_and(|at| is_older(at, LEFT));
        if is_old && (is_alone || name.starts_with(NEW)) {
            // What cannot be removed takes space, and nothing else.
            let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
        }
    }
}

fn list(folder: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let kept = entries.filter_map(|entry| {
        entry.file_name().to_str()?.parse::<Sha256>().ok()?;
        let (path, found) = (entry.path(), entry.metadata().ok()?);
        let stamped = fs::metadata(stamp_of(&path)).and_then(|stamp| stamp.modified());
        let used = stamped.or_else(|_| found.modified()).ok()?;
        found.is_file().then_some(Kept { path, size: found.len(), used })
    });
    kept.collect()
}

fn stamp_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(stamp::SUFFIX);
    name.into()
}

fn is_older(time: SystemTime, than: u64) -> bool {
    time.elapsed().is_ok_and(|age| age.as_secs() > than)
}
