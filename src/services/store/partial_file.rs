//! A file that is being downloaded: it gets its name only when it is complete.

use std::{io, path::Path};

use tempfile::NamedTempFile;

use super::TEMPORARY;
use crate::base::{
    blocking::blocking,
    error::{Error, Result},
};

/// The partial file, next to its goal. Removed when it is dropped.
pub(crate) async fn create(to: &Path, size: u64) -> Result<NamedTempFile> {
    let to = to.to_owned();
    blocking(move || {
        let failed = |error: io::Error| Error::io("can't write", &to, &error);
        let folder =
            to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let partial =
            tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).map_err(failed)?;
        partial.as_file().set_len(size).map_err(failed)?;
        Ok(partial)
    })
    .await
}

/// Gives the complete file its name.
pub(crate) async fn keep(partial: NamedTempFile, to: &Path) -> Result<()> {
    let to = to.to_owned();
    blocking(move || {
        partial
            .persist_noclobber(&to)
            .map(drop)
            .map_err(|error| Error::io("can't write", &to, &error.error))
    })
    .await
}
