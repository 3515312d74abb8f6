//! Changes of an apply whose result is unknown. A change was made, failed, or is unknown: only an
//! answer of the provider decides between the first two.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    by_address::ByAddress,
    changes::{ChangeAction, Changes, ResourceChange},
    identity::Identity,
};

/// A change that might have been made although the state does not show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "unknown")]
// Part of the ledger and of the JSON report.
pub(crate) struct UnknownChange {
    /// The address of the resource.
    pub(crate) address: String,
    /// The type of the resource.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What was begun. `provision`: the object was created, and its provisioners did not end.
    #[schemars(extend("enum" = ["create", "update", "delete", "provision"]))]
    pub(crate) action: String,
    /// What identifies the object, as far as the plan knows it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) names: BTreeMap<String, String>,
    /// The ID for an `import` block. Absent if it is unknown before the object exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) import_id: Option<String>,
}

/// A change that an apply began, as its events and diagnostics describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BegunChange {
    pub(crate) address: String,
    /// The ID of the object that exists.
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) action: String,
    pub(crate) end: ChangeEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeEnd {
    /// The provider reported success, and the ID of the object.
    Made { id: Option<String> },
    /// The provider or the service refused it.
    Failed,
    /// There was no answer, or none that says whether it was made.
    Unknown,
    /// As `Unknown`, while its provisioners ran: those of a creation run after the provider's
    /// answer, those of a deletion before it.
    Provisioning,
}

/// The action of a change whose object was created, and whose provisioners did not end.
const PROVISION: &str = "provision";

/// Parts of messages about a request whose answer did not arrive.
const NO_ANSWER: [&str; 17] = [
    "context canceled",
    "context deadline exceeded",
    "operation was canceled",
    "request canceled",
    "requestcanceled",
    "connection reset",
    "connection was closed",
    "closed network connection",
    "broken pipe",
    "unexpected eof",
    ": eof",
    "i/o timeout",
    "awaiting headers",
    "transport is closing",
    "plugin did not respond",
    "server closed",
    "statuscode: 5",
];
/// Parts of messages that contain an answer of the service, or that come from this machine.
const ANSWER: [&str; 4] = ["api error ", "statuscode: 4", "-exec provisioner error", "status: 4"];

/// Whether the errors of a change leave open whether it was made. After Terraform was stopped, it
/// counts as unknown unless they contain an answer.
pub(super) fn is_open(errors: &[&str], was_stopped: bool) -> bool {
    // Terraform wraps long messages.
    let text = errors.join("\n").to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    has(&NO_ANSWER) || (was_stopped && !has(&ANSWER))
}

/// Returns the changes whose result is unknown, by address. `is_in_state` returns whether the saved
/// state has the current object of an address; None if that is not known.
pub(crate) fn unknown(
    begun: &[BegunChange],
    plan: &Changes,
    is_in_state: Option<&dyn Fn(&str) -> bool>,
) -> Vec<UnknownChange> {
    let saved = |address: &str| is_in_state.is_some_and(|is_in_state| is_in_state(address));
    let lost = |address: &str| is_in_state.is_some_and(|is_in_state| !is_in_state(address));
    let is_unknown = |change: &&BegunChange| match (&change.end, change.action.as_str()) {
        (ChangeEnd::Failed, _) => false,
        // Made, but the state was not saved since.
        (ChangeEnd::Made { .. }, "create") => lost(&change.address),
        (ChangeEnd::Made { .. }, _) => false,
        // What is in the state is known to Terraform, possibly as tainted.
        (ChangeEnd::Unknown, "create") => !saved(&change.address),
        // Terraform saves a new object before its provisioners run, and taints it after one failed:
        // if it was killed in between, the object looks complete.
        (ChangeEnd::Provisioning, "create") => true,
        (ChangeEnd::Unknown | ChangeEnd::Provisioning, "delete") => !lost(&change.address),
        (ChangeEnd::Unknown | ChangeEnd::Provisioning, _) => true,
    };
    let planned = ByAddress::of(&plan.resources, |planned| &planned.address);
    let of_change = |change: &BegunChange| {
        let is_saved = change.end == ChangeEnd::Provisioning
            && change.action == "create"
            && saved(&change.address);
        let change = UnknownChange::of(change, &planned);
        if is_saved { change.of_provisioners() } else { change }
    };
    let mut found: Vec<UnknownChange> = begun.iter().filter(is_unknown).map(of_change).collect();
    // Terraform works in parallel, so the order of its events differs between runs.
    found.sort_by(|a, b| (&a.address, &a.action).cmp(&(&b.address, &b.action)));
    found
}

impl UnknownChange {
    fn of(change: &BegunChange, planned: &ByAddress<'_, ResourceChange>) -> Self {
        let planned = planned.at(&change.address).iter().find(|planned| {
            planned.deposed.is_none()
                // A replacement has only the identity of the new object.
                && (planned.action != ChangeAction::Replace || change.action == "create")
        });
        let Identity { names, import_id } =
            planned.map(|planned| planned.identity.clone()).unwrap_or_default();
        let id = match &change.end {
            ChangeEnd::Made { id } => id.clone(),
            ChangeEnd::Failed | ChangeEnd::Unknown | ChangeEnd::Provisioning => None,
        };
        Self {
            address: change.address.clone(),
            kind: change.kind.clone(),
            action: change.action.clone(),
            names,
            import_id: import_id.or(id).filter(|_| change.action == "create"),
        }
    }

    /// The object exists and is in the state.
    fn of_provisioners(self) -> Self {
        Self { action: PROVISION.to_owned(), import_id: None, ..self }
    }

    /// Whether the provisioners of an object in the state did not end.
    pub(crate) fn is_provision(&self) -> bool {
        self.action == PROVISION
    }

    /// Whether there might be an object that no state names.
    pub(crate) fn is_create(&self) -> bool {
        self.action == "create"
    }

    /// Applies `mask` to what a provider might have made of a secret. An ID that it changes is of
    /// no use.
    pub(crate) fn masked(self, mask: impl Fn(&str) -> String) -> Self {
        Self {
            address: mask(&self.address),
            names: self.names.iter().map(|(name, value)| (name.clone(), mask(value))).collect(),
            import_id: self.import_id.filter(|id| mask(id) == *id),
            ..self
        }
    }

    /// Returns `aws_ssm_parameter.a (create): name = "/a"`.
    pub(crate) fn describe(&self) -> String {
        let names: Vec<String> =
            self.names.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        match names.is_empty() {
            true => format!("{} ({})", self.address, self.action),
            false => format!("{} ({}): {}", self.address, self.action, names.join(", ")),
        }
    }

    /// Returns the block that imports the object, as code of Terraform.
    pub(crate) fn import_block(&self) -> Option<String> {
        let id = quoted(self.import_id.as_deref()?);
        Some(format!("import {{\n  to = {}\n  id = {id}\n}}", self.address))
    }
}

/// Returns a string as Terraform's language writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (at, c) in text.char_indices() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' | '%' if text[at + 1..].starts_with('{') => out.extend([c, c]),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::output::changes::Changes;

    const ANSWERED: &str = "Error: creating SSM Parameter (/a): operation error SSM: \
        PutParameter, https response error StatusCode: 400, RequestID: 1, api error \
        AccessDeniedException: no";
    const LOST: &str = "Error: creating SSM Parameter (/a): operation error SSM: PutParameter, \
        https response error StatusCode: 0, RequestID: , canceled, context\n  canceled";

    #[test]
    fn only_an_answer_says_that_a_change_failed() {
        for (errors, was_stopped, open) in [
            (&[LOST][..], true, true),
            (&[LOST], false, true),
            (&[ANSWERED], true, false),
            (&[ANSWERED], false, false),
            (&["Error: local-exec provisioner error\n  exit status 1"], true, false),
            (&["Error: something of another provider"], true, true),
            (&["Error: something of another provider"], false, false),
            (&[], true, true),
            (&[], false, false),
            (&["Error: Plugin did not respond"], false, true),
            (&["Error: Post \"https://ssm\": read tcp: connection reset by peer"], false, true),
            (&["Error: https response error StatusCode: 503, api error SlowDown"], false, true),
        ] {
            assert_eq!(is_open(errors, was_stopped), open, "{errors:?} {was_stopped}");
        }
    }

    #[test]
    fn the_state_decides_what_is_known() {
        let begun = |action: &str, end: ChangeEnd| BegunChange {
            address: "a.b".to_owned(),
            id: None,
            kind: "a".to_owned(),
            action: action.to_owned(),
            end,
        };
        let id = || Some("i-1".to_owned());
        let plan = Changes::default();
        // Columns: with the object in the state, without it, without knowing.
        for (action, end, expected) in [
            ("create", ChangeEnd::Unknown, [false, true, true]),
            ("create", ChangeEnd::Made { id: id() }, [false, true, false]),
            ("create", ChangeEnd::Failed, [false, false, false]),
            ("update", ChangeEnd::Unknown, [true, true, true]),
            ("update", ChangeEnd::Made { id: id() }, [false, false, false]),
            ("delete", ChangeEnd::Unknown, [true, false, true]),
            ("delete", ChangeEnd::Made { id: None }, [false, false, false]),
            ("create", ChangeEnd::Provisioning, [true, true, true]),
            ("delete", ChangeEnd::Provisioning, [true, false, true]),
        ] {
            let change = [begun(action, end)];
            let of = |state: Option<&dyn Fn(&str) -> bool>| unknown(&change, &plan, state).len();
            let found = [of(Some(&|_| true)), of(Some(&|_| false)), of(None)];
            assert_eq!(found.map(|count| count == 1), expected, "{change:?}");
        }
        let killed = [begun("create", ChangeEnd::Provisioning)];
        let action = |is_saved: bool| {
            unknown(&killed, &plan, Some(&|_| is_saved)).pop().map(|change| change.action)
        };
        assert_eq!(action(true).as_deref(), Some("provision"));
        assert_eq!(action(false).as_deref(), Some("create"));
        let made = [begun("create", ChangeEnd::Made { id: id() })];
        let found = unknown(&made, &plan, Some(&|_| false));
        assert_eq!(
            found[0].import_block().as_deref(),
            Some("import {\n  to = a.b\n  id = \"i-1\"\n}")
        );
    }

    #[test]
    fn a_string_is_written_as_code() {
        assert_eq!(quoted("a\"b\\${c}%{d}$e"), "\"a\\\"b\\\\$${c}%%{d}$e\"");
    }
}
