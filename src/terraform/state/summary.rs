//! The parts of a state that cdflow reads: serial, lineage, and the outputs that are not sensitive.

use std::{collections::BTreeMap, io::Read};

use serde::Deserialize;
use serde_json::Value;

/// Parsed from a state file. Resources, which contain most secrets, are skipped while reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StateSummary {
    pub(crate) serial: u64,
    pub(crate) lineage: String,
    /// The outputs that are not sensitive.
    pub(crate) outputs: BTreeMap<String, Value>,
    /// The names of the others.
    pub(crate) sensitive_outputs: Vec<String>,
    /// The number of resources.
    pub(crate) resources: usize,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    serial: u64,
    #[serde(default)]
    lineage: String,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    resources: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Output {
    value: Value,
    #[serde(default)]
    sensitive: bool,
}

impl StateSummary {
    /// Whether the state is as `workspace new` created it.
    pub(crate) fn is_pristine(&self) -> bool {
        self.serial <= 1 && self.is_empty()
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
        let outputs = state.outputs.into_iter().filter(|(_, output)| !output.sensitive);
        Ok(Some(Self {
            serial: state.serial,
            lineage: state.lineage,
            outputs: outputs.map(|(name, output)| (name, output.value)).collect(),
            sensitive_outputs: sensitive,
            resources: state.resources.len(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_sensitive_outputs_are_kept() {
        let text = r#"{"version": 4, "serial": 3, "lineage": "l", "outputs": {
            "url": {"value": "https://x", "type": "string"},
            "key": {"value": "hush", "type": "string", "sensitive": true}},
            "resources": [{"mode": "managed"}]}"#;
        let state = StateSummary::parse(&mut text.as_bytes()).unwrap().unwrap();
        assert_eq!((state.serial, state.lineage.as_str(), state.resources), (3, "l", 1));
        assert_eq!(state.outputs, BTreeMap::from([("url".to_owned(), Value::from("https://x"))]));
        assert_eq!(state.sensitive_outputs, ["key"]);
        assert_eq!(StateSummary::parse(&mut "".as_bytes()).unwrap(), None);
        assert!(
            StateSummary::parse(&mut "{\"serial\": ".as_bytes()).is_ok_and(|s| s.is_none())
                || StateSummary::parse(&mut "{]".as_bytes()).is_err()
        );
    }
}
