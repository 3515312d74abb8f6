//! Composed objects in a folder: other objects are copied by the kernel, which shares the blocks on
//! file systems that can (Btrfs, XFS).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    background::Caller,
    composed::{Composed, CopiedRange, Stretch},
    unwritable::Root,
};
use crate::base::{
    crc64::{Crc64, Crc64Hasher},
    error::{Error, Result, is_full},
    small_file,
};

/// Bytes that are copied or read between two checks for a dropped caller. Whole blocks, because the
/// kernel shares only those.
const STEP: u64 = 8 << 20;

/// Writes all bytes of `composed` to the empty file `to`. Returns why it cannot if another object
/// is the reason. `path` is the object in messages.
pub(super) fn write(
    root: &Root,
    composed: &Composed,
    to: &mut File,
    path: &Path,
    caller: &Caller,
) -> Result<Result<(), String>> {
    let from = &composed.file;
    let mut own = open(from).map_err(|error| Error::io("can't read", from, &error))?;
    let writing = |error: io::Error| root.unwritable("can't write", path, &error);
    for stretch in composed.stretches() {
        match stretch {
            Stretch::Own { at, len } => {
                copy(&mut own, at, len, to, caller).map_err(writing)?;
                caller.progress(len);
            }
            Stretch::Copied(range) => {
                let copied = copy_range(&root.path, &range, to, caller);
                if caller.is_dropped() {
                    return Err(writing(io::ErrorKind::Interrupted.into()));
                }
                if let Err(error) = copied {
                    if is_full(&error) {
                        return Err(writing(error));
                    }
                    let source = root.path.join(&range.from.key);
                    let why = format!("`{}` cannot be copied from: {error}", source.display());
                    return Ok(Err(why));
                }
            }
        }
    }
    match checksum(to, caller).map_err(writing)? == composed.checksum {
        true => Ok(Ok(())),
        false => Ok(Err("the checksum of the copied bytes does not match the recorded one".into())),
    }
}

fn copy_range(root: &Path, range: &CopiedRange, to: &mut File, caller: &Caller) -> io::Result<()> {
    let mut source = open(&root.join(&range.from.key))?;
    copy(&mut source, range.start, range.len, to, caller)
}

fn open(path: &Path) -> io::Result<File> {
    small_file::open(path)
}

/// Appends `len` bytes of `from`. A dropped caller ends it with an error of kind Interrupted.
fn copy(from: &mut File, start: u64, len: u64, to: &mut File, caller: &Caller) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    let mut left = len;
    while left > 0 {
        if caller.is_dropped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // The kernel's copy: the bytes do not come through here.
        match io::copy(&mut Read::by_ref(from).take(STEP.min(left)), to)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            step => left -= step,
        }
    }
    Ok(())
}

/// Reads the file again, from the page cache.
fn checksum(file: &File, caller: &Caller) -> io::Result<Crc64> {
    let (mut sum, mut at) = (Crc64Hasher::default(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        if at % STEP == 0 && caller.is_dropped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(sum.finish()),
            read => {
                sum.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, sync::Arc};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        services::store::{
            DirectoryStore, Metadata, Put,
            composed::{ComposedPut, CopySource},
        },
    };

    /// A store with an object, and a new object that has most of its bytes.
    struct Case {
        folder: TempDir,
        composed: Composed,
        whole: Vec<u8>,
    }

    impl Case {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let old: Vec<u8> = (0..9_000_000_u32).map(|n| (n / 7) as u8).collect();
            fs::create_dir_all(folder.path().join("store/t/c")).unwrap();
            fs::write(folder.path().join("store/t/c/old"), &old).unwrap();
            let (len, start) = (8_500_000, 4096);
            let whole = [b"head", &old[start..start + len], b"tail"].concat();
            let file = folder.path().join("new");
            fs::write(&file, [b"head", vec![0; len].as_slice(), b"tail"].concat()).unwrap();
            let from = Arc::new(CopySource { key: "t/c/old".into(), etag: None });
            let range = CopiedRange { at: 4, len: len as u64, from, start: start as u64 };
            let checksum = Crc64::of(&whole);
            Self { folder, composed: Composed { file, checksum, copies: vec![range] }, whole }
        }

        fn path(&self, key: &str) -> PathBuf {
            self.folder.path().join("store").join(key)
        }

        async fn put(&self) -> ComposedPut {
            let store = DirectoryStore::new(self.folder.path().join("store"));
            let (content, metadata) = (self.composed.clone(), Metadata::default());
            let never = Interrupt::never();
            store.put_composed("t/c/new", content, &metadata, &|_| {}, &never).await.unwrap()
        }

        fn names(&self) -> usize {
            fs::read_dir(self.path("t/c")).unwrap().count()
        }
    }

    #[tokio::test]
    async fn a_new_file_of_its_own() {
        let case = Case::new();
        assert_eq!(case.put().await, ComposedPut::Put(Put::Created));
        assert!(fs::read(case.path("t/c/new")).unwrap() == case.whole);
        assert_eq!(case.put().await, ComposedPut::Put(Put::Exists));
        assert_eq!(case.names(), 2);
        // The objects share nothing that could change.
        fs::write(case.path("t/c/old"), "changed").unwrap();
        assert!(fs::read(case.path("t/c/new")).unwrap() == case.whole);
    }

    #[tokio::test]
    async fn a_source_that_is_missing_short_or_changed() {
        type Damage<'a> = &'a dyn Fn(&Path);
        let cases: [(Damage<'_>, &str); 3] = [
            (&|old| fs::remove_file(old).unwrap(), "cannot be copied from: "),
            (&|old| fs::write(old, "short").unwrap(), "cannot be copied from: "),
            (&|old| fs::write(old, vec![7; 9_000_000]).unwrap(), "the checksum of the copied"),
        ];
        for (damage, text) in cases {
            let case = Case::new();
            damage(&case.path("t/c/old"));
            let put = case.put().await;
            let ComposedPut::NotCopied(why) = &put else { panic!("{put:?}") };
            assert!(why.contains(text), "{why}");
            let left = fs::read_dir(case.path("t/c")).unwrap();
            assert!(left.flatten().all(|entry| entry.file_name() == "old"));
        }
    }
}
