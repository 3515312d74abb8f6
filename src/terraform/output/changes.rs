//! The changes of a plan, from `terraform show -json`.

use std::{collections::BTreeSet, fmt, io::Read};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    effects::{Effect, EffectJson, Effects, PlannedValue},
    identity::Identity,
    risk::Risk,
};
use crate::base::{json, redact::Secret};

/// The changes of a plan, in Terraform's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) resources: Vec<ResourceChange>,
    /// The names of changed outputs.
    pub(crate) outputs: Vec<String>,
    /// The addresses of all resources in the plan, changed or not.
    pub(crate) addresses: Vec<String>,
    /// Values that the plan marks as sensitive. Terraform hides them there, but a provider might
    /// repeat them in other places.
    pub(crate) sensitive: Vec<Secret>,
    /// The addresses of changes that Terraform puts off to a later plan.
    pub(crate) deferred: Vec<String>,
    /// What the plan does, attribute by attribute.
    pub(crate) effects: Effects<PlannedValue>,
    /// Planning failed: the changes are only a part, and Terraform would refuse to apply them.
    pub(crate) is_errored: bool,
    /// Terraform says that the plan is not about every resource, as with `-target`. Since 1.8.
    pub(crate) is_partial: bool,
}

/// The planned change of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceChange {
    pub(crate) address: String,
    /// The address before a move.
    pub(crate) moved_from: Option<String>,
    pub(crate) is_import: bool,
    /// The resource type, such as `aws_s3_bucket`.
    pub(crate) kind: String,
    pub(crate) action: ChangeAction,
    /// The key of a deposed object: what is left of an earlier replacement. The resource's current
    /// object is not affected.
    pub(crate) deposed: Option<String>,
    /// Terraform's reason for the action, such as `replace_because_tainted`.
    pub(crate) reason: Option<String>,
    pub(crate) identity: Identity,
    pub(crate) risk: Risk,
}

/// What a plan does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum ChangeAction {
    Create,
    Update,
    /// Destroys and creates, in either order.
    Replace,
    Delete,
    /// Removed from the state but not destroyed.
    Forget,
    Import,
    /// Only its address changes.
    Move,
}

/// Numbers of resources. As in Terraform, a replacement is one to add and one to destroy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "plan")]
pub(crate) struct Counts {
    /// Resources to add.
    pub(crate) add: usize,
    /// Resources to change.
    pub(crate) change: usize,
    /// Resources to destroy.
    pub(crate) destroy: usize,
}

impl Changes {
    /// No changes of the resources with these addresses.
    pub(crate) fn none(addresses: &BTreeSet<String>) -> Self {
        Self { addresses: addresses.iter().cloned().collect(), ..Self::default() }
    }

    /// Reads the JSON as a stream: parts that are not needed are never in memory.
    pub(crate) fn parse(from: &mut dyn Read) -> serde_json::Result<Self> {
        let plan: PlanJson = serde_json::from_reader(from)?;
        let addresses = plan.resource_changes.iter().map(|read| read.address.clone()).collect();
        let mut sensitive: BTreeSet<String> =
            plan.resource_changes.iter().flat_map(|read| read.sensitive.iter().cloned()).collect();
        sensitive.extend(plan.output_changes.values().flat_map(ChangeJson::sensitive));
        let deferred: Vec<String> =
            plan.deferred_changes.into_iter().map(|it| it.resource_change.address).collect();
        let mut effects =
            Effects { deferred: deferred.iter().cloned().collect(), ..Effects::default() };
        for (name, change) in &plan.output_changes {
            effects.outputs.extend(change.parts().output(name));
        }
        let changed =
            plan.output_changes.into_iter().filter(|(_, change)| change.actions != ["no-op"]);
        let mut resources = Vec::new();
        for read in plan.resource_changes {
            effects.resources.extend(read.effect.map(|effect| (read.label, effect)));
            resources.extend(read.change);
        }
        Ok(Self {
            resources,
            outputs: changed.map(|(name, _)| name).collect(),
            addresses,
            sensitive: sensitive.into_iter().map(Secret::new).collect(),
            deferred,
            effects,
            is_errored: plan.errored,
            is_partial: plan.complete == Some(false),
        })
    }

    /// Returns what the plan leaves to a later one; None if it is about everything that was asked
    /// for. `has_targets`: that was only a part.
    pub(crate) fn left_out(&self, has_targets: bool) -> Option<String> {
        match self.deferred.as_slice() {
            [] if self.is_partial && !has_targets => Some(
                "Terraform says that the plan is not complete: a later deploy can have more \
                 changes"
                    .to_owned(),
            ),
            [] => None,
            deferred => Some(format!(
                "Terraform puts off changes to a later deploy: {}",
                deferred.join(", ")
            )),
        }
    }

    /// Whether `address` names a resource of the plan, all instances of one, or a module with
    /// resources.
    pub(crate) fn knows(&self, address: &str) -> bool {
        let rest = |known: &str| known.strip_prefix(address).map(|rest| rest.chars().next());
        self.addresses.iter().any(|known| matches!(rest(known), Some(None | Some('.' | '['))))
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for resource in &self.resources {
            match resource.action {
                ChangeAction::Create => counts.add += 1,
                ChangeAction::Update => counts.change += 1,
                ChangeAction::Delete => counts.destroy += 1,
                ChangeAction::Replace => {
                    counts.add += 1;
                    counts.destroy += 1;
                }
                ChangeAction::Forget | ChangeAction::Import | ChangeAction::Move => {}
            }
        }
        counts
    }
}

impl ResourceChange {
    /// Returns the address. A deposed object is named as Terraform names it, because the address
    /// alone is that of the current object.
    pub(crate) fn label(&self) -> String {
        label(&self.address, self.deposed.as_deref())
    }
}

/// Returns `address`, or `address (deposed object 0a1b2c3d)`.
pub(crate) fn label(address: &str, deposed: Option<&str>) -> String {
    match deposed {
        Some(key) => format!("{address} (deposed object {key})"),
        None => address.to_owned(),
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to add, {} to change, {} to destroy", self.add, self.change, self.destroy)
    }
}

#[derive(Deserialize)]
struct PlanJson {
    #[serde(default)]
    resource_changes: Vec<ReadResource>,
    #[serde(default)]
    output_changes: std::collections::BTreeMap<String, ChangeJson>,
    #[serde(default)]
    deferred_changes: Vec<DeferredJson>,
    #[serde(default)]
    errored: bool,
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct DeferredJson {
    resource_change: ReadResource,
}

/// What is kept of a resource while the plan is read; its values are dropped before the next one.
#[derive(Deserialize)]
#[serde(from = "ResourceJson")]
struct ReadResource {
    address: String,
    label: String,
    /// None if nothing changes.
    change: Option<ResourceChange>,
    effect: Option<Effect<PlannedValue>>,
    sensitive: Vec<String>,
}

#[derive(Deserialize)]
struct ResourceJson {
    address: String,
    previous_address: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    deposed: Option<String>,
    action_reason: Option<String>,
    change: ChangeJson,
}

#[derive(Deserialize)]
struct ChangeJson {
    actions: Vec<String>,
    #[serde(default)]
    importing: Value,
    #[serde(default, deserialize_with = "json::value")]
    before: Value,
    #[serde(default, deserialize_with = "json::value")]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    replace_paths: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
}

impl From<ResourceJson> for ReadResource {
    fn from(read: ResourceJson) -> Self {
        let ResourceJson { address, previous_address, kind, deposed, action_reason, change } = read;
        let moved_from = previous_address.filter(|previous| *previous != address);
        let label = label(&address, deposed.as_deref());
        let effect = change.parts().effect(&kind, moved_from.as_deref());
        let changed = change.action(moved_from.is_some()).map(|action| ResourceChange {
            address: address.clone(),
            moved_from,
            is_import: !change.importing.is_null(),
            identity: change.identity(&kind),
            risk: Risk::of(&kind, &change.parts()),
            kind,
            action,
            deposed,
            reason: action_reason,
        });
        Self { address, label, change: changed, effect, sensitive: change.sensitive() }
    }
}

impl ChangeJson {
    fn parts(&self) -> EffectJson<'_> {
        EffectJson {
            actions: &self.actions,
            before: &self.before,
            after: &self.after,
            after_unknown: &self.after_unknown,
            before_sensitive: &self.before_sensitive,
            after_sensitive: &self.after_sensitive,
            replace_paths: &self.replace_paths,
            importing: &self.importing,
        }
    }

    /// Returns None for `no-op` and `read`, which change nothing.
    fn action(&self, is_moved: bool) -> Option<ChangeAction> {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            ["create"] => Some(ChangeAction::Create),
            ["update"] => Some(ChangeAction::Update),
            ["delete"] => Some(ChangeAction::Delete),
            ["delete", "create"] | ["create", "delete"] => Some(ChangeAction::Replace),
            ["forget"] => Some(ChangeAction::Forget),
            ["no-op"] if !self.importing.is_null() => Some(ChangeAction::Import),
            ["no-op"] if is_moved => Some(ChangeAction::Move),
            // Unknown combinations of a newer Terraform: anything with a delete must count as
            // destructive.
            several if several.contains(&"delete") => Some(ChangeAction::Replace),
            ["forget", "create"] | ["create", "forget"] => Some(ChangeAction::Create),
            _ => None,
        }
    }

    /// Returns what identifies the object that the change makes, or else the one that there is.
    fn identity(&self, kind: &str) -> Identity {
        match self.actions.iter().any(|action| action == "create") {
            true => Identity::of(kind, &self.after, &self.after_sensitive),
            false => Identity::of(kind, &self.before, &self.before_sensitive),
        }
    }

    /// Returns the sensitive strings and long numbers. Masking booleans and short numbers would
    /// hide unrelated text.
    fn sensitive(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_sensitive(&self.before, &self.before_sensitive, &mut found);
        collect_sensitive(&self.after, &self.after_sensitive, &mut found);
        found
    }
}

/// The shortest number to mask, in characters. Shorter ones appear in unrelated text too often.
const LONG_NUMBER: usize = 8;

/// Collects the strings and long numbers of a value that is sensitive as a whole.
pub(crate) fn collect_strings(value: &Value, found: &mut Vec<String>) {
    collect_sensitive(value, &Value::Bool(true), found);
}

/// Collects the strings and long numbers that `marks` selects. It has the shape of `value`, with
/// `true` where everything below is sensitive.
fn collect_sensitive(value: &Value, marks: &Value, found: &mut Vec<String>) {
    match (value, marks) {
        (Value::String(text), Value::Bool(true)) => found.push(text.clone()),
        (Value::Number(number), Value::Bool(true)) => {
            found.extend(Some(number.to_string()).filter(|text| text.len() >= LONG_NUMBER));
        }
        (Value::Array(items), Value::Bool(true)) => {
            items.iter().for_each(|item| collect_sensitive(item, marks, found))
        }
        (Value::Object(fields), Value::Bool(true)) => {
            fields.values().for_each(|field| collect_sensitive(field, marks, found))
        }
        (Value::Array(items), Value::Array(marks)) => {
            items.iter().zip(marks).for_each(|(item, marks)| collect_sensitive(item, marks, found));
        }
        (Value::Object(fields), Value::Object(marks)) => {
            fields.iter().for_each(|(name, field)| {
                if let Some(marks) = marks.get(name) {
                    collect_sensitive(field, marks, found);
                }
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_can_name_an_instance_a_resource_or_a_module() {
        let known =
            ["aws_x.a[0]", "module.m[\"k\"].aws_y.b", "aws_x.long"].map(str::to_owned).to_vec();
        let changes = Changes { addresses: known, ..Changes::default() };
        for (address, is_known) in [
            ("aws_x.a", true),
            ("aws_x.a[0]", true),
            ("module.m", true),
            ("module.m[\"k\"]", true),
            ("aws_x.lon", false),
            ("aws_x.b", false),
            ("aws_x.a[1]", false),
        ] {
            assert_eq!(changes.knows(address), is_known, "{address}");
        }
    }

    #[test]
    fn every_kind_of_action() {
        let change = |address: &str, actions: &str, more: &str| {
            format!(
                r#"{{"address": "{address}", "mode": "managed", "type": "aws_x", "name": "n",
                    "change": {{"actions": {actions}, "before": null, 
                    "after": {{"secret": "s"}}{more}}}}}"#
            )
        };
        let list = [
            change("a", r#"["create"]"#, ""),
            change("b", r#"["update"]"#, ""),
            change("c", r#"["delete","create"]"#, ""),
            change("d", r#"["create","delete"]"#, ""),
            change("e", r#"["delete"]"#, ""),
            change("f", r#"["no-op"]"#, ""),
            change("g", r#"["read"]"#, ""),
            change("h", r#"["forget"]"#, ""),
            change("i", r#"["no-op"]"#, r#", "importing": {"id": "x"}"#),
            change("j", r#"["no-op"]"#, "").replacen('{', r#"{"previous_address": "old","#, 1),
            change("k", r#"["forget","create"]"#, ""),
            change("l", r#"["delete","something-new"]"#, ""),
        ];
        let text = format!(
            r#"{{"format_version": "1.2", "resource_changes": [{}],
                "output_changes": {{"o": {{"actions": ["create"]}},
                "p": {{"actions": ["no-op"]}}}} }}"#,
            list.join(",")
        );
        let changes = Changes::parse(&mut text.as_bytes()).unwrap();
        assert_eq!(changes.counts(), Counts { add: 5, change: 1, destroy: 4 });
        assert_eq!(changes.counts().to_string(), "5 to add, 1 to change, 4 to destroy");
        assert_eq!((changes.resources.len(), changes.outputs), (10, vec!["o".to_owned()]));
        let moved =
            changes.resources.get(7).map(|change| (change.action, change.moved_from.as_deref()));
        assert_eq!(moved, Some((ChangeAction::Move, Some("old"))));
    }

    #[test]
    fn what_terraform_says_about_a_plan_is_read() {
        let text = r#"{"errored": true, "complete": false, "resource_changes": [
            {"address": "a.b", "type": "a", "deposed": "0a1b2c3d",
             "action_reason": "delete_because_no_resource_config",
             "change": {"actions": ["delete"], "before": {"name": "n"}}},
            {"address": "a.b", "type": "a", "change": {"actions": ["no-op"]}}],
            "deferred_changes": [{"reason": "provider_config_unknown", "resource_change":
                {"address": "a.later", "type": "a", "change": {"actions": ["create"]}}}]}"#;
        let changes = Changes::parse(&mut text.as_bytes()).unwrap();
        let [deposed] = changes.resources.as_slice() else { panic!("{changes:?}") };
        assert_eq!(deposed.label(), "a.b (deposed object 0a1b2c3d)");
        assert_eq!(deposed.reason.as_deref(), Some("delete_because_no_resource_config"));
        assert_eq!(deposed.identity.names["name"], "n");
        assert!(changes.is_errored && changes.deferred == ["a.later"]);
    }

    #[test]
    fn a_plan_that_is_not_complete_leaves_something_out() {
        let left_out = |text: &str, has_targets: bool| {
            Changes::parse(&mut text.as_bytes()).unwrap().left_out(has_targets)
        };
        for complete in ["{}", r#"{"complete": true, "errored": false}"#] {
            assert_eq!(left_out(complete, false), None);
        }
        // As Terraform 1.11.4 writes it with `-target`.
        let partial = r#"{"applyable": true, "complete": false, "errored": false}"#;
        assert!(left_out(partial, false).unwrap().contains("not complete"));
        assert_eq!(left_out(partial, true), None);
        let deferred = r#"{"complete": false, "deferred_changes": [{"resource_change":
            {"address": "a.b", "type": "a", "change": {"actions": ["create"]}}}]}"#;
        for has_targets in [false, true] {
            assert!(left_out(deferred, has_targets).unwrap().ends_with("a later deploy: a.b"));
        }
    }

    #[test]
    fn sensitive_values_are_collected() {
        let text = r#"{"resource_changes": [{"address": "a", "type": "t", "change": {
            "actions": ["update"],
            "before": {"plain": "p", "list": ["open", "hidden 1"],
                "all": {"x": "hidden 2",
                "n": [7, 20261129, -1234.5678, 1e4000, 100000000000000000001]}},
            "after": {"key": "hidden 3"},
            "before_sensitive": {"list": [false, true], "all": true},
            "after_sensitive": {"key": true}}}],
            "output_changes": {"o": {"actions": ["create"], "after": "hidden 4",
                "after_sensitive": true}}}"#;
        let changes = Changes::parse(&mut text.as_bytes()).unwrap();
        let found: Vec<&str> = changes.sensitive.iter().map(Secret::expose).collect();
        let hidden = ["hidden 1", "hidden 2", "hidden 3", "hidden 4"];
        let numbers = ["-1234.5678", "100000000000000000001", "1e4000", "20261129"];
        assert_eq!(found, [&numbers[..], &hidden].concat());
    }
}
