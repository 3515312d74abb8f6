//! Which pull request brought a release, and who has approved it.

use crate::{
    base::error::{Error, Result},
    config::guards::ReviewRule,
    context::Context,
    services::github::{Api, Approval, Discounted, GitHubError, PullRequest},
};

/// What is left where a review cannot be used.
pub(super) const WITHOUT_REVIEW: &str =
    "or deploy without --reviewed, if the rules of the environment allow it";

/// A merged pull request with enough approvals of its newest commit.
pub(super) struct Approved {
    pub(super) pull_request: PullRequest,
    pub(super) repository: u64,
    pub(super) approvals: Vec<Approval>,
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
    Ok(Approved { pull_request, repository, approvals })
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
        .hint("have its newest commit approved on GitHub, and run this job again")
}
