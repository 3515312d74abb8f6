//! The two hashes of the lock file: `h1:` is over the content of a package, `zh:` over its archive.

use std::{fmt::Write, io, path::Path};

use walkdir::WalkDir;

use crate::base::{digest::Sha256, log::Progress};

/// Returns the `h1:` hash of an unpacked package, as Go's `dirhash` computes it: the SHA-256 over a
/// line for each file, sorted by name.
pub(crate) fn of_folder(folder: &Path, progress: &Progress) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            continue;
        }
        let relative = entry.path().strip_prefix(folder).map_err(io::Error::other)?;
        let name = relative.to_str().filter(|name| !name.contains('\n'));
        let name = name.ok_or_else(|| io::Error::other("a file's name is not plain text"))?;
        names.push(name.to_owned());
    }
    names.sort();
    let mut lines = String::new();
    for name in names {
        let digest = progress.hash_file(&folder.join(&name))?;
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{digest}  {name}");
    }
    Ok(format!("h1:{}", Sha256::of(lines.as_bytes()).base64()))
}

/// Returns the `zh:` hash of a package's archive.
pub(crate) fn of_archive(file: &Path, progress: &Progress) -> io::Result<String> {
    Ok(format!("zh:{}", progress.hash_file(file)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The value that Terraform 1.11.4 wrote into the lock file for these two files.
    #[test]
    fn the_same_as_terraform() {
        let (folder, none) = (tempfile::tempdir().unwrap(), Progress::none());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("terraform-provider-tiny_v1.0.0_x5", "#!/bin/sh\n# linux_amd64\nexit 1\n");
        write("LICENSE.txt", "None.\n");
        let hash = of_folder(folder.path(), &none).unwrap();
        assert_eq!(hash, "h1:ciuKb6zn1BNnGvfhPpgnMNBEkY6dXHjwJNXj/sOQPeA=");
        fs::create_dir(folder.path().join("empty")).unwrap();
        assert_eq!(of_folder(folder.path(), &none).unwrap(), hash);
        write("LICENSE.txt", "Some.\n");
        assert_ne!(of_folder(folder.path(), &none).unwrap(), hash);
        let empty = Sha256::of(b"");
        write("empty.zip", "");
        let archive = of_archive(&folder.path().join("empty.zip"), &none).unwrap();
        assert_eq!(archive, format!("zh:{empty}"));
    }
}
