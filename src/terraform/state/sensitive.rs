//! The values that a state marks as sensitive.

use serde_json::Value;

use crate::terraform::output::changes::collect_strings;

/// Collects the strings at the paths that an instance of a resource lists as sensitive.
pub(super) fn collect(attributes: &Value, paths: &Value, found: &mut Vec<String>) {
    for path in paths.as_array().into_iter().flatten() {
        let steps = path.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(value) = at(attributes, steps) {
            collect_strings(value, found);
        }
    }
}

fn at<'v>(value: &'v Value, steps: &[Value]) -> Option<&'v Value> {
    let value = unwrapped(value);
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    let key = match step["type"].as_str() {
        Some("index") => &step["value"]["value"],
        _ => &step["value"],
    };
    match (value, key) {
        (Value::Object(fields), Value::String(name)) => at(fields.get(name)?, rest),
        (Value::Array(items), Value::Number(index)) => {
            at(items.get(usize::try_from(index.as_u64()?).ok()?)?, rest)
        }
        // An element of a set has no index.
        (Value::Array(_), _) => Some(value),
        _ => None,
    }
}

/// A value of no fixed type is kept with its type.
fn unwrapped(value: &Value) -> &Value {
    let is_type = |kind: &Value| {
        kind.is_array() || matches!(kind.as_str(), Some("string" | "number" | "bool" | "dynamic"))
    };
    match (value.get("value"), value.get("type")) {
        (Some(inner), Some(kind))
            if is_type(kind) && value.as_object().is_some_and(|fields| fields.len() == 2) =>
        {
            inner
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_paths_are_found() {
        let attributes = r#"{"password": "hidden 1", "name": "open",
            "input": {"value": {"a": "open", "b": ["open", "hidden 2"]},
                "type": ["object", {"a": "string", "b": ["list", "string"]}]},
            "output": {"value": "hidden 3", "type": "string"},
            "set": ["hidden 4"], "map": {"k": {"x": "hidden 5"}, "l": "open"}}"#;
        let step = |text: &str| format!(r#"{{"type": "get_attr", "value": "{text}"}}"#);
        let index = |value: &str| {
            format!(r#"{{"type": "index", "value": {{"value": {value}, "type": "x"}}}}"#)
        };
        let paths = [
            vec![step("password")],
            vec![step("input"), step("b"), index("1")],
            vec![step("output")],
            vec![step("set"), index(r#"{"x": 1}"#)],
            vec![step("map"), index("\"k\"")],
            vec![step("missing")],
        ];
        let paths = paths.map(|steps| format!("[{}]", steps.join(","))).join(",");
        let mut found = Vec::new();
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        collect(&parse(attributes), &parse(&format!("[{paths}]")), &mut found);
        assert_eq!(found, (1..=5).map(|n| format!("hidden {n}")).collect::<Vec<_>>());
        collect(&parse(attributes), &Value::Null, &mut found);
        assert_eq!(found.len(), 5);
    }
}
