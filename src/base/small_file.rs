//! Reads files that a checkout or a machine describes: regular files only, and only up to a limit.
//!
//! A link can lead to a device without an end, or to a pipe without a writer.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{errno::Errno, fcntl::OFlag};

/// The cause of an error about a pipe, a device or a socket.
pub(super) const IRREGULAR: &str = "it is not a regular file";

/// More than any file of code, configuration or settings needs, in bytes.
const LIMIT: u64 = 64 << 20;

/// Reads a whole file of at most 64 MiB.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(LIMIT + 1).read_to_end(&mut content)?;
    match content.len() as u64 > LIMIT {
        true => Err(io::Error::other(format!("it is larger than {} MiB", LIMIT >> 20))),
        false => Ok(content),
    }
}

/// Like [`read`], for UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let content = read(path)?;
    if content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]) {
        return Err(io::Error::other("it is UTF-16, not UTF-8; save it as UTF-8"));
    }
    String::from_utf8(content).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Opens a file for reading if it is a regular file. Links are followed.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_as(OpenOptions::new().read(true), path)
}

/// Like [`open`], with other options. Sets the flags of the file.
pub(crate) fn open_as(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without the flag, a pipe would wait for its other end.
    let file = match options.custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
        Ok(file) => file,
        // A pipe without a reader, or a socket.
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {
            return Err(io::Error::other(IRREGULAR));
        }
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    match (found.is_file(), found.is_dir()) {
        (true, _) => Ok(file),
        (_, true) => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::other(IRREGULAR)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("real"), "text").unwrap();
        symlink("real", path("link")).unwrap();
        assert_eq!([text(&path("real")).unwrap(), text(&path("link")).unwrap()], ["text"; 2]);
        for device in ["/dev/zero", "/dev/null", "/dev/random"] {
            let link = path(&device.replace('/', "-"));
            symlink(device, &link).unwrap();
            assert_eq!(text(&link).unwrap_err().to_string(), "it is not a regular file");
        }
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["pipe", "socket"] {
            assert_eq!(read(&path(name)).unwrap_err().to_string(), IRREGULAR);
            let mut for_a_lock = OpenOptions::new();
            let for_a_lock = for_a_lock.create(true).truncate(false).write(true);
            let refused = open_as(for_a_lock, &path(name)).unwrap_err();
            assert_eq!(refused.to_string(), IRREGULAR);
        }
        File::create(path("huge")).unwrap().set_len(LIMIT + 1).unwrap();
        assert_eq!(read(&path("huge")).unwrap_err().to_string(), "it is larger than 64 MiB");
        assert_eq!(read(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
