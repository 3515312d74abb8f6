//! Who may do what: the roles of each environment, and what the guards say about it.

use super::{access::AccountsInUse, report::DoctorReport};
use crate::config::{
    component::Manifest,
    guards::{BranchRule, DeployGuards},
    names::Environment,
    review_rule::ReviewRule,
    scheme::{Account, AccountScheme},
};

/// Adds a line for releases, and one for each environment that is in use.
pub(crate) fn powers(
    report: &mut DoctorReport,
    scheme: &AccountScheme,
    manifest: &Manifest,
    accounts: &AccountsInUse<'_>,
) {
    report.ok("may release", releases(scheme));
    for (account, environments) in accounts.values() {
        for name in environments {
            let guards = name.parse::<Environment>().ok().map(|environment| {
                let policy = (&scheme.policy.guards, scheme.file.as_str());
                DeployGuards::of(&environment, &manifest.deploy.limits(), policy)
            });
            let said = [roles(account), guards.iter().flat_map(rules).collect()].concat();
            report.ok(&format!("may change {name}"), said.join("; "));
        }
    }
}

fn releases(scheme: &AccountScheme) -> String {
    let account = &scheme.release_account;
    match (&account.role, &scheme.release_plan_role) {
        (None, _) => "everyone who can write to the folders of the account scheme".to_owned(),
        (Some(role), None) => format!("{role} of `{}`, also in runs that only read", account.alias),
        (Some(role), Some(plan)) => {
            format!("{role} of `{}`; runs that only read have {plan}", account.alias)
        }
    }
}

fn roles(account: &Account) -> Vec<String> {
    match (&account.role, &account.plan_role) {
        (None, _) => vec!["plans and deploys without a role".to_owned()],
        (Some(role), None) => vec![format!("plan and deploy as {role} of `{}`", account.alias)],
        (Some(role), Some(plan)) => {
            vec![format!("plan as {plan}, deploy as {role} of `{}`", account.alias)]
        }
    }
}

/// Returns what the guards of cdflow.yml and of the policy say together.
fn rules(guards: &DeployGuards) -> Vec<String> {
    let mut said = Vec::new();
    if guards.requires_review {
        said.push(review(&guards.review));
    }
    said.extend(guards.branches.iter().map(|rule| format!("commits of {}", branches(rule))));
    said.extend(guards.requires.keys().map(|before| format!("after `{before}`")));
    if let Some((limit, _)) = guards.max_destroy() {
        said.push(format!("max-destroy {limit}"));
    }
    let protected: usize = guards.bounds.iter().map(|bounds| bounds.protect.len()).sum();
    if protected > 0 {
        said.push(format!("{protected} protected types or addresses"));
    }
    if guards.prevents_destroy.is_some() {
        said.push("cdflow destroy is refused".to_owned());
    }
    said
}

/// Returns who must have approved.
fn review(rule: &ReviewRule) -> String {
    let mut said = format!("reviewed with {} approval(s)", rule.count);
    let owners = rule.code_owners.iter().map(|_| "the code owners".to_owned());
    let teams = rule.teams.keys().map(|team| format!("the team {team}"));
    let of: Vec<String> = owners.chain(teams).collect();
    if !of.is_empty() {
        said += &format!(", also of {}", of.join(" and "));
    }
    if let Some((environment, _)) = &rule.environment {
        said += &format!(", or the run approved in the GitHub environment `{environment}`");
    }
    if let Some(place) = &rule.not_offered {
        said += &format!(" ({place} has no effect)");
    }
    said
}

fn branches(rule: &BranchRule) -> String {
    match rule.branches.is_empty() {
        true => "no branch".to_owned(),
        false => rule.branches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::document::from_yaml, config::guards::GuardSettings};

    #[test]
    fn who_must_have_approved() {
        let of = |component: &str, policy: &str| {
            let [component, policy] =
                [component, policy].map(|text| from_yaml::<GuardSettings>("x.yml", text).unwrap());
            let live = "live".parse().unwrap();
            rules(&DeployGuards::of(&live, &component, (&policy, "s.json"))).join("; ")
        };
        assert_eq!(of("require-review: true", "{}"), "reviewed with 1 approval(s)");
        assert_eq!(
            of(
                "approvals: {count: 2, teams: [data], environment: live}",
                "{require-review: true, approvals: {code-owners: true, environment: live}}"
            ),
            "reviewed with 2 approval(s), also of the code owners and the team data, or the run \
             approved in the GitHub environment `live`"
        );
        assert_eq!(
            of("approvals: {environment: live}", "require-review: true"),
            "reviewed with 1 approval(s) (`deploy.approvals.environment` in cdflow.yml has no \
             effect)"
        );
    }
}
