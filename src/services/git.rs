//! Reads a checkout with git.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::base::{
    error::{Error, Result},
    interrupt::Interrupt,
    log::Log,
    process::{self, Program},
};

/// A checkout that has at least one commit.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The folder with `.git`, canonical.
    pub(crate) root: PathBuf,
    /// 40 (or 64) hex digits.
    pub(crate) commit: String,
}

/// What is checked out.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) commit: String,
    /// Known even for a shallow clone, which lacks the commits themselves.
    pub(crate) parents: Vec<String>,
    /// Tracked files differ from the commit.
    pub(crate) is_changed: bool,
}

/// Git settings for untrusted checkouts. In a container the checkout belongs to another user, which
/// git rejects without the first one. The others keep git from running programs of the checkout:
/// file monitors, hooks, committed bare repositories.
const HARMLESS: [&str; 8] = [
    "-c",
    "safe.directory=*",
    "-c",
    "safe.bareRepository=explicit",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
];

/// The `git` program.
pub(crate) struct Git<'a> {
    program: PathBuf,
    env: BTreeMap<OsString, OsString>,
    log: &'a Log,
    interrupt: &'a Interrupt,
}

impl<'a> Git<'a> {
    /// `env` is the allow-listed environment; its PATH is where git is looked for.
    pub(crate) fn find(
        env: &BTreeMap<OsString, OsString>,
        log: &'a Log,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let program =
            process::find("git", env.get(&OsString::from("PATH")).map(OsString::as_os_str))
                .ok_or_else(|| {
                    Error::input("`git` is not in PATH")
                        .hint("install git: the commit and the component's name come from it")
                })?;
        let mut env = env.clone();
        // Asking must not write into the checkout.
        env.insert("GIT_OPTIONAL_LOCKS".into(), "0".into());
        Ok(Self { program, env, log, interrupt })
    }

    pub(crate) async fn checkout(&self, folder: &Path) -> Result<Checkout> {
        let root =
            self.answer(folder, &["rev-parse", "--show-toplevel"]).await?.ok_or_else(|| {
                Error::input(format!("`{}` is not in a git checkout", folder.display()))
                    .hint("a release records the commit it was made from: run cdflow in a checkout")
            })?;
        let commit =
            self.answer(folder, &["rev-parse", "--verify", "HEAD"]).await?.ok_or_else(|| {
                Error::input(format!("the checkout `{root}` has no commit"))
                    .hint("commit, then release")
            })?;
        let root = std::fs::canonicalize(&root)
            .map_err(|error| Error::io("can't read", Path::new(&root), &error))?;
        Ok(Checkout { root, commit })
    }

    /// None where `folder` is in no checkout, or in one without a commit.
    pub(crate) async fn head(&self, folder: &Path) -> Result<Option<Head>> {
        let Some(commit) = self.answer(folder, &["rev-parse", "--verify", "HEAD"]).await? else {
            return Ok(None);
        };
        let Some(object) = self.answer(folder, &["cat-file", "commit", "HEAD"]).await? else {
            return Ok(None);
        };
        let header = object.lines().take_while(|line| !line.is_empty());
        let parents =
            header.filter_map(|line| line.strip_prefix("parent ")).map(str::to_owned).collect();
        let status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none"];
        // If git cannot determine this, the checkout counts as changed.
        let is_changed =
            self.answer(folder, &status).await?.is_none_or(|changes| !changes.is_empty());
        Ok(Some(Head { commit, parents, is_changed }))
    }

    pub(crate) async fn origin(&self, folder: &Path) -> Result<Option<String>> {
        self.answer(folder, &["config", "--get", "remote.origin.url"]).await
    }

    /// Whether files below `folder` differ from the commit.
    pub(crate) async fn is_changed(&self, folder: &Path) -> Result<bool> {
        Ok(self
            .answer(folder, &["status", "--porcelain", "--ignore-submodules=all", "--", "."])
            .await?
            .is_some_and(|changes| !changes.is_empty()))
    }

    /// Returns the trimmed output; None if git fails.
    async fn answer(&self, folder: &Path, args: &[&str]) -> Result<Option<String>> {
        let args = HARMLESS.iter().chain(args);
        let captured = Program::new(&self.program, folder, &self.env)
            .args(args)
            .capture(self.log, self.interrupt)
            .await?;
        self.interrupt.check("asking git")?;
        let text = String::from_utf8_lossy(&captured.stdout).trim().to_owned();
        Ok((captured.code == 0).then_some(text))
    }
}

/// The last segment of a remote's URL or of `owner/name`, without `.git`.
pub(crate) fn repository_name(remote: &str) -> Option<&str> {
    let trimmed = remote.trim_end_matches('/');
    let last = trimmed.rsplit(['/', ':']).next()?;
    let name = last.strip_suffix(".git").unwrap_or(last);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_remotes() {
        for (remote, name) in [
            ("git@github.com:acme/checkout.git", Some("checkout")),
            ("https://github.com/acme/checkout/", Some("checkout")),
            ("acme/checkout", Some("checkout")),
            ("git@host:checkout.git", Some("checkout")),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(repository_name(remote), name, "{remote}");
        }
    }
}
