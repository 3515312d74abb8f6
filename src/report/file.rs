//! A report as a file: it appears whole, or not at all.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::Path,
};

use crate::base::error::{Error, Result};

/// Others may read it: later steps of a workflow are other users, and nothing in it is secret. A link in its place is
/// replaced, not followed.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        // In a container we are root, and the folder is the runner's, who shall be able to remove the file. Others may not give.
        let around = fs::metadata(folder)?;
        let _ = fchown(file.as_file(), Some(around.uid()), Some(around.gid()));
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Err(Error::input(format!("the report `{}` is a folder", path.display())));
    }
    written().map_err(|error| Error::io("can't write the report", path, &error))
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
