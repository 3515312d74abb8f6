//! Whether the plan of a pull request is made with a role that can only read.

use crate::{
    base::error::{Error, Result},
    context::Context,
    deploy::order::Subject,
};

/// Refuses a plan of a pull request with the role of deploys, if the policy says so; else warns.
/// Everyone who can push a branch decides what such a plan runs.
pub(crate) fn check(context: &Context, subject: &Subject<'_>) -> Result<()> {
    let is_of_pull_request = context.host.run.as_ref().is_some_and(|run| run.change.is_some());
    let account = subject.target.account;
    let Some(role) = account.role.as_ref().filter(|_| account.plan_role.is_none()) else {
        return Ok(());
    };
    if !subject.plan_only || !is_of_pull_request {
        return Ok(());
    }
    let alias = &account.alias;
    let fix = format!("add a read-only `plan-role` to the account `{alias}` in the account scheme");
    let scheme = &context.scheme;
    if !scheme.policy.require_plan_role {
        context.host.log.warning(&format!(
            "this pull request plans with `{role}`, the role of deploys\n  -> {fix}"
        ));
        return Ok(());
    }
    Err(Error::refused(format!("the account `{alias}` has no `plan-role` for the plan"))
        .why(format!(
            "`policy.require-plan-role` in {} forbids that a pull request plans with `{role}`, the \
             role of deploys",
            scheme.file
        ))
        .hint(fix))
}
