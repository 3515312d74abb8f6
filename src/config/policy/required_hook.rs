//! Hooks that every release must have.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{base::digest::Sha256, config::hooks::Hooks};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequiredHook {
    name: String,
    /// Of the file of its program. None: any program of that name.
    sha256: Option<Sha256>,
}

/// A required hook as an object; a string is short for its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequiredHookFile {
    name: String,
    sha256: Option<Sha256>,
}

impl RequiredHook {
    /// Returns why the hooks of a release are not enough; None if they are.
    pub(super) fn missing(
        &self,
        hooks: &Hooks,
        digest: &impl Fn(&str) -> Option<Sha256>,
    ) -> Option<String> {
        let name = &self.name;
        let Some(hook) = hooks.on_plan.iter().find(|hook| hook.name == *name) else {
            return Some(format!("there is no hook `{}`", name.escape_debug()));
        };
        if hook.advisory {
            return Some(format!("the hook `{name}` is advisory"));
        }
        let is_other = self.sha256.is_some() && hook.file().and_then(digest) != self.sha256;
        is_other.then(|| format!("the hook `{name}` is not the program with the required SHA-256"))
    }
}

impl<'de> Deserialize<'de> for RequiredHook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RequiredHookVisitor;

        impl<'de> Visitor<'de> for RequiredHookVisitor {
            type Value = RequiredHook;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a hook, or a hook with `name` and `sha256`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<RequiredHook, E> {
                Ok(RequiredHook { name: name.to_owned(), sha256: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<RequiredHook, A::Error> {
                let file = RequiredHookFile::deserialize(MapAccessDeserializer::new(entries))?;
                Ok(RequiredHook { name: file.name, sha256: file.sha256 })
            }
        }

        deserializer.deserialize_any(RequiredHookVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_of_that_name_and_program() {
        let ours = Sha256::of(b"ours");
        let required: Vec<RequiredHook> = serde_json::from_value(serde_json::json!([
            "lint", { "name": "policy", "sha256": ours }
        ]))
        .unwrap();
        let says = |hooks: &str, program: &[u8]| {
            let hooks: Hooks = serde_json::from_str(hooks).unwrap();
            let digest = |_: &str| Some(Sha256::of(program));
            required.iter().filter_map(|it| it.missing(&hooks, &digest)).collect::<Vec<_>>()
        };
        let both = r#"{"on-plan": ["lint", {"name": "policy", "run": "hooks/p"}]}"#;
        assert!(says(both, b"ours").is_empty());
        assert_eq!(
            says(both, b"theirs"),
            ["the hook `policy` is not the program with the required SHA-256"]
        );
        let weak = r#"{"on-plan": [{"run": "lint", "advisory": true}], "after-apply": ["policy"]}"#;
        assert_eq!(
            says(weak, b"ours"),
            ["the hook `lint` is advisory", "there is no hook `policy`"]
        );
        let in_path = r#"{"on-plan": ["lint", "policy"]}"#;
        assert_eq!(
            says(in_path, b"ours"),
            ["the hook `policy` is not the program with the required SHA-256"]
        );
    }
}
