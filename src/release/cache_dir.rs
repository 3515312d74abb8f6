//! The folder that `cache-dir` names: which one it may be, and whom it belongs to.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
};

use crate::{
    base::{
        checkout_path,
        error::{Error, Result},
        log::Log,
        process_env::ProcessEnv,
    },
    services::ci::container_action::{WORKSPACE, is_container_action},
};

/// The folder, which exists.
#[derive(Clone, Debug)]
pub(crate) struct CacheDir {
    pub(crate) folder: PathBuf,
    /// The topmost folder that cdflow created.
    created: PathBuf,
    /// User and group of the folder that contains it. They get the cache too, so that the runner
    /// can delete the checkout.
    owner: (u32, u32),
}

impl CacheDir {
    /// Creates the folder, which git then ignores.
    pub(crate) fn open(folder: &Path, environment: &ProcessEnv) -> Result<Self> {
        let failed = |error: io::Error| Error::io("cannot create the cache", folder, &error);
        let absolute = std::path::absolute(folder).map_err(failed)?;
        if is_container_action(environment) && !is_seen_outside(&absolute, environment) {
            return Err(Error::input(format!(
                "`cache-dir` is `{}`, which other steps cannot see",
                folder.display()
            ))
            .why("a container action shares only the checkout and its home with other steps")
            .hint("use a path relative to the checkout, such as `.cdflow-cache`"));
        }
        // Its owner is changed at the end, and with it that of everything in it.
        if absolute.is_symlink() {
            return Err(Error::refused(format!("`cache-dir` is `{}`, a link", folder.display()))
                .why("cdflow changes the owner of the files in it")
                .hint("remove the link, or name another folder"));
        }
        let absolute = checkout_path::resolve(&absolute)?;
        let is_new = !absolute.exists();
        let missing = absolute.ancestors().take_while(|folder| !folder.exists()).last();
        let created = missing.unwrap_or(&absolute).to_owned();
        let parent = created.parent().unwrap_or(&created);
        let owner = fs::metadata(parent).map(|found| (found.uid(), found.gid())).map_err(failed)?;
        fs::create_dir_all(&absolute).map_err(failed)?;
        if is_new {
            // Otherwise a cache in the checkout counts as uncommitted changes.
            fs::write(absolute.join(".gitignore"), "*\n").map_err(failed)?;
        }
        Ok(Self { folder: absolute, created, owner })
    }

    /// Gives the cache to the owner of its parent folder: in a container cdflow is root, and the
    /// runner is not.
    pub(crate) fn restore_owner(&self, log: &Log) {
        let Self { created, owner: (user, group), .. } = self;
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let entries = walkdir::WalkDir::new(created).into_iter().filter_map(Result::ok);
        if let Some(error) =
            entries.filter_map(|it| lchown(it.path(), Some(*user), Some(*group)).err()).next()
        {
            log.warning(&format!("`{}` still belongs to root: {error}", created.display()));
        }
    }
}

fn is_seen_outside(path: &Path, environment: &ProcessEnv) -> bool {
    let seen = [Some(WORKSPACE), environment.get("HOME")];
    seen.iter().flatten().any(|folder| path.starts_with(folder))
        && !path.components().any(|it| it.as_os_str() == "..")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::base::error::Exit;

    #[test]
    fn a_cache_behind_a_link_of_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["checkout/.git", "checkout/app", "victim"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for (target, link) in [("../victim", "cache"), ("app", "inside"), ("../victim", "out")] {
            symlink(target, path("checkout").join(link)).unwrap();
        }
        let open = |name: &str| CacheDir::open(&path("checkout").join(name), &Default::default());
        for refused in ["cache", "inside", "out/cache"] {
            let error = open(refused).err().unwrap();
            assert_eq!(error.exit(), Exit::Refused, "{refused}");
        }
        assert_eq!(fs::read_dir(path("victim")).unwrap().count(), 0);
        let cache = open("inside/cache").unwrap_or_else(|error| panic!("{error}"));
        assert!(cache.folder.ends_with("checkout/app/cache"));
        assert!(path("checkout/app/cache/.gitignore").exists());
    }

    #[test]
    fn cache_folders_that_other_steps_see() {
        let environment = ProcessEnv::new([("HOME".into(), "/github/home".into())]);
        let seen = |path: &str| is_seen_outside(Path::new(path), &environment);
        assert!(seen("/github/workspace/cache") && seen("/github/home/.cache"));
        assert!(
            !seen("/home/runner/work/a/a/cache")
                && !seen("/github/workspace/../cache")
                && !seen("/tmp/cache")
        );
    }
}
