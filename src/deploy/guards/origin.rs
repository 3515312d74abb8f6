//! Guards of where a release comes from: what it is made of, and the branch of its commit.

use std::collections::BTreeSet;

use crate::{
    base::error::{Error, Result},
    config::guards::BranchRule,
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    release::policy_check,
    services::github::{Api, BranchHead, GitHubError},
    terraform::PlanMode,
};

/// Branches that a commit is compared with. More are unlikely, and each is a request.
const COMPARED: usize = 50;

/// Refuses what the policy does not allow. The order is also one to plan only, because a plan runs
/// providers.
pub(crate) fn check_ingredients(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    if !order.guards_release {
        return Ok(());
    }
    let release = format!("release {}", order.version());
    policy_check::check(&context.scheme, &prepared.tool, &prepared.folder.infra, &release)
}

/// Refuses a commit that is on none of the branches of a rule.
pub(crate) async fn check_branch(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    let is_judged = order.guards_release && order.mode == PlanMode::Deploy;
    // The commit of an open pull request is on no such branch yet, also in a merge queue.
    let is_of_change = context.host.run.as_ref().is_some_and(|run| run.change.is_some());
    let is_open = is_of_change || context.host.queued().is_some();
    if !is_judged || (order.plan.plan_only && is_open) {
        return Ok(());
    }
    for rule in &order.limits.branches {
        let Some(commit) = prepared.facts.commit() else {
            return Err(Error::refused(format!("release {} names no commit", order.version()))
                .why(format!("only commits of {} may be deployed ({})", names(rule), rule.rule))
                .hint("make the release from a commit of the repository"));
        };
        let asking = async { Ok(is_on_one(context, rule, commit).await) };
        let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
        if !asked.map_err(|error| error.into_error().hint(needs_github(rule)))? {
            return Err(elsewhere(order, rule, commit));
        }
    }
    Ok(())
}

async fn is_on_one(
    context: &Context,
    rule: &BranchRule,
    commit: &str,
) -> Result<bool, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    let mut heads: Vec<BranchHead> = Vec::new();
    for pattern in &rule.branches {
        let found = api.branches(&pattern.name).await?;
        heads.extend(found.into_iter().filter(|it| pattern.matches(&it.name)));
    }
    if heads.iter().any(|head| head.commit == commit) {
        return Ok(true);
    }
    let mut seen = BTreeSet::new();
    heads.retain(|head| seen.insert(head.commit.clone()));
    for head in heads.iter().take(COMPARED) {
        if api.is_on(head, commit).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn names(rule: &BranchRule) -> String {
    let names: Vec<String> = rule.branches.iter().map(|it| format!("`{it}`")).collect();
    match names.is_empty() {
        true => "no branch".to_owned(),
        false => names.join(" or "),
    }
}

fn needs_github(rule: &BranchRule) -> String {
    format!("deploy from a workflow of the repository: {} needs GitHub's answer", rule.rule)
}

fn elsewhere(order: &Order<'_>, rule: &BranchRule, commit: &str) -> Error {
    let environment = order.environment();
    Error::refused(format!(
        "release {} may not be deployed to `{environment}`: its commit {commit} is not on {}",
        order.version(),
        names(rule)
    ))
    .why(format!("the rule is {}", rule.rule))
    .hint("merge the commit, and deploy a release of the branch")
}
