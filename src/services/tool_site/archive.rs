//! The archive of a version: one program, and texts such as the license.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
};

use zip::{ZipArchive, read::ZipFile};

use super::destination::Destination;
use crate::base::{
    digest::{self, Sha256},
    error::{Error, Result},
    log::Progress,
};

/// Ten times the size of today's programs.
const LARGEST: u64 = 1 << 30;
const TEXTS: [&str; 4] = ["LICENSE", "README", "CHANGELOG", "NOTICE"];

/// Writes the program into the new file `to`. `shown` is the archive's address.
pub(super) fn extract(
    archive: File,
    shown: &str,
    program: &str,
    to: &Destination,
    progress: &Progress,
) -> Result<Sha256> {
    let broken = |why: String| {
        Error::integrity(format!("`{shown}` is not an archive of {program}"))
            .why(why)
            .hint("compare it with the publisher's file; nothing was kept")
    };
    let listed = listed(&archive).map_err(|error| broken(error.to_string()))?;
    let mut archive = ZipArchive::new(archive).map_err(|error| broken(error.to_string()))?;
    // The reader keeps only the last of several entries with one name.
    if listed != Some(archive.len()) {
        return Err(broken("its list of files has a name twice".into()));
    }
    let mut found = None;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| broken(error.to_string()))?;
        match check(&entry, program) {
            Ok(true) if found.replace(index).is_some() => {
                return Err(broken(format!("`{program}` is in it twice")));
            }
            Ok(_) => {}
            Err(why) => return Err(broken(why)),
        }
    }
    let index = found.ok_or_else(|| broken(format!("`{program}` is not in it")))?;
    let entry = archive.by_index(index).map_err(|error| broken(error.to_string()))?;
    let failed = |error: &io::Error| to.failed(error);
    let mut file = File::create_new(to.program()).map_err(|error| failed(&error))?;
    // The zip reader checks the CRC at the end; a wrong size or CRC is an error of reading.
    let copied = digest::copy(&mut progress.reader(entry.take(LARGEST)), &mut file);
    let digest = copied.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => broken(error.to_string()),
        io::ErrorKind::UnexpectedEof => broken("it is truncated".into()),
        _ => failed(&error),
    })?;
    fs::set_permissions(to.program(), Permissions::from_mode(0o755))
        .map_err(|error| failed(&error))?;
    file.sync_all().map_err(|error| failed(&error))?;
    Ok(digest)
}

/// Returns how many entries the archive says that it has; None if it does not say so. An archive of
/// a program needs no ZIP64.
fn listed(mut archive: &File) -> io::Result<Option<usize>> {
    // The end record with the longest comment.
    const LONGEST: u64 = 22 + 0xffff;
    let length = archive.seek(SeekFrom::End(0))?;
    archive.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    let mut tail = Vec::new();
    archive.read_to_end(&mut tail)?;
    archive.rewind()?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    let count = end.and_then(|at| tail.get(at + 10..at + 12));
    Ok(count.map(|count| usize::from(u16::from_le_bytes([count[0], count[1]]))))
}

/// Whether an entry is the program. Fails on what such an archive does not contain.
fn check<R: Read + ?Sized>(
    entry: &ZipFile<'_, R>,
    program: &str,
) -> std::result::Result<bool, String> {
    let name = entry.name().map_err(|error| error.to_string())?;
    let is_text = TEXTS.iter().any(|text| name.starts_with(text)) && !name.contains(['/', '\\']);
    if name != program && !is_text {
        return Err(format!("it contains `{}`", name.escape_debug()));
    }
    let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
    if entry.is_symlink() || entry.is_dir() || !matches!(kind, 0 | 0o100_000) {
        return Err(format!("`{}` is not a regular file", name.escape_debug()));
    }
    if entry.encrypted() {
        return Err(format!("`{}` is encrypted", name.escape_debug()));
    }
    if entry.size() > LARGEST {
        return Err(format!("`{}` has {} bytes", name.escape_debug(), entry.size()));
    }
    Ok(name == program)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn zipped(entries: &[(&str, u32)]) -> File {
        let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, mode) in entries {
            if mode & 0o170_000 == 0o120_000 {
                zip.add_symlink(*name, "/etc/passwd", SimpleFileOptions::default()).unwrap();
                continue;
            }
            zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap()
    }

    fn extracted(archive: File) -> std::result::Result<(String, u32), String> {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("program");
        let destination = Destination::new(to.clone(), folder.path(), "free some space");
        match extract(archive, "a.zip", "terraform", &destination, &Progress::none()) {
            Ok(digest) => {
                let content = fs::read_to_string(&to).unwrap();
                assert_eq!(digest, Sha256::of(content.as_bytes()));
                Ok((content, fs::metadata(&to).unwrap().permissions().mode() & 0o777))
            }
            Err(error) => {
                assert_eq!(error.exit(), crate::base::error::Exit::Integrity);
                Err(error.story())
            }
        }
    }

    #[test]
    fn only_the_program_is_taken() {
        let good = zipped(&[("LICENSE.txt", 0o644), ("terraform", 0o644), ("README.md", 0o644)]);
        assert_eq!(extracted(good), Ok(("terraform".into(), 0o755)));
        for (entries, why) in [
            (&[("terraform", 0o755), ("tofu", 0o755)][..], "it contains `tofu`"),
            (&[("terraform", 0o120_777)], "`terraform` is not a regular file"),
            (&[("terraform", 0o755), ("../terraform", 0o755)], "it contains `../terraform`"),
            (&[("LICENSE.txt", 0o644)], "`terraform` is not in it"),
            (&[("terraform/", 0o755)], "it contains `terraform/`"),
            (&[("README/../../x", 0o644), ("terraform", 0o755)], "it contains `README/"),
        ] {
            let error = extracted(zipped(entries)).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
        // The writer refuses a second entry of one name, so the name is changed afterwards.
        let mut twice = zipped(&[("terraform", 0o755), ("LICENSE__", 0o644)]);
        let mut bytes = Vec::new();
        twice.rewind().unwrap();
        twice.read_to_end(&mut bytes).unwrap();
        while let Some(at) = bytes.windows(9).position(|window| window == b"LICENSE__") {
            bytes[at..at + 9].copy_from_slice(b"terraform");
        }
        twice.rewind().unwrap();
        twice.write_all(&bytes).unwrap();
        assert!(extracted(twice).unwrap_err().contains("has a name twice"));
        let mut html = tempfile::tempfile().unwrap();
        html.write_all(b"<html>").unwrap();
        assert!(extracted(html).unwrap_err().contains("`a.zip` is not an archive of terraform"));
    }

    #[test]
    fn a_flipped_bit_in_the_content_is_noticed() {
        use std::io::{Seek, SeekFrom};
        let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
        let stored =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("terraform", stored).unwrap();
        zip.write_all(&[b'x'; 4096]).unwrap();
        let mut archive = zip.finish().unwrap();
        archive.seek(SeekFrom::Start(1000)).unwrap();
        archive.write_all(b"y").unwrap();
        assert!(extracted(archive).unwrap_err().contains("is not an archive of terraform"));
    }
}
