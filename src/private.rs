//! The folder that a run works in: nobody else can enter it, and it is gone when the run is.

use std::{
    fs::Permissions,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    environment::Environment,
    error::{Error, Result},
};

/// Mode 0700; removed when it is dropped.
pub(crate) struct PrivateFolder(TempDir);

impl PrivateFolder {
    /// In TMPDIR, else in the system's folder for temporary files.
    pub(crate) fn create(environment: &Environment) -> Result<Self> {
        let parent = PathBuf::from(environment.get("TMPDIR").unwrap_or("/tmp"));
        let made =
            tempfile::Builder::new().prefix("cdflow-").permissions(Permissions::from_mode(0o700)).tempdir_in(&parent);
        made.map(Self).map_err(|error| {
            Error::io("can't make a private folder in", &parent, &error)
                .hint("set TMPDIR to a folder that can be written")
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A new folder inside.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir(&path).map_err(|error| Error::io("can't make the folder", &path, &error))?;
        Ok(path)
    }

    /// A new file inside, mode 0600.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.path().join(name);
        write_new(&path, content)?;
        Ok(path)
    }
}

/// Writes a file that does not exist yet, mode 0600.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(content)).map_err(|error| Error::io("can't write", path, &error))
}
