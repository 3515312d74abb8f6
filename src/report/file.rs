//! Writes a report to a file, atomically.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::base::{
    checkout_path,
    error::{Error, Result},
    owner::give_to_owner_of,
};

/// Writes `text` to `path`, readable for everyone: later steps may run as another user, and nothing
/// in it is secret. A symbolic link at `path` is replaced, not followed, and a link of a checkout
/// does not lead the report out of it.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = &checkout_path::resolve(folder_of(path))?;
    let target = folder.join(path.file_name().unwrap_or_default());
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        give_to_owner_of(folder, file.as_file())?;
        file.persist(&target).map_err(|error| error.error)?;
        Ok(())
    };
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(Error::input(format!(
            "cannot write the report: `{}` is a folder",
            path.display()
        )));
    }
    written().map_err(|error| Error::io("cannot write the report", path, &error))
}

/// The folder of a file; `.` for a plain name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [other, report] = ["other", "report.md"].map(|name| folder.path().join(name));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &report).unwrap();
        write(&report, "new").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert_eq!(fs::read_to_string(&report).unwrap(), "new");
        assert_eq!(fs::metadata(&report).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(
            write(folder.path(), "x").is_err()
                && write(&folder.path().join("no/report"), "x").is_err()
        );
    }
}
