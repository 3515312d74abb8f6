//! Puts the content of a file at another path: as a copy that shares its blocks, as a hard link, or
//! as an ordinary copy.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use nix::{errno::Errno, fcntl::OFlag};

/// The start of the name of an unfinished file.
pub(super) const NEW: &str = ".new-";
/// Bytes that are read at once.
const STEP: usize = 1 << 20;

/// Opens a regular file, and no link.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| {
        match error.raw_os_error() {
            Some(code) if code == Errno::ELOOP as i32 => irregular(),
            _ => error,
        }
    })?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found)),
        false => Err(irregular()),
    }
}

fn irregular() -> io::Error {
    io::Error::other("it is a link or not a file")
}

/// Whether two descriptions are of the same file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Puts the content of `file`, which was opened at `path`, at the new path `to`. A copy has `mode`;
/// a hard link has the mode of the file.
pub(super) fn place(file: &File, path: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let found = file.metadata()?;
    if let Ok(()) = clone(file, to, mode) {
        return Ok(());
    }
    if fs::hard_link(path, to).is_ok() {
        if fs::symlink_metadata(to).is_ok_and(|linked| is_same(&linked, &found)) {
            return Ok(());
        }
        // Another run has replaced the file since it was opened.
        fs::remove_file(to)?;
    }
    copy(file, found.len(), to, mode).inspect_err(|_| drop(fs::remove_file(to)))
}

/// Fails where the file system cannot share blocks between files.
#[cfg(target_os = "linux")]
fn clone(file: &File, to: &Path, mode: u32) -> io::Result<()> {
    let target = create(to, mode)?;
    rustix::fs::ioctl_ficlone(&target, file).map_err(|error| {
        // The next attempt creates it.
        let _ = fs::remove_file(to);
        error.into()
    })
}

#[cfg(not(target_os = "linux"))]
fn clone(_: &File, _: &Path, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn copy(file: &File, size: u64, to: &Path, mode: u32) -> io::Result<()> {
    let target = create(to, mode)?;
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < size {
        let step = (size - at).min(STEP as u64) as usize;
        file.read_exact_at(&mut buffer[..step], at)?;
        target.write_all_at(&buffer[..step], at)?;
        at += step as u64;
    }
    Ok(())
}

fn create(to: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    // Set explicitly, because the umask changes `mode`.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Reads a file from its start, wherever other readers of it are.
pub(super) struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FromStart<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl io::Read for FromStart<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(to, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
