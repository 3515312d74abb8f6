//! The errors of a folder of objects, which name what it is for.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::base::error::Error;

/// The root of a store in a folder.
#[derive(Clone)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) purpose: Purpose,
}

/// What a folder of objects is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Releases,
    States,
}

impl Purpose {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Releases => "release store",
            Self::States => "state folder",
        }
    }
}

impl Root {
    pub(super) fn unwritable(&self, doing: &str, path: &Path, error: &io::Error) -> Error {
        // The fix for a full disk.
        let free = match self.purpose {
            Purpose::Releases => "free space in the release store, for example with `cdflow prune`",
            Purpose::States => "free space on the disk of the state folder",
        };
        Error::io_on_disk(doing, path, error, free)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_names_what_the_folder_is_for() {
        let full = io::Error::from_raw_os_error(nix::errno::Errno::ENOSPC as i32);
        for (purpose, says) in [
            (
                Purpose::Releases,
                "-> free space in the release store, for example with `cdflow prune`",
            ),
            (Purpose::States, "-> free space on the disk of the state folder"),
        ] {
            let root = Root { path: "/s".into(), purpose };
            let error = root.unwritable("can't write", Path::new("/s/a"), &full).to_string();
            assert!(error.contains("`/s/a`") && error.contains(says), "{error}");
        }
    }
}
