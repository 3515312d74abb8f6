//! Submodules that a checkout names but does not have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::base::small_file;

/// Returns the submodule that `folder` is in, relative to `root`, if its files are not there. Both
/// paths are without `..`.
pub(crate) fn absent_submodule(root: &Path, folder: &Path) -> Option<PathBuf> {
    let settings = small_file::text(&root.join(".gitmodules")).ok()?;
    let named = settings.lines().filter_map(|line| {
        let (key, path) = line.split_once('=')?;
        (key.trim() == "path").then(|| PathBuf::from(path.trim().trim_matches('"')))
    });
    named.filter(|path| folder.starts_with(root.join(path))).find(|path| is_empty(&root.join(path)))
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodules_without_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let settings =
            "[submodule \"a\"]\n\tpath = lib/a\n\turl = x\n[submodule \"b\"]\n\tpath = b\n";
        fs::write(root.join(".gitmodules"), settings).unwrap();
        fs::create_dir_all(root.join("lib/a")).unwrap();
        fs::create_dir_all(root.join("b/in")).unwrap();
        let absent = |path: &str| absent_submodule(root, &root.join(path));
        for path in ["lib/a", "lib/a/in"] {
            assert_eq!(absent(path), Some("lib/a".into()));
        }
        for path in ["lib", "b", "b/in", "b/out", "c"] {
            assert_eq!(absent(path), None, "{path}");
        }
    }
}
