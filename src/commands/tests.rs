//! docs/schema describes what `--json` and `--report-json` print. It is made from the types that
//! are printed, whose comments are its descriptions.

use std::{fs, path::Path};

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::{
    doctor::report::DoctorDocument, history::HistoryDocument, inspect::InspectDocument,
    preview::reap_outcome::ReapDocument, prune::listed::PruneDocument, releases::ReleasesDocument,
    status::StatusDocument,
};
use crate::report::{Report, notify::messages::Message, plan::PlanReport};

const ADDRESS: &str = "https://raw.githubusercontent.com/org/cdflow-action/v1/docs/schema";

/// `CDFLOW_TEST_WRITE_FIXTURES=1` writes the schemas: review the diff.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment selects what this test does")]
fn schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let is_update = std::env::var_os("CDFLOW_TEST_WRITE_FIXTURES").is_some();
    for (name, schema) in [
        ("doctor", schema_of::<DoctorDocument<'_>>()),
        ("history", schema_of::<HistoryDocument<'_>>()),
        ("inspect", schema_of::<InspectDocument<'_>>()),
        ("notify", schema_of::<Message<'_>>()),
        ("plan", schema_of::<PlanReport>()),
        ("preview-reap", schema_of::<ReapDocument<'_>>()),
        ("prune", schema_of::<PruneDocument<'_>>()),
        ("releases", schema_of::<ReleasesDocument<'_>>()),
        ("report", schema_of::<Report>()),
        ("status", schema_of::<StatusDocument<'_>>()),
    ] {
        let file = format!("{name}.schema.json");
        let made = format!("{:#}\n", with_id(schema, &format!("{ADDRESS}/{file}")));
        let file = folder.join(file);
        if is_update {
            fs::write(&file, &made).unwrap();
        }
        assert_eq!(made, fs::read_to_string(&file).unwrap(), "{name}");
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with_transform(RecursiveTransform(as_printed));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Says what serde does and schemars does not know: an object has the keys of its type only, and a
/// key that is left out is never null. The size of an integer in memory is not one of the formats
/// that JSON Schema defines.
fn as_printed(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".to_owned(), json!(false));
        let required = schema.get("required").cloned().unwrap_or_default();
        let is_required =
            |key: &str| required.as_array().is_some_and(|it| it.contains(&key.into()));
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (_, property) in properties.into_iter().flatten().filter(|(key, _)| !is_required(key)) {
            remove_null(property);
        }
    }
    let is_size = |format: &Value| {
        format.as_str().is_some_and(|it| it.starts_with("int") || it.starts_with("uint"))
    };
    if schema.get("format").is_some_and(is_size) {
        schema.remove("format");
    }
    if let Some(Value::String(words)) = schema.get_mut("description") {
        *words = words.replace('\n', " ");
    }
    let Some(keys) = schema.as_object_mut().map(std::mem::take) else { return };
    let is_heading = |key: &str| ["$schema", "title", "description"].contains(&key);
    let (heading, others): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|(key, _)| is_heading(key));
    schema.ensure_object().extend(heading.into_iter().chain(others));
}

fn remove_null(property: &mut Value) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            property["type"] = only.clone();
        }
    }
    if let Some(Value::Array(kinds)) = property.get_mut("anyOf") {
        kinds.retain(|kind| kind["type"] != "null");
        if let [only] = &kinds[..] {
            let only = only.clone();
            property["$ref"] = only["$ref"].clone();
            property.as_object_mut().unwrap().remove("anyOf");
        }
    }
}

/// Returns the schema with its address.
fn with_id(schema: Schema, id: &str) -> Value {
    let Value::Object(keys) = Value::from(schema) else { panic!("a schema of any value") };
    let (dialect, others): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|(key, _)| key == "$schema");
    let id = ("$id".to_owned(), json!(id));
    dialect.into_iter().chain([id]).chain(others).collect()
}

/// Every key has a description, in its own words or in those of its type.
#[test]
fn every_key_is_described() {
    let mut missing = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")).unwrap() {
        let path = entry.unwrap().path();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        collect_missing(&schema, &path.display().to_string(), &mut missing);
    }
    assert!(missing.is_empty(), "without a description:\n{}", missing.join("\n"));
}

fn collect_missing(schema: &Value, place: &str, missing: &mut Vec<String>) {
    let described = ["description", "const", "enum", "$ref"];
    let is_described = |it: &Value| described.iter().any(|word| !it[word].is_null());
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, value) in properties.into_iter().flatten() {
        // The only key of an object can be described by the object.
        let is_only = properties.is_some_and(|all| all.len() == 1) && is_described(schema);
        if value.is_object() && !is_described(value) && !is_only {
            missing.push(format!("{place}: {name}"));
        }
    }
    match schema {
        Value::Object(keys) => {
            for (name, value) in keys {
                collect_missing(value, &format!("{place}/{name}"), missing);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|value| collect_missing(value, place, missing));
        }
        _ => {}
    }
}
