//! preview up: releases and deploys the newest commit of a pull request.

use jiff::Timestamp;

use crate::{
    base::error::Result,
    cli::args::{PreviewUpInputs, ReleaseInputs},
    commands::release,
    config::{
        names::{Environment, Version},
        preview::PreviewOf,
    },
    context::Context,
    deploy::{
        self,
        order::Order,
        preview::{
            pull_request::{self, check_repository, number, of_event},
            watch::{Newest, Watch},
        },
        target::Target,
    },
    report::{Lifetime, Outcome, Report},
    services::{ci::short, git::Git, github::PullRequest},
};

pub(crate) async fn run(
    context: &Context,
    inputs: PreviewUpInputs,
    report: &mut Report,
) -> Result<()> {
    let log = &context.host.log;
    let number = number(context, inputs.pull_request)?;
    let target = Target::resolve(context, Environment::of_pull_request(number))?;
    let change = pull_request::find(context, number).await?;
    if let Some(why) =
        pull_request::reason_for_none(&change, context, &context.manifest.preview).await?
    {
        log.done(&format!("No preview for pull request #{number}: {why}"));
        return Ok(());
    }
    let commit = checked_out(context).await?;
    let version: Version = format!("pr-{number}-{}", short(&commit)).parse()?;
    report.set_subject(&target.environment, Some(&version));
    let newest =
        Newest { number, sha: commit_of_change(context, number).unwrap_or_else(|| commit.clone()) };
    if let Some(why) = newest.superseded(change.is_open(), &change.head.sha) {
        report.outcome = Outcome::Superseded;
        log.done(&format!("Nothing to do: {why}"));
        return Ok(());
    }
    let record = target.record(context).await?;
    check_repository(context, &target.environment, &record)?;
    release_once(context, &version, &inputs, report).await?;
    let preview = (preview_of(context, change, &newest), Watch::Newest(newest));
    let order = Order::preview(context, target, version, &record, inputs.plan, preview);
    if deploy::run(context, order, report).await?.is_some() {
        return Ok(());
    }
    let preview = &context.manifest.preview;
    report.preview = Some(Lifetime {
        pull_request: number,
        ttl_seconds: preview.ttl.map(|ttl| ttl.0.as_secs()),
        keep_label: preview.keep_label().to_owned(),
        deployed: Timestamp::now(),
    });
    Ok(())
}

async fn checked_out(context: &Context) -> Result<String> {
    let host = &context.host;
    let git = Git::find(host)?;
    Ok(git.checkout(&context.folder).await?.commit)
}

/// Returns the commit of the pull request; the checkout might be of a merge commit.
fn commit_of_change(context: &Context, number: u64) -> Option<String> {
    of_event(context).filter(|change| change.number == number).map(|change| change.head.sha.clone())
}

/// Releases unless the version is already published, as it is if a job is run again.
async fn release_once(
    context: &Context,
    version: &Version,
    inputs: &PreviewUpInputs,
    report: &mut Report,
) -> Result<()> {
    let release = context.release(version.clone());
    let key = release.key();
    let found = context
        .host
        .interrupt
        .or_cancel("looking for the release", context.store.head(&key))
        .await?;
    if found.is_some() {
        context.host.log.note(&format!("release {version} is already published"));
        return Ok(());
    }
    let inputs = ReleaseInputs {
        version: Some(version.clone()),
        build: inputs.build.clone(),
        create_github_release: false,
        dry_run: false,
        write_lock_file: false,
        report: Default::default(),
        local: Default::default(),
    };
    release::make(context, &release, &inputs, report).await
}

fn preview_of(context: &Context, change: PullRequest, newest: &Newest) -> PreviewOf {
    PreviewOf {
        repository: context.host.github().and_then(|run| run.repository_id),
        number: change.number,
        branch: change.head.name,
        sha: newest.sha.clone(),
        ttl: context.manifest.preview.ttl.map(|ttl| ttl.0.as_secs()),
    }
}
