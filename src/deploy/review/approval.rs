//! Which pull request brought a release, and who has approved it.

use jiff::Timestamp;

use super::{
    base_branch,
    evidence::{Evidence, gather},
    refusal::lacking,
};
use crate::{
    base::error::{Error, Result},
    config::{guards::BranchRule, review_rule::ReviewRule},
    context::Context,
    services::{
        ci::Commanded,
        github::{Api, GitHubError, PullRequest},
    },
};

/// What is left where a review cannot be used.
pub(super) const WITHOUT_REVIEW: &str =
    "or deploy without --reviewed, if the rules of the environment allow it";

/// A pull request with enough approvals of its newest commit: merged, or open with a comment that
/// commands the apply.
pub(super) struct Approved {
    pub(super) pull_request: PullRequest,
    pub(super) repository: u64,
    /// The plan itself needs enough of these approvals.
    pub(super) evidence: Evidence,
    /// When the comment was written. Its author has seen the plans before it.
    pub(super) commanded: Option<Timestamp>,
}

/// Returns the pull request whose merge created `commit`.
pub(super) async fn of_commit(
    context: &Context,
    commit: &str,
    branches: &[BranchRule],
    rule: &ReviewRule,
) -> Result<Approved> {
    check_on_github(context)?;
    let asking = async { Ok(ask(context, commit, rule).await) };
    let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
    let found = asked.map_err(GitHubError::into_error)?;
    let Some((pull_request, repository, evidence)) = found else {
        return Err(Error::refused("the release was not reviewed")
            .why(format!("no merged pull request created its commit {commit}"))
            .hint("deploy the release of a commit that a pull request brought to the branch"));
    };
    base_branch::check(context, &pull_request, branches, rule).await?;
    if evidence.people(&evidence.given).is_none() {
        return Err(lacking(&pull_request, rule, evidence));
    }
    Ok(Approved { pull_request, repository, evidence, commanded: None })
}

/// Returns the open pull request whose comment commands the apply. Approvals are needed if the
/// environment requires a review.
pub(super) async fn of_command(
    context: &Context,
    (pull_request, commanded): (&PullRequest, &Commanded),
    branches: &[BranchRule],
    rule: Option<&ReviewRule>,
) -> Result<Approved> {
    let asking = async { Ok(ask_open(context, pull_request.number, rule).await) };
    let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
    let (now, repository, evidence) = asked.map_err(GitHubError::into_error)?;
    let number = now.number;
    if !now.is_open() || now.head.sha != pull_request.head.sha {
        let why = match now.is_open() {
            true => format!("{} is its newest commit now", now.head.sha),
            false => "it is closed".to_owned(),
        };
        return Err(Error::refused(format!(
            "pull request #{number} has changed since the comment"
        ))
        .why(why)
        .hint("look at what has changed, and write a new comment"));
    }
    if let Some(rule) = rule {
        base_branch::check(context, &now, branches, rule).await?;
        if evidence.people(&evidence.given).is_none() {
            return Err(lacking(&now, rule, evidence));
        }
    }
    Ok(Approved { pull_request: now, repository, evidence, commanded: Some(commanded.at) })
}

/// Only a run of GitHub Actions has a repository whose reviews cdflow can read.
fn check_on_github(context: &Context) -> Result<()> {
    match context.host.github() {
        Some(_) => Ok(()),
        None => Err(Error::refused("only a run of GitHub Actions can deploy what was reviewed")
            .why("cdflow asks GitHub for the approvals of the pull request")
            .hint("deploy in a workflow (docs/reviewed.md)")
            .hint(WITHOUT_REVIEW)),
    }
}

async fn ask_open(
    context: &Context,
    number: u64,
    rule: Option<&ReviewRule>,
) -> Result<Found, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    let pull_request = api.pull_request(number).await?;
    let evidence = match rule {
        Some(rule) => gather(&api, run(context), &pull_request, rule).await?,
        None => Evidence::default(),
    };
    Ok((pull_request, api.repository_id().await?, evidence))
}

type Found = (PullRequest, u64, Evidence);

async fn ask(
    context: &Context,
    commit: &str,
    rule: &ReviewRule,
) -> Result<Option<Found>, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    let found = api.merged_as(commit).await?;
    let is_merge = |it: &PullRequest| it.merge_commit_sha.as_deref() == Some(commit);
    let chosen = found.iter().find(|it| is_merge(it)).or(found.first()).cloned();
    let Some(pull_request) = chosen else { return Ok(None) };
    let evidence = gather(&api, run(context), &pull_request, rule).await?;
    Ok(Some((pull_request, api.repository_id().await?, evidence)))
}

/// Returns the ID of this run.
fn run(context: &Context) -> Option<u64> {
    context.host.github()?.run_id
}
