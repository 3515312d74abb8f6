//! The files that go into a bundle: checks names and sizes, and gives the order of the entries.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    layout::{MAX_ENTRIES, MAX_FILE, MAX_TOTAL, rank},
    manifest::check_names,
};
use crate::base::error::{Error, Result};

/// Where the content of a file comes from.
#[derive(Debug)]
pub(crate) enum EntrySource {
    /// A regular file, or a link to one.
    Path(PathBuf),
    Bytes(Vec<u8>),
}

/// A file that goes into the bundle.
#[derive(Debug)]
pub(crate) struct StagedFile {
    /// Passes `check_name`, and is not `manifest.json`, which the writer adds.
    pub(crate) name: String,
    pub(crate) source: EntrySource,
    pub(crate) executable: bool,
}

/// A file, and its size in bytes, which must not change before it is read.
pub(super) struct PlannedEntry {
    pub(super) file: StagedFile,
    pub(super) size: u64,
}

/// Checks names and limits. Returns the files in the order of the entries.
pub(super) fn plan(files: Vec<StagedFile>) -> Result<Vec<PlannedEntry>> {
    if files.len() >= MAX_ENTRIES {
        return Err(too_much(format!("{} files are more than {}", files.len(), MAX_ENTRIES - 1)));
    }
    check_names(files.iter().map(|file| &file.name)).map_err(as_input)?;
    let mut planned = files.into_iter().map(measure).collect::<Result<Vec<_>>>()?;
    let total: u64 = planned.iter().map(|planned| planned.size).sum();
    if total > MAX_TOTAL {
        return Err(too_much(format!("{total} bytes are more than {MAX_TOTAL}")));
    }
    planned.sort_by(|a, b| rank(&a.file.name, a.size).cmp(&rank(&b.file.name, b.size)));
    Ok(planned)
}

fn measure(file: StagedFile) -> Result<PlannedEntry> {
    let size = match &file.source {
        EntrySource::Bytes(bytes) => bytes.len() as u64,
        EntrySource::Path(path) => regular_size(path)?,
    };
    if size > MAX_FILE {
        return Err(too_much(format!("`{}` has {size} bytes, more than {MAX_FILE}", file.name)));
    }
    Ok(PlannedEntry { file, size })
}

fn regular_size(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).map_err(|error| Error::io("cannot read", path, &error))?;
    if found.is_file() {
        Ok(found.len())
    } else {
        Err(Error::input(format!("cannot bundle `{}`", path.display()))
            .why("it is not a regular file"))
    }
}

pub(super) fn too_much(why: String) -> Error {
    Error::input("the release is too large for a bundle")
        .why(why)
        .hint("remove files that a deploy does not need")
}

/// Turns an integrity error into an input error: the names come from the checkout.
fn as_input(error: Error) -> Error {
    Error::input(error.to_string())
}
