//! When a plan counts as reviewed: what cdflow.yml and the policy demand together. cdflow.yml can
//! only add to what the policy demands.

use std::collections::BTreeMap;

use super::{approvals::Approvals, guard_file::GuardFile, names::Environment, team_name::TeamName};

/// Each demand with where it is written, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReviewRule {
    /// The people who must have approved: at least 1.
    pub(crate) count: usize,
    /// None: it is the default.
    pub(crate) count_rule: Option<String>,
    /// None: the owners of the changed files need not have approved.
    pub(crate) code_owners: Option<String>,
    pub(crate) teams: BTreeMap<TeamName, String>,
    /// The GitHub environment in which an approval of the run is accepted instead.
    pub(crate) environment: Option<(String, String)>,
    /// An environment of cdflow.yml that has no effect, because the policy does not offer it.
    pub(crate) not_offered: Option<String>,
}

/// The approvals of one file for an environment.
pub(super) struct WrittenApprovals<'a> {
    pub(super) approvals: &'a Approvals,
    pub(super) file: GuardFile<'a>,
    /// None: they are those of all environments.
    pub(super) environment: Option<&'a Environment>,
}

impl WrittenApprovals<'_> {
    fn rule(&self, key: &str) -> String {
        self.file.rule(self.environment, &format!("approvals{key}"))
    }

    fn environment(&self) -> Option<(String, String)> {
        Some((self.approvals.environment.clone()?, self.rule(".environment")))
    }
}

impl Default for ReviewRule {
    fn default() -> Self {
        Self {
            count: 1,
            count_rule: None,
            code_owners: None,
            teams: BTreeMap::new(),
            environment: None,
            not_offered: None,
        }
    }
}

impl ReviewRule {
    /// `policy_requires`: the policy requires a review.
    pub(super) fn merged(
        component: Option<&WrittenApprovals<'_>>,
        policy: Option<&WrittenApprovals<'_>>,
        policy_requires: bool,
    ) -> Self {
        // Of equal demands, the one that a component cannot change is named.
        let written = || policy.into_iter().chain(component);
        let most = written().rev().max_by_key(|it| it.approvals.count);
        let teams = written().rev().flat_map(|it| {
            let rule = it.rule(".teams");
            it.approvals.teams.iter().map(move |team| (team.clone(), rule.clone()))
        });
        let is_of_policy = policy.is_some() || policy_requires;
        let asked = component.and_then(WrittenApprovals::environment);
        let offered = match is_of_policy {
            true => policy.and_then(WrittenApprovals::environment),
            false => asked.clone(),
        };
        let is_offered = |asked: &(String, String)| {
            offered.as_ref().is_some_and(|it| it.0.eq_ignore_ascii_case(&asked.0))
        };
        let not_offered = asked.clone().filter(|it| !is_offered(it)).map(|(_, rule)| rule);
        // A component that asks for reviews, and names no environment, wants the reviews.
        let is_refused = component.is_some() && !asked.as_ref().is_some_and(is_offered);
        Self {
            count: most.map_or(1, |it| it.approvals.count),
            count_rule: most.map(|it| it.rule("")),
            code_owners: written()
                .find(|it| it.approvals.code_owners)
                .map(|it| it.rule(".code-owners")),
            teams: teams.collect(),
            environment: offered.filter(|_| !is_refused),
            not_offered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::document::from_yaml, config::guard_file::Source};

    /// "" is a file that does not say anything.
    fn merged(component: &str, policy: &str, policy_requires: bool) -> ReviewRule {
        let live: Environment = "live".parse().unwrap();
        let parse =
            |text: &str| (!text.is_empty()).then(|| from_yaml::<Approvals>("x.yml", text).unwrap());
        let (component, policy) = (parse(component), parse(policy));
        let component = component.as_ref().map(|approvals| WrittenApprovals {
            approvals,
            file: GuardFile { source: Source::Component, file: "cdflow.yml" },
            environment: None,
        });
        let policy = policy.as_ref().map(|approvals| WrittenApprovals {
            approvals,
            file: GuardFile { source: Source::Policy, file: "s.json" },
            environment: Some(&live),
        });
        ReviewRule::merged(component.as_ref(), policy.as_ref(), policy_requires)
    }

    fn environment(rule: &ReviewRule) -> Option<&str> {
        rule.environment.as_ref().map(|(name, _)| name.as_str())
    }

    #[test]
    fn a_component_can_only_add_demands() {
        assert_eq!(merged("", "", false), ReviewRule::default());
        let both = merged(
            "{count: 1, teams: [data, platform]}",
            "{count: 2, code-owners: true, teams: [platform]}",
            false,
        );
        assert_eq!(both.count, 2);
        let policy = |key: &str| format!("`policy.environments.live.approvals{key}` in s.json");
        assert_eq!(both.count_rule, Some(policy("")));
        assert_eq!(both.code_owners, Some(policy(".code-owners")));
        let teams: Vec<(String, String)> =
            both.teams.into_iter().map(|(team, rule)| (team.to_string(), rule)).collect();
        assert_eq!(
            teams,
            [
                ("data".to_owned(), "`deploy.approvals.teams` in cdflow.yml".to_owned()),
                ("platform".to_owned(), policy(".teams")),
            ]
        );
        let more = merged("{count: 3, code-owners: true}", "2", true);
        assert_eq!(more.count_rule.unwrap(), "`deploy.approvals` in cdflow.yml");
        assert_eq!(more.code_owners.unwrap(), "`deploy.approvals.code-owners` in cdflow.yml");
        assert_eq!(merged("2", "2", false).count_rule, Some(policy("")));
    }

    #[test]
    fn only_the_policy_offers_an_environment_if_it_demands_a_review() {
        let live = "{environment: live}";
        let own = merged(live, "", false);
        assert_eq!((environment(&own), own.not_offered.as_deref()), (Some("live"), None));
        for (policy, requires) in [("", true), ("2", false), ("{environment: other}", false)] {
            let rule = merged(live, policy, requires);
            assert_eq!(environment(&rule), None, "{policy}");
            let named = "`deploy.approvals.environment` in cdflow.yml";
            assert_eq!(rule.not_offered.as_deref(), Some(named), "{policy}");
        }
        assert_eq!(environment(&merged("", live, false)), Some("live"));
        let both = merged("{environment: Live}", live, true);
        assert_eq!((environment(&both), both.not_offered.as_deref()), (Some("live"), None));
        // The component wants two reviews, also where the policy would accept the environment.
        let stricter = merged("2", live, true);
        assert_eq!((environment(&stricter), stricter.not_offered.as_deref()), (None, None));
    }
}
