//! The owner of what cdflow creates in a folder of another user. In a container cdflow is root, and
//! the runner's user must be able to remove what is in its checkout.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, fchown, lchown},
    path::Path,
};

/// Gives a new file to the owner of `folder`. Without root, this fails and is not needed.
pub(crate) fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    let _ = fchown(file, Some(owner.uid()), Some(owner.gid()));
    Ok(())
}

/// Creates a folder and its missing parents. What is new belongs to the owner of the folder that
/// contains it. `mode` is that of the folder; others can pass through its new parents.
pub(crate) fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    let Some(parent) = missing.last().and_then(|topmost| topmost.parent()) else { return Ok(()) };
    let owner = fs::metadata(parent)?;
    for folder in missing.iter().rev() {
        let mode = if *folder == path { mode } else { mode | 0o011 };
        match DirBuilder::new().mode(mode).create(folder) {
            Ok(()) => drop(lchown(folder, Some(owner.uid()), Some(owner.gid()))),
            // Another run was faster.
            Err(_) if folder.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn what_is_new_belongs_to_the_owner_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let is_root = lchown(root.path(), Some(1001), Some(1002)).is_ok();
        let folder = root.path().join("a/b/c");
        create_folder(&folder, 0o700).unwrap();
        create_folder(&folder, 0o700).unwrap();
        let file = File::create(folder.join("file")).unwrap();
        give_to_owner_of(&folder, &file).unwrap();
        let owner = |path: &Path| {
            let found = fs::metadata(path).unwrap();
            (found.uid(), found.gid())
        };
        let expected = if is_root { (1001, 1002) } else { owner(root.path()) };
        for path in ["a", "a/b", "a/b/c", "a/b/c/file"] {
            assert_eq!(owner(&root.path().join(path)), expected, "{path}");
        }
        let mode =
            |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a") & 0o011, mode("a/b/c")), (0o011, 0o700));
        let error = create_folder(&folder.join("file/d"), 0o700).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
    }
}
