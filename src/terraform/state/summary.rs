//! The parts of a state that cdflow reads: serial, lineage, the outputs that are not sensitive, and
//! which values are sensitive.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use super::sensitive;
use crate::{
    base::{
        json::{self, Json},
        redact::Secret,
    },
    terraform::output::unknown::quoted,
};

/// Parsed from a state file. The values of a resource are dropped before the next one is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StateSummary {
    pub(crate) serial: u64,
    pub(crate) lineage: String,
    /// The version of the program that wrote the state.
    pub(crate) written_by: Option<Version>,
    /// The outputs that are not sensitive. Numbers keep every digit of the state.
    pub(crate) outputs: BTreeMap<String, Json>,
    /// The names of the others.
    pub(crate) sensitive_outputs: Vec<String>,
    /// The number of resources.
    pub(crate) resources: usize,
    /// The addresses of the managed resources that have a current object.
    pub(crate) addresses: BTreeSet<String>,
    /// The values that the state marks as sensitive.
    pub(crate) sensitive: Vec<Secret>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    serial: u64,
    #[serde(default)]
    lineage: String,
    #[serde(default)]
    terraform_version: String,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    resources: Vec<Resource>,
}

/// What is kept of a resource.
#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
#[serde(from = "InstanceJson")]
struct Instance {
    index_key: Option<Value>,
    deposed: Option<String>,
    sensitive: Vec<String>,
}

#[derive(Deserialize)]
struct InstanceJson {
    index_key: Option<Value>,
    deposed: Option<String>,
    #[serde(default, deserialize_with = "json::value")]
    attributes: Value,
    #[serde(default)]
    sensitive_attributes: Value,
}

#[derive(Deserialize)]
struct Output {
    value: Json,
    #[serde(default)]
    sensitive: bool,
}

impl StateSummary {
    /// Whether the state is as `workspace new` created it.
    pub(crate) fn is_pristine(&self) -> bool {
        self.serial <= 1 && self.is_empty()
    }

    /// Whether a managed resource has a current object. Terraform prints a character of a key that
    /// cannot be printed as `\u0001`, and the state contains the character itself.
    pub(crate) fn has(&self, address: &str) -> bool {
        self.addresses.contains(address)
            || (address.contains('\\') && self.addresses.contains(&without_codes(address)))
    }

    /// Whether the state has neither resources nor outputs.
    pub(crate) fn is_empty(&self) -> bool {
        self.resources == 0 && self.outputs.is_empty() && self.sensitive_outputs.is_empty()
    }

    /// Parses a state. None for empty input, which is what Terraform prints if no state exists.
    pub(crate) fn parse(from: &mut dyn Read) -> serde_json::Result<Option<Self>> {
        let state: State = match serde_json::from_reader(from) {
            Err(error) if error.is_eof() && error.line() <= 1 => return Ok(None),
            parsed => parsed?,
        };
        let sensitive: Vec<String> = state
            .outputs
            .iter()
            .filter(|(_, output)| output.sensitive)
            .map(|(name, _)| name.clone())
            .collect();
        let managed = state.resources.iter().filter(|resource| resource.mode == "managed");
        let addresses = managed.flat_map(Resource::addresses).collect();
        let mut hidden = Vec::new();
        let instances = state.resources.iter().flat_map(|resource| &resource.instances);
        hidden.extend(instances.flat_map(|instance| instance.sensitive.iter().cloned()));
        for output in state.outputs.values().filter(|output| output.sensitive) {
            hidden.extend(output.value.strings());
        }
        let outputs = state.outputs.into_iter().filter(|(_, output)| !output.sensitive);
        Ok(Some(Self {
            serial: state.serial,
            lineage: state.lineage,
            written_by: state.terraform_version.parse().ok(),
            outputs: outputs.map(|(name, output)| (name, output.value)).collect(),
            sensitive_outputs: sensitive,
            resources: state.resources.len(),
            addresses,
            sensitive: hidden.into_iter().map(Secret::new).collect(),
        }))
    }
}

/// Replaces `\u200b` and `\U0001f600` by their characters. Other escapes stay.
fn without_codes(address: &str) -> String {
    let (mut text, mut rest) = (String::new(), address);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let digits = match escape.as_bytes().get(1) {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let code = escape.get(2..2 + digits).filter(|_| digits > 0);
        let found = code.and_then(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?));
        let end = match found {
            Some(found) => {
                text.push(found);
                2 + digits
            }
            // The escaped character can be a backslash.
            None => {
                let end = escape.char_indices().nth(2).map_or(escape.len(), |(at, _)| at);
                text.push_str(&escape[..end]);
                end
            }
        };
        rest = &escape[end..];
    }
    text + rest
}

impl From<InstanceJson> for Instance {
    fn from(read: InstanceJson) -> Self {
        let InstanceJson { index_key, deposed, attributes, sensitive_attributes } = read;
        let mut sensitive = Vec::new();
        sensitive::collect(&attributes, &sensitive_attributes, &mut sensitive);
        Self { index_key, deposed, sensitive }
    }
}

impl Resource {
    /// Returns the addresses of the instances, as Terraform writes them.
    fn addresses(&self) -> impl Iterator<Item = String> {
        let module = self.module.as_ref().map(|module| format!("{module}.")).unwrap_or_default();
        let base = format!("{module}{}.{}", self.kind, self.name);
        let current = self.instances.iter().filter(|instance| instance.deposed.is_none());
        current.map(move |instance| match &instance.index_key {
            Some(Value::String(key)) => format!("{base}[{}]", quoted(key)),
            Some(key) if !key.is_null() => format!("{base}[{key}]"),
            _ => base.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_terraform_prints_with_codes() {
        let keys = ["\\u0001", "\\u200b", "\\u202e\\\\u0041\\\"", "é"];
        let instances = keys.map(|key| format!(r#"{{"index_key": "{key}"}}"#)).join(", ");
        let text = format!(
            r#"{{"version": 4, "resources": [{{"mode": "managed", "type": "a", "name": "b",
                "instances": [{instances}, {{"index_key": "\ud83d\ude00"}}]}}]}}"#
        );
        let state = StateSummary::parse(&mut text.as_bytes()).unwrap().unwrap();
        for key in keys.iter().chain(&["\\U0001f600", "😀"]) {
            assert!(state.has(&format!("a.b[\"{key}\"]")), "{key} {:?}", state.addresses);
        }
        for key in ["\\u0002", "\\u", "\\", "\\x"] {
            assert!(!state.has(&format!("a.b[\"{key}\"]")), "{key}");
        }
    }

    #[test]
    fn only_the_names_of_sensitive_outputs_are_kept() {
        let text = r#"{"version": 4, "serial": 3, "lineage": "l", "terraform_version": "1.12.0-rc1",
            "outputs": {
            "url": {"value": "https://x", "type": "string"},
            "key": {"value": "hush", "type": "string", "sensitive": true}},
            "resources": [{"mode": "managed", "module": "module.m[0]", "type": "a", "name": "b",
                "instances": [{"index_key": "k\"${x}"}, {"index_key": 1},
                    {"index_key": 2, "deposed": "0a1b2c3d"}]},
                {"mode": "managed", "type": "a", "name": "c", "instances": [{"status": "tainted",
                    "attributes": {"pass": "hidden", "size": 1e400}, "sensitive_attributes":
                    [[{"type": "get_attr", "value": "pass"}]]}]},
                {"mode": "data", "type": "a", "name": "d", "instances": [{}]}]}"#;
        let state = StateSummary::parse(&mut text.as_bytes()).unwrap().unwrap();
        assert_eq!((state.serial, state.lineage.as_str(), state.resources), (3, "l", 3));
        assert_eq!(state.written_by, Some("1.12.0-rc1".parse().unwrap()));
        let known = ["a.c", "module.m[0].a.b[\"k\\\"$${x}\"]", "module.m[0].a.b[1]"];
        assert_eq!(state.addresses.iter().collect::<Vec<_>>(), known);
        assert_eq!(
            state.outputs,
            BTreeMap::from([("url".to_owned(), Json::parse("\"https://x\"").unwrap())])
        );
        assert_eq!(state.sensitive_outputs, ["key"]);
        let sensitive: Vec<&str> = state.sensitive.iter().map(Secret::expose).collect();
        assert_eq!(sensitive, ["hidden", "hush"]);
        assert_eq!(StateSummary::parse(&mut "".as_bytes()).unwrap(), None);
        assert!(
            StateSummary::parse(&mut "{\"serial\": ".as_bytes()).is_ok_and(|s| s.is_none())
                || StateSummary::parse(&mut "{]".as_bytes()).is_err()
        );
    }
}
