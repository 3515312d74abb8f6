//! The var-file of a run: the values of all declared variables, from the layers of a release.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};

use super::declarations::Declarations;
use crate::{
    base::{
        error::{Error, Result},
        log::Log,
        small_file,
    },
    config::{names::Environment, scheme::FrozenAccount},
};

/// The values of all layers. Later layers override earlier ones: platform config,
/// `config/common.json`, `config/<environment>.json` (for previews `config/preview.json`), and the
/// built-in variables `env`, `release`, `secrets` and, in previews, `preview`.
pub(crate) struct Variables {
    values: BTreeMap<String, Layered>,
}

struct Layered {
    value: Value,
    /// The file of the value, for messages.
    source: String,
}

/// The variables that cdflow sets. A config file that sets one is rejected, because its value would
/// have no effect.
const BUILT_IN: [&str; 3] = ["env", "release", SECRETS];
/// The name of the variable with the secrets, a map of strings.
pub(crate) const SECRETS: &str = "secrets";

impl Variables {
    /// Reads the layers from an unpacked bundle; `release` is what it says about itself.
    pub(crate) fn read(
        bundle: &Path,
        environment: &Environment,
        account: &FrozenAccount,
        release: &Map<String, Value>,
        log: &Log,
    ) -> Result<Self> {
        let mut variables = Self { values: BTreeMap::new() };
        if bundle.join("platform-config").is_dir() {
            let name = format!("platform-config/{}/{}.json", account.alias, account.region);
            let layer = read_layer(bundle, &name)?
                .ok_or_else(|| missing_platform_config(bundle, &name, environment))?;
            variables.add_layer(&name, layer, log)?;
        }
        for name in
            ["config/common.json".to_owned(), format!("config/{}.json", environment.shared_name())]
        {
            if let Some(layer) = read_layer(bundle, &name)? {
                variables.add_layer(&name, layer, log)?;
            }
        }
        variables.set_built_in("env", Value::from(environment.as_str()));
        variables.set_built_in("release", Value::Object(release.clone()));
        // A placeholder: secrets are read only after all other checks.
        variables.set_built_in(SECRETS, Value::Object(Map::new()));
        Ok(variables)
    }

    /// Sets `preview`, which is built in only for previews.
    pub(crate) fn set_preview(&mut self, value: Value) {
        self.set_built_in("preview", value);
    }

    fn add_layer(&mut self, source: &str, layer: Map<String, Value>, log: &Log) -> Result<()> {
        for (key, value) in layer {
            check_key(source, &key)?;
            if let Some(before) =
                self.values.insert(key.clone(), Layered { value, source: source.to_owned() })
            {
                log.detail(&format!("`{key}`: {source} overrides {}", before.source));
            }
        }
        Ok(())
    }

    fn set_built_in(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), Layered { value, source: "cdflow".to_owned() });
    }

    /// Returns the content of the var-file: the values of all declared variables, and no others.
    /// Fails if a declared variable has neither a value nor a default.
    pub(crate) fn file_for(
        self,
        declared: &Declarations,
        environment: &Environment,
        log: &Log,
    ) -> Result<Map<String, Value>> {
        let mut values = self.values;
        let mut file = Map::new();
        for variable in &declared.variables {
            // An override file can declare a variable again.
            if file.contains_key(&variable.name) {
                continue;
            }
            match values.remove(&variable.name) {
                Some(layered) => {
                    file.insert(variable.name.clone(), layered.value);
                }
                None if variable.has_default || declared_with_default(declared, &variable.name) => {
                }
                None if declared.assigned.contains(&variable.name) => {}
                None => {
                    return Err(Error::input(format!(
                        "{}: the variable `{}` has no value",
                        variable.place, variable.name
                    ))
                    .hint(format!(
                        "add a default, \
                         or a value in config/{}.json, config/common.json or the platform config, \
                         and release again",
                        environment.shared_name()
                    )));
                }
            }
        }
        for (key, layered) in values.iter().filter(|(key, _)| !BUILT_IN.contains(&key.as_str())) {
            log.detail(&format!(
                "`{key}` of {} is not declared in infra/ and was ignored",
                layered.source
            ));
        }
        Ok(file)
    }
}

/// Checks a config file at release: no deploy could use an invalid one, and the version would be
/// lost. Files that do not end with `.json` are not layers.
pub(crate) fn check_layer(name: &str, path: &Path) -> Result<()> {
    if !name.ends_with(".json") {
        return Ok(());
    }
    let text = small_file::text(path).map_err(|error| Error::io("cannot read", path, &error))?;
    parse_layer(name, &text)?.keys().try_for_each(|key| check_key(name, key))
}

fn check_key(source: &str, key: &str) -> Result<()> {
    if !BUILT_IN.contains(&key) {
        return Ok(());
    }
    Err(Error::input(format!("`{source}` sets `{key}`, which cdflow sets itself"))
        .hint(format!("rename the key in `{source}` and the variable in infra/")))
}

fn parse_layer(name: &str, text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        let why = why.rsplit_once(" at line").map_or(why.as_str(), |(why, _)| why);
        Error::input(format!(
            "{name}:{}:{}: not a JSON object of variables",
            error.line(),
            error.column()
        ))
        .why(why)
        .hint("write the variables as `{\"name\": value}`")
    })
}

fn declared_with_default(declared: &Declarations, name: &str) -> bool {
    declared.variables.iter().any(|variable| variable.name == name && variable.has_default)
}

/// Reads a layer of an unpacked bundle. None if the file does not exist.
pub(crate) fn read_layer(bundle: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let path = bundle.join(name);
    let text = match small_file::text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot read", &path, &error)),
    };
    parse_layer(name, &text).map(Some)
}

fn missing_platform_config(bundle: &Path, name: &str, environment: &Environment) -> Error {
    let mut found: Vec<String> = walkdir::WalkDir::new(bundle.join("platform-config"))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| Some(entry.path().strip_prefix(bundle).ok()?.display().to_string()))
        .collect();
    found.sort();
    Error::input(format!(
        "`{name}` not found in the release; the environment `{environment}` needs it"
    ))
    .why(format!(
        "the release has {}",
        if found.is_empty() { "no platform config".to_owned() } else { found.join(", ") }
    ))
    .hint("add the file to the folder of --platform-config and release again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::redact::Redactor, terraform::code::declarations::Variable};

    fn bundle(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn read(files: &[(&str, &str)]) -> Result<Variables> {
        let account = FrozenAccount { alias: "prod".into(), id: None, region: "eu-west-1".into() };
        let log = Log::new(Redactor::default(), 0, true, false);
        let release = Map::from_iter([("version".to_owned(), Value::from("1"))]);
        let environment = "live".parse().unwrap();
        Variables::read(bundle(files).path(), &environment, &account, &release, &log)
    }

    fn file_for(variables: Variables, declared: &[(&str, bool)]) -> Result<String> {
        let variables_declared = declared.iter().map(|(name, has_default)| Variable {
            name: (*name).into(),
            has_default: *has_default,
            is_ephemeral: false,
            place: "infra/main.tf:7".into(),
        });
        let mut declared = Declarations::default();
        declared.variables = variables_declared.collect();
        let log = Log::new(Redactor::default(), 0, true, false);
        variables
            .file_for(&declared, &"live".parse().unwrap(), &log)
            .map(|file| Value::Object(file).to_string())
    }

    #[test]
    fn the_more_specific_wins() {
        let variables = read(&[
            ("platform-config/prod/eu-west-1.json", r#"{"a": 1, "b": 1, "c": 1}"#),
            ("config/common.json", r#"{"b": 2, "c": 2}"#),
            ("config/live.json", r#"{"c": 3, "undeclared": 1}"#),
            ("config/ci.json", r#"{"c": 9}"#),
        ]);
        let declared = [
            ("a", false),
            ("b", false),
            ("c", false),
            ("env", false),
            ("release", false),
            ("d", true),
        ];
        assert_eq!(
            file_for(variables.unwrap(), &declared).unwrap(),
            r#"{"a":1,"b":2,"c":3,"env":"live","release":{"version":"1"}}"#
        );
    }

    #[test]
    fn a_variable_without_a_value_is_located() {
        let refused = file_for(read(&[]).unwrap(), &[("size", false)]).unwrap_err().to_string();
        assert!(
            refused.starts_with("infra/main.tf:7: the variable `size` has no value"),
            "{refused}"
        );
    }

    #[test]
    fn built_in_names_are_refused_in_config() {
        let refused =
            read(&[("config/common.json", r#"{"release": {}}"#)]).err().unwrap().to_string();
        assert!(refused.contains("`config/common.json` sets `release`"), "{refused}");
    }

    #[test]
    fn missing_platform_config_lists_the_existing_files() {
        let refused =
            read(&[("platform-config/dev/eu-west-1.json", "{}")]).err().unwrap().to_string();
        assert!(
            refused.contains("`platform-config/prod/eu-west-1.json` not found")
                && refused.contains("dev/eu-west-1.json"),
            "{refused}"
        );
    }

    #[test]
    fn config_that_is_not_an_object_is_located() {
        let refused = read(&[("config/live.json", "{\"a\": }")]).err().unwrap().to_string();
        assert!(refused.starts_with("config/live.json:1:7:"), "{refused}");
    }
}
