//! Lists the regular files below a folder. Links are followed as long as they stay inside a
//! boundary.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

use crate::{
    base::error::{Error, Result},
    release::bundle::check_name,
};

/// A file, with its name relative to the listed folder and `/` between the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// By the owner's permission: the other permissions depend on the umask.
    pub(crate) executable: bool,
    pub(crate) size: u64,
}

/// The folder that links must not lead out of.
pub(crate) struct Boundary<'a> {
    root: &'a Path,
    name: &'a str,
}

impl<'a> Boundary<'a> {
    /// `root` must be canonical; `name` is its name in messages, such as "the checkout".
    pub(crate) fn new(root: &'a Path, name: &'a str) -> Self {
        Self { root, name }
    }
}

/// Returns the files sorted by name. `skip` gets the relative path of each file and folder.
pub(crate) fn walk(
    folder: &Path,
    boundary: &Boundary<'_>,
    skip: impl Fn(&Path) -> bool,
) -> Result<Vec<TreeFile>> {
    walk_with(folder, boundary, skip, |_, error| Err(error))
}

/// Like [`walk`]. `odd` gets the relative path of each entry that cannot be released, and the
/// reason; without an error from it, the entry is left out.
pub(crate) fn walk_with(
    folder: &Path,
    boundary: &Boundary<'_>,
    skip: impl Fn(&Path) -> bool,
    mut odd: impl FnMut(&Path, Error) -> Result<()>,
) -> Result<Vec<TreeFile>> {
    // The folder itself, or one of its parents, can be a link.
    boundary.check(folder)?;
    let mut files = Vec::new();
    let relative = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
    // Each link is checked before it is followed, so nothing outside the boundary is listed.
    let mut entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                // A link that leads nowhere or in a circle fails before it can be skipped.
                let path = relative(error.path().unwrap_or(folder));
                if !skip(&path) {
                    odd(&path, unreadable(folder, &error))?;
                }
                continue;
            }
        };
        if entry.depth() == 0 {
            continue;
        }
        let path = relative(entry.path());
        let is_folder = entry.file_type().is_dir();
        if skip(&path) {
            if is_folder {
                entries.skip_current_dir();
            }
            continue;
        }
        let checked = if entry.path_is_symlink() { boundary.check(entry.path()) } else { Ok(()) };
        match checked {
            Err(error) => {
                odd(&path, error)?;
                if is_folder {
                    entries.skip_current_dir();
                }
            }
            Ok(()) if is_folder => {}
            Ok(()) => match file(&entry, &path) {
                Ok(file) => files.push(file),
                Err(error) => odd(&path, error)?,
            },
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn file(entry: &walkdir::DirEntry, relative: &Path) -> Result<TreeFile> {
    let path = entry.path();
    if !entry.file_type().is_file() {
        return Err(Error::input(format!("`{}` is neither a file nor a folder", path.display()))
            .hint("remove it"));
    }
    let name = relative.to_str().map(str::to_owned);
    let name = name.ok_or_else(|| {
        Error::input(format!("the name of `{}` is not UTF-8", path.display())).hint("rename it")
    })?;
    check_name(&name).map_err(|rule| {
        Error::input(format!("cannot release the file `{}`: {rule}", name.escape_debug()))
    })?;
    let metadata = fs::metadata(path).map_err(|error| Error::io("cannot read", path, &error))?;
    let executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(TreeFile { name, path: path.to_owned(), executable, size: metadata.len() })
}

impl Boundary<'_> {
    /// Rejects a link to a target outside the boundary.
    fn check(&self, link: &Path) -> Result<()> {
        let target =
            fs::canonicalize(link).map_err(|error| Error::io("cannot follow", link, &error))?;
        if target.starts_with(self.root) {
            return Ok(());
        }
        Err(Error::input(format!("`{}` leads out of {}", link.display(), self.name))
            .why(format!("its target is `{}`", target.display()))
            .hint("replace the link with a copy of its target, or remove it"))
    }
}

fn unreadable(folder: &Path, error: &walkdir::Error) -> Error {
    let path = error.path().unwrap_or(folder);
    if error.loop_ancestor().is_some() {
        return Error::input(format!(
            "the link `{}` points to one of its parent folders",
            path.display()
        ))
        .hint("remove it");
    }
    match error.io_error() {
        Some(io) if io.kind() == io::ErrorKind::NotFound => {
            Error::input(format!("the target of the link `{}` does not exist", path.display()))
                .hint("remove or fix the link")
        }
        Some(io) => Error::io("cannot read", path, io),
        None => Error::input(format!("cannot read `{}`", path.display())).why(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Checkout(tempfile::TempDir);

    impl Checkout {
        fn new() -> Self {
            let checkout = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(checkout.path("infra/sub")).unwrap();
            fs::write(checkout.path("infra/b.tf"), "b").unwrap();
            fs::write(checkout.path("infra/sub/a.tf"), "aa").unwrap();
            fs::write(checkout.path("shared.tf"), "shared").unwrap();
            checkout
        }

        fn path(&self, name: &str) -> PathBuf {
            fs::canonicalize(self.0.path()).unwrap().join(name)
        }

        fn walk(&self) -> Result<Vec<String>> {
            let root = self.path("");
            let files = walk(&self.path("infra"), &Boundary::new(&root, "the checkout"), |path| {
                path.ends_with("skipped")
            })?;
            Ok(files
                .into_iter()
                .map(|file| {
                    format!("{} {}{}", file.name, file.size, if file.executable { "x" } else { "" })
                })
                .collect())
        }
    }

    #[test]
    fn links_inside_are_followed() {
        let checkout = Checkout::new();
        symlink("../shared.tf", checkout.path("infra/link.tf")).unwrap();
        fs::create_dir(checkout.path("infra/skipped")).unwrap();
        fs::write(checkout.path("infra/skipped/x"), "").unwrap();
        fs::set_permissions(checkout.path("infra/b.tf"), fs::Permissions::from_mode(0o755))
            .unwrap();
        assert_eq!(checkout.walk().unwrap(), ["b.tf 1x", "link.tf 6", "sub/a.tf 2"]);
    }

    #[test]
    fn links_that_leave_are_rejected() {
        let other = tempfile::tempdir().unwrap();
        for target in ["/etc/passwd", other.path().to_str().unwrap(), "../../.."] {
            let checkout = Checkout::new();
            symlink(target, checkout.path("infra/out")).unwrap();
            let refused = checkout.walk().unwrap_err().to_string();
            assert!(
                refused.contains("leads out of the checkout") && refused.contains("infra/out"),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_folder_itself_can_be_a_link_inside_only() {
        let checkout = Checkout::new();
        fs::rename(checkout.path("infra"), checkout.path("code")).unwrap();
        symlink("code", checkout.path("infra")).unwrap();
        assert_eq!(checkout.walk().unwrap(), ["b.tf 1", "sub/a.tf 2"]);
        let other = tempfile::tempdir().unwrap();
        fs::remove_file(checkout.path("infra")).unwrap();
        symlink(other.path(), checkout.path("infra")).unwrap();
        assert!(checkout.walk().unwrap_err().to_string().contains("leads out of the checkout"));
    }

    #[test]
    fn loops_dead_links_and_fifos_are_rejected() {
        let checkout = Checkout::new();
        symlink("..", checkout.path("infra/sub/up")).unwrap();
        assert!(
            checkout
                .walk()
                .unwrap_err()
                .to_string()
                .contains("points to one of its parent folders")
        );
        let checkout = Checkout::new();
        symlink("gone", checkout.path("infra/dead")).unwrap();
        assert!(checkout.walk().unwrap_err().to_string().contains("does not exist"));
        let checkout = Checkout::new();
        nix::unistd::mkfifo(&checkout.path("infra/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(checkout.walk().unwrap_err().to_string().contains("neither a file nor a folder"));
        let checkout = Checkout::new();
        fs::write(checkout.path("infra/a\nb"), "").unwrap();
        assert!(checkout.walk().unwrap_err().to_string().contains("control character"));
    }
}
