//! A policy as its file says it, and its checks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    required_hook::RequiredHook,
    rules::Policy,
    sources::{ModuleSource, ProviderName, ProviderSource},
};
use crate::{
    base::error::{Error, Result},
    config::{
        approvals::Approvals,
        guards::{EnvironmentGuards, GuardSettings, Protected},
        names::{self, Environment},
        version_constraint::Constraint,
    },
};

/// The rules as written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct PolicyFile {
    // The fields of `GuardSettings`; serde can't both flatten and refuse unknown keys.
    max_destroy: Option<usize>,
    #[serde(default)]
    protect: Vec<Protected>,
    prevent_destroy: Option<bool>,
    #[serde(default, deserialize_with = "names::label")]
    allow_destroy_label: Option<String>,
    require_review: Option<bool>,
    approvals: Option<Approvals>,
    #[serde(default)]
    environments: BTreeMap<Environment, EnvironmentGuards>,
    #[serde(default)]
    require_plan_role: bool,
    terraform_version: Option<Constraint>,
    opentofu_version: Option<Constraint>,
    #[serde(default)]
    providers: BTreeMap<ProviderName, Constraint>,
    provider_sources: Option<Vec<ProviderSource>>,
    module_sources: Option<Vec<ModuleSource>>,
    #[serde(default)]
    required_hooks: Vec<RequiredHook>,
}

impl PolicyFile {
    /// Checks the rules against each other. Messages start with `file`.
    pub(crate) fn checked(self, file: &str) -> Result<Policy> {
        let guards = GuardSettings {
            max_destroy: self.max_destroy,
            protect: self.protect,
            prevent_destroy: self.prevent_destroy,
            allow_destroy_label: self.allow_destroy_label,
            require_review: self.require_review,
            approvals: self.approvals,
            environments: self.environments,
        };
        if let Some(environment) = guards.waiting_for_itself() {
            return Err(Error::input(format!(
                "{file}: `{environment}` in `policy.environments` requires itself"
            ))
            .hint(format!(
                "remove `requires` there, or name the environment that comes before `{environment}`"
            )));
        }
        Ok(Policy {
            guards,
            require_plan_role: self.require_plan_role,
            terraform_version: self.terraform_version,
            opentofu_version: self.opentofu_version,
            providers: self.providers,
            provider_sources: self.provider_sources,
            module_sources: self.module_sources,
            required_hooks: self.required_hooks,
        })
    }
}

/// Fails if a key of `policy` has no value: as an optional one it would be ignored. `text` is the
/// account scheme, which has been parsed.
pub(crate) fn check_values(file: &str, text: &str) -> Result<()> {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(policy) = document.get("policy") else { return Ok(()) };
    match without_value(policy, "policy".to_owned()) {
        None => Ok(()),
        Some(key) => Err(Error::input(format!("{file}: `{key}`: the value is missing"))
            .hint("write a value, or remove the key")),
    }
}

/// Returns the path of a null.
fn without_value(value: &Value, path: String) -> Option<String> {
    match value {
        Value::Null => Some(path),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| without_value(item, format!("{path}[{index}]"))),
        Value::Object(items) => items
            .iter()
            .find_map(|(key, item)| without_value(item, format!("{path}.{}", key.escape_debug()))),
        _ => None,
    }
}
