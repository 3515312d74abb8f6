//! The statements of a policy document of AWS, in one shape.

use serde_json::{Map, Value};

/// The parts that a rule can name. A missing one is null.
const PARTS: [&str; 8] = [
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Principal",
    "NotPrincipal",
    "Condition",
];

/// Returns the statements of a document. Nothing if it is not JSON.
///
/// A statement can be alone or in a list, and so can each of its values; a principal can be `*` or
/// have a kind. Each part becomes a list of texts, without the kind.
pub(super) fn statements(document: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let statements = match document.get("Statement") {
        Some(Value::Array(several)) => several.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    statements.iter().map(normal).collect()
}

fn normal(statement: &Value) -> Value {
    let part = |name: &str| {
        let value = match (name, statement.get(name)) {
            (_, None) => Value::Null,
            ("Condition", Some(value)) => Value::String(value.to_string()),
            (_, Some(value)) => Value::Array(texts(value)),
        };
        (name.to_owned(), value)
    };
    Value::Object(PARTS.into_iter().map(part).collect::<Map<_, _>>())
}

fn texts(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        other => vec![other.clone()],
    }
}
