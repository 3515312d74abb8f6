//! Conditions on the values of a plan, and text about the values that meet them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// By the path of an attribute, such as `settings.deletion_protection`: the values of which one is
/// expected. A path leads through every element of a list.
pub(super) type Conditions = BTreeMap<String, Vec<Expected>>;

/// The first value that met each condition, by path.
pub(super) type Words = BTreeMap<String, String>;

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Expected {
    Test(Test),
    Value(Value),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Test {
    /// Neither null nor empty.
    Set(bool),
    MoreThan(u64),
    EndsWith(String),
}

impl Expected {
    fn is_met(&self, value: &Value) -> bool {
        match self {
            Self::Value(expected) => expected == value,
            Self::Test(Test::Set(expected)) => {
                let is_empty = match value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    _ => false,
                };
                is_empty != *expected
            }
            Self::Test(Test::MoreThan(limit)) => value.as_u64().is_some_and(|it| it > *limit),
            Self::Test(Test::EndsWith(end)) => {
                value.as_str().is_some_and(|it| it.ends_with(end.as_str()))
            }
        }
    }
}

/// Returns the values, without those that are sensitive or unknown: a condition on them is not met.
/// The marks have the shape of `value`, with `true` where everything below is marked.
pub(super) fn visible(value: &Value, sensitive: &Value, unknown: &Value) -> Option<Value> {
    let is_marked = |marks: &Value| *marks == Value::Bool(true);
    if is_marked(sensitive) || is_marked(unknown) {
        return None;
    }
    let below = |marks: &Value, at: usize| marks.get(at).cloned().unwrap_or_default();
    Some(match value {
        Value::Object(fields) => {
            let of = |marks: &Value, key: &String| marks.get(key).cloned().unwrap_or_default();
            let shown = fields.iter().filter_map(|(key, field)| {
                Some((key.clone(), visible(field, &of(sensitive, key), &of(unknown, key))?))
            });
            Value::Object(shown.collect())
        }
        Value::Array(items) => {
            let shown = items.iter().enumerate();
            let shown = shown
                .filter_map(|(at, item)| visible(item, &below(sensitive, at), &below(unknown, at)));
            Value::Array(shown.collect())
        }
        other => other.clone(),
    })
}

/// Returns the values at `path`: every element of a list, and nothing if there is none.
pub(super) fn parts<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| parts(item, path)).collect(),
        value if path.is_empty() => vec![value],
        Value::Object(fields) => {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            fields.get(first).map(|field| parts(field, rest)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Returns the values that met the conditions, if all are met.
pub(super) fn matched(conditions: &Conditions, value: &Value) -> Option<Words> {
    let first = |(path, expected): (&String, &Vec<Expected>)| {
        let mut found = parts(value, path).into_iter();
        let met = found.find(|value| expected.iter().any(|it| it.is_met(value)))?;
        Some((path.clone(), plain(met)))
    };
    conditions.iter().map(first).collect()
}

/// Replaces `{attribute}` in `text`, and `{from-to}` by a range of two attributes.
pub(super) fn fill(text: &str, words: &Words, value: &Value) -> String {
    let word = |name: &str| {
        let other = || parts(value, name).first().map(|it| plain(it));
        words.get(name).cloned().or_else(other).unwrap_or_else(|| "?".to_owned())
    };
    let mut pieces = text.split('{');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap_or((piece, ""));
        filled.push_str(&match name.split_once('-') {
            Some((from, to)) if word(from) == word(to) => word(from),
            Some((from, to)) => format!("{}-{}", word(from), word(to)),
            None => word(name),
        });
        filled.push_str(rest);
    }
    filled
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
