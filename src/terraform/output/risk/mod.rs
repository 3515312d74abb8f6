//! What a change puts at risk, from the values of the plan: what protects a stored object from its
//! loss, and what concerns security. The rules are data: `stateful.json` and `security.json`.

mod conditions;
mod policy;
mod rules;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::{
    conditions::{fill, matched, parts, visible},
    rules::{ProtectionRule, SecurityRule, protection_of, security_of},
};
use super::effects::EffectJson;

pub(crate) use self::rules::holds;

/// Without sensitive values, and without those that are known only after the apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Risk {
    /// What protects the destroyed object, such as `final snapshot`.
    pub(crate) protects: Vec<String>,
    /// The protection that it could have, such as `no final snapshot`.
    pub(crate) lacks: Vec<String>,
    /// What the change does to security, such as `tcp 22 open to 0.0.0.0/0`.
    pub(crate) security: Vec<String>,
}

impl Risk {
    /// `kind` is the resource type.
    pub(super) fn of(kind: &str, change: &EffectJson<'_>) -> Self {
        let has = |action: &str| change.actions.iter().any(|it| it == action);
        let (protection, security) = (protection_of(kind), security_of(kind));
        let mut risk = Self::default();
        if !(has("create") || has("update") || has("delete")) {
            return risk;
        }
        if protection.is_empty() && security.is_empty() {
            return risk;
        }
        let nothing = &Value::Null;
        let before = visible(change.before, change.before_sensitive, nothing).unwrap_or_default();
        if has("delete") {
            protection.iter().for_each(|rule| risk.protection(rule, &before));
        }
        let after = visible(change.after, change.after_sensitive, change.after_unknown);
        let after = after.unwrap_or_default();
        let is_removed = has("delete") && !has("create");
        for rule in security {
            let (was, is) = (found(rule, &before), found(rule, &after));
            let says = match rule.removed {
                true if is_removed => vec![rule.says.clone()],
                false if !is_removed && turns(rule, &before) => is,
                _ => Vec::new(),
            };
            // What was so before is not a change.
            let new = says.into_iter().filter(|it| rule.removed || !was.contains(it));
            new.for_each(|it| add(&mut risk.security, it));
        }
        risk
    }

    fn protection(&mut self, rule: &ProtectionRule, before: &Value) {
        let Some(words) = matched(&rule.conditions(), before) else {
            // Only if the value is visible.
            let says = rule.otherwise.iter().filter(|_| !parts(before, &rule.key).is_empty());
            return says.for_each(|it| add(&mut self.lacks, it.clone()));
        };
        add(&mut self.protects, fill(&rule.protects, &words, before));
    }
}

/// Whether the values before are those that the rule wants.
fn turns(rule: &SecurityRule, before: &Value) -> bool {
    rule.before.is_empty() || matched(&rule.before, before).is_some()
}

/// Returns what a rule says about the values of a resource.
fn found(rule: &SecurityRule, values: &Value) -> Vec<String> {
    let statements: Vec<Value>;
    let parts: Vec<&Value> = match (&rule.policy, &rule.each) {
        (Some(attribute), _) => {
            let documents = parts(values, attribute).into_iter().filter_map(Value::as_str);
            statements = documents.flat_map(policy::statements).collect();
            statements.iter().collect()
        }
        (None, Some(blocks)) => parts(values, blocks),
        (None, None) => vec![values],
    };
    let says = |part: &Value| Some(fill(&rule.says, &matched(&rule.conditions, part)?, part));
    parts.into_iter().filter_map(says).collect()
}

fn add(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}
