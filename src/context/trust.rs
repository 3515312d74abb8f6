//! Decides whose code a run is for, and which files of the checkout it may use.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::component::folder;
use crate::{
    base::error::{Error, Result},
    cli::args::Global,
    config::{component, settings::FileInput},
    services::{
        ci::{self, Files, GitHubRun, Verdict, host::Host, short},
        git::{Foreign, Git, Head, Tree, is_below},
        github::Api,
    },
};

const MOST_NAMED: usize = 5;

/// The files of the checkout that a run may use.
#[derive(Clone)]
pub(crate) enum Trusted {
    All,
    /// Only those of the commit that is checked out.
    Commit {
        tree: Arc<Tree>,
        event: String,
    },
}

/// Fails if the run is for a change from outside the repository, or if that cannot be ruled out.
/// Must be called before anything reaches the cloud.
pub(crate) async fn check(global: &Global, host: &Host) -> Result<Trusted> {
    if let Some(fork) = host.run.as_ref().and_then(|run| run.fork.as_ref()) {
        return Err(ci::of_foreign_change(fork));
    }
    let Some(run) = host.github() else { return Ok(Trusted::All) };
    let head = head(global, host).await?;
    let files = match ci::judge(run, head.as_ref()) {
        Verdict::Allowed(files) => files,
        Verdict::Refused(error) => return Err(error),
        Verdict::Ask { pull_request } => {
            ask(global, host, run, head.as_ref(), pull_request).await?;
            Files::OfCommit
        }
        Verdict::Prove(files) => {
            prove(global, host, run, head.as_ref()).await?;
            files
        }
    };
    match files {
        Files::All => Ok(Trusted::All),
        Files::OfCommit => of_commit(global, host, run).await,
    }
}

/// Fails unless the commit of the run itself is checked out. For a comment, that is the newest
/// commit of the default branch, whose cdflow.yml a pull request cannot change.
pub(crate) async fn check_own_commit(global: &Global, host: &Host) -> Result<()> {
    check(global, host).await?;
    let own = host.github().map(GitHubRun::own_commits).unwrap_or_default();
    match head(global, host).await? {
        Some(head) if own.contains(&head.commit.as_str()) => Ok(()),
        found => {
            let found = found.map_or_else(|| "no commit".to_owned(), |head| head.commit);
            Err(Error::refused("the checkout is not at the commit of the run")
                .why(format!(
                    "found {found}, expected {}; `comments` is read from cdflow.yml of the \
                     default branch",
                    own.first().map_or("(unknown)".to_owned(), |it| it.escape_debug().to_string())
                ))
                .hint("leave `ref:` out of actions/checkout in this job"))
        }
    }
}

async fn head(global: &Global, host: &Host) -> Result<Option<Head>> {
    let Ok(folder) = folder(global) else { return Ok(None) };
    match Git::find(host) {
        Ok(git) => git.head(&folder).await,
        Err(_) => Ok(None),
    }
}

/// Asks GitHub where the pull request comes from, because the event of a comment does not say.
async fn ask(
    global: &Global,
    host: &Host,
    run: &GitHubRun,
    head: Option<&Head>,
    number: u64,
) -> Result<()> {
    let why = match Api::of(host, global.github_token.as_ref()) {
        Ok(api) => match api.pull_request(number).await {
            Ok(change) if change.is_fork() => "it comes from a fork".to_owned(),
            Ok(change) if change.is_by_dependabot() => "it was opened by Dependabot".to_owned(),
            Ok(change) => {
                return match head {
                    Some(head) if head.is_or_merges(&change.head.sha) => Ok(()),
                    head => prove(global, host, run, head).await,
                };
            }
            Err(error) => format!("GitHub did not say whether it comes from a fork: {error}"),
        },
        Err(error) => format!("cannot ask GitHub whether it comes from a fork: {error}"),
    };
    Err(ci::of_comment(run, number, &why))
}

/// Accepts another commit than that of the run if git shows that a branch or tag of the repository
/// contains it, or GitHub that one of its own pull requests does.
async fn prove(global: &Global, host: &Host, run: &GitHubRun, head: Option<&Head>) -> Result<()> {
    // Without a checkout there is no code, and without a commit of the run nothing to compare with.
    let (Some(head), Some(_), Ok(folder)) = (head, &run.sha, folder(global)) else { return Ok(()) };
    let owner = run.repository.as_ref().map(|repository| repository.owner.as_str());
    let is_ours = |url: &str| owner.is_some_and(|owner| is_below(url, owner));
    if Git::find(host)?.is_of(&folder, &run.own_commits(), is_ours).await? {
        return Ok(());
    }
    let why = match Api::of(host, global.github_token.as_ref()) {
        Ok(api) => match api.is_of_own_pull_request(&head.commit).await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                "no branch, tag or pull request of the repository is known to contain it".to_owned()
            }
            Err(error) => format!("GitHub did not say whose commit it is: {error}"),
        },
        Err(error) => format!("cannot ask GitHub whose commit it is: {error}"),
    };
    Err(ci::of_unknown_commit(run, head, &why))
}

async fn of_commit(global: &Global, host: &Host, run: &GitHubRun) -> Result<Trusted> {
    let folder = folder(global)?;
    let trees = Git::find(host)?.tree(&folder).await?;
    let event = run.event.escape_debug().to_string();
    let Some((tree, changed)) = trees else {
        return Err(Error::refused(format!("the files of a run for `{event}` cannot be checked"))
            .why("they are in no git checkout, so they could come from anyone")
            .hint("check the repository out with actions/checkout"));
    };
    let trusted = Trusted::Commit { tree: Arc::new(tree), event };
    trusted.refuse(changed.into_iter().map(|name| (name, Foreign::Differs)))?;
    let manifest = folder.join(component::FILE);
    trusted.check_files(manifest.exists().then_some(manifest.as_path()))?;
    trusted.check_authorities(global)?;
    Ok(trusted)
}

impl Trusted {
    /// Refuses a file of `ca-certificates` that is in the checkout but not in the commit, because
    /// it could contain an outsider's authority.
    fn check_authorities(&self, global: &Global) -> Result<()> {
        let (Self::Commit { tree, .. }, Some(FileInput::File(path))) =
            (self, &global.ca_certificates)
        else {
            return Ok(());
        };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        match tree.relative(&absolute) == absolute {
            true => Ok(()),
            false => self.check_files([absolute.as_path()]),
        }
    }

    /// Refuses files that the commit does not contain, by name.
    pub(crate) fn check_files<'p>(&self, paths: impl IntoIterator<Item = &'p Path>) -> Result<()> {
        let Self::Commit { tree, .. } = self else { return Ok(()) };
        let foreign = paths.into_iter().filter_map(|path| {
            let found = tree.check_file(path).err()?;
            Some((tree.relative(path).components().collect(), found))
        });
        self.refuse(foreign)
    }

    /// Refuses links that the commit does not contain, wherever they lead.
    pub(crate) fn check_links<'p>(&self, paths: impl IntoIterator<Item = &'p Path>) -> Result<()> {
        let Self::Commit { tree, .. } = self else { return Ok(()) };
        let foreign = paths.into_iter().filter_map(|path| {
            let found = tree.check_link(path).err()?;
            Some((tree.relative(path).components().collect(), found))
        });
        self.refuse(foreign)
    }

    fn refuse(&self, foreign: impl Iterator<Item = (PathBuf, Foreign)>) -> Result<()> {
        let Self::Commit { tree, event } = self else { return Ok(()) };
        let foreign = foreign.collect::<Vec<_>>();
        if foreign.is_empty() {
            return Ok(());
        }
        let is_changed = foreign.iter().any(|(_, found)| *found == Foreign::Differs);
        let names = foreign.iter().take(MOST_NAMED);
        let names =
            names.map(|(name, _)| format!("`{}`", name.display().to_string().escape_debug()));
        let mut names = names.collect::<Vec<_>>().join(", ");
        if foreign.len() > MOST_NAMED {
            names = format!("{names} and {} more", foreign.len() - MOST_NAMED);
        }
        let what = match is_changed {
            true => format!("checked out is {} with changes: {names}", tree.commit),
            false => format!("not in commit {}: {names}", short(&tree.commit)),
        };
        Err(Error::refused(format!("the checkout has files that a run for `{event}` must not use"))
            .why(format!("{what}; they could come from outside the repository"))
            .hint("remove them, or commit them")
            .hint(
                "to release what an earlier step has built, build and release in a run for `push` \
                 or `workflow_dispatch`",
            ))
    }
}
