//! Compares docs/schema with the types that read the files: an editor must know every key.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    approvals::ApprovalKeys,
    comments::Comments,
    component::{Deploy, Docker, Function, Lambda, Manifest, ReportSettings},
    guards::EnvironmentGuards,
    hooks::{HookFile, Hooks},
    notify::Notify,
    preview::Preview,
    secrets::CredstashSettings,
};

/// Fails unless the object at `pointer` has the keys of `T`, each with a description or a reference
/// to a definition.
#[track_caller]
pub(super) fn has_keys_of<T: DeserializeOwned>(schema: &Value, pointer: &str) {
    let object = schema.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
    assert_eq!(object["additionalProperties"], false, "{pointer}");
    let properties = object["properties"].as_object().unwrap();
    let written: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    // serde lists the keys that it knows: unknown field `?`, expected one of `team`, `type`.
    let refused = serde_json::from_value::<T>(json!({ "?": 1 })).err().unwrap().to_string();
    let (_, known) = refused.split_once("expected ").unwrap();
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
    assert_eq!(written, known, "{pointer}");
    for (key, value) in properties {
        let is_described = ["description", "const", "enum"].iter().any(|it| !value[it].is_null());
        assert!(is_described, "{pointer}: `{key}` has no description");
    }
}

#[test]
fn of_cdflow_yml() {
    let schema = include_str!("../../docs/schema/cdflow.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    has_keys_of::<Manifest>(&schema, "");
    has_keys_of::<Lambda>(&schema, "/properties/lambda");
    has_keys_of::<Docker>(&schema, "/properties/docker");
    has_keys_of::<Function>(&schema, "/properties/function");
    has_keys_of::<Notify>(&schema, "/$defs/notify");
    has_keys_of::<Deploy>(&schema, "/properties/deploy");
    has_keys_of::<Preview>(&schema, "/properties/preview");
    has_keys_of::<Comments>(&schema, "/properties/comments");
    has_keys_of::<ReportSettings>(&schema, "/properties/report");
    has_keys_of::<CredstashSettings>(&schema, "/properties/credstash");
    has_keys_of::<Hooks>(&schema, "/properties/hooks");
    has_keys_of::<HookFile>(&schema, "/$defs/hook/oneOf/1");
    has_keys_of::<EnvironmentGuards>(&schema, "/$defs/guards");
    has_keys_of::<ApprovalKeys>(&schema, "/$defs/approvals/oneOf/1");
}
