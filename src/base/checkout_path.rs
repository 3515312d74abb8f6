//! Paths that cdflow writes to: a link of a checkout must not lead the writing elsewhere.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::error::{Error, Result};

/// Returns where `path` really is; its last parts need not exist. Refuses a path of a checkout that
/// a link leads out of it. Write to the returned path, not to `path`.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    let failed = |error: io::Error| Error::io("cannot find", path, &error);
    let written = normalise(&std::path::absolute(path).map_err(failed)?);
    let exists = |folder: &&Path| folder.symlink_metadata().is_ok();
    let near = written.ancestors().find(exists).unwrap_or(Path::new("/"));
    let rest = written.strip_prefix(near).unwrap_or(Path::new(""));
    let real = fs::canonicalize(near).map_err(failed)?;
    let real = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
    // The outermost one: what a link leads to could be another checkout.
    let folders = written.ancestors().collect::<Vec<_>>();
    let checkout = folders.into_iter().rev().find(|it| it.join(".git").symlink_metadata().is_ok());
    match checkout.map(fs::canonicalize).transpose().map_err(failed)? {
        Some(root) if !real.starts_with(&root) => {
            Err(Error::refused(format!("`{}` leads out of the checkout", path.display()))
                .why(format!("a link on its way leads to `{}`", real.display()))
                .hint("remove the link, or name another path"))
        }
        _ => Ok(real),
    }
}

/// Resolves `..` as it is written, so that a link before it has no effect.
pub(crate) fn normalise(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_a_checkout_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in ["checkout/.git", "checkout/app", "outside", "other/.git"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for (target, link) in [
            ("../outside", "out"),
            ("../other", "foreign"),
            ("/dev", "device"),
            ("app", "inside"),
            ("../nowhere", "dangling"),
            ("out", "twice"),
        ] {
            symlink(target, root.join("checkout").join(link)).unwrap();
        }
        let resolved = |name: &str| resolve(&root.join("checkout").join(name)).ok();
        let inside = |name: &str| Some(root.join("checkout").join(name));
        for (written, real) in [
            ("r.json", inside("r.json")),
            ("app/new/folder/r.json", inside("app/new/folder/r.json")),
            ("inside/r.json", inside("app/r.json")),
            ("out/../r.json", inside("r.json")),
            ("../outside/r.json", Some(root.join("outside/r.json"))),
            ("out/r.json", None),
            ("out", None),
            ("twice/a/b/r.json", None),
            ("foreign/r.json", None),
            ("device/shm/r.json", None),
            ("dangling/r.json", None),
            ("app/../out/r.json", None),
        ] {
            assert_eq!(resolved(written), real, "{written}");
        }
        // Outside of any checkout, links are the user's own.
        symlink("outside", root.join("mine")).unwrap();
        assert_eq!(resolve(&root.join("mine/x")).unwrap(), root.join("outside/x"));
    }
}
