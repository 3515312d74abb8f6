//! Reads a checkout with git.

mod hidden;
mod identity;
mod place;
mod submodules;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use self::{
    hidden::Hidden,
    place::{Place, is_object_id},
    view::View,
};
pub(crate) use self::{
    submodules::absent_submodule,
    tree::{Foreign, Tree},
};
use super::ci::{host::Host, short};
use crate::base::{
    error::{Error, Exit, Result},
    process,
};

/// A checkout that has at least one commit.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The folder with `.git`, canonical.
    pub(crate) root: PathBuf,
    /// 40 (or 64) hex digits.
    pub(crate) commit: String,
}

/// How the files of a checkout compare with its commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    Same,
    /// The names of files that differ, relative to the root of the checkout.
    Changed(Vec<String>),
    /// git failed to compare them; the text says why.
    Unknown(String),
}

/// What is checked out.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) commit: String,
    /// Known even for a shallow clone, which lacks the commits themselves.
    pub(crate) parents: Vec<String>,
}

impl Head {
    /// Returns true for this commit, and for a merge of it.
    pub(crate) fn is_or_merges(&self, commit: &str) -> bool {
        self.commit == commit || self.parents.iter().any(|parent| parent == commit)
    }
}

/// The `git` program. Reading a checkout starts no program that the checkout names.
pub(crate) struct Git<'a> {
    program: PathBuf,
    host: &'a Host,
}

impl<'a> Git<'a> {
    /// Finds git in PATH.
    pub(crate) fn find(host: &'a Host) -> Result<Self> {
        let env = host.environment.for_programs();
        let program =
            process::find("git", env.get(OsStr::new("PATH")).map(|path| path.as_os_str()))
                .ok_or_else(|| {
                    Error::input("`git` is not in PATH")
                        .hint("install git: the commit and the component's name come from it")
                })?;
        Ok(Self { program, host })
    }

    pub(crate) async fn checkout(&self, folder: &Path) -> Result<Checkout> {
        let view = self.view(folder).await?.ok_or_else(|| {
            Error::input(format!("`{}` is not in a git checkout", folder.display()))
                .hint("a release records the commit it was made from: run cdflow in a checkout")
                .hint("or make one: git init && git add --all && git commit --message 'First'")
        })?;
        let commit = head_of(&view).await?.ok_or_else(|| {
            Error::input(format!("the checkout `{}` has no commit", view.root.display()))
                .hint("commit, then release")
        })?;
        let exists = ["cat-file", "-e", &format!("{commit}^{{commit}}")];
        if view.answer(&view.root, &exists).await?.is_none() {
            let root = view.root.display();
            return Err(Error::input(format!("the checkout `{root}` lacks its commit `{commit}`"))
                .why("`.git/HEAD` leads to it, and the repository has no such commit")
                .hint("check the repository out again"));
        }
        Ok(Checkout { root: view.root, commit })
    }

    /// None where `folder` is in no checkout, or in one without a commit.
    pub(crate) async fn head(&self, folder: &Path) -> Result<Option<Head>> {
        let Some(view) = self.view(folder).await? else { return Ok(None) };
        let Some(commit) = head_of(&view).await? else { return Ok(None) };
        let Some(object) = view.answer(&view.root, &["cat-file", "commit", &commit]).await? else {
            return Ok(None);
        };
        let header = object.lines().take_while(|line| !line.is_empty());
        let parents =
            header.filter_map(|line| line.strip_prefix("parent ")).map(str::to_owned).collect();
        Ok(Some(Head { commit, parents }))
    }

    /// Returns the URL of the remote `origin`.
    pub(crate) async fn origin(&self, folder: &Path) -> Result<Option<String>> {
        Ok(self.view(folder).await?.and_then(|view| view.origin))
    }

    /// Compares the files below `folder` with the commit, those of submodules included.
    pub(crate) async fn compare(&self, folder: &Path) -> Result<Difference> {
        match place::find(folder) {
            Some(place) => self.compare_at(&place, folder).await,
            None => Ok(Difference::Same),
        }
    }

    async fn compare_at(&self, place: &Place, folder: &Path) -> Result<Difference> {
        let view = View::create(&self.program, self.host, place).await?;
        let hidden = Hidden::below(&view, folder).await?;
        let (mut changed, mut suspects) = (Vec::new(), hidden.files);
        for path in hidden.left_out {
            changed.push(format!("{} (left out by the sparse checkout)", path.display()));
        }
        for (path, commit) in hidden.submodules {
            changed.extend(self.compare_submodule(&view.root, &path, &commit).await?);
        }
        let status = ["status", "--porcelain", "-z", "--ignore-submodules=all", "--", "."];
        let status = view.run(folder, status, Vec::new()).await?;
        if status.code != 0 {
            return Ok(Difference::Unknown(view.reason(&status)));
        }
        let status = String::from_utf8_lossy(&status.stdout);
        // git compares without the filters of the checkout, so what LFS has replaced looks changed.
        let mut entries = status.split('\0').filter(|entry| !entry.is_empty());
        while let Some(entry) = entries.next() {
            match entry.split_at_checked(3) {
                Some((" M ", name)) => suspects.push(PathBuf::from(name)),
                Some((state, name)) => {
                    changed.push(name.to_owned());
                    // The old name of a file that was renamed or copied.
                    if state.starts_with(['R', 'C']) {
                        entries.next();
                    }
                }
                None => changed.push(entry.to_owned()),
            }
        }
        if !suspects.is_empty()
            && let Some(commit) = head_of(&view).await?
        {
            let mut tree = Tree::read(&view, &commit).await?;
            tree.resolve_pointers(&view, &suspects).await?;
            suspects.retain(|name| tree.differs(name));
        }
        changed.extend(suspects.iter().map(|name| name.display().to_string()));
        changed.sort();
        Ok(match changed.is_empty() {
            true => Difference::Same,
            false => Difference::Changed(changed),
        })
    }

    /// Returns the changes of a submodule that is checked out. git would read the submodule's own
    /// settings for them, and run programs that these name.
    async fn compare_submodule(
        &self,
        root: &Path,
        path: &Path,
        commit: &str,
    ) -> Result<Vec<String>> {
        let (folder, shown) = (root.join(path), path.display());
        let Some(mut place) = place::find(&folder).filter(|place| place.root == folder) else {
            // One that is not checked out is an empty folder.
            let is_empty = match folder.symlink_metadata() {
                Ok(found) if found.is_dir() => {
                    folder.read_dir().is_ok_and(|mut entries| entries.next().is_none())
                }
                Ok(_) => false,
                Err(_) => true,
            };
            let without = format!("{shown} (a submodule without its repository)");
            return Ok(if is_empty { Vec::new() } else { vec![without] });
        };
        // These patterns are out of sight: a person sees those of the checkout that they work in.
        place.excludes = false;
        let view = View::create(&self.program, self.host, &place).await?;
        match head_of(&view).await? {
            Some(head) if head == commit => {}
            head => {
                let head = head.as_deref().map_or("none", short);
                let commit = short(commit);
                return Ok(vec![format!("{shown} (a submodule at commit {head}, not {commit})")]);
            }
        }
        Ok(match Box::pin(self.compare_at(&place, &folder)).await? {
            Difference::Same => Vec::new(),
            Difference::Changed(files) => {
                files.iter().map(|file| format!("{shown}/{file}")).collect()
            }
            Difference::Unknown(why) => vec![format!("{shown} (a submodule: {why})")],
        })
    }

    /// Returns the files of the commit that is checked out, and the names of those that the
    /// checkout lacks or that differ.
    pub(crate) async fn tree(&self, folder: &Path) -> Result<Option<(Tree, Vec<PathBuf>)>> {
        let Some(view) = self.view(folder).await? else { return Ok(None) };
        let Some(commit) = head_of(&view).await? else { return Ok(None) };
        let mut tree = Tree::read(&view, &commit).await?;
        let suspects = tree.changed();
        tree.resolve_pointers(&view, &suspects).await?;
        let changed = suspects.into_iter().filter(|name| tree.differs(name)).collect();
        Ok(Some((tree, changed)))
    }

    /// Returns the files of that name in the index, relative to the root of the checkout.
    pub(crate) async fn files_named(&self, folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
        let Some(view) = self.view(folder).await? else { return Ok(Vec::new()) };
        let pattern = format!(":(top,glob)**/{name}");
        let list = ["ls-files", "--full-name", "-z", "--", &pattern];
        let listed = view.run(&view.root, list, Vec::new()).await?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        Ok(listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
    }

    /// Returns how many commits of the checkout each of `commits` lacks. None for one that the
    /// checkout does not have, such as a shallow clone.
    pub(crate) async fn commits_since(
        &self,
        folder: &Path,
        commits: &[&str],
    ) -> Result<Vec<Option<u64>>> {
        let Some(view) = self.view(folder).await? else { return Ok(vec![None; commits.len()]) };
        let Some(head) = head_of(&view).await? else { return Ok(vec![None; commits.len()]) };
        let mut counts = Vec::new();
        for commit in commits {
            let range = format!("{commit}..{head}");
            let count = match is_object_id(commit) {
                true => view.answer(&view.root, &["rev-list", "--count", &range]).await?,
                false => None,
            };
            counts.push(count.and_then(|count| count.parse().ok()));
        }
        Ok(counts)
    }

    /// Returns true if the checked-out commit belongs to one of `commits`, or to a branch or tag of
    /// a remote `origin` whose URL `is_ours` accepts.
    pub(crate) async fn is_of(
        &self,
        folder: &Path,
        commits: &[&str],
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<bool> {
        let Some(view) = self.view(folder).await? else { return Ok(false) };
        let Some(head) = head_of(&view).await? else { return Ok(false) };
        for commit in commits.iter().filter(|commit| is_object_id(commit)) {
            let asked = ["merge-base", "--is-ancestor", &head, commit];
            if view.answer(&view.root, &asked).await?.is_some() {
                return Ok(true);
            }
        }
        if !view.origin.as_deref().is_some_and(is_ours) {
            return Ok(false);
        }
        let containing = ["for-each-ref", "--count=1", "--contains", &head];
        let args = [&containing[..], &["refs/remotes/origin", "refs/tags"]].concat();
        Ok(view.answer(&view.root, &args).await?.is_some_and(|found| !found.is_empty()))
    }

    async fn view(&self, folder: &Path) -> Result<Option<View<'_>>> {
        match place::find(folder) {
            Some(place) => View::create(&self.program, self.host, &place).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Returns the commit that is checked out. A branch without a commit has none.
async fn head_of(view: &View<'_>) -> Result<Option<String>> {
    let answer = view.answer(&view.root, &["rev-parse", "--verify", "HEAD"]).await?;
    match answer {
        Some(commit) if !is_object_id(&commit) => Err(Error::new(
            Exit::Integrity,
            format!("git names no commit for HEAD of `{}`", view.root.display()),
        )
        .hint("check the repository out again")),
        answer => Ok(answer),
    }
}

/// The last segment of a remote's URL or of `owner/name`, without `.git`.
pub(crate) fn repository_name(remote: &str) -> Option<&str> {
    let trimmed = remote.trim_end_matches('/');
    let last = trimmed.rsplit(['/', ':']).next()?;
    let name = last.strip_suffix(".git").unwrap_or(last);
    (!name.is_empty()).then_some(name)
}

/// Returns true if the URL of a remote names a repository of `owner`.
pub(crate) fn is_below(remote: &str, owner: &str) -> bool {
    let mut parts = remote.trim_end_matches('/').rsplit(['/', ':']);
    parts.next();
    parts.next().is_some_and(|found| found.eq_ignore_ascii_case(owner))
}

#[cfg(test)]
mod name_tests {
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
        for (remote, is_ours) in [
            ("git@github.com:acme/checkout.git", true),
            ("https://github.com/Acme/other/", true),
            ("https://github.com/mallory/acme", false),
            ("https://acme/mallory/checkout", false),
            ("acme", false),
        ] {
            assert_eq!(is_below(remote, "acme"), is_ours, "{remote}");
        }
    }
}
