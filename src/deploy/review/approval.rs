//! Which pull request brought a release, and who has approved it.

use jiff::Timestamp;

use crate::{
    base::error::{Error, Result},
    config::guards::ReviewRule,
    context::Context,
    services::{
        ci::Commanded,
        github::{Api, Approval, Discounted, GitHubError, PullRequest},
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
    pub(super) approvals: Vec<Approval>,
    /// How many approvals the plan itself needs.
    pub(super) needed: usize,
    /// When the comment was written. Its author has seen the plans before it.
    pub(super) commanded: Option<Timestamp>,
}

/// Returns the pull request whose merge created `commit`.
pub(super) async fn of_commit(
    context: &Context,
    commit: &str,
    rule: ReviewRule,
) -> Result<Approved> {
    check_on_github(context)?;
    let asking = async { Ok(ask(context, commit).await) };
    let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
    let found = asked.map_err(GitHubError::into_error)?;
    let Some((pull_request, repository, (approvals, discounted))) = found else {
        return Err(Error::refused("the release was not reviewed")
            .why(format!("no merged pull request created its commit {commit}"))
            .hint("deploy the release of a commit that a pull request brought to the branch"));
    };
    if approvals.len() < rule.approvals {
        return Err(lacking(&pull_request, rule, &approvals, &discounted));
    }
    let needed = rule.approvals;
    Ok(Approved { pull_request, repository, approvals, needed, commanded: None })
}

/// Returns the open pull request whose comment commands the apply. Approvals are needed if the
/// environment requires a review.
pub(super) async fn of_command(
    context: &Context,
    (pull_request, commanded): (&PullRequest, &Commanded),
    rule: Option<ReviewRule>,
) -> Result<Approved> {
    let asking = async { Ok(ask_open(context, pull_request.number, rule).await) };
    let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
    let (now, repository, (approvals, discounted)) = asked.map_err(GitHubError::into_error)?;
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
    if let Some(rule) = rule.filter(|rule| approvals.len() < rule.approvals) {
        return Err(lacking(&now, rule, &approvals, &discounted));
    }
    let needed = rule.map_or(0, |rule| rule.approvals);
    let commanded = Some(commanded.at);
    Ok(Approved { pull_request: now, repository, approvals, needed, commanded })
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
    rule: Option<ReviewRule>,
) -> Result<Found, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    let pull_request = api.pull_request(number).await?;
    let approvals = match rule {
        Some(_) => api.approvals(&pull_request).await?,
        None => Default::default(),
    };
    Ok((pull_request, api.repository_id().await?, approvals))
}

type Found = (PullRequest, u64, (Vec<Approval>, Vec<Discounted>));

async fn ask(context: &Context, commit: &str) -> Result<Option<Found>, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    let found = api.merged_as(commit).await?;
    let is_merge = |it: &PullRequest| it.merge_commit_sha.as_deref() == Some(commit);
    let chosen = found.iter().find(|it| is_merge(it)).or(found.first()).cloned();
    let Some(pull_request) = chosen else { return Ok(None) };
    let approvals = api.approvals(&pull_request).await?;
    Ok(Some((pull_request, api.repository_id().await?, approvals)))
}

fn lacking(
    of: &PullRequest,
    rule: ReviewRule,
    approvals: &[Approval],
    discounted: &[Discounted],
) -> Error {
    let needed = match rule.approvals {
        1 => "1 approval".to_owned(),
        count => format!("{count} approvals"),
    };
    let mut why = format!("its newest commit needs {needed} and has {}", approvals.len());
    for Discounted { login, why: reason } in discounted {
        why += &format!("; the approval of {login} does not count, because {login} {reason}");
    }
    Error::refused(format!("pull request #{} was not approved", of.number))
        .why(why)
        .hint("have its newest commit approved on GitHub, then run this job or the command again")
}
