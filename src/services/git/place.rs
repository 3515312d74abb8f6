//! Finds the checkout of a folder without asking git, which would read the checkout's own settings.

use std::path::{Path, PathBuf};

use crate::base::small_file;

/// A checkout on disk.
pub(super) struct Place {
    /// The folder with `.git`, canonical.
    pub(super) root: PathBuf,
    /// The folder of HEAD and index.
    pub(super) own: PathBuf,
    /// The folder of objects, references and settings: that of the main checkout if this is a
    /// linked one.
    pub(super) common: PathBuf,
    /// The text of HEAD: a commit, or the name of a reference.
    pub(super) head: String,
    /// Whether the patterns of `.git/info/exclude` hide files. They belong to this clone, and not
    /// to the commit.
    pub(super) excludes: bool,
}

/// Returns the checkout that `folder` is in. A repository without a `.git` is none: it could have
/// been committed as files.
pub(super) fn find(folder: &Path) -> Option<Place> {
    let folder = std::fs::canonicalize(folder).ok()?;
    folder.ancestors().find_map(at)
}

fn at(root: &Path) -> Option<Place> {
    let entry = root.join(".git");
    let own = match entry.is_dir() {
        true => entry,
        false => root.join(line(&entry)?.strip_prefix("gitdir: ")?),
    };
    let common = line(&own.join("commondir")).map_or_else(|| own.clone(), |path| own.join(path));
    let head = line(&own.join("HEAD")).filter(|head| is_head(head))?;
    common.join("objects").is_dir().then(|| Place {
        root: root.to_owned(),
        own,
        common,
        head,
        excludes: true,
    })
}

fn line(path: &Path) -> Option<String> {
    small_file::text(path).ok().map(|text| text.trim_end().to_owned())
}

fn is_head(text: &str) -> bool {
    match text.strip_prefix("ref:").map(str::trim_start) {
        Some(name) => name.starts_with("refs/") && !name.chars().any(char::is_control),
        None => is_object_id(text),
    }
}

pub(super) fn is_object_id(text: &str) -> bool {
    [40, 64].contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn checkouts_linked_checkouts_and_what_only_looks_like_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| fs::canonicalize(folder.path()).unwrap().join(name);
        let write = |name: &str, text: &str| {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        };
        write("main/.git/HEAD", "ref: refs/heads/main\n");
        fs::create_dir_all(path("main/.git/objects")).unwrap();
        fs::create_dir_all(path("main/app/infra")).unwrap();
        write("main/.git/worktrees/other/HEAD", &format!("{}\n", "a".repeat(40)));
        write("main/.git/worktrees/other/commondir", "../..\n");
        write("other/.git", "gitdir: ../main/.git/worktrees/other\n");
        let main = find(&path("main/app/infra")).unwrap();
        assert_eq!((main.root, main.common), (path("main"), path("main/.git")));
        let other = find(&path("other")).unwrap();
        assert_eq!(other.head, "a".repeat(40));
        assert!(other.common.join("objects").is_dir());
        // Committed as files, without objects, with another HEAD, as a device.
        write("bare/HEAD", "ref: refs/heads/main\n");
        fs::create_dir_all(path("bare/objects")).unwrap();
        write("empty/.git/HEAD", "ref: refs/heads/main\n");
        write("odd/.git/HEAD", "--upload-pack=touch\n");
        fs::create_dir_all(path("odd/.git/objects")).unwrap();
        fs::create_dir_all(path("device")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("device/.git")).unwrap();
        for none in ["bare", "empty", "odd", "device"] {
            assert!(find(&path(none)).is_none(), "{none}");
        }
    }
}
