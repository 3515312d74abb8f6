//! The rules of a policy after all checks.

use std::collections::BTreeMap;

use super::{
    required_hook::RequiredHook,
    sources::{ModuleSource, ProviderName, ProviderSource},
};
use crate::{
    base::digest::Sha256,
    config::{
        flavor::Flavor,
        guards::GuardSettings,
        hooks::Hooks,
        version_constraint::{Constraint, Wanted},
    },
};

/// The rules after all checks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Those that cdflow.yml has too.
    pub(crate) guards: GuardSettings,
    /// A plan of a pull request is made with the account's `plan-role`, or not at all.
    pub(crate) require_plan_role: bool,
    pub(super) terraform_version: Option<Constraint>,
    pub(super) opentofu_version: Option<Constraint>,
    /// The versions of single providers.
    pub(super) providers: BTreeMap<ProviderName, Constraint>,
    /// None: any.
    pub(super) provider_sources: Option<Vec<ProviderSource>>,
    /// None: any.
    pub(super) module_sources: Option<Vec<ModuleSource>>,
    pub(super) required_hooks: Vec<RequiredHook>,
}

impl Policy {
    /// Returns the versions that the policy allows of this tool, for the choice of one.
    pub(crate) fn wanted(&self, flavor: Flavor, file: &str) -> Option<Wanted> {
        let (constraint, key) = self.tool_version(flavor)?;
        let place = format!("`policy.{key}` in {file}");
        Some(Wanted { constraint: constraint.clone(), place })
    }

    /// Returns what is wrong with the required hooks. `digest` returns that of a file of the
    /// release.
    pub(crate) fn missing_hooks(
        &self,
        hooks: &Hooks,
        digest: impl Fn(&str) -> Option<Sha256>,
    ) -> Vec<String> {
        self.required_hooks.iter().filter_map(|it| it.missing(hooks, &digest)).collect()
    }

    pub(super) fn tool_version(&self, flavor: Flavor) -> Option<(&Constraint, &'static str)> {
        let constraint = match flavor {
            Flavor::Terraform => &self.terraform_version,
            Flavor::OpenTofu => &self.opentofu_version,
        };
        Some((constraint.as_ref()?, flavor.setting()))
    }
}
