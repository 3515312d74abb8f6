//! A build context: the files that an engine gets to build from, and the tar in which it gets them.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{
    sync::mpsc::{self, Sender},
    task::JoinHandle,
};

use super::ignore::{Ignore, MatchedRules};
use crate::base::{
    digest::Sha256,
    error::{Error, Result},
    small_file,
};

const IGNORE_FILE: &str = ".dockerignore";
/// The tar goes to the engine in pieces of this size, of which a few wait at most.
const PIECE: usize = 64 << 10;
const PIECES_WAITING: usize = 4;
const IGNORE_LIMIT: u64 = 1 << 20;
const DOCKERFILE_LIMIT: u64 = 4 << 20;

/// For whom the context is: clients of the two leave out different files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IgnoreDialect {
    /// Gets `.dockerignore` too, whatever the rules say: the engine removes from the context what
    /// they name.
    Classic,
    /// Prefers `<Dockerfile>.dockerignore`; exceptions may have wildcards also below ignored
    /// folders.
    BuildKit,
}

/// Files, links and folders, sorted by name. Nothing has been read of the files yet.
#[derive(Debug)]
pub(crate) struct BuildContext {
    pub(crate) entries: Vec<ContextEntry>,
    /// The name of the Dockerfile in `entries`. One from outside of the context has the digest of
    /// its content as its name.
    pub(crate) dockerfile: String,
}

/// The name is relative to the context, with `/` between its parts and none at its end.
#[derive(Debug)]
pub(crate) struct ContextEntry {
    pub(crate) name: String,
    pub(crate) kind: EntryKind,
}

#[derive(Debug)]
pub(crate) enum EntryKind {
    File {
        path: PathBuf,
        size: u64,
        /// The owner's bit: the others depend on the umask.
        executable: bool,
        stamp: Stamp,
    },
    Link {
        target: String,
    },
    Folder,
    /// A file that is not in the context's folder, or not with this content.
    Text(Vec<u8>),
}

/// By which a change of a file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl BuildContext {
    /// Lists the files of the folder `root` that are sent. No rule of the user can re-include what
    /// the patterns `always_ignored` match.
    pub(crate) fn read(
        root: &Path,
        dockerfile: &Path,
        dialect: IgnoreDialect,
        always_ignored: &[&str],
    ) -> Result<Self> {
        let root = fs::canonicalize(root)
            .map_err(|error| Error::io("can't enter the build context", root, &error))?;
        let path = fs::canonicalize(dockerfile).map_err(|error| {
            Error::io("can't read the Dockerfile", dockerfile, &error)
                .hint("check `docker: {dockerfile: …}` in cdflow.yml")
        })?;
        let ignore = ignore(&root, &path, dialect)?.and(always_ignored)?;
        let mut walk = Walk { ignore: &ignore, dialect, entries: Vec::new() };
        walk.folder(&root, "", None)?;
        let mut context = Self { entries: walk.entries, dockerfile: String::new() };
        match path.strip_prefix(&root) {
            Ok(inside) => {
                context.dockerfile = utf8(inside, &path)?.to_owned();
                context.add(context.dockerfile.clone(), &path)?;
            }
            Err(_) => context.add_from_outside(&path, &root, dialect)?,
        }
        let rules = root.join(IGNORE_FILE);
        if dialect == IgnoreDialect::Classic && fs::symlink_metadata(&rules).is_ok() {
            context.add(IGNORE_FILE.to_owned(), &rules)?;
        }
        context.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(context)
    }

    /// Returns a context of exactly these files, by name and path, and a generated Dockerfile. No
    /// `.dockerignore` applies.
    pub(crate) fn of(files: &[(String, PathBuf)], dockerfile: &str, text: &str) -> Result<Self> {
        let mut entries = vec![ContextEntry {
            name: dockerfile.to_owned(),
            kind: EntryKind::Text(text.as_bytes().to_vec()),
        }];
        for (name, path) in files {
            let path =
                fs::canonicalize(path).map_err(|error| Error::io("can't read", path, &error))?;
            entries.push(ContextEntry { name: name.clone(), kind: kind(&path)? });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { entries, dockerfile: dockerfile.to_owned() })
    }

    /// Although it may be ignored.
    fn add(&mut self, name: String, path: &Path) -> Result<()> {
        if !self.entries.iter().any(|entry| entry.name == name) {
            self.entries.push(ContextEntry { kind: kind(path)?, name });
        }
        Ok(())
    }

    /// For the classic builder, the rules remove the file again before anything is copied. For
    /// BuildKit they do not, but the name depends on the content only, so that the cache stays
    /// valid.
    fn add_from_outside(&mut self, path: &Path, root: &Path, dialect: IgnoreDialect) -> Result<()> {
        let content = read_limited(path, DOCKERFILE_LIMIT)?;
        let digest = Sha256::of(&content).to_string();
        self.dockerfile = format!(".dockerfile.{}", digest.get(..20).unwrap_or(&digest));
        self.entries
            .push(ContextEntry { name: self.dockerfile.clone(), kind: EntryKind::Text(content) });
        if dialect == IgnoreDialect::Classic {
            let rules = root.join(IGNORE_FILE);
            let mut text = match rules.exists() {
                true => read_limited(&rules, IGNORE_LIMIT)?,
                false => IGNORE_FILE.as_bytes().to_vec(),
            };
            text.extend_from_slice(format!("\n{}\n", self.dockerfile).as_bytes());
            self.entries.retain(|entry| entry.name != IGNORE_FILE);
            self.entries
                .push(ContextEntry { name: IGNORE_FILE.to_owned(), kind: EntryKind::Text(text) });
        }
        Ok(())
    }

    /// Returns how many bytes its files have.
    pub(crate) fn size(&self) -> u64 {
        let size = |entry: &ContextEntry| match &entry.kind {
            EntryKind::File { size, .. } => *size,
            EntryKind::Text(content) => content.len() as u64,
            EntryKind::Link { .. } | EntryKind::Folder => 0,
        };
        self.entries.iter().map(size).sum()
    }

    /// The tar as it is made. Its bytes depend on names, contents, links and the owner's executable
    /// bit alone.
    ///
    /// An error ends the stream with an error, so that an engine never uses a part of the files;
    /// the task returns it. A dropped stream ends the task without an error.
    pub(crate) fn tar(
        self,
    ) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, JoinHandle<Result<()>>) {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let task = tokio::task::spawn_blocking(move || {
            let mut pieces = Pieces {
                sender: sender.clone(),
                piece: Vec::with_capacity(PIECE),
                is_dropped: false,
            };
            let written = write_tar(&self.entries, &mut pieces);
            if pieces.is_dropped {
                return Ok(());
            }
            if let Err(error) = &written {
                let _ = sender.blocking_send(Err(io::Error::other(error.story())));
            }
            written
        });
        let next = |mut receiver: mpsc::Receiver<_>| async move {
            Some((receiver.recv().await?, receiver))
        };
        (stream::unfold(receiver, next), task)
    }
}

fn ignore(root: &Path, dockerfile: &Path, dialect: IgnoreDialect) -> Result<Ignore> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(IGNORE_FILE);
    let candidates = [
        (dialect == IgnoreDialect::BuildKit).then(|| PathBuf::from(own)),
        Some(root.join(IGNORE_FILE)),
    ];
    let Some(path) = candidates.into_iter().flatten().find(|path| path.exists()) else {
        return Ok(Ignore::default());
    };
    let text = String::from_utf8(read_limited(&path, IGNORE_LIMIT)?);
    let text = text.map_err(|_| Error::input(format!("`{}` is not UTF-8", path.display())))?;
    Ignore::parse(&path.display().to_string(), &text)
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read =
        small_file::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut content));
    read.map_err(|error| Error::io("can't read", path, &error))?;
    match content.len() as u64 > limit {
        true => Err(Error::input(format!("`{}` is larger than {limit} bytes", path.display()))),
        false => Ok(content),
    }
}

struct Walk<'a> {
    ignore: &'a Ignore,
    dialect: IgnoreDialect,
    entries: Vec<ContextEntry>,
}

impl Walk<'_> {
    /// `name` is the folder's own, empty for the context itself.
    fn folder(&mut self, path: &Path, name: &str, matched: Option<&MatchedRules>) -> Result<()> {
        let failed = |error: io::Error| {
            Error::io("can't read", path, &error)
                .hint("make it readable, or name it in .dockerignore")
        };
        for found in fs::read_dir(path).map_err(failed)? {
            let found = found.map_err(failed)?;
            let file_name = found.file_name();
            // Rules are asked also for a name that can't be sent.
            let child = match name {
                "" => file_name.to_string_lossy().into_owned(),
                name => format!("{name}/{}", file_name.to_string_lossy()),
            };
            let (is_ignored, matched) = self.ignore.is_ignored(&child, matched);
            let is_folder = found.file_type().map_err(failed)?.is_dir();
            if !is_ignored {
                utf8(Path::new(&file_name), &found.path())?;
                self.entries.push(ContextEntry { kind: kind(&found.path())?, name: child.clone() });
            }
            if is_folder && (!is_ignored || self.may_hold_exceptions(&child)) {
                self.below(&found.path(), &child, is_ignored, &matched)?;
            }
        }
        Ok(())
    }

    fn below(
        &mut self,
        path: &Path,
        name: &str,
        is_ignored: bool,
        matched: &MatchedRules,
    ) -> Result<()> {
        let before = self.entries.len();
        self.folder(path, name, Some(matched))?;
        // Only BuildKit gets the folder that contains an exception.
        if is_ignored && self.dialect == IgnoreDialect::BuildKit && self.entries.len() > before {
            self.entries.push(ContextEntry { kind: EntryKind::Folder, name: name.to_owned() });
        }
        Ok(())
    }

    fn may_hold_exceptions(&self, name: &str) -> bool {
        match self.dialect {
            IgnoreDialect::Classic => self.ignore.may_hold_exceptions(name),
            IgnoreDialect::BuildKit => self.ignore.may_hold_exceptions_of_any_kind(name),
        }
    }
}

fn utf8<'a>(name: &'a Path, path: &Path) -> Result<&'a str> {
    name.to_str().ok_or_else(|| {
        Error::input(format!("the name of `{}` is not UTF-8", path.display()))
            .hint("rename it, or name it in .dockerignore")
    })
}

fn kind(path: &Path) -> Result<EntryKind> {
    let failed = |error: io::Error| Error::io("can't read", path, &error);
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let kind = found.file_type();
    if kind.is_dir() {
        Ok(EntryKind::Folder)
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(failed)?;
        let target = target.to_str().ok_or_else(|| {
            Error::input(format!("the target of the link `{}` is not UTF-8", path.display()))
                .hint("rename it, or name the link in .dockerignore")
        })?;
        Ok(EntryKind::Link { target: target.to_owned() })
    } else if kind.is_file() {
        let executable = found.permissions().mode() & 0o100 != 0;
        Ok(EntryKind::File {
            path: path.to_owned(),
            size: found.len(),
            executable,
            stamp: Stamp::of(&found),
        })
    } else {
        Err(Error::input(format!("`{}` is neither a file, a link nor a folder", path.display()))
            .hint("remove it, or name it in .dockerignore"))
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

fn write_tar(entries: &[ContextEntry], to: &mut Pieces) -> Result<()> {
    let mut tar = tar::Builder::new(to);
    for entry in entries {
        write_entry(&mut tar, entry)?;
    }
    let ended = tar.into_inner().and_then(Pieces::pass_on);
    ended.map_err(|error| Error::internal("the build context can't be sent").why(error))
}

fn write_entry(
    tar: &mut tar::Builder<&mut Pieces>,
    ContextEntry { name, kind }: &ContextEntry,
) -> Result<()> {
    let failed = |error: io::Error| {
        Error::input(format!("`{name}` of the build context can't be sent")).why(error)
    };
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mode(0o755);
    match kind {
        EntryKind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{name}/"), io::empty()).map_err(failed)
        }
        EntryKind::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, name, target).map_err(failed)
        }
        EntryKind::Text(content) => {
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_slice()).map_err(failed)
        }
        EntryKind::File { path, size, executable, stamp } => {
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*size);
            // A link in its place would lead elsewhere, and a pipe would wait for ever.
            let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
            let opened = File::options().read(true).custom_flags(flags).open(path);
            let file = opened.map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => Error::io("can't read", path, &error)
                    .hint("make it readable, or name it in .dockerignore"),
                _ => changed(path, error),
            })?;
            unchanged(&file, path, stamp)?;
            let mut content = (&file).take(*size);
            tar.append_data(&mut header, name, &mut content).map_err(failed)?;
            match content.limit() {
                0 => unchanged(&file, path, stamp),
                _ => Err(changed(path, "it has become shorter")),
            }
        }
    }
}

fn unchanged(file: &File, path: &Path, stamp: &Stamp) -> Result<()> {
    match file.metadata() {
        Ok(found) if Stamp::of(&found) == *stamp => Ok(()),
        Ok(_) => Err(changed(path, "it is not as it was when the files were listed")),
        Err(error) => Err(Error::io("can't read", path, &error)),
    }
}

fn changed(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::input(format!("`{}` has changed while the build context was sent", path.display()))
        .why(why)
        .hint("let nothing else write there, or name it in .dockerignore")
}

/// Passes on what is written to it, in pieces; waits while too many are on their way.
struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    /// The reader was dropped.
    is_dropped: bool,
}

impl Pieces {
    fn pass_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        if !piece.is_empty() && self.sender.blocking_send(Ok(piece.into())).is_err() {
            self.is_dropped = true;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.pass_on()?;
        }
        Ok(taken)
    }

    /// The rest goes with the last piece: small pieces would cost more than they save.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
