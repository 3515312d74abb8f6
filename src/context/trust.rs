//! Whether this run may reach the cloud at all: asked before anything else.

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

/// The event of a comment doesn't tell whose change the pull request is.
async fn ask(global: &Global, host: &Host, run: &GitHubRun, number: u64) -> Result<()> {
    let why = match Api::of(host, global.github_token.as_ref()) {
        Ok(api) => match api.pull_request(number).await {
            Ok(change) if !change.is_fork() => return Ok(()),
            Ok(_) => "it comes from a fork".to_owned(),
            Err(trouble) => format!("GitHub does not tell whether it comes from a fork: {trouble}"),
        },
        Err(trouble) => format!("GitHub can't be asked whether it comes from a fork: {trouble}"),
    };
    Err(ci::of_comment(run, number, &why))
}
