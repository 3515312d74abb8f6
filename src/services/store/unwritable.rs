//! The error of a write to a release store in a folder.

use std::{io, path::Path};

use crate::base::error::Error;

/// The fix for a full disk.
const FREE: &str = "free space in the release store, for example with `cdflow prune`";

pub(super) fn unwritable(doing: &str, path: &Path, error: &io::Error) -> Error {
    Error::io_on_disk(doing, path, error, FREE)
}
