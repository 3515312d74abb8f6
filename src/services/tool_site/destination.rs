//! Where a program is written, and how messages name that place.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::base::error::{Error, without_temporary_path};

/// A file that does not exist yet, in a folder that does.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    program: PathBuf,
    /// The folder that the user knows. `program` is in a temporary folder below it.
    shown: PathBuf,
    /// What to do if the disk is full.
    remedy: &'static str,
}

impl Destination {
    pub(crate) fn new(program: PathBuf, shown: &Path, remedy: &'static str) -> Self {
        Self { program, shown: shown.to_owned(), remedy }
    }

    /// Returns the folder for messages.
    pub(crate) fn shown_folder(&self) -> &Path {
        &self.shown
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn folder(&self) -> &Path {
        self.program.parent().unwrap_or(Path::new("."))
    }

    pub(super) fn failed(&self, error: &io::Error) -> Error {
        let failed = Error::input(format!("cannot write to `{}`", self.shown.display()))
            .why(without_temporary_path(error));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failed.hint(self.remedy),
            _ => failed.hint("check the folder, or name another one with RUNNER_TOOL_CACHE"),
        }
    }
}
