//! Unpacks the archive of a provider.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use zip::{ZipArchive, read::ZipFile};

use crate::base::{
    error::{Error, Result},
    log::Progress,
    small_file,
};

/// The largest unpacked package, in bytes. That of AWS had 0.7 GB in 2026.
const LARGEST: u64 = 8 << 30;

/// Unpacks the archive into the new folder `to`. `shown` is how messages name it.
pub(crate) fn unpack(archive: &Path, shown: &str, to: &Path, progress: &Progress) -> Result<()> {
    let broken = |why: String| {
        Error::integrity(format!("`{shown}` is not the archive of a provider"))
            .why(why)
            .hint("compare it with the publisher's file")
    };
    let unreadable = |error: zip::result::ZipError| broken(error.to_string());
    let file =
        small_file::open(archive).map_err(|error| Error::io("cannot read", archive, &error))?;
    let mut zip = ZipArchive::new(file).map_err(unreadable)?;
    let mut left = LARGEST;
    fs::create_dir_all(to).map_err(|error| Error::io("cannot create the folder", to, &error))?;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(unreadable)?;
        let name = checked_name(&entry).map_err(broken)?;
        if entry.is_dir() {
            continue;
        }
        left = left.checked_sub(entry.size()).ok_or_else(|| broken("it is too large".into()))?;
        let path = to.join(&name);
        let executable = entry.unix_mode().is_none_or(|mode| mode & 0o100 != 0);
        let mut content = progress.reader(entry);
        write(&mut content, &path, executable).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::UnexpectedEof => broken(format!("`{name}`: {error}")),
            _ => Error::io("cannot write", &path, &error),
        })?;
    }
    Ok(())
}

fn write(content: &mut impl io::Read, path: &Path, executable: bool) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create_new(path)?;
    io::copy(content, &mut file)?;
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Returns the name of a file or folder that stays inside the package.
fn checked_name<R: io::Read + ?Sized>(entry: &ZipFile<'_, R>) -> Result<String, String> {
    let name = entry.name().map_err(|error| error.to_string())?;
    let shown = name.escape_debug();
    let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
    if entry.is_symlink() || !matches!(kind, 0 | 0o100_000 | 0o040_000) {
        return Err(format!("`{shown}` is neither a file nor a folder"));
    }
    if entry.encrypted() {
        return Err(format!("`{shown}` is encrypted"));
    }
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    let path = name.strip_suffix('/').unwrap_or(&name);
    if !path.split('/').all(is_plain) || path.contains(['\\', '\0', '\n']) {
        return Err(format!("`{shown}` leads out of it"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn unpacked(entries: &[(&str, u32)]) -> Result<Vec<(String, u32)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.zip");
        let mut zip = ZipWriter::new(File::create(&archive).unwrap());
        for (name, mode) in entries {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            match name.strip_prefix("-> ") {
                Some(name) => zip.add_symlink(name, "/etc/passwd", options).unwrap(),
                None => {
                    zip.start_file(*name, options).unwrap();
                    zip.write_all(name.as_bytes()).unwrap();
                }
            }
        }
        zip.finish().unwrap();
        let to = folder.path().join("to");
        unpack(&archive, "a.zip", &to, &Progress::none()).map_err(|error| error.to_string())?;
        let files = walkdir::WalkDir::new(&to).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file());
        let shown = files.map(|entry| {
            let name = entry.path().strip_prefix(&to).unwrap().to_str().unwrap().to_owned();
            (name, entry.metadata().unwrap().permissions().mode() & 0o777)
        });
        Ok(shown.collect())
    }

    #[test]
    fn files_with_their_modes() {
        let entries = [("terraform-provider-x", 0o755), ("doc/LICENSE", 0o600)];
        let expected = [("doc/LICENSE", 0o644), ("terraform-provider-x", 0o755)];
        let expected = expected.map(|(name, mode)| (name.to_owned(), mode));
        assert_eq!(unpacked(&entries).unwrap(), expected);
    }

    #[test]
    fn what_is_not_a_package() {
        for (name, why) in [
            ("../x", "leads out of it"),
            ("/x", "leads out of it"),
            ("a/./x", "leads out of it"),
            ("a\\x", "leads out of it"),
            ("-> x", "neither a file nor a folder"),
        ] {
            let refused = unpacked(&[(name, 0o644)]).unwrap_err();
            assert!(refused.contains(why), "{name}: {refused}");
        }
        let twice = unpacked(&[("a", 0o644), ("a/b", 0o644)]).unwrap_err();
        assert!(twice.contains("a/b"), "{twice}");
        let folder = tempfile::tempdir().unwrap();
        let html = folder.path().join("x.zip");
        fs::write(&html, "<html>").unwrap();
        let refused =
            unpack(&html, "x.zip", &folder.path().join("to"), &Progress::none()).unwrap_err();
        assert_eq!(refused.exit(), crate::base::error::Exit::Integrity);
    }
}
