//! What is deployed where, for the pages of `status` and `preview reap`.

use crate::{
    config::names::Environment,
    context::Context,
    deploy::{
        ledger::{Entry, Outcome, Record, text},
        preview::expiry,
    },
    report::pages::Deployed,
    services::git::Git,
};

/// Returns what the ledger has of an environment.
pub(super) fn of(context: &Context, environment: &Environment, record: &Record) -> Deployed {
    let entry = record.settled.as_ref().filter(|_| record.is_deployed());
    let start = entry.map(|entry| &entry.start);
    let preview = start.and_then(|start| start.preview.as_ref());
    let for_run = start.and_then(|start| start.pull_request.as_ref());
    Deployed {
        environment: environment.to_string(),
        is_preview: environment.is_preview(),
        version: entry.map(text::version),
        commit: start.and_then(|start| start.commit.clone()),
        at: entry.map(|entry| entry.end.as_ref().map_or(entry.start.started, |end| end.finished)),
        actor: start.and_then(|start| start.actor.clone()),
        run_url: start.and_then(|start| start.run_url.clone()),
        pull_request: preview.map(|it| it.number).or_else(|| for_run.map(|it| it.number)),
        expires: preview.and_then(|_| expiry::expires(context, record)),
        commits_behind: None,
        behind: Vec::new(),
        last_try: record.unsettled.first().map(last_try).filter(|text| !text.is_empty()),
        held: None,
    }
}

/// Adds how many commits of the checkout each one lacks, where the checkout has both.
pub(super) async fn add_commits_behind(context: &Context, all: &mut [&mut Deployed]) {
    let commits: Vec<&str> = all.iter().filter_map(|it| it.commit.as_deref()).collect();
    if commits.is_empty() {
        return;
    }
    let Ok(git) = Git::find(&context.host) else { return };
    let counted = match git.commits_since(&context.folder, &commits).await {
        Ok(counted) => counted,
        Err(error) => {
            context.host.log.detail(&format!("cannot count the commits behind: {error}"));
            return;
        }
    };
    let known: std::collections::BTreeMap<String, Option<u64>> =
        commits.into_iter().map(str::to_owned).zip(counted).collect();
    for it in all.iter_mut() {
        it.commits_behind = it.commit.as_ref().and_then(|commit| known.get(commit).copied()?);
    }
}

/// Describes the newest run after the last successful one; empty if it succeeded.
pub(super) fn last_try(entry: &Entry) -> String {
    let action = text::phrase(&entry.start);
    match entry.end.as_ref().map(|end| end.outcome) {
        Some(Outcome::Failed) => format!("{action} failed"),
        Some(Outcome::Interrupted) => format!("{action} was interrupted"),
        Some(Outcome::Succeeded) => String::new(),
        None => format!("{action} unfinished (in progress or dead)"),
    }
}
