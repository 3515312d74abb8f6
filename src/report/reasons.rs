//! Why a plan changes a resource, in words: what forces a replacement, what was removed, where an
//! address comes from.

use schemars::JsonSchema;
use serde::Serialize;

use super::markdown::{code, words};
use crate::{
    base::redact::Redactor,
    terraform::output::{
        changes::{ChangeAction, ResourceChange},
        effects::{Effect, PlannedValue},
    },
};

/// The number of attributes that a reason names.
const NAMED: usize = 3;
/// In characters. The changes have the whole value.
const SHOWN: usize = 60;

/// A redacted reason, such as `engine_version "14.11" -> "16.3"` and `forces replacement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(inline)]
pub(crate) struct Reason {
    before: &'static str,
    /// Text of the plan.
    subject: String,
    after: String,
}

impl Reason {
    fn words(words: impl Into<String>) -> Self {
        Self { after: words.into(), ..Self::default() }
    }

    fn about(before: &'static str, subject: String) -> Self {
        Self { before, subject, after: String::new() }
    }

    pub(super) fn text(&self) -> String {
        let parts = [self.before, &self.subject, &self.after];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn markdown(&self) -> String {
        let parts = [words(self.before), code(&self.subject), words(&self.after)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.text()
    }
}

/// Escapes text of a rule for Markdown. What is between backticks is code.
pub(super) fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 0 { plain(part) } else { code(part) }).collect()
}

/// Keeps the blanks at both ends.
fn plain(text: &str) -> String {
    let blank = |is_there: bool| if is_there { " " } else { "" };
    match words(text) {
        escaped if escaped.is_empty() => blank(!text.is_empty()).to_owned(),
        escaped => {
            let (first, last) = (blank(text.starts_with(' ')), blank(text.ends_with(' ')));
            format!("{first}{escaped}{last}")
        }
    }
}

/// Returns the reasons of a change, most important first. Empty if there is nothing to say.
pub(super) fn reasons(
    change: &ResourceChange,
    effect: Option<&Effect<PlannedValue>>,
    redactor: &Redactor,
) -> Vec<Reason> {
    let mut found = Vec::new();
    match change.reason.as_deref() {
        Some("replace_because_cannot_update") => found.extend(forced(effect, redactor)),
        Some(reason) => {
            found.push(by_word(reason));
            found.extend(forced(effect, redactor));
        }
        None if change.action == ChangeAction::Replace => found.extend(forced(effect, redactor)),
        None => {}
    }
    if change.deposed.is_some() {
        found.push(Reason::words("left by an earlier replacement"));
    }
    let masked = |text: &str| redactor.apply(text).into_owned();
    found.extend(change.moved_from.iter().map(|from| Reason::about("moved from", masked(from))));
    if change.is_import {
        let id = effect.and_then(|effect| effect.import.as_deref()).map(|id| shown(id, redactor));
        found.push(match id {
            Some(id) => Reason { before: "imports", subject: id, after: String::new() },
            None => Reason::words("imported"),
        });
    }
    found
}

/// Words the `action_reason` of Terraform's JSON. One that is not known here is shown as it is.
fn by_word(reason: &str) -> Reason {
    Reason::words(match reason {
        "replace_because_tainted" => "tainted: an earlier creation or provisioner failed",
        "replace_by_request" => "requested by --replace",
        "replace_by_triggers" => "requested by replace_triggered_by",
        "delete_because_no_resource_config" => "removed from the configuration",
        "delete_because_no_module" => "its module was removed from the configuration",
        "delete_because_wrong_repetition" => "count or for_each was added or removed",
        "delete_because_count_index" => "count lowered",
        "delete_because_each_key" => "for_each key removed",
        "delete_because_no_move_target" => "moved to an address without configuration",
        other => return Reason::words(other.replace('_', " ")),
    })
}

/// Names the attributes that force a replacement.
fn forced(effect: Option<&Effect<PlannedValue>>, redactor: &Redactor) -> Vec<Reason> {
    let Some(effect) = effect else { return Vec::new() };
    let named = effect.replace.iter().take(NAMED).map(|path| {
        let values = values(effect, path, redactor);
        let subject = redactor.apply(&format!("{path}{values}")).into_owned();
        Reason { before: "", subject, after: "forces replacement".to_owned() }
    });
    let more = effect.replace.len().saturating_sub(NAMED);
    let others = (more > 0).then(|| match more {
        1 => Reason::words("and 1 more attribute"),
        _ => Reason::words(format!("and {more} more attributes")),
    });
    named.chain(others).collect()
}

/// Returns the values of an attribute, such as ` "14.11" -> "16.3"`. Empty if several differ below
/// it.
fn values(effect: &Effect<PlannedValue>, path: &str, redactor: &Redactor) -> String {
    let is_below = |known: &str| {
        known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let mut differing = effect.attributes.iter().filter(|(known, change)| {
        is_below(known) && (change.before.is_some() || change.after.is_some())
    });
    let (Some((_, change)), None) = (differing.next(), differing.next()) else {
        return String::new();
    };
    let sides = [&change.before, &change.after];
    if sides.iter().any(|side| matches!(side, Some(PlannedValue::Sensitive(_)))) {
        return " (sensitive value)".to_owned();
    }
    let value = |side: &Option<PlannedValue>| match side {
        Some(PlannedValue::Plain(text)) => shown(text, redactor),
        Some(PlannedValue::Sensitive(_)) => "(sensitive value)".to_owned(),
        Some(PlannedValue::Unknown) => "(known after apply)".to_owned(),
        None => "null".to_owned(),
    };
    match change.after {
        // What the value was is not kept.
        Some(PlannedValue::Unknown) => format!(" {}", value(&change.after)),
        _ => format!(" {} -> {}", value(&change.before), value(&change.after)),
    }
}

/// Masks a value as a whole and then cuts it: a part of a secret would not be recognized.
fn shown(value: &str, redactor: &Redactor) -> String {
    let masked = redactor.apply(value);
    match masked.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::redact::Secret, terraform::output::changes::Changes};

    /// Returns the reasons of the only change of a plan.
    fn of(resource: &str) -> Vec<String> {
        let text = format!(r#"{{"resource_changes": [{resource}]}}"#);
        let changes = Changes::parse(&mut text.as_bytes()).unwrap();
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter22"));
        let change = &changes.resources[0];
        let effect = changes.effects.resources.get(&change.label());
        reasons(change, effect, &redactor).iter().map(Reason::text).collect()
    }

    fn replaced(values: &str, paths: &str) -> Vec<String> {
        of(&format!(
            r#"{{"address": "a.b", "type": "a", "action_reason": "replace_because_cannot_update",
                "change": {{"actions": ["delete", "create"], {values},
                "replace_paths": {paths} }} }}"#
        ))
    }

    #[test]
    fn a_replacement_names_what_forces_it() {
        assert_eq!(
            replaced(
                r#""before": {"engine_version": "14.11"}, "after": {"engine_version": "16.3"}"#,
                r#"[["engine_version"]]"#
            ),
            ["engine_version \"14.11\" -> \"16.3\" forces replacement"]
        );
        assert_eq!(
            replaced(
                r#""before": {"id": "i", "rule": [{"port": 1}], "s": "x", "p": "a hunter22"},
                "after": {"rule": [{"port": 2}], "s": "y", "p": null}, 
                "after_unknown": {"id": true}, "after_sensitive": {"s": true}"#,
                r#"[["id"], ["p"], ["rule"], ["s"]]"#
            ),
            [
                "id (known after apply) forces replacement",
                "p \"a ***\" -> null forces replacement",
                "rule 1 -> 2 forces replacement",
                "and 1 more attribute"
            ]
        );
        assert_eq!(
            replaced(
                r#""before": {"s": "x"}, "after": {"s": "y"}, "before_sensitive": {"s": true}"#,
                r#"[["s"]]"#
            ),
            ["s (sensitive value) forces replacement"]
        );
    }

    /// A secret of which only the first half would be shown is masked before it is cut.
    #[test]
    fn a_long_value_is_masked_and_then_cut() {
        let long = format!("{}hunter22{}", "x".repeat(54), "y".repeat(60));
        let found = replaced(
            &format!(r#""before": {{"v": "{long}"}}, "after": {{"v": "z"}}"#),
            r#"[["v"]]"#,
        );
        assert_eq!(found, [format!("v \"{}***yy… -> \"z\" forces replacement", "x".repeat(54))]);
    }

    #[test]
    fn what_was_removed_moved_or_imported() {
        let deleted = |reason: &str, more: &str| {
            of(&format!(
                r#"{{"address": "a.b", "type": "a", "action_reason": "{reason}"{more},
                    "change": {{"actions": ["delete"], "before": {{}} }} }}"#
            ))
        };
        for (reason, expected) in [
            ("delete_because_no_resource_config", "removed from the configuration"),
            ("delete_because_each_key", "for_each key removed"),
            ("delete_because_count_index", "count lowered"),
            ("delete_because_something_new", "delete because something new"),
        ] {
            assert_eq!(deleted(reason, ""), [expected]);
        }
        assert_eq!(
            deleted("delete_because_each_key", r#", "deposed": "0a1b""#),
            ["for_each key removed", "left by an earlier replacement"]
        );
        assert_eq!(
            of(r#"{"address": "a.b", "type": "a", "previous_address": "a.old[\"hunter22\"]",
                "change": {"actions": ["no-op"], "before": {}, "after": {},
                "importing": {"id": "i-1"}}}"#),
            ["moved from a.old[\"***\"]", "imports i-1"]
        );
    }
}
