//! The files of modules that init has fetched. Their authors did not write them for a bundle, so
//! what cannot be released is left out unless Terraform reads it.

use std::path::{Path, PathBuf};

use super::tree::{Boundary, TreeFile, walk_with};
use crate::{
    base::{
        error::{Error, Result},
        log::Log,
        printable,
    },
    release::bundle::{EntrySource, NameTree, StagedFile},
    terraform::code::{
        files::{self, Dialect},
        modules,
    },
};

/// As many left-out files are listed.
const LISTED: usize = 5;

/// Returns the files of `folder`, Terraform's module folder, without its index, whose text is
/// `index`.
pub(crate) fn files(
    folder: &Path,
    index: &str,
    dialect: Dialect,
    log: &Log,
) -> Result<Vec<StagedFile>> {
    let root =
        std::fs::canonicalize(folder).map_err(|error| Error::io("cannot read", folder, &error))?;
    let needed = Needed { folders: modules::folders(index)?, dialect };
    let mut left_out = Vec::new();
    let mut odd = |path: &Path, error: Error| match needed.contains(path) {
        true => Err(error.hint("report it to the authors of the module, or use another version")),
        false => {
            left_out.push(printable::line(&path.to_string_lossy()));
            Ok(())
        }
    };
    let skip = |path: &Path| path.ends_with(".git") || path == Path::new(modules::INDEX);
    let mut found = walk_with(folder, &Boundary::new(&root, "its module folder"), skip, &mut odd)?;
    // Of two names that differ only in case, the one that Terraform reads is kept.
    found.sort_by_key(|file| !needed.contains(Path::new(&file.name)));
    let mut names = NameTree::default();
    let mut kept = Vec::new();
    for file in found {
        match names.add_file(&file.name) {
            Ok(()) => kept.push(staged(file)),
            Err(why) => odd(
                Path::new(&file.name),
                Error::input(format!("cannot release the file `{}`: {why}", file.name)),
            )?,
        }
    }
    note(&left_out, log);
    Ok(kept)
}

fn staged(file: TreeFile) -> StagedFile {
    StagedFile {
        name: format!("modules/{}", file.name),
        source: EntrySource::Path(file.path),
        executable: file.executable,
    }
}

fn note(left_out: &[String], log: &Log) {
    for path in left_out.iter().take(LISTED) {
        log.note(&format!("left out, because a bundle cannot have it: .terraform/modules/{path}"));
    }
    if left_out.len() > LISTED {
        log.note(&format!("left out: {} more files of modules", left_out.len() - LISTED));
    }
}

/// What Terraform reads of the modules.
struct Needed {
    folders: Vec<PathBuf>,
    dialect: Dialect,
}

impl Needed {
    /// True for the code of a module, and for what leads to a module.
    fn contains(&self, path: &Path) -> bool {
        let is_code = path
            .file_name()
            .is_some_and(|name| files::is_code(&name.to_string_lossy(), self.dialect));
        self.folders
            .iter()
            .any(|folder| folder.starts_with(path) || (is_code && path.parent() == Some(folder)))
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink};

    use super::*;
    use crate::base::redact::Redactor;

    const INDEX: &str = r#"{"Modules": [{"Key": "", "Source": "", "Dir": "."},
        {"Key": "m", "Source": "git::x", "Dir": ".terraform/modules/m/sub"}]}"#;

    fn modules() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["m/README.md", "m/Readme.md", "m/sub/main.tf", "m/test/x/a.tf", "m/.git/config"]
        {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(folder.path().join(modules::INDEX), INDEX).unwrap();
        folder
    }

    fn names(folder: &tempfile::TempDir) -> Result<Vec<String>> {
        let log = Log::new(Redactor::default(), 0, true, false);
        let found = files(folder.path(), INDEX, Dialect::Terraform, &log)?;
        let mut names: Vec<String> = found.into_iter().map(|file| file.name).collect();
        names.sort();
        Ok(names)
    }

    const KEPT: [&str; 3] =
        ["modules/m/README.md", "modules/m/sub/main.tf", "modules/m/test/x/a.tf"];

    #[test]
    fn what_terraform_does_not_read_is_left_out() {
        let folder = modules();
        let path = |name: &str| folder.path().join(name);
        symlink("../dangling", path("m/test/fixture")).unwrap();
        symlink("/etc", path("m/etc")).unwrap();
        symlink("..", path("m/test/loop")).unwrap();
        fs::write(path("m/test/back\\slash"), "").unwrap();
        fs::write(folder.path().join("m").join(OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
        nix::unistd::mkfifo(&path("m/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(names(&folder).unwrap(), KEPT);
    }

    #[test]
    fn what_a_module_needs_is_refused() {
        let folder = modules();
        symlink("nowhere.tf", folder.path().join("m/sub/x.tf")).unwrap();
        assert!(names(&folder).unwrap_err().to_string().contains("does not exist"));
        let folder = modules();
        fs::write(folder.path().join("m/sub/Main.tf"), "").unwrap();
        assert!(names(&folder).unwrap_err().to_string().contains("only in case"));
        let folder = modules();
        fs::rename(folder.path().join("m/sub"), folder.path().join("m/real")).unwrap();
        symlink("/etc", folder.path().join("m/sub")).unwrap();
        assert!(names(&folder).unwrap_err().to_string().contains("leads out of"));
    }
}
