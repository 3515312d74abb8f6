//! Whose code a run is for: a change from a fork must not get credentials.

use super::component::folder;
use crate::{
    base::error::Result,
    cli::args::Global,
    services::{
        ci::{self, GitHubRun, Verdict, host::Host},
        git::{Git, Head},
        github::Api,
    },
};

/// Fails if the run is for a change from outside the repository, or if that cannot be ruled out.
/// Must be called before anything reaches the cloud.
pub(crate) async fn check(global: &Global, host: &Host) -> Result<()> {
    if let Some(fork) = host.run.as_ref().and_then(|run| run.fork.as_ref()) {
        return Err(ci::of_foreign_change(fork));
    }
    let Some(github) = host.github() else { return Ok(()) };
    let head = match ci::needs_head(github) {
        true => head(global, host).await?,
        false => None,
    };
    match ci::judge(github, head.as_ref()) {
        Verdict::Fine => Ok(()),
        Verdict::Refused(error) => Err(error),
        Verdict::Ask { pull_request } => ask(global, host, github, pull_request).await,
    }
}

async fn head(global: &Global, host: &Host) -> Result<Option<Head>> {
    let Ok(folder) = folder(global) else { return Ok(None) };
    match Git::find(&host.environment.for_programs(), &host.log, &host.interrupt) {
        Ok(git) => git.head(&folder).await,
        Err(_) => Ok(None),
    }
}

/// Asks GitHub where the pull request comes from, because the event of a comment does not say.
async fn ask(global: &Global, host: &Host, run: &GitHubRun, number: u64) -> Result<()> {
    let why = match Api::of(host, global.github_token.as_ref()) {
        Ok(api) => match api.pull_request(number).await {
            Ok(change) if !change.is_fork() => return Ok(()),
            Ok(_) => "it comes from a fork".to_owned(),
            Err(error) => format!("GitHub did not say whether it comes from a fork: {error}"),
        },
        Err(error) => format!("cannot ask GitHub whether it comes from a fork: {error}"),
    };
    Err(ci::of_comment(run, number, &why))
}
