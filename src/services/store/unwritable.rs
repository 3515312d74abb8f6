//! The errors of writes to a release store in a folder, and of listing it.

use std::{io, path::Path};

use crate::base::error::Error;

/// The fix for a full disk.
const FREE: &str = "free space in the release store, for example with `cdflow prune`";

pub(super) fn unwritable(doing: &str, path: &Path, error: &io::Error) -> Error {
    Error::io_on_disk(doing, path, error, FREE)
}

pub(super) fn unlisted(folder: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::input(format!("can't list `{}`", folder.display())).why(error).hint(
                "give the user that runs cdflow the permissions to read and to enter this folder \
                 of the release store (`r` and `x`)",
            )
        }
        _ => Error::io("can't list", folder, error),
    }
}
