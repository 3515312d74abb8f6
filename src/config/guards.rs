//! Deploy guards: what a deploy may destroy, which branch it may come from, and which deploy must
//! precede it. They are set in `deploy` of cdflow.yml and in `policy` of the account scheme, which
//! cdflow.yml cannot override.

use std::{collections::BTreeMap, str::FromStr};

use serde::Deserialize;

pub(crate) use super::guard_file::Source;
use super::{
    address::Address,
    approvals::Approvals,
    branches::BranchPattern,
    guard_file::GuardFile,
    names::{self, Environment},
    review_rule::{ReviewRule, WrittenApprovals},
};
use crate::base::printable;

/// The guards as written in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct GuardSettings {
    /// Maximum number of resources that one deploy destroys or replaces.
    pub(crate) max_destroy: Option<usize>,
    /// Resources that are not destroyed or replaced.
    #[serde(default)]
    pub(crate) protect: Vec<Protected>,
    /// Whether `cdflow destroy` is refused.
    pub(crate) prevent_destroy: Option<bool>,
    /// The label of pull requests that override these guards. None: no label does.
    #[serde(default, deserialize_with = "names::label")]
    pub(crate) allow_destroy_label: Option<String>,
    /// Only what was reviewed on a pull request is applied.
    pub(crate) require_review: Option<bool>,
    /// The approvals that a review needs.
    pub(crate) approvals: Option<Approvals>,
    #[serde(default)]
    pub(crate) environments: BTreeMap<Environment, EnvironmentGuards>,
}

/// Guards of one environment, which override the general ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct EnvironmentGuards {
    /// A release is deployed here only after a successful deploy to that environment.
    pub(crate) requires: Option<Environment>,
    /// Only commits of these branches are deployed here. None: any commit.
    pub(crate) branches: Option<Vec<BranchPattern>>,
    pub(crate) require_review: Option<bool>,
    pub(crate) approvals: Option<Approvals>,
    pub(crate) max_destroy: Option<usize>,
    #[serde(default)]
    pub(crate) protect: Vec<Protected>,
    pub(crate) prevent_destroy: Option<bool>,
}

/// A type of resources (`aws_db_instance`), or the address of a resource or a module
/// (`module.data.aws_s3_bucket.events`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Protected {
    /// As written.
    text: String,
    /// None for a type.
    address: Option<Address>,
}

/// The guards of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeployGuards {
    /// Each with the rule that says so.
    pub(crate) requires: BTreeMap<Environment, String>,
    /// The rule that refuses `cdflow destroy`.
    pub(crate) prevents_destroy: Option<String>,
    /// A commit must be on a branch of each.
    pub(crate) branches: Vec<BranchRule>,
    /// Those of the component and those of the policy: a plan must pass both.
    pub(crate) bounds: Vec<DestroyGuard>,
    /// Whether only what was reviewed is applied.
    pub(crate) requires_review: bool,
    pub(crate) review: ReviewRule,
}

/// The branches whose commits may be deployed, from one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BranchRule {
    pub(crate) branches: Vec<BranchPattern>,
    /// Where it is written.
    pub(crate) rule: String,
}

/// What a plan may destroy, from one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DestroyGuard {
    pub(crate) source: Source,
    pub(crate) max_destroy: Option<usize>,
    /// Where `max_destroy` is written.
    pub(crate) max_destroy_rule: String,
    /// Each with where it is written.
    pub(crate) protect: BTreeMap<Protected, String>,
    /// The label that overrides this guard, and no other.
    pub(crate) label: Option<String>,
}

impl DestroyGuard {
    pub(crate) fn protects(&self, address: &str, kind: &str) -> bool {
        self.protecting(address, kind).is_some()
    }

    /// Returns where it is written that the resource is protected.
    fn protecting(&self, address: &str, kind: &str) -> Option<&str> {
        let found = self.protect.iter().find(|(protected, _)| protected.covers(address, kind));
        found.map(|(_, rule)| rule.as_str())
    }
}

impl DeployGuards {
    pub(crate) fn of(
        environment: &Environment,
        component: &GuardSettings,
        (policy, policy_file): (&GuardSettings, &str),
    ) -> Self {
        // Previews are disposable.
        if environment.is_preview() {
            return Self::default();
        }
        let files = [
            (component, GuardFile { source: Source::Component, file: "cdflow.yml" }),
            (policy, GuardFile { source: Source::Policy, file: policy_file }),
        ];
        let own = files.map(|(limits, file)| (limits.environments.get(environment), file));
        let requires = own.iter().filter_map(|(own, file)| {
            Some((own.as_ref()?.requires.clone()?, file.rule(Some(environment), "requires")))
        });
        let branches = own.iter().filter_map(|(own, file)| {
            let branches = own.as_ref()?.branches.clone()?;
            Some(BranchRule { branches, rule: file.rule(Some(environment), "branches") })
        });
        let [by_component, by_policy] =
            [component, policy].map(|limits| limits.requires_review(environment));
        let [of_component, of_policy] =
            files.map(|(limits, file)| limits.approvals(environment, file));
        Self {
            requires_review: by_component || by_policy,
            review: ReviewRule::merged(of_component.as_ref(), of_policy.as_ref(), by_policy),
            requires: requires.collect(),
            branches: branches.collect(),
            prevents_destroy: files
                .iter()
                .find_map(|(limits, file)| limits.prevents_destroy(environment, *file)),
            bounds: files.iter().map(|(limits, file)| limits.bounds(environment, *file)).collect(),
        }
    }

    /// Returns the strictest limit, and where it is written.
    pub(crate) fn max_destroy(&self) -> Option<(usize, &str)> {
        let limited = self.bounds.iter().filter_map(|bounds| {
            let limit = bounds.max_destroy?;
            Some((limit, bounds.max_destroy_rule.as_str()))
        });
        limited.min_by_key(|(limit, _)| *limit)
    }

    /// Returns where it is written that the resource is protected.
    pub(crate) fn protecting(&self, address: &str, kind: &str) -> Option<&str> {
        self.bounds.iter().find_map(|bounds| bounds.protecting(address, kind))
    }

    /// Returns the guards without labels that override them.
    pub(crate) fn without_labels(mut self) -> Self {
        self.bounds.iter_mut().for_each(|bounds| bounds.label = None);
        self
    }
}

impl GuardSettings {
    /// Returns an environment that requires itself.
    pub(crate) fn waiting_for_itself(&self) -> Option<&Environment> {
        let itself =
            |(name, own): &(&Environment, &EnvironmentGuards)| own.requires.as_ref() == Some(*name);
        self.environments.iter().find(itself).map(|(name, _)| name)
    }

    /// Returns every environment that is named.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Environment> {
        self.environments.iter().flat_map(|(name, own)| std::iter::once(name).chain(&own.requires))
    }

    fn requires_review(&self, environment: &Environment) -> bool {
        let own = self.environments.get(environment).and_then(|own| own.require_review);
        own.or(self.require_review).unwrap_or_default()
    }

    /// Whether an approval of the run in a GitHub environment is accepted anywhere.
    pub(crate) fn accepts_approvals_of_runs(&self) -> bool {
        let of_environments = self.environments.values().filter_map(|it| it.approvals.as_ref());
        self.approvals.iter().chain(of_environments).any(|it| it.environment.is_some())
    }

    fn approvals<'a>(
        &'a self,
        environment: &'a Environment,
        file: GuardFile<'a>,
    ) -> Option<WrittenApprovals<'a>> {
        let own = self.environments.get(environment).and_then(|own| own.approvals.as_ref());
        let approvals = own.or(self.approvals.as_ref())?;
        Some(WrittenApprovals { approvals, file, environment: own.map(|_| environment) })
    }

    /// Returns the rule that refuses to destroy the environment.
    fn prevents_destroy(&self, environment: &Environment, file: GuardFile<'_>) -> Option<String> {
        let own = self.environments.get(environment).and_then(|own| own.prevent_destroy);
        let is_prevented = own.or(self.prevent_destroy).unwrap_or_default();
        is_prevented.then(|| file.rule(own.map(|_| environment), "prevent-destroy"))
    }

    fn bounds(&self, environment: &Environment, file: GuardFile<'_>) -> DestroyGuard {
        let own = self.environments.get(environment).cloned().unwrap_or_default();
        let named = |protect: Vec<Protected>, of: Option<&Environment>| {
            let rule = file.rule(of, "protect");
            protect.into_iter().map(move |it| (it, rule.clone()))
        };
        let max_destroy_of = own.max_destroy.map(|_| environment);
        DestroyGuard {
            source: file.source,
            max_destroy: own.max_destroy.or(self.max_destroy),
            max_destroy_rule: file.rule(max_destroy_of, "max-destroy"),
            protect: named(self.protect.clone(), None)
                .chain(named(own.protect, Some(environment)))
                .collect(),
            label: self.allow_destroy_label.clone(),
        }
    }
}

impl Protected {
    /// Returns the address as written, or None for a resource type.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_ref().map(|_| self.text.as_str())
    }

    /// Whether `address` is protected: the resource itself, its instances, or what is in the
    /// module. `address` is as Terraform prints it, and `kind` is the type of that resource.
    pub(crate) fn covers(&self, address: &str, kind: &str) -> bool {
        match &self.address {
            None => self.text == kind,
            Some(ours) => address.parse().is_ok_and(|address| ours.covers(&address)),
        }
    }
}

impl FromStr for Protected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_type = hcl_edit::Ident::try_new(text).is_ok()
            && !["module", "data", "ephemeral", "resource"].contains(&text);
        if is_type {
            return Ok(Self { text: text.to_owned(), address: None });
        }
        let address = text.parse().map_err(|why: String| {
            format!(
                "`{}` is neither a type of resources (aws_db_instance) nor an address \
                 (module.data.aws_s3_bucket.events): {why}",
                printable::excerpt(text)
            )
        })?;
        Ok(Self { text: text.to_owned(), address: Some(address) })
    }
}

impl<'de> Deserialize<'de> for Protected {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> GuardSettings {
        crate::base::document::from_yaml("cdflow.yml", text).unwrap()
    }

    fn live() -> Environment {
        "live".parse().unwrap()
    }

    #[test]
    fn an_environment_has_its_own_limits() {
        let limits = limits(
            "max-destroy: 3\nprotect: [aws_db_instance]\nenvironments: {live: {requires: aslive, \
             max-destroy: 0}}\n",
        );
        let of = |name: &str| {
            DeployGuards::of(&name.parse().unwrap(), &limits, (&GuardSettings::default(), "s.json"))
        };
        assert_eq!(
            (of("live").max_destroy(), of("ci").max_destroy()),
            (
                Some((0, "`deploy.environments.live.max-destroy` in cdflow.yml")),
                Some((3, "`deploy.max-destroy` in cdflow.yml"))
            )
        );
        assert_eq!(
            of("live").requires.keys().map(Environment::as_str).collect::<Vec<_>>(),
            ["aslive"]
        );
        assert!(of("ci").requires.is_empty());
        assert_eq!(
            of("live").protecting("aws_db_instance.a", "aws_db_instance"),
            Some("`deploy.protect` in cdflow.yml")
        );
        assert_eq!(of("pr-7"), DeployGuards::default(), "previews have none");
    }

    #[test]
    fn the_policy_can_not_be_loosened() {
        let policy = limits(
            "max-destroy: 1\nprotect: [aws_kms_key]\nenvironments: {live: {requires: ci}}\n",
        );
        let ours = limits(
            "max-destroy: 9\nprotect: [a.b]\nenvironments: {live: {requires: aslive, max-destroy: \
             5}}\n",
        );
        let of = |ours: &GuardSettings| DeployGuards::of(&live(), ours, (&policy, "s.json"));
        let both = of(&ours);
        let one = Some((1, "`policy.max-destroy` in s.json"));
        assert_eq!((both.max_destroy(), both.requires.len()), (one, 2));
        assert_eq!(
            both.protecting("aws_kms_key.k", "aws_kms_key"),
            Some("`policy.protect` in s.json")
        );
        assert!(both.protecting("a.b", "a").is_some());
        let stricter = limits("max-destroy: 0\n");
        assert_eq!(of(&stricter).max_destroy(), Some((0, "`deploy.max-destroy` in cdflow.yml")));
        assert_eq!(of(&GuardSettings::default()).max_destroy(), one);
    }

    #[test]
    fn either_file_can_prevent_a_destroy_and_restrict_branches() {
        let policy = limits(
            "prevent-destroy: true\nenvironments: {ci: {prevent-destroy: false}, live: \
             {branches: [main, release/*]}}\n",
        );
        let ours = limits(
            "prevent-destroy: false\nenvironments: {live: {branches: [main]}, aslive: \
             {prevent-destroy: true}}\n",
        );
        let of = |name: &str, ours: &GuardSettings| {
            DeployGuards::of(&name.parse().unwrap(), ours, (&policy, "s.json"))
        };
        let prevents = |name: &str| of(name, &ours).prevents_destroy;
        assert_eq!(prevents("live").unwrap(), "`policy.prevent-destroy` in s.json");
        assert_eq!(
            prevents("aslive").unwrap(),
            "`deploy.environments.aslive.prevent-destroy` in cdflow.yml"
        );
        assert_eq!((prevents("ci"), prevents("pr-7")), (None, None));
        let rules: Vec<String> = of("live", &ours).branches.into_iter().map(|it| it.rule).collect();
        assert_eq!(
            rules,
            [
                "`deploy.environments.live.branches` in cdflow.yml",
                "`policy.environments.live.branches` in s.json"
            ]
        );
        assert!(of("ci", &ours).branches.is_empty());
    }

    #[test]
    fn approvals_of_an_environment_replace_the_general_ones_of_the_same_file() {
        let policy = limits("approvals: 3\nenvironments: {ci: {approvals: 1}}\n");
        let ours = limits("environments: {live: {approvals: {teams: [data]}}}\n");
        let of = |name: &str| {
            let guards = DeployGuards::of(&name.parse().unwrap(), &ours, (&policy, "s.json"));
            (guards.review.count, guards.review.count_rule.unwrap(), guards.review.teams.len())
        };
        assert_eq!(of("live"), (3, "`policy.approvals` in s.json".to_owned(), 1));
        let ci = "`policy.environments.ci.approvals` in s.json".to_owned();
        assert_eq!(of("ci"), (1, ci, 0));
    }

    #[test]
    fn what_is_covered() {
        let covers = |protected: &str, address: &str| {
            let kind = address.split('.').rev().nth(1).unwrap();
            protected.parse::<Protected>().unwrap().covers(address, kind)
        };
        assert!(covers("aws_db_instance", "module.x.aws_db_instance.main"));
        assert!(!covers("aws_db", "aws_db_instance.main"));
        assert!(
            covers("aws_s3_bucket.a", "aws_s3_bucket.a[\"x\"]")
                && covers("aws_s3_bucket.a", "aws_s3_bucket.a")
        );
        assert!(!covers("aws_s3_bucket.a", "aws_s3_bucket.ab"));
        assert!(covers("module.data", "module.data.aws_s3_bucket.events"));
        assert!(covers("module.data", "module.data[0].aws_s3_bucket.events"));
        let key = r#"aws_s3_bucket.a["\u00e9 \"x.y\""]"#;
        assert!(covers(key, r#"aws_s3_bucket.a["é \"x.y\""]"#));
        assert!(!covers(key, r#"aws_s3_bucket.a["é"]"#));
        for bad in ["", "a b", ".a", "a.", "module", "data", "module.data.aws_s3_bucket", "a.*"] {
            assert!(bad.parse::<Protected>().is_err(), "{bad}");
        }
    }
}
