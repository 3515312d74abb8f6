//! What a plan would do, from `terraform show -json`.

use std::{fmt, io::Read};

use serde::Deserialize;

/// The changes of a plan, in Terraform's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) resources: Vec<ResourceChange>,
    pub(crate) outputs: Vec<String>,
    /// Of every resource that the plan looked at, changed or not.
    pub(crate) addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceChange {
    pub(crate) address: String,
    pub(crate) kind: String,
    pub(crate) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    /// A replacement destroys as well: it counts as both.
    Replace,
    Delete,
    /// Left in place, no longer in the state.
    Forget,
    Import,
}

/// As Terraform counts: a replacement is one to add and one to destroy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) add: usize,
    pub(crate) change: usize,
    pub(crate) destroy: usize,
}

impl Changes {
    /// Streams: what it does not need of the document is never held.
    pub(crate) fn parse(from: &mut dyn Read) -> serde_json::Result<Self> {
        let plan: Plan = serde_json::from_reader(from)?;
        let addresses = plan.resource_changes.iter().map(|change| change.address.clone()).collect();
        let resources = plan.resource_changes.into_iter().filter_map(|change| {
            let action = change.change.action()?;
            Some(ResourceChange { address: change.address, kind: change.kind, action })
        });
        let changed = plan.output_changes.into_iter().filter(|(_, change)| change.actions != ["no-op"]);
        Ok(Self { resources: resources.collect(), outputs: changed.map(|(name, _)| name).collect(), addresses })
    }

    /// Whether `address` names a resource of the plan, an instance of one, or a module with some.
    pub(crate) fn knows(&self, address: &str) -> bool {
        let rest = |known: &str| known.strip_prefix(address).map(|rest| rest.chars().next());
        self.addresses.iter().any(|known| matches!(rest(known), Some(None | Some('.' | '['))))
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for resource in &self.resources {
            match resource.action {
                Action::Create => counts.add += 1,
                Action::Update => counts.change += 1,
                Action::Delete => counts.destroy += 1,
                Action::Replace => {
                    counts.add += 1;
                    counts.destroy += 1;
                }
                Action::Forget | Action::Import => {}
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to add, {} to change, {} to destroy", self.add, self.change, self.destroy)
    }
}

#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    resource_changes: Vec<PlanResource>,
    #[serde(default)]
    output_changes: std::collections::BTreeMap<String, PlanOutput>,
}

#[derive(Deserialize)]
struct PlanResource {
    address: String,
    #[serde(rename = "type")]
    kind: String,
    change: PlanChange,
}

#[derive(Deserialize)]
struct PlanChange {
    actions: Vec<String>,
    importing: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct PlanOutput {
    actions: Vec<String>,
}

impl PlanChange {
    /// None for what changes nothing: `no-op` and `read`.
    fn action(&self) -> Option<Action> {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            ["create"] => Some(Action::Create),
            ["update"] => Some(Action::Update),
            ["delete"] => Some(Action::Delete),
            ["delete", "create"] | ["create", "delete"] => Some(Action::Replace),
            ["forget"] => Some(Action::Forget),
            ["no-op"] if self.importing.is_some() => Some(Action::Import),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_names() {
        let known = ["aws_x.a[0]", "module.m[\"k\"].aws_y.b", "aws_x.long"].map(str::to_owned).to_vec();
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
                r#"{{"address": "{address}", "mode": "managed", "type": "aws_x", "name": "n", "change": {{"actions": {actions}, "before": null, "after": {{"secret": "s"}}{more}}}}}"#
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
        ];
        let text = format!(
            r#"{{"format_version": "1.2", "resource_changes": [{}], "output_changes": {{"o": {{"actions": ["create"]}}, "p": {{"actions": ["no-op"]}}}} }}"#,
            list.join(",")
        );
        let changes = Changes::parse(&mut text.as_bytes()).unwrap();
        assert_eq!(changes.counts(), Counts { add: 3, change: 1, destroy: 3 });
        assert_eq!(changes.counts().to_string(), "3 to add, 1 to change, 3 to destroy");
        assert_eq!((changes.resources.len(), changes.outputs), (7, vec!["o".to_owned()]));
    }
}
