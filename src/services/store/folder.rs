//! The release store in a folder: an object is a file. A hard link never replaces a file, so it
//! serves as S3's conditional write.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use walkdir::WalkDir;

use super::{
    Content, ListedObject, Metadata, ObjectInfo, ObjectPart, ProgressFn, Put, TEMPORARY,
    background::{Background, Caller},
    changed, check_key, check_prefix,
    composed::{Composed, ComposedPut},
    folder_copy, missing, partial_file, too_large, too_short,
    unwritable::{Purpose, Root, unlisted},
};
use crate::base::{
    blocking::blocking,
    error::{Error, Result},
    interrupt::Interrupt,
    owner::{create_folder, give_to_owner_of},
    small_file,
};

/// Bytes that are copied between two checks for a dropped caller.
const STEP: u64 = 8 << 20;

/// Cheap to clone. A root that does not exist is an empty store; the first write makes it.
#[derive(Clone)]
pub(crate) struct DirectoryStore {
    root: Root,
    background: Background,
}

/// The source of a copy.
enum WriteSource {
    Memory(Vec<u8>),
    File(PathBuf),
}

impl DirectoryStore {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { root: Root { path, purpose: Purpose::Releases }, background: Background::default() }
    }

    /// Returns the store of a folder with states.
    pub(crate) fn of_states(path: PathBuf) -> Self {
        Self { root: Root { path, purpose: Purpose::States }, background: Background::default() }
    }

    /// Ignores `metadata`: in a second file it could disagree with the object.
    pub(crate) async fn put_until(
        &self,
        key: &str,
        content: Content<'_>,
        _metadata: &Metadata,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
    ) -> Result<Put> {
        let path = self.path(key)?;
        let input = match content {
            Content::Bytes(bytes) => WriteSource::Memory(bytes),
            Content::File(path) => WriteSource::File(path.to_owned()),
        };
        let root = self.root.clone();
        let work = |caller: Caller| {
            blocking(move || {
                put(&root, &path, &caller, |partial| fill(&root, partial, &path, &input, &caller))
            })
        };
        self.background.run(progress, interrupt, work).await
    }

    /// Ignores `metadata`, as [`Self::put_until`] does.
    pub(crate) async fn put_composed(
        &self,
        key: &str,
        composed: Composed,
        _metadata: &Metadata,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
    ) -> Result<ComposedPut> {
        let (root, path) = (self.root.clone(), self.path(key)?);
        let work = |caller: Caller| {
            blocking(move || {
                let mut why_not = None;
                let put = put(&root, &path, &caller, |partial| {
                    let file = partial.as_file_mut();
                    why_not = folder_copy::write(&root, &composed, file, &path, &caller)?.err();
                    Ok(why_not.is_none())
                })?;
                Ok(match why_not {
                    Some(why) => ComposedPut::NotCopied(why),
                    None => ComposedPut::Put(put),
                })
            })
        };
        self.background.run(progress, interrupt, work).await
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        blocking(move || Ok(open(&path)?.map(|(_, found)| found))).await
    }

    pub(crate) async fn get(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let (path, object) = (self.path(key)?, self.describe(key));
        blocking(move || {
            let Some((mut file, found)) = open(&path)? else { return Ok(None) };
            if found.size > limit {
                return Err(too_large(&object, found.size, limit));
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| Error::io("can't read", &path, &error))?;
            Ok(Some(bytes))
        })
        .await
    }

    pub(crate) async fn get_range(&self, key: &str, start: u64, len: u64) -> Result<Vec<u8>> {
        let (path, object) = (self.path(key)?, self.describe(key));
        blocking(move || {
            let (file, found) = open(&path)?.ok_or_else(|| missing(&object))?;
            let there = found.size.saturating_sub(start).min(len);
            if there < len {
                return Err(Error::integrity(too_short(&object, there, len))
                    .why(format!("from byte {start} on")));
            }
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, start)
                .map_err(|error| Error::io("can't read", &path, &error))?;
            Ok(bytes)
        })
        .await
    }

    pub(crate) async fn fetch(
        &self,
        key: &str,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<Option<ObjectInfo>> {
        let (path, object) = (self.path(key)?, self.describe(key));
        let Some((file, found)) = blocking(move || open(&path)).await? else { return Ok(None) };
        let partial = partial_file::create(to, found.size).await?;
        let (target, size, goal) = (partial.reopen(), found.size, to.to_owned());
        let work = |caller: Caller| {
            blocking(move || {
                let mut target = target.map_err(|error| Error::io("can't write", &goal, &error))?;
                let copied = copy(&file, &mut target, &caller)
                    .map_err(|error| Error::io("can't write", &goal, &error))?;
                if copied == size {
                    Ok(())
                } else {
                    Err(Error::integrity(too_short(&object, copied, size)))
                }
            })
        };
        self.background.run(progress, &Interrupt::never(), work).await?;
        partial_file::keep(partial, to).await?;
        Ok(Some(found))
    }

    pub(crate) async fn fetch_parts(
        &self,
        parts: &[ObjectPart<'_>],
        size: u64,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<()> {
        let sources = parts.iter().map(|part| {
            Ok(FolderPart {
                path: self.path(part.key)?,
                object: self.describe(part.key),
                size: part.found.size,
                range: part.range.clone(),
                at: part.at,
            })
        });
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let partial = partial_file::create(to, size).await?;
        let (target, goal) = (partial.reopen(), to.to_owned());
        let work = |caller: Caller| {
            blocking(move || {
                let writing = |error: io::Error| Error::io("can't write", &goal, &error);
                let target = target.map_err(writing)?;
                sources.iter().try_for_each(|source| source.copy(&target, &goal, &caller))
            })
        };
        self.background.run(progress, &Interrupt::never(), work).await?;
        partial_file::keep(partial, to).await
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<ListedObject>> {
        self.check_root()?;
        check_prefix(prefix)?;
        let (root, prefix, after) =
            (self.root.path.clone(), prefix.to_owned(), after.map(str::to_owned));
        blocking(move || {
            let mut keys = objects(&root, &prefix)?;
            keys.retain(|key| {
                key.starts_with(&prefix) && after.as_ref().is_none_or(|after| key > after)
            });
            keys.sort_unstable();
            // Taken before the sizes are read: a page costs no more than a page. What was deleted
            // meanwhile is left out.
            let lines = keys.into_iter().map(|key| line(&root, key)).filter_map(Result::transpose);
            lines.take(max).collect()
        })
        .await
    }

    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.check_root()?;
        check_prefix(prefix)?;
        let folder = self.root.path.join(prefix.trim_end_matches('/'));
        blocking(move || folders(&folder)).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        blocking(move || match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => Err(Error::io("can't delete", &path, &error)),
            _ => Ok(()),
        })
        .await
    }

    pub(crate) async fn settle(&self) -> Result<()> {
        self.background.settle().await
    }

    pub(crate) fn describe(&self, key: &str) -> String {
        format!("file:{}", self.root.path.join(key).display())
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        self.check_root()?;
        check_key(key)?;
        Ok(self.root.path.join(key))
    }

    /// No root is fine, another thing in its place is not.
    fn check_root(&self) -> Result<()> {
        if self.root.path.symlink_metadata().is_ok() && !self.root.path.is_dir() {
            return Err(Error::input(format!(
                "{} `{}` is not a folder",
                self.root.purpose.noun(),
                self.root.path.display()
            )));
        }
        Ok(())
    }
}

/// The object is complete and on disk before it has its name. If `fill` returns false, nothing is
/// written.
fn put(
    root: &Root,
    path: &Path,
    caller: &Caller,
    fill: impl FnOnce(&mut NamedTempFile) -> Result<bool>,
) -> Result<Put> {
    let folder = path.parent().unwrap_or(&root.path);
    let writing = |error: io::Error| root.unwritable("can't write", path, &error);
    // Refused below in any case; but why copy half a gigabyte first?
    if path.symlink_metadata().is_ok() {
        return occupied(path);
    }
    make_folder(root, folder)?;
    let mut partial = tempfile::Builder::new()
        .prefix(TEMPORARY)
        // Less what the umask takes away; and an object is never written again.
        .permissions(Permissions::from_mode(0o444))
        .tempfile_in(folder)
        .map_err(|error| root.unwritable("can't write in", folder, &error))?;
    give_to_owner_of(folder, partial.as_file()).map_err(writing)?;
    if !fill(&mut partial)? {
        return Ok(Put::Exists);
    }
    partial.as_file().sync_all().map_err(writing)?;
    if caller.is_dropped() {
        return Err(writing(io::ErrorKind::Interrupted.into()));
    }
    if !name(partial, path).map_err(|error| not_named(root, path, &error))? {
        return occupied(path);
    }
    sync_folder(root, folder)?;
    Ok(Put::Created)
}

/// Writes the content of an object.
fn fill(
    root: &Root,
    partial: &mut NamedTempFile,
    path: &Path,
    input: &WriteSource,
    caller: &Caller,
) -> Result<bool> {
    let writing = |error: io::Error| root.unwritable("can't write", path, &error);
    match input {
        WriteSource::Memory(bytes) => {
            partial.write_all(bytes).map_err(writing)?;
            caller.progress(bytes.len() as u64);
        }
        WriteSource::File(from) => {
            let reading = |error: io::Error| Error::io("can't read", from, &error);
            let source = small_file::open(from).map_err(reading)?;
            let size = source.metadata().map_err(reading)?.len();
            let copied = copy(&source, partial.as_file_mut(), caller).map_err(writing)?;
            if copied != size {
                return Err(Error::integrity(too_short(&from.display().to_string(), copied, size)));
            }
        }
    }
    Ok(true)
}

/// The result for a name that is taken: only a file is an object.
fn occupied(path: &Path) -> Result<Put> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Error::input(format!("can't write `{}`", path.display()))
                .why("a folder has this name"))
        }
        Ok(found) if found.is_file() => Ok(Put::Exists),
        _ => Err(foreign(path)),
    }
}

/// Renames the file to `path` without replacing; false if the name is taken. The temporary name is
/// removed either way.
fn name(partial: NamedTempFile, path: &Path) -> io::Result<bool> {
    match fs::hard_link(partial.path(), path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // No hard links here (some network and container file systems).
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            rename(partial, path)
        }
        Err(error) => Err(error),
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename(partial: NamedTempFile, path: &Path) -> io::Result<bool> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

    let from = partial.into_temp_path();
    match renameat2(AT_FDCWD, &*from, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => {
            // It has another name now; there is nothing left to remove.
            let _ = from.keep();
            Ok(true)
        }
        Err(nix::Error::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename(_partial: NamedTempFile, _path: &Path) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

fn not_named(root: &Root, path: &Path, error: &io::Error) -> Error {
    let built = root.unwritable("can't write", path, error);
    if matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
    ) {
        return built.hint(
            "use a file system with hard links, or with renaming that never replaces a file",
        );
    }
    built
}

/// Creates the folder, and syncs its parents so that it survives a crash.
fn make_folder(root: &Root, folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    create_folder(folder, 0o777)
        .map_err(|error| root.unwritable("can't make folder", folder, &error))?;
    let made = folder.ancestors().take_while(|ancestor| ancestor.starts_with(&root.path));
    made.filter_map(Path::parent)
        .filter(|parent| !parent.as_os_str().is_empty())
        .try_for_each(|parent| sync_folder(root, parent))
}

fn sync_folder(root: &Root, folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| root.unwritable("can't write in", folder, &error))
}

/// Copies to the end. A dropped caller ends it with an error of kind Interrupted.
fn copy(from: &File, to: &mut File, caller: &Caller) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        if caller.is_dropped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // Between files this is the kernel's copy: the bytes do not come through here.
        match io::copy(&mut from.take(STEP), to)? {
            0 => return Ok(copied),
            step => {
                copied += step;
                caller.progress(step);
            }
        }
    }
}

/// A part of an object to copy.
struct FolderPart {
    path: PathBuf,
    /// As messages name it.
    object: String,
    /// Of the object, when it was found.
    size: u64,
    range: Range<u64>,
    /// In the target.
    at: u64,
}

impl FolderPart {
    fn copy(&self, target: &File, goal: &Path, caller: &Caller) -> Result<()> {
        let (file, now) = open(&self.path)?.ok_or_else(|| missing(&self.object))?;
        if now.size != self.size {
            return Err(changed(&self.object));
        }
        let copied = copy_range(&file, target, self.range.clone(), self.at, caller);
        copied.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(&self.object),
            _ => Error::io("can't write", goal, &error),
        })
    }
}

/// Copies a range of bytes to the offset `to_at`, by the kernel.
fn copy_range(
    mut from: &File,
    mut to: &File,
    range: Range<u64>,
    to_at: u64,
    caller: &Caller,
) -> io::Result<()> {
    from.seek(SeekFrom::Start(range.start))?;
    to.seek(SeekFrom::Start(to_at))?;
    let mut left = range.end.saturating_sub(range.start);
    while left > 0 {
        if caller.is_dropped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match io::copy(&mut from.take(STEP.min(left)), &mut to)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            step => {
                left -= step;
                caller.progress(step);
            }
        }
    }
    Ok(())
}

/// An object to read from; None when there is none. Something else with its name is an error: an
/// entry of a ledger must not seem to be missing.
fn open(path: &Path) -> Result<Option<(File, ObjectInfo)>> {
    let reading = |error: io::Error| Error::io("can't read", path, &error);
    let file = match small_file::open(path) {
        Ok(file) => file,
        Err(_) if fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
            return Err(foreign(path));
        }
        Err(error) if is_absent(&error) => {
            let above = path.ancestors().find(|path| path.symlink_metadata().is_ok());
            // Another run might have written the object since.
            let is_fine = |above: &Path| above.is_dir() || (above == path && above.is_file());
            return match above {
                Some(above) if !is_fine(above) => Err(foreign(above)),
                _ => Ok(None),
            };
        }
        Err(error) => return Err(reading(error)),
    };
    let facts = file.metadata().map_err(reading)?;
    Ok(Some((file, found(&facts))))
}

/// The error for what is neither an object nor a folder of objects, at a place of one of them.
fn foreign(path: &Path) -> Error {
    let what = match fs::metadata(path) {
        Ok(found) if found.is_dir() => "a folder, where a file is expected",
        Ok(found) if found.is_file() => "a file, where a folder is expected",
        Ok(_) => "a pipe, a socket or a device",
        Err(_) => "a link that leads nowhere",
    };
    Error::integrity(format!("unexpected `{}`", path.display()))
        .why(format!("it is {what}"))
        .hint("find out who put it there, and move it elsewhere")
}

fn found(facts: &fs::Metadata) -> ObjectInfo {
    ObjectInfo {
        size: facts.len(),
        metadata: Metadata::default(),
        modified: modified(facts),
        etag: None,
    }
}

fn modified(facts: &fs::Metadata) -> Option<jiff::Timestamp> {
    facts.modified().ok().and_then(|time| time.try_into().ok())
}

/// Nothing of this name, or a file where a folder would have to be.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The keys of all objects in the folder that `prefix` ends in, in no order.
fn objects(root: &Path, prefix: &str) -> Result<Vec<String>> {
    let folder =
        prefix.rsplit_once('/').map_or_else(|| root.to_owned(), |(folder, _)| root.join(folder));
    let mut keys = Vec::new();
    let start = root.join(prefix);
    let start = start.as_os_str().as_encoded_bytes();
    for entry in walk(&folder, |path| path.as_os_str().as_encoded_bytes().starts_with(start)) {
        let path = entry?;
        // A key is UTF-8.
        keys.extend(path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned));
    }
    Ok(keys)
}

/// Returns all objects below a folder; none if the folder does not exist. Of what is neither an
/// object nor a folder, only what `is_wanted` is an error.
fn walk(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> impl Iterator<Item = Result<PathBuf>> {
    let entries = WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_temporary(entry.file_name()));
    entries.filter_map(move |entry| match entry {
        Ok(entry) => {
            let kind = entry.file_type();
            let is_foreign = match entry.depth() {
                0 => !kind.is_dir(),
                _ => !kind.is_dir() && !kind.is_file() && is_wanted(entry.path()),
            };
            match is_foreign {
                true => Some(Err(foreign(entry.path()))),
                false => kind.is_file().then(|| Ok(entry.into_path())),
            }
        }
        Err(error) if error.io_error().is_some_and(is_absent) => {
            // A link that leads nowhere is still there, unlike what was deleted meanwhile.
            let path = error.path()?;
            let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
            (is_link && is_wanted(path)).then(|| Err(foreign(path)))
        }
        Err(error) => Some(Err(match (error.path(), error.io_error()) {
            (Some(path), Some(why)) => unlisted(path, why),
            _ => Error::input("can't list the release store").why(error),
        })),
    })
}

fn line(root: &Path, key: String) -> Result<Option<ListedObject>> {
    let path = root.join(&key);
    match fs::metadata(&path) {
        Ok(facts) => Ok(Some(ListedObject { key, size: facts.len(), modified: modified(&facts) })),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Error::io("can't read", &path, &error)),
    }
}

fn folders(folder: &Path) -> Result<Vec<String>> {
    let listing = |error: io::Error| unlisted(folder, &error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => {
            return match folder.symlink_metadata() {
                Ok(_) => Err(foreign(folder)),
                Err(_) => Ok(Vec::new()),
            };
        }
        Err(error) => return Err(listing(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(listing)?;
        let path = entry.path();
        match fs::metadata(&path) {
            // An empty folder is what deleted objects left behind.
            Ok(found) if found.is_dir() => {
                if walk(&path, |_| true).next().transpose()?.is_some() {
                    names.extend(entry.file_name().into_string());
                }
            }
            Ok(found) if found.is_file() => {}
            _ if path.symlink_metadata().is_err() => {}
            _ => return Err(foreign(&path)),
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    impl DirectoryStore {
        async fn put_new(
            &self,
            key: &str,
            content: Content<'_>,
            metadata: &Metadata,
            progress: ProgressFn<'_>,
        ) -> Result<Put> {
            self.put_until(key, content, metadata, progress, &Interrupt::never()).await
        }
    }
    use crate::base::error::Exit;

    fn silent(_: u64) {}

    #[tokio::test]
    async fn a_pipe_instead_of_an_object_is_an_error_at_once() {
        let (folder, store) = store();
        let path = folder.path().join("releases/t/c/x");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = store.get("t/c/x", 100).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{}`", path.display())), "{error}");
    }

    /// What is neither a file nor a folder must not make an object or a ledger disappear.
    #[tokio::test]
    async fn foreign_entries_are_named() {
        use std::os::unix::fs::symlink;

        let (folder, store) = store();
        put(&store, "t/c/c-1.zip", b"x").await.unwrap();
        put(&store, "t/c/ledger/live/1", b"x").await.unwrap();
        let root = folder.path().join("releases/t/c");
        let fails = |result: Result<()>, name: &str| {
            let error = result.unwrap_err();
            assert_eq!(error.exit(), Exit::Integrity, "{error}");
            assert!(error.to_string().contains(&format!("/t/c/{name}`")), "{name}: {error}");
        };
        let list = async |prefix: &str| store.list(prefix, None, 9).await.map(drop);
        fn pipe(path: &Path) {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        fn dead_link(path: &Path) {
            symlink("nowhere", path).unwrap();
        }
        for at in ["ledger/live/2", "ledger/live/d/2"] {
            fs::create_dir_all(root.join(at).parent().unwrap()).unwrap();
            for make in [pipe as fn(&Path), dead_link] {
                make(&root.join(at));
                fails(list("t/c/ledger/live/").await, at);
                list("t/c/c-").await.unwrap();
                fs::remove_file(root.join(at)).unwrap();
            }
        }
        fs::remove_dir(root.join("ledger/live/d")).unwrap();
        list("t/c/ledger/live/").await.unwrap();
        pipe(&root.join("ledger/ci"));
        for key in ["t/c/ledger/ci/1", "t/c/ledger/ci"] {
            fails(store.head(key).await.map(drop), "ledger/ci");
        }
        fails(store.folders("t/c/ledger/").await.map(drop), "ledger/ci");
        fails(list("t/c/ledger/ci/").await, "ledger/ci");
        fails(put(&store, "t/c/ledger/ci", b"x").await.map(drop), "ledger/ci");
        fs::remove_file(root.join("ledger/ci")).unwrap();
        fs::create_dir_all(root.join("ledger/ci")).unwrap();
        fails(store.head("t/c/ledger/ci").await.map(drop), "ledger/ci");
        fs::rename(root.join("ledger"), root.join("elsewhere")).unwrap();
        fs::write(root.join("ledger"), "").unwrap();
        fails(store.folders("t/c/ledger/").await.map(drop), "ledger");
        fails(store.head("t/c/ledger/live/1").await.map(drop), "ledger");
        // Links to files and folders are followed everywhere.
        fs::remove_file(root.join("ledger")).unwrap();
        symlink("elsewhere", root.join("ledger")).unwrap();
        assert_eq!(store.folders("t/c/ledger/").await.unwrap(), ["live"]);
        assert_eq!(store.list("t/c/ledger", None, 9).await.unwrap().len(), 1);
    }

    fn store() -> (tempfile::TempDir, DirectoryStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(folder.path().join("releases"));
        (folder, store)
    }

    async fn put(store: &DirectoryStore, key: &str, bytes: &[u8]) -> Result<Put> {
        store.put_new(key, Content::Bytes(bytes.to_vec()), &Metadata::default(), &silent).await
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
        entries
            .filter(|e| e.file_type().is_file())
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[tokio::test]
    async fn an_object_is_written_once() {
        let (_folder, store) = store();
        assert_eq!(store.head("team/app/app-1.zip").await.unwrap(), None);
        assert_eq!(store.list("", None, 10).await.unwrap(), []);
        assert_eq!(put(&store, "team/app/app-1.zip", b"one").await.unwrap(), Put::Created);
        assert_eq!(put(&store, "team/app/app-1.zip", b"two").await.unwrap(), Put::Exists);
        assert_eq!(store.get("team/app/app-1.zip", 3).await.unwrap().unwrap(), b"one");
        let found = store.head("team/app/app-1.zip").await.unwrap().unwrap();
        assert_eq!((found.size, found.metadata, found.etag), (3, Metadata::default(), None));
        assert!(found.modified.unwrap() <= jiff::Timestamp::now());
        store.delete("team/app/app-1.zip").await.unwrap();
        store.delete("team/app/app-1.zip").await.unwrap();
        assert_eq!(store.get("team/app/app-1.zip", 3).await.unwrap(), None);
        assert_eq!(store.folders("").await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn limits_and_ranges_are_checked() {
        let (folder, store) = store();
        put(&store, "a", b"0123456789").await.unwrap();
        let error = store.get("a", 9).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Integrity);
        let object = format!("file:{}/releases/a", folder.path().display());
        assert_eq!(
            error.to_string(),
            format!("`{object}` is too large: it has 10 bytes, at most 9 are expected")
        );
        assert_eq!(store.get_range("a", 2, 3).await.unwrap(), b"234");
        assert_eq!(store.get_range("a", 10, 0).await.unwrap(), b"");
        let error = store.get_range("a", 8, 3).await.unwrap_err();
        assert_eq!(error.to_string(), format!("`{object}`: got 2 of 3 bytes: from byte 8 on"));
        assert_eq!(store.get_range("b", 0, 1).await.unwrap_err().exit(), Exit::Input);
    }

    #[tokio::test]
    async fn lists_in_key_order_as_s3_does() {
        let (folder, store) = store();
        for key in ["a/b", "a-b/c", "a.zip", "a/b-c", "b/ledger/live/1", "b/ledger/ci/1"] {
            put(&store, key, b"x").await.unwrap();
        }
        fs::write(folder.path().join("releases/a/.tmp-123"), "").unwrap();
        fs::create_dir(folder.path().join("releases/empty")).unwrap();
        let keys =
            |listed: Vec<ListedObject>| listed.into_iter().map(|l| l.key).collect::<Vec<_>>();
        let all = ["a-b/c", "a.zip", "a/b", "a/b-c", "b/ledger/ci/1", "b/ledger/live/1"];
        assert_eq!(keys(store.list("", None, 100).await.unwrap()), all);
        assert_eq!(keys(store.list("", Some("a.zip"), 2).await.unwrap()), all[2..4]);
        assert_eq!(keys(store.list("a/b-", None, 100).await.unwrap()), ["a/b-c"]);
        assert_eq!(keys(store.list("none/", None, 100).await.unwrap()), [""; 0]);
        assert_eq!(store.folders("").await.unwrap(), ["a", "a-b", "b"]);
        assert_eq!(store.folders("b/ledger").await.unwrap(), ["ci", "live"]);
        assert_eq!(store.folders("b/ledger/").await.unwrap(), ["ci", "live"]);
    }

    #[tokio::test]
    async fn fetches_what_was_put() {
        let (folder, store) = store();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        let moved = AtomicU64::new(0);
        let count = |n| {
            moved.fetch_add(n, Ordering::Relaxed);
        };
        store.put_new("x/y", Content::File(&from), &Metadata::default(), &count).await.unwrap();
        assert_eq!(moved.swap(0, Ordering::Relaxed), 20_000_000);
        assert_eq!(store.fetch("x/y", &to, &count).await.unwrap().unwrap().size, 20_000_000);
        assert_eq!(moved.load(Ordering::Relaxed), 20_000_000);
        assert!(fs::read(&to).unwrap() == bytes);
        assert_eq!(store.fetch("x/y", &to, &silent).await.unwrap_err().exit(), Exit::Input);
        assert_eq!(store.fetch("x/z", &folder.path().join("z"), &silent).await.unwrap(), None);
        assert_eq!(names(folder.path()).len(), 3, "{:?}", names(folder.path()));
    }

    #[test]
    fn one_of_eight_writers_wins() {
        for round in 0..20 {
            let (folder, store) = store();
            let barrier = std::sync::Barrier::new(8);
            let race = |n: u8| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                barrier.wait();
                runtime.block_on(put(&store, "team/app/app-1.zip", &vec![n; 100_000])).unwrap()
            };
            let puts: Vec<Put> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..8).map(|n| scope.spawn(move || race(n))).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            let winners: Vec<usize> = (0..8).filter(|n| puts[*n] == Put::Created).collect();
            assert_eq!(winners.len(), 1, "round {round}: {puts:?}");
            let stored = fs::read(folder.path().join("releases/team/app/app-1.zip")).unwrap();
            assert!(stored == vec![winners[0] as u8; 100_000]);
            assert_eq!(names(folder.path()), ["app-1.zip"]);
        }
    }

    #[tokio::test]
    async fn a_dropped_write_leaves_nothing() {
        let (folder, store) = store();
        let from = folder.path().join("from");
        File::create(&from).unwrap().set_len(4 << 30).unwrap();
        let moving = tokio::sync::Notify::new();
        let notify = |_| moving.notify_one();
        let metadata = Metadata::default();
        tokio::select! {
            put = store.put_new("x", Content::File(&from), &metadata, &notify) => panic!("{put:?}"),
            () = moving.notified() => {}
        }
        store.settle().await.unwrap();
        assert_eq!(names(folder.path()), ["from"]);
    }

    #[tokio::test]
    async fn refuses_bad_keys_and_bad_roots() {
        let (folder, store) = store();
        for key in ["../x", "/etc/x", "a//b", "a/.tmp-x", ""] {
            assert_eq!(put(&store, key, b"x").await.unwrap_err().exit(), Exit::Input);
            store.head(key).await.unwrap_err();
        }
        assert_eq!(names(folder.path()), [""; 0]);
        put(&store, "a/b", b"x").await.unwrap();
        put(&store, "a/b/c", b"x").await.unwrap_err();
        put(&store, "a", b"x").await.unwrap_err();
        assert_eq!(store.head("a").await.unwrap_err().exit(), Exit::Integrity);
        assert_eq!(store.head("a/b/c").await.unwrap_err().exit(), Exit::Integrity);

        let file = folder.path().join("releases/a/b");
        let store = DirectoryStore::new(file.clone());
        let not = format!("release store `{}` is not a folder", file.display());
        assert_eq!(put(&store, "x", b"x").await.unwrap_err().to_string(), not);
        assert_eq!(store.list("", None, 1).await.unwrap_err().to_string(), not);
    }

    /// As on file systems without hard links.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_rename_does_not_replace_either() {
        let folder = tempfile::tempdir().unwrap();
        let partial = || {
            let mut partial =
                tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&folder).unwrap();
            partial.write_all(b"x").unwrap();
            partial
        };
        assert!(rename(partial(), &folder.path().join("a")).unwrap());
        assert!(!rename(partial(), &folder.path().join("a")).unwrap());
        assert_eq!(names(folder.path()), ["a"]);
    }
}
