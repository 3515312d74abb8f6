//! What differs between the effects of two plans.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde_json::Value;

use super::{
    Change, Effect, Effects, Side,
    read::PlannedValue,
    seal::{Sealed, Words},
};

/// One difference between a plan that was reviewed and the plan of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Only the plan of now does something to the resource.
    New { address: String, action: String },
    /// Only the reviewed plan does something to the resource.
    Gone { address: String, action: String },
    /// Both do, but not the same.
    Action { address: String, reviewed: String, now: String },
    /// Both do the same to the resource, but not in this detail.
    Detail { address: String, detail: String, reviewed: String, now: String },
}

/// Effects, and the words of the release that they belong to.
pub(crate) type OfRelease<'e> = (&'e Effects<Sealed>, &'e Words);

/// The type of resource whose plans have empty values of the old object that the code does not
/// set: AWS and its provider add them.
const FILLED: &str = "aws_ecs_task_definition";

/// Returns what differs. Values are the same if they are equal, also after the words of their
/// releases are left out. Empty if both plans do the same.
pub(crate) fn differences(reviewed: OfRelease<'_>, now: OfRelease<'_>) -> Vec<Difference> {
    let comparison = Comparison { reviewed: reviewed.1, now: now.1, found: Vec::new() };
    comparison.run(reviewed.0, now.0)
}

/// Whether something is changed, but nothing except for the words of the release and what is
/// computed from them after the apply. An object may be replaced, if the words alone force it.
pub(crate) fn is_only_words(effects: &Effects<PlannedValue>, words: &Words) -> bool {
    !effects.is_empty()
        && effects.resources.iter().all(|(address, effect)| {
            effect.is_only_words(words, address.split('.').any(|part| part == FILLED))
        })
        && effects.outputs.values().all(|change| change.is_word(words) || change.is_computed())
        && effects.deferred.is_empty()
}

impl Effect<PlannedValue> {
    /// `is_filled`: the resource has the type [`FILLED`].
    fn is_only_words(&self, words: &Words, is_filled: bool) -> bool {
        let is_replaced = matches!(self.action.as_str(), "delete create" | "create delete");
        // A new object has all attributes, also those that are as before.
        let stays = |path: &String, change: &Change<PlannedValue>| {
            is_replaced
                && match &change.before {
                    None => !self.added.contains(path),
                    Some(was) => is_filled && change.after.is_none() && is_empty(was),
                }
        };
        let is_word = |change: &Change<PlannedValue>| {
            change.is_word(words) || (is_replaced && is_filled && change.is_word_in_json(words))
        };
        (self.action == "update" || (is_replaced && self.is_replaced_for(is_word)))
            && self.import.is_none()
            && self.moved_from.is_none()
            && self.attributes.values().any(is_word)
            && self.attributes.iter().all(|(path, change)| {
                is_word(change) || change.is_computed() || stays(path, change)
            })
    }

    /// Whether each attribute that forces the replacement has a word, and no part that is computed.
    /// If the object is tainted, or another resource triggers its replacement, no attribute does.
    fn is_replaced_for(&self, is_word: impl Fn(&Change<PlannedValue>) -> bool) -> bool {
        let has_word = |forces: &String| {
            let parts = self.attributes.iter().filter(|(path, _)| is_part(path, forces));
            let parts: Vec<&Change<PlannedValue>> = parts.map(|(_, change)| change).collect();
            parts.iter().any(|change| is_word(change))
                && !parts.iter().any(|change| change.is_computed())
        };
        !self.replace.is_empty() && self.replace.iter().all(has_word)
    }
}

impl Change<PlannedValue> {
    /// Whether the values differ, and only in the words of their releases.
    fn is_word(&self, words: &Words) -> bool {
        match (&self.before, &self.after) {
            (Some(PlannedValue::Plain(was)), Some(PlannedValue::Plain(is))) => {
                words.general(was, Side::Before) == words.general(is, Side::After)
            }
            _ => false,
        }
    }

    /// Whether the values are JSON that differs in the words, and otherwise only in empty members
    /// that the old object has in addition: AWS adds `mountPoints: []` to a container.
    fn is_word_in_json(&self, words: &Words) -> bool {
        let (Some(PlannedValue::Plain(was)), Some(PlannedValue::Plain(is))) =
            (&self.before, &self.after)
        else {
            return false;
        };
        let (was, is) = (words.general(was, Side::Before), words.general(is, Side::After));
        let parsed = |text: &str| -> Option<Value> {
            serde_json::from_str(&serde_json::from_str::<String>(text).ok()?).ok()
        };
        let has_word = matches!(is, Cow::Owned(_));
        has_word && parsed(&was).zip(parsed(&is)).is_some_and(|(was, is)| has_as_well(&was, &is))
    }

    fn is_computed(&self) -> bool {
        self.after == Some(PlannedValue::Unknown)
    }
}

fn is_empty(value: &PlannedValue) -> bool {
    let empty = [r#""""#, "[]", "{}"];
    matches!(value, PlannedValue::Plain(text) if empty.contains(&text.as_str()))
}

/// Whether `was` is `is`, apart from empty members in addition.
fn has_as_well(was: &Value, is: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            is.iter().all(|(key, is)| was.get(key).is_some_and(|was| has_as_well(was, is)))
                && was.iter().all(|(key, was)| is.contains_key(key) || is_empty(was))
        }
        (Value::Array(was), Value::Array(is)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| has_as_well(was, is))
        }
        _ => was == is,
    }
}

/// Whether `path` is `whole` or a part of it.
fn is_part(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

struct Comparison<'w> {
    reviewed: &'w Words,
    now: &'w Words,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn run(mut self, reviewed: &Effects<Sealed>, now: &Effects<Sealed>) -> Vec<Difference> {
        let labels: BTreeSet<&String> =
            reviewed.resources.keys().chain(now.resources.keys()).collect();
        for label in labels {
            match (reviewed.resources.get(label), now.resources.get(label)) {
                (Some(was), Some(is)) => self.effect(label, was, is),
                (Some(was), None) => self
                    .found
                    .push(Difference::Gone { address: label.clone(), action: was.summary() }),
                (None, Some(is)) => self
                    .found
                    .push(Difference::New { address: label.clone(), action: is.summary() }),
                (None, None) => {}
            }
        }
        let names: BTreeSet<&String> = reviewed.outputs.keys().chain(now.outputs.keys()).collect();
        for name in names {
            let output = format!("output.{name}");
            match (reviewed.outputs.get(name), now.outputs.get(name)) {
                (Some(was), Some(is)) => self.change(&output, "value", was, is),
                (Some(_), None) => self
                    .found
                    .push(Difference::Gone { address: output, action: "changed".to_owned() }),
                (None, Some(_)) => self
                    .found
                    .push(Difference::New { address: output, action: "changed".to_owned() }),
                (None, None) => {}
            }
        }
        let put_off = |address: &String| (address.clone(), "put off to a later plan".to_owned());
        for (address, action) in reviewed.deferred.difference(&now.deferred).map(put_off) {
            self.found.push(Difference::Gone { address, action });
        }
        for (address, action) in now.deferred.difference(&reviewed.deferred).map(put_off) {
            self.found.push(Difference::New { address, action });
        }
        self.found
    }

    fn effect(&mut self, address: &str, was: &Effect<Sealed>, is: &Effect<Sealed>) {
        if was.summary() != is.summary() {
            let (address, reviewed, now) = (address.to_owned(), was.summary(), is.summary());
            self.found.push(Difference::Action { address, reviewed, now });
            return;
        }
        let object = |effect: &Effect<Sealed>| {
            let names = effect.object.iter().map(|(name, value)| format!("{name} = {value:?}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let replace =
            |effect: &Effect<Sealed>| effect.replace.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut detail = |detail: &str, reviewed: String, now: String| {
            let said = |text: String| if text.is_empty() { "none".to_owned() } else { text };
            if reviewed != now {
                let (address, detail) = (address.to_owned(), detail.to_owned());
                let (reviewed, now) = (said(reviewed), said(now));
                self.found.push(Difference::Detail { address, detail, reviewed, now });
            }
        };
        let same_names = was.object.keys().eq(is.object.keys())
            && was.object.values().zip(is.object.values()).all(|(was, is)| {
                was == is || self.reviewed.general_text(was) == self.now.general_text(is)
            });
        if !same_names {
            detail("the existing object", object(was), object(is));
        }
        detail("what forces the replacement", replace(was), replace(is));
        let paths: BTreeSet<&String> = was.attributes.keys().chain(is.attributes.keys()).collect();
        let nothing = Change { before: None, after: None };
        for path in paths {
            let of = |effect: &Effect<Sealed>| effect.attributes.get(path).cloned();
            let (was, is) = (of(was), of(is));
            self.change(
                address,
                path,
                was.as_ref().unwrap_or(&nothing),
                is.as_ref().unwrap_or(&nothing),
            );
        }
    }

    fn change(&mut self, address: &str, path: &str, was: &Change<Sealed>, is: &Change<Sealed>) {
        let same = self.is_same(was.before.as_ref(), is.before.as_ref(), Side::Before)
            && self.is_same(was.after.as_ref(), is.after.as_ref(), Side::After);
        if !same {
            let (address, detail) = (address.to_owned(), path.to_owned());
            let (reviewed, now) = (was.to_string(), is.to_string());
            self.found.push(Difference::Detail { address, detail, reviewed, now });
        }
    }

    fn is_same(&self, was: Option<&Sealed>, is: Option<&Sealed>, side: Side) -> bool {
        match (was, is) {
            (Some(Sealed::Plain(was)), Some(Sealed::Plain(is))) => {
                was == is || self.reviewed.general(was, side) == self.now.general(is, side)
            }
            (
                Some(Sealed::Secret { exact: was, general: general_was }),
                Some(Sealed::Secret { exact: is, general: general_is }),
            ) => was == is || general_was == general_is,
            (was, is) => was == is,
        }
    }
}

impl<V> Effect<V> {
    /// Returns Terraform's action in the words of its plans.
    pub(crate) fn summary(&self) -> String {
        let action = match self.action.as_str() {
            "delete" => "destroy",
            "delete create" => "replace (destroy first)",
            "create delete" => "replace (create first)",
            "forget" => "remove from the state",
            "no-op" => "",
            other => other,
        };
        let mut parts: Vec<String> = Vec::new();
        parts.extend(Some(action.to_owned()).filter(|it| !it.is_empty()));
        parts.extend(self.moved_from.iter().map(|from| format!("move from {from}")));
        parts.extend(self.import.iter().map(|id| format!("import {id:?}")));
        parts.join(", ")
    }
}

/// In characters. The plan has the whole value.
const SHOWN: usize = 60;

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("(known after apply)"),
            Self::Secret { .. } => f.write_str("(sensitive)"),
            Self::Plain(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => write!(f, "{}…", &text[..end]),
                None => f.write_str(text),
            },
        }
    }
}

impl fmt::Display for Change<Sealed> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (None, None) => f.write_str("unchanged"),
            (None, Some(after)) => write!(f, "{after}"),
            (Some(before), None) => write!(f, "{before} -> null"),
            (Some(before), Some(after)) => write!(f, "{before} -> {after}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { address, action } => write!(f, "{address}: {action}; not reviewed"),
            Self::Gone { address, action } => {
                write!(f, "{address}: reviewed: {action}; now: nothing to do")
            }
            Self::Action { address, reviewed, now } => {
                write!(f, "{address}: reviewed: {reviewed}; now: {now}")
            }
            Self::Detail { address, detail, reviewed, now } => {
                write!(f, "{address}: {detail}: reviewed: {reviewed}; now: {now}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terraform::output::changes::Changes;

    fn are_only_words(changes: &[&Value]) -> bool {
        let plan = json!({ "resource_changes": changes }).to_string();
        let words = |words: [&str; 2]| words.map(str::to_owned).to_vec();
        let words = Words::new(words(["42-a1b2c3d", "a1b2c3d"]), words(["41-0000000", "0000000"]));
        is_only_words(&Changes::parse(&mut plan.as_bytes()).unwrap().effects, &words)
    }

    fn container(image: &str, version: &str) -> String {
        let variable = json!({ "name": "VERSION", "value": version });
        json!([{ "image": image, "name": "app", "environment": [variable] }]).to_string()
    }

    /// The AWS provider replaces a task definition for every change of its containers.
    fn task() -> Value {
        let change = json!({
            "actions": ["delete", "create"],
            "before": {
                "arn": "arn:aws:ecs:eu-west-1:1:task-definition/app:7", "cpu": "256",
                "container_definitions": container("app@sha256:1", "41-0000000"),
                "family": "app", "id": "app", "network_mode": null, "revision": 7,
                "runtime_platform": [], "tags": { "a": "b" },
            },
            "after": {
                "container_definitions": container("app@sha256:1", "42-a1b2c3d"), "cpu": "256",
                "family": "app", "network_mode": null, "runtime_platform": [],
                "tags": { "a": "b" },
            },
            "after_unknown": { "arn": true, "id": true, "revision": true, "tags": {} },
            "before_sensitive": { "tags": {} },
            "after_sensitive": { "tags": {} },
            "replace_paths": [["container_definitions"]],
        });
        let kind = "aws_ecs_task_definition";
        json!({ "address": "aws_ecs_task_definition.app", "type": kind, "change": change })
    }

    /// A change of the plan above.
    type Edit = fn(&mut Value);

    #[test]
    fn a_replacement_can_be_only_the_version() {
        let cases: [(&str, Edit, bool); 14] = [
            ("as it is", |_| {}, true),
            ("created first", |task| task["change"]["actions"] = json!(["create", "delete"]), true),
            (
                "a value next to the version",
                |task| {
                    task["change"]["before"]["triggers"] = json!(["41-0000000", "x"]);
                    task["change"]["after"]["triggers"] = json!(["42-a1b2c3d", "x"]);
                    task["change"]["replace_paths"] = json!([["triggers"]]);
                },
                true,
            ),
            ("another attribute", |task| task["change"]["after"]["cpu"] = json!("512"), false),
            ("a new value", |task| task["change"]["after"]["network_mode"] = json!("host"), false),
            ("a new attribute", |task| task["change"]["after"]["pid_mode"] = json!("host"), false),
            ("a new part", |task| task["change"]["after"]["tags"]["c"] = json!("d"), false),
            ("a removed value", |task| task["change"]["after"]["cpu"] = Value::Null, false),
            (
                "another image",
                |task| {
                    let containers = container("app@sha256:2", "42-a1b2c3d");
                    task["change"]["after"]["container_definitions"] = json!(containers);
                },
                false,
            ),
            (
                "forced by something else too",
                |task| {
                    task["change"]["after"]["cpu"] = json!("512");
                    task["change"]["replace_paths"] = json!([["container_definitions"], ["cpu"]]);
                },
                false,
            ),
            (
                "forced by a value that is known later",
                |task| {
                    task["change"]["after_unknown"]["cpu"] = json!(true);
                    task["change"]["replace_paths"] = json!([["container_definitions"], ["cpu"]]);
                },
                false,
            ),
            ("tainted", |task| task["change"]["replace_paths"] = Value::Null, false),
            (
                "sensitive",
                |task| {
                    task["change"]["after_sensitive"] = json!({ "container_definitions": true });
                },
                false,
            ),
            ("moved", |task| task["previous_address"] = json!("aws_x.old"), false),
        ];
        for (name, edit, is_only) in cases {
            let mut task = task();
            edit(&mut task);
            assert_eq!(are_only_words(&[&task]), is_only, "{name}");
        }
    }

    /// A plan of the AWS provider 5.100.0: AWS has added empty members to the container, and the
    /// provider reports empty attributes that the code does not set.
    #[test]
    fn a_task_definition_of_the_provider_can_be_only_the_version() {
        const TASK: &str = include_str!("../../../../tests/fixtures/plans/task-definition.json");
        // Replaces the first, which is that of the old object.
        let is_only = |from: &str, to: &str| {
            assert!(TASK.contains(from), "{from}");
            let task: Value = serde_json::from_str(&TASK.replacen(from, to, 1)).unwrap();
            are_only_words(&[&task])
        };
        assert!(is_only("41-0000000", "41-0000000"));
        for (from, to) in [
            (r#"\"mountPoints\":[]"#, r#"\"mountPoints\":[1]"#),
            (r#"\"portMappings\":[]"#, r#"\"cpu\":0"#),
            (r#"\"essential\":true,"#, ""),
            ("app@sha256:1", "app@sha256:2"),
            (r#""execution_role_arn": """#, r#""execution_role_arn": "a""#),
            (r#""tags": {}"#, r#""tags": { "a": "b" }"#),
        ] {
            assert!(!is_only(from, to), "{from}");
        }
    }

    /// A value that is known only after the apply does not show why it changes.
    #[test]
    fn a_resource_without_the_version_is_another_change() {
        let service = |after: Value, after_unknown: Value| {
            let before = json!({ "id": "s", "task_definition": "app:7", "tag": "41-0000000" });
            let change = json!({ "actions": ["update"], "before": before, "after": after,
                "after_unknown": after_unknown });
            json!({ "address": "aws_ecs_service.app", "type": "aws_ecs_service", "change": change })
        };
        let unknown = || json!({ "task_definition": true });
        let of_task = service(json!({ "id": "s", "tag": "41-0000000" }), unknown());
        assert!(!are_only_words(&[&task(), &of_task]));
        let with_version = service(json!({ "id": "s", "tag": "42-a1b2c3d" }), unknown());
        assert!(are_only_words(&[&task(), &with_version]));
    }
}
