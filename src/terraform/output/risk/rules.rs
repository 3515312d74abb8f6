//! The rules of `stateful.json` and `security.json`, by resource type.

use std::{collections::HashMap, sync::LazyLock};

use serde::Deserialize;

use super::conditions::{Conditions, Expected};

const STATEFUL: &str = include_str!("stateful.json");
const SECURITY: &str = include_str!("security.json");

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatefulFile {
    pub(super) stateful: Vec<StatefulTypes>,
    pub(super) protection: Vec<ProtectionRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatefulTypes {
    /// What is lost with a resource of these types, such as `database`.
    pub(super) holds: String,
    pub(super) types: Vec<String>,
}

/// What protects an object from its loss.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProtectionRule {
    pub(super) types: Vec<String>,
    /// The path of the attribute.
    pub(super) key: String,
    /// The values with which it protects.
    pub(super) is: Vec<Expected>,
    pub(super) protects: String,
    /// What to say about other values.
    #[serde(rename = "else")]
    pub(super) otherwise: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecurityFile {
    pub(super) rules: Vec<SecurityRule>,
}

/// What concerns security.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecurityRule {
    pub(super) types: Vec<String>,
    /// The blocks of the resource to which the conditions apply, one by one.
    pub(super) each: Option<String>,
    /// The attribute with a policy of AWS: the conditions apply to its statements, one by one.
    pub(super) policy: Option<String>,
    /// Conditions on the values before the change.
    #[serde(default)]
    pub(super) before: Conditions,
    #[serde(rename = "if", default)]
    pub(super) conditions: Conditions,
    /// The rule is about a destroyed resource.
    #[serde(default)]
    pub(super) removed: bool,
    pub(super) says: String,
}

impl ProtectionRule {
    pub(super) fn conditions(&self) -> Conditions {
        Conditions::from([(self.key.clone(), self.is.clone())])
    }
}

/// The files are part of the program, and a test reads them: there is no error to report.
pub(super) static STATEFUL_FILE: LazyLock<StatefulFile> =
    LazyLock::new(|| serde_json::from_str(STATEFUL).unwrap_or_default());
pub(super) static SECURITY_FILE: LazyLock<SecurityFile> =
    LazyLock::new(|| serde_json::from_str(SECURITY).unwrap_or_default());

static HOLDS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let types = STATEFUL_FILE.stateful.iter();
    types.flat_map(|of| of.types.iter().map(|kind| (&**kind, &*of.holds))).collect()
});
static PROTECTION: LazyLock<HashMap<&str, Vec<&ProtectionRule>>> =
    LazyLock::new(|| by_type(&STATEFUL_FILE.protection, |rule| &rule.types));
static BY_TYPE: LazyLock<HashMap<&str, Vec<&SecurityRule>>> =
    LazyLock::new(|| by_type(&SECURITY_FILE.rules, |rule| &rule.types));

/// Returns what is lost with a resource of this type, such as `database`. None if nothing is.
pub(crate) fn holds(kind: &str) -> Option<&'static str> {
    HOLDS.get(kind).copied()
}

pub(super) fn protection_of(kind: &str) -> &'static [&'static ProtectionRule] {
    PROTECTION.get(kind).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn security_of(kind: &str) -> &'static [&'static SecurityRule] {
    BY_TYPE.get(kind).map(Vec::as_slice).unwrap_or_default()
}

fn by_type<R>(
    rules: &'static [R],
    types: impl Fn(&'static R) -> &'static Vec<String>,
) -> HashMap<&'static str, Vec<&'static R>> {
    let mut found: HashMap<&str, Vec<&R>> = HashMap::new();
    for rule in rules {
        types(rule).iter().for_each(|kind| found.entry(kind).or_default().push(rule));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_files_can_be_read_and_repeat_no_type() {
        let stateful: StatefulFile = serde_json::from_str(STATEFUL).unwrap();
        let security: SecurityFile = serde_json::from_str(SECURITY).unwrap();
        let types = || stateful.stateful.iter().flat_map(|of| &of.types);
        assert_eq!(types().count(), types().collect::<BTreeSet<_>>().len());
        assert!(types().count() > 150 && security.rules.len() > 50);
        for rule in &security.rules {
            assert_eq!(rule.removed, rule.conditions.is_empty(), "{}", rule.says);
            let has_duplicates = rule.types.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(has_duplicates, rule.types.len(), "{}", rule.says);
        }
        assert_eq!(holds("aws_db_instance"), Some("database"));
        assert_eq!(holds("aws_ecs_service"), None);
    }
}
