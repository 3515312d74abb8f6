//! Deploy guards: what a deploy may destroy, and which deploy must precede it. They are set in
//! `deploy` of cdflow.yml and in `policy` of the account scheme, which cdflow.yml cannot override.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use serde::Deserialize;

use super::{
    address::Address,
    names::{self, Environment},
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
    /// The label of pull requests that override these guards. None: no label does.
    #[serde(default, deserialize_with = "names::label")]
    pub(crate) allow_destroy_label: Option<String>,
    /// Only what was reviewed on a pull request is applied.
    pub(crate) require_review: Option<bool>,
    /// The approvals that a pull request needs.
    pub(crate) approvals: Option<usize>,
    #[serde(default)]
    pub(crate) environments: BTreeMap<Environment, EnvironmentGuards>,
}

/// Guards of one environment, which override the general ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct EnvironmentGuards {
    /// A release is deployed here only after a successful deploy to that environment.
    pub(crate) requires: Option<Environment>,
    pub(crate) require_review: Option<bool>,
    pub(crate) approvals: Option<usize>,
    pub(crate) max_destroy: Option<usize>,
    #[serde(default)]
    pub(crate) protect: Vec<Protected>,
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
    pub(crate) requires: BTreeSet<Environment>,
    /// Those of the component and those of the policy: a plan must pass both.
    pub(crate) bounds: Vec<DestroyGuard>,
    /// Whether only what was reviewed is applied.
    pub(crate) requires_review: bool,
    pub(crate) review: ReviewRule,
}

/// When a plan counts as reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReviewRule {
    /// The approvals that its pull request needs: at least 1.
    pub(crate) approvals: usize,
}

impl Default for ReviewRule {
    fn default() -> Self {
        Self { approvals: 1 }
    }
}

/// What a plan may destroy, from one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DestroyGuard {
    pub(crate) source: Source,
    pub(crate) max_destroy: Option<usize>,
    pub(crate) protect: BTreeSet<Protected>,
    /// The label that overrides this guard, and no other.
    pub(crate) label: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// cdflow.yml
    #[default]
    Component,
    /// `policy` of the account scheme
    Policy,
}

impl DestroyGuard {
    pub(crate) fn protects(&self, address: &str, kind: &str) -> bool {
        self.protect.iter().any(|protected| protected.covers(address, kind))
    }
}

impl DeployGuards {
    pub(crate) fn of(
        environment: &Environment,
        component: &GuardSettings,
        policy: &GuardSettings,
    ) -> Self {
        // Previews are disposable.
        if environment.is_preview() {
            return Self::default();
        }
        let requires = |limits: &GuardSettings| {
            limits.environments.get(environment).and_then(|own| own.requires.clone())
        };
        let review = [component, policy].map(|limits| limits.review(environment));
        Self {
            requires_review: review.iter().any(|(is_required, _)| *is_required),
            review: ReviewRule {
                approvals: review.iter().map(|(_, count)| *count).max().unwrap_or(1),
            },
            requires: [component, policy].into_iter().filter_map(requires).collect(),
            bounds: vec![
                component.bounds(environment, Source::Component),
                policy.bounds(environment, Source::Policy),
            ],
        }
    }

    /// Returns the strictest limit.
    pub(crate) fn max_destroy(&self) -> Option<usize> {
        self.bounds.iter().filter_map(|bounds| bounds.max_destroy).min()
    }

    pub(crate) fn protects(&self, address: &str, kind: &str) -> bool {
        self.bounds.iter().any(|bounds| bounds.protects(address, kind))
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

    /// Returns whether a review is required, and how many approvals it needs.
    fn review(&self, environment: &Environment) -> (bool, usize) {
        let own = self.environments.get(environment);
        let is_required = own.and_then(|own| own.require_review).or(self.require_review);
        let approvals = own.and_then(|own| own.approvals).or(self.approvals);
        (is_required.unwrap_or_default(), approvals.unwrap_or_default().max(1))
    }

    fn bounds(&self, environment: &Environment, source: Source) -> DestroyGuard {
        let own = self.environments.get(environment).cloned().unwrap_or_default();
        DestroyGuard {
            source,
            max_destroy: own.max_destroy.or(self.max_destroy),
            protect: own.protect.into_iter().chain(self.protect.iter().cloned()).collect(),
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
            DeployGuards::of(&name.parse().unwrap(), &limits, &GuardSettings::default())
        };
        assert_eq!((of("live").max_destroy(), of("ci").max_destroy()), (Some(0), Some(3)));
        assert_eq!(
            of("live").requires.iter().map(Environment::as_str).collect::<Vec<_>>(),
            ["aslive"]
        );
        assert!(
            of("ci").requires.is_empty()
                && of("live").protects("aws_db_instance.a", "aws_db_instance")
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
        let both = DeployGuards::of(&live(), &ours, &policy);
        assert_eq!((both.max_destroy(), both.requires.len()), (Some(1), 2));
        assert!(both.protects("aws_kms_key.k", "aws_kms_key") && both.protects("a.b", "a"));
        let stricter = limits("max-destroy: 0\n");
        assert_eq!(DeployGuards::of(&live(), &stricter, &policy).max_destroy(), Some(0));
        assert_eq!(
            DeployGuards::of(&live(), &GuardSettings::default(), &policy).max_destroy(),
            Some(1)
        );
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
