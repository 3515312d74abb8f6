//! What a commit contains, by its own digests: git only delivers the objects, which are checked.
//!
//! Neither the index nor a pack of the checkout is trusted, because both can be forged.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Component, Path, PathBuf},
};

use sha1::Digest;

use super::view::View;
use crate::base::{
    digest::Sha256,
    error::{Error, Exit, Result},
    small_file,
};

/// As in Linux: a chain of more links is a loop.
const MOST_LINKS: usize = 40;
/// The largest pointer of Git LFS, in bytes.
const POINTER_LIMIT: usize = 1024;
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:";

/// The files of a commit.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Of the checkout, canonical.
    root: PathBuf,
    pub(crate) commit: String,
    /// By path, relative to the root.
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: EntryKind,
    id: String,
    /// The digest of the content that Git LFS checks out instead of a pointer.
    large: Option<Sha256>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryKind {
    File {
        executable: bool,
    },
    Link,
    /// A commit of another repository.
    Submodule,
}

/// Why a file is not one of the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    NotInCommit,
    Differs,
}

impl Tree {
    pub(super) async fn read(view: &View<'_>, commit: &str) -> Result<Self> {
        let header = object(view, "commit", commit).await?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let top = header.lines().next().and_then(|line| line.strip_prefix("tree "));
        let top = top.ok_or_else(|| damaged(commit, "it names no tree"))?;
        let mut tree =
            Self { root: view.root.clone(), commit: commit.to_owned(), entries: BTreeMap::new() };
        let mut level = vec![(PathBuf::new(), top.to_owned())];
        while !level.is_empty() {
            let ids = level.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>();
            let contents = objects(view, "tree", &ids).await?;
            let mut next = Vec::new();
            for ((path, id), content) in level.iter().zip(contents) {
                tree.add(path, &content, id.len() / 2, &mut next)
                    .ok_or_else(|| damaged(id, "it is not a tree"))?;
            }
            level = next;
        }
        Ok(tree)
    }

    /// Adds the entries of one folder: `<mode> <name>\0<id>`, again and again.
    fn add(
        &mut self,
        folder: &Path,
        mut content: &[u8],
        id_length: usize,
        folders: &mut Vec<(PathBuf, String)>,
    ) -> Option<()> {
        while !content.is_empty() {
            let space = content.iter().position(|byte| *byte == b' ')?;
            let end = content.iter().position(|byte| *byte == 0)?;
            let (mode, name) = (content.get(..space)?, content.get(space + 1..end)?);
            let id = hex(content.get(end + 1..end + 1 + id_length)?);
            content = content.get(end + 1 + id_length..)?;
            let path = folder.join(OsStr::from_bytes(name));
            let kind = match mode {
                b"40000" => {
                    folders.push((path, id));
                    continue;
                }
                b"120000" => EntryKind::Link,
                b"160000" => EntryKind::Submodule,
                mode => EntryKind::File { executable: mode == b"100755" },
            };
            self.entries.insert(path, Entry { kind, id, large: None });
        }
        Some(())
    }

    /// Learns which content belongs to the pointers of Git LFS among these files. Only then does
    /// the content count as unchanged.
    pub(super) async fn resolve_pointers(
        &mut self,
        view: &View<'_>,
        names: &[PathBuf],
    ) -> Result<()> {
        let of_file = |name: &PathBuf| {
            let entry = self.entries.get(name)?;
            matches!(entry.kind, EntryKind::File { .. }).then(|| (name.clone(), entry.id.clone()))
        };
        let files = names.iter().filter_map(of_file).collect::<Vec<_>>();
        let ids = files.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>();
        let small = small_objects(view, &ids).await?;
        let ids = small.iter().map(String::as_str).collect::<Vec<_>>();
        let contents = objects(view, "blob", &ids).await?;
        let contents = small.iter().zip(contents).collect::<BTreeMap<_, _>>();
        for (name, id) in &files {
            if let (Some(content), Some(entry)) = (contents.get(id), self.entries.get_mut(name)) {
                entry.large = pointer(content);
            }
        }
        Ok(())
    }

    /// Returns the tracked files that the checkout lacks or that differ, relative to its root.
    pub(crate) fn changed(&self) -> Vec<PathBuf> {
        self.entries.keys().filter(|name| self.differs(name)).cloned().collect()
    }

    pub(super) fn differs(&self, name: &Path) -> bool {
        let path = self.root.join(name);
        match self.entries.get(name) {
            None => true,
            Some(Entry { kind: EntryKind::Submodule, .. }) => false,
            Some(entry @ Entry { kind: EntryKind::Link, .. }) => fs::read_link(&path)
                .map_or(true, |to| {
                    object_id("blob", to.as_os_str().as_bytes(), &entry.id) != entry.id
                }),
            Some(entry) => {
                // A link in a folder's place would lead elsewhere.
                let is_there = self.resolve(&path).is_some_and(|real| real == name);
                !is_there || !is_same(entry, &path).unwrap_or(false)
            }
        }
    }

    /// Checks that `path` is a file of the commit, with its content. Links on the way must be links
    /// of the commit as well.
    pub(crate) fn check_file(&self, path: &Path) -> std::result::Result<(), Foreign> {
        let name = self.resolve(path).ok_or(Foreign::NotInCommit)?;
        match self.entries.get(&name) {
            Some(Entry { kind: EntryKind::File { .. }, .. }) if self.differs(&name) => {
                Err(Foreign::Differs)
            }
            Some(Entry { kind: EntryKind::File { .. }, .. }) => Ok(()),
            _ => Err(Foreign::NotInCommit),
        }
    }

    /// Checks that `path` itself is a link of the commit.
    pub(crate) fn check_link(&self, path: &Path) -> std::result::Result<(), Foreign> {
        let folder = path.parent().and_then(|folder| self.resolve(folder));
        let name = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
        match name.and_then(|name| Some((self.entries.get(&name)?.kind, name))) {
            Some((EntryKind::Link, name)) if self.differs(&name) => Err(Foreign::Differs),
            Some((EntryKind::Link, _)) => Ok(()),
            _ => Err(Foreign::NotInCommit),
        }
    }

    /// Returns a path as messages name it: relative to the root if it is below.
    pub(crate) fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Returns where `path` leads, relative to the root, if it leads over no link that the commit
    /// does not contain.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut rest = parts(path.strip_prefix(&self.root).ok()?);
        let (mut here, mut links) = (PathBuf::new(), 0);
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                here.pop().then_some(())?;
                continue;
            }
            here.push(part);
            let Ok(target) = fs::read_link(self.root.join(&here)) else { continue };
            let is_link = self.entries.get(&here).is_some_and(|it| it.kind == EntryKind::Link);
            links += 1;
            if !is_link || self.differs(&here) || links > MOST_LINKS {
                return None;
            }
            here.pop();
            let mut after = parts(match target.is_absolute() {
                true => {
                    here.clear();
                    target.strip_prefix(&self.root).ok()?
                }
                false => &target,
            });
            after.append(&mut rest);
            rest = after;
        }
        Some(here)
    }
}

fn parts(path: &Path) -> VecDeque<std::ffi::OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

/// Compares as git does after a checkout: also with other ends of lines, or with the content that
/// Git LFS checks out instead of a pointer.
fn is_same(entry: &Entry, path: &Path) -> io::Result<bool> {
    let mut file = small_file::open(path)?;
    let found = file.metadata()?;
    let executable = found.permissions().mode() & 0o100 != 0;
    if entry.kind != (EntryKind::File { executable }) {
        return Ok(false);
    }
    let mut hasher = Hasher::of_length(entry.id.len());
    hasher.update(format!("blob {}\0", found.len()).as_bytes());
    let (mut buffer, mut large) = (vec![0; 256 * 1024], crate::base::digest::Hasher::default());
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                large.update(&buffer[..read]);
            }
        }
    }
    if hasher.finish() == entry.id || entry.large == Some(large.finish()) {
        return Ok(true);
    }
    let content = small_file::read(path)?;
    let mut unix = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        if *byte != b'\r' || content.get(at + 1) != Some(&b'\n') {
            unix.push(*byte);
        }
    }
    Ok(object_id("blob", &unix, &entry.id) == entry.id)
}

/// Returns the digest of the content if this is a pointer of Git LFS.
fn pointer(content: &[u8]) -> Option<Sha256> {
    let text = std::str::from_utf8(content).ok()?.strip_prefix(POINTER)?;
    text.lines().next()?.parse().ok()
}

async fn object(view: &View<'_>, kind: &str, id: &str) -> Result<Vec<u8>> {
    let mut found = objects(view, kind, &[id]).await?;
    found.pop().ok_or_else(|| damaged(id, "git did not return it"))
}

/// Returns the contents of these objects, in this order. Each is checked against its id.
async fn objects(view: &View<'_>, kind: &str, ids: &[&str]) -> Result<Vec<Vec<u8>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let answer = view.run(&view.root, ["cat-file", "--batch"], lines(ids)).await?;
    let mut rest = answer.stdout.as_slice();
    let mut found = Vec::new();
    for id in ids {
        let (content, after) =
            next(rest, kind).ok_or_else(|| damaged(id, "the repository lacks it"))?;
        if object_id(kind, content, id) != *id {
            return Err(damaged(id, "its content does not match its name"));
        }
        found.push(content.to_owned());
        rest = after;
    }
    Ok(found)
}

/// Splits `<id> <kind> <size>\n<content>\n` from the output.
fn next<'o>(output: &'o [u8], kind: &str) -> Option<(&'o [u8], &'o [u8])> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(output.get(..end)?).ok()?;
    let mut words = header.split(' ').skip(1);
    let size = (words.next()? == kind).then(|| words.next())??.parse::<usize>().ok()?;
    let from = end + 1;
    Some((output.get(from..from + size)?, output.get(from + size + 1..)?))
}

/// Returns the ids of objects that are small enough for a pointer, each once.
async fn small_objects(view: &View<'_>, ids: &[&str]) -> Result<Vec<String>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let answer = view.run(&view.root, ["cat-file", "--batch-check"], lines(ids)).await?;
    let small = |line: &str| {
        let (id, size) = (line.split(' ').next()?, line.rsplit(' ').next()?);
        (size.parse::<usize>().ok()? <= POINTER_LIMIT).then(|| id.to_owned())
    };
    let mut found: Vec<_> =
        String::from_utf8_lossy(&answer.stdout).lines().filter_map(small).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn lines(ids: &[&str]) -> Vec<u8> {
    ids.iter().flat_map(|id| [id.as_bytes(), b"\n"].concat()).collect()
}

fn damaged(id: &str, why: &str) -> Error {
    Error::new(Exit::Integrity, format!("cannot read the git object `{id}` of the checkout"))
        .why(why)
        .hint("check the repository out again")
}

/// Returns the id that git gives to this content, in the algorithm of `like`.
pub(super) fn object_id(kind: &str, content: &[u8], like: &str) -> String {
    let mut hasher = Hasher::of_length(like.len());
    hasher.update(format!("{kind} {}\0", content.len()).as_bytes());
    hasher.update(content);
    hasher.finish()
}

/// The algorithms of git.
enum Hasher {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// By the number of hex digits of an id.
    fn of_length(digits: usize) -> Self {
        match digits {
            64 => Self::Sha256(Default::default()),
            _ => Self::Sha1(Default::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha1(hasher) => hex(&hasher.finalize()),
            Self::Sha256(hasher) => hex(&hasher.finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
