//! From the JSON of a change to its effect.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Change, Effect};
use crate::{base::redact::Secret, terraform::output::identity::Identity};

/// A value of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlannedValue {
    /// Known only after the apply.
    Unknown,
    /// JSON of a string, a number, a boolean, or an empty list or object.
    Plain(String),
    /// The same of a value that the plan marks as sensitive.
    Sensitive(Secret),
}

/// The parts of a change in Terraform's JSON, with `Value::Null` for what is not there.
pub(crate) struct EffectJson<'j> {
    pub(crate) actions: &'j [String],
    pub(crate) before: &'j Value,
    pub(crate) after: &'j Value,
    pub(crate) after_unknown: &'j Value,
    pub(crate) before_sensitive: &'j Value,
    pub(crate) after_sensitive: &'j Value,
    pub(crate) replace_paths: &'j Value,
    pub(crate) importing: &'j Value,
}

/// The values of a document, by path.
type Leaves = BTreeMap<String, PlannedValue>;

impl EffectJson<'_> {
    /// Returns None if nothing is changed: Terraform only reads it, or finds it as it should be.
    pub(crate) fn effect(
        &self,
        kind: &str,
        moved_from: Option<&str>,
    ) -> Option<Effect<PlannedValue>> {
        let has = |action: &str| self.actions.iter().any(|it| it == action);
        let import = self.importing.get("id").and_then(Value::as_str).map(str::to_owned);
        if has("read") || (has("no-op") && moved_from.is_none() && self.importing.is_null()) {
            return None;
        }
        let object = match has("create") && !has("delete") && !has("forget") {
            true => BTreeMap::new(),
            false => names(&Identity::of(kind, self.before, self.before_sensitive)),
        };
        Some(Effect {
            action: self.actions.join(" "),
            moved_from: moved_from.map(str::to_owned),
            import,
            object,
            replace: self.replaced(),
            attributes: match has("create") || has("update") {
                true => self.changed("", has("create")),
                false => BTreeMap::new(),
            },
            added: match has("create") && has("delete") {
                true => self.added(),
                false => BTreeSet::new(),
            },
        })
    }

    /// Returns what changes in the output of this name; nothing if it stays as it is.
    pub(crate) fn output(&self, name: &str) -> BTreeMap<String, Change<PlannedValue>> {
        match self.actions.iter().all(|it| it == "no-op") {
            true => BTreeMap::new(),
            false => self.changed(name, self.actions.iter().any(|it| it == "create")),
        }
    }

    /// Returns the attributes that differ, and all of a new object.
    fn changed(&self, root: &str, is_new: bool) -> BTreeMap<String, Change<PlannedValue>> {
        let [mut before, mut after] = self.leaves(root);
        // What a value was does not matter if it is computed again.
        before.retain(|path, _| !is_below_unknown(path, &after));
        let paths: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
        let mut changed = BTreeMap::new();
        for path in paths {
            let (was, is) = (before.remove(&path), after.remove(&path));
            let differs = !same_text(was.as_ref(), is.as_ref());
            let was = was.filter(|_| differs);
            if differs || is_new {
                changed.insert(path, Change { before: was, after: is });
            }
        }
        changed.retain(|_, change| change.before.is_some() || change.after.is_some());
        changed
    }

    /// Returns the attributes without a value before.
    fn added(&self) -> BTreeSet<String> {
        let [before, after] = self.leaves("");
        after.into_keys().filter(|path| !before.contains_key(path)).collect()
    }

    /// Returns the values before and after.
    fn leaves(&self, root: &str) -> [Leaves; 2] {
        let (mut before, mut after) = (Leaves::new(), Leaves::new());
        collect(self.before, self.before_sensitive, root, &mut before);
        collect(self.after, self.after_sensitive, root, &mut after);
        collect_unknown(self.after_unknown, root, &mut after);
        [before, after]
    }

    fn replaced(&self) -> BTreeSet<String> {
        let paths = self.replace_paths.as_array().into_iter().flatten();
        let steps = |path: &Value| {
            let mut name = String::new();
            for step in path.as_array().into_iter().flatten() {
                name = match step {
                    Value::String(key) => member(&name, key),
                    other => format!("{name}[{other}]"),
                };
            }
            name
        };
        paths.map(steps).collect()
    }
}

/// An ARN often has the number of a revision, which every deploy changes.
fn names(identity: &Identity) -> BTreeMap<String, String> {
    let mut names = identity.names.clone();
    if names.contains_key("id") {
        names.retain(|name, _| !name.ends_with("arn"));
    }
    names
}

/// Whether the value at `path`, or one that it is a part of, is unknown.
fn is_below_unknown(path: &str, after: &Leaves) -> bool {
    let ends = path.char_indices().filter(|(_, char)| ['.', '['].contains(char));
    let parents = ends.map(|(at, _)| &path[..at]);
    parents.chain([path]).any(|path| after.get(path) == Some(&PlannedValue::Unknown))
}

/// Whether two values are the same, also if only one of them is marked.
fn same_text(one: Option<&PlannedValue>, other: Option<&PlannedValue>) -> bool {
    let text = |value: Option<&PlannedValue>| match value {
        Some(PlannedValue::Plain(text)) => Some(text.clone()),
        Some(PlannedValue::Sensitive(secret)) => Some(secret.expose().to_owned()),
        Some(PlannedValue::Unknown) | None => None,
    };
    let is_unknown = |value: Option<&PlannedValue>| value == Some(&PlannedValue::Unknown);
    !is_unknown(one) && !is_unknown(other) && text(one) == text(other)
}

fn is_marked(marks: &Value) -> bool {
    *marks == Value::Bool(true)
}

fn leaf(value: &Value, is_sensitive: bool) -> PlannedValue {
    match is_sensitive {
        true => PlannedValue::Sensitive(Secret::new(value.to_string())),
        false => PlannedValue::Plain(value.to_string()),
    }
}

fn member(path: &str, key: &str) -> String {
    let is_plain =
        !key.is_empty() && key.chars().all(|it| it.is_alphanumeric() || it == '_' || it == '-');
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Value::from(key)),
    }
}

/// Collects the values below `path`. `marks` has the shape of `value`, with `true` where everything
/// below is sensitive.
fn collect(value: &Value, marks: &Value, path: &str, found: &mut Leaves) {
    match value {
        // Of a part of a list it matters that it is there.
        Value::Null if !path.ends_with(']') => {}
        Value::Object(fields) if !fields.is_empty() && !is_marked(marks) => {
            // Of a part of a list it matters that it is there.
            if path.ends_with(']') && fields.values().all(Value::is_null) {
                found.insert(path.to_owned(), PlannedValue::Plain("{}".to_owned()));
            }
            for (key, field) in fields {
                let marks = marks.get(key).unwrap_or(&Value::Null);
                collect(field, marks, &member(path, key), found);
            }
        }
        Value::Array(items) if !items.is_empty() && !is_marked(marks) => {
            for (at, item) in items.iter().enumerate() {
                let marks = marks.get(at).unwrap_or(&Value::Null);
                collect(item, marks, &format!("{path}[{at}]"), found);
            }
        }
        other => {
            found.insert(path.to_owned(), leaf(other, is_marked(marks)));
        }
    }
}

fn collect_unknown(marks: &Value, path: &str, found: &mut Leaves) {
    match marks {
        Value::Bool(true) => {
            found.insert(path.to_owned(), PlannedValue::Unknown);
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, marks)| collect_unknown(marks, &member(path, key), found))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(at, marks)| collect_unknown(marks, &format!("{path}[{at}]"), found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn effect(change: &Value) -> Option<Effect<PlannedValue>> {
        let actions: Vec<String> = serde_json::from_value(change["actions"].clone()).unwrap();
        EffectJson {
            actions: &actions,
            before: &change["before"],
            after: &change["after"],
            after_unknown: &change["after_unknown"],
            before_sensitive: &change["before_sensitive"],
            after_sensitive: &change["after_sensitive"],
            replace_paths: &change["replace_paths"],
            importing: &change["importing"],
        }
        .effect("aws_x", None)
    }

    fn plain(text: &str) -> Option<PlannedValue> {
        Some(PlannedValue::Plain(text.to_owned()))
    }

    #[test]
    fn only_what_differs_is_an_effect_of_an_update() {
        let found = effect(&json!({
            "actions": ["update"],
            "before": {"id": "i", "size": 1, "output": {"a": [1, 2]},
                "tags": {"a": "x", "b c": "y"}, "at": "monday",
                "gone": true, "secret": "s", "same": [1, {"x": 2}]},
            "after": {"id": "i", "size": 2, "tags": {"a": "x", "b c": "z"}, "secret": "t",
                "same": [1, {"x": 2}], "gone": null},
            "after_unknown": {"at": true, "output": true},
            "after_sensitive": {"secret": true},
        }))
        .unwrap();
        let change = |before, after| Change { before, after };
        assert_eq!(found.object, BTreeMap::from([("id".to_owned(), "i".to_owned())]));
        assert_eq!(
            found.attributes.into_iter().collect::<Vec<_>>(),
            [
                ("at".to_owned(), change(None, Some(PlannedValue::Unknown))),
                ("gone".to_owned(), change(plain("true"), None)),
                ("output".to_owned(), change(None, Some(PlannedValue::Unknown))),
                (
                    "secret".to_owned(),
                    change(plain("\"s\""), Some(PlannedValue::Sensitive(Secret::new("\"t\""))))
                ),
                ("size".to_owned(), change(plain("1"), plain("2"))),
                ("tags[\"b c\"]".to_owned(), change(plain("\"y\""), plain("\"z\""))),
            ]
        );
    }

    #[test]
    fn a_new_object_has_every_attribute_and_a_deleted_one_its_names() {
        let created = effect(&json!({"actions": ["create"], "before": null,
            "after": {"a": [], "b": null}, "after_unknown": {"id": true}}))
        .unwrap();
        let paths: Vec<&String> = created.attributes.keys().collect();
        assert_eq!(
            (created.action.as_str(), paths),
            ("create", vec![&"a".to_owned(), &"id".to_owned()])
        );
        let deleted = effect(&json!({"actions": ["delete"],
            "before": {"id": "i", "arn": "a:1", "name": "n", "noise": 5}, "after": null}))
        .unwrap();
        assert_eq!(deleted.object.keys().collect::<Vec<_>>(), ["id", "name"]);
        assert!(deleted.attributes.is_empty());
        let replaced = effect(&json!({"actions": ["delete", "create"],
            "before": {"id": "i", "x": 1, "y": 1, "w": null}, "after": {"x": 2, "y": 1, "w": 1},
            "after_unknown": {"id": true}, "replace_paths": [["x"], ["rule", 0, "port"]]}))
        .unwrap();
        assert_eq!(replaced.replace.iter().collect::<Vec<_>>(), ["rule[0].port", "x"]);
        assert_eq!(replaced.attributes["y"], Change { before: None, after: plain("1") });
        assert_eq!(replaced.attributes["w"], replaced.attributes["y"]);
        assert_eq!(replaced.added.iter().collect::<Vec<_>>(), ["w"]);
    }

    #[test]
    fn reading_and_finding_nothing_to_do_are_no_effects() {
        for actions in [["read"], ["no-op"]] {
            assert_eq!(effect(&json!({"actions": actions, "before": {}, "after": {}})), None);
        }
        let imported = effect(&json!({"actions": ["no-op"], "before": {"id": "i"},
            "after": {"id": "i"}, "importing": {"id": "i"}}))
        .unwrap();
        assert_eq!(imported.import.as_deref(), Some("i"));
    }
}
