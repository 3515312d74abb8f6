//! The base branch of a reviewed pull request. Who can push can open a pull request into a branch
//! of their own, where CODEOWNERS names whom they like.

use crate::{
    base::{
        error::{Error, Result},
        printable,
    },
    config::{guards::BranchRule, review_rule::ReviewRule},
    context::Context,
    services::github::{Api, GitHubError, PullRequest},
};

/// Refuses a pull request into another branch than those of the rules. Without such rules, code
/// owners count only for the default branch.
pub(super) async fn check(
    context: &Context,
    of: &PullRequest,
    branches: &[BranchRule],
    rule: &ReviewRule,
) -> Result<()> {
    let base = &of.base.name;
    let is_broken = |it: &&BranchRule| !it.branches.iter().any(|pattern| pattern.matches(base));
    if let Some(broken) = branches.iter().find(is_broken) {
        return Err(elsewhere(of, &broken.rule));
    }
    let Some(owners) = rule.code_owners.as_ref().filter(|_| branches.is_empty()) else {
        return Ok(());
    };
    let asking = async { Ok(default_branch(context).await) };
    let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
    match asked.map_err(GitHubError::into_error)? == *base {
        true => Ok(()),
        false => Err(elsewhere(of, owners)
            .hint("or add the branch to `branches` of the environment, if it is protected")),
    }
}

async fn default_branch(context: &Context) -> Result<String, GitHubError> {
    Api::of(&context.host, context.github_token.as_ref())?.default_branch().await
}

fn elsewhere(of: &PullRequest, rule: &str) -> Error {
    let base = printable::excerpt(&of.base.name);
    Error::refused(format!("pull request #{} is for the branch `{base}`", of.number))
        .why(format!("its approvals do not count for this environment ({rule})"))
        .hint("open a pull request into the branch that is deployed from")
}
