//! The var-file of a run: the values of all declared variables, from the layers of a release.

use std::{collections::BTreeMap, fmt, io::ErrorKind, path::Path};

use serde_json::{Map, Value, value::RawValue};

use super::{
    declarations::{Declarations, Variable},
    origins::{self, ValueOrigins, ValuePlace},
};
use crate::{
    base::{
        error::{Error, Result},
        json::{self, Json},
        log::Log,
        redact::{Redactor, Secret},
        small_file,
    },
    config::{names::Environment, scheme::FrozenAccount},
    terraform::output::changes::collect_strings,
};

/// The values of all layers. Later layers override earlier ones: platform config,
/// `config/common.json`, `config/<environment>.json` (for previews `config/preview.json`), and the
/// built-in variables `env`, `release`, `secrets` and, in previews, `preview`.
pub(crate) struct Variables {
    values: BTreeMap<String, Layered>,
}

struct Layered {
    /// As the file has it: a number keeps every digit.
    value: Box<RawValue>,
    /// The file of the value, for messages.
    source: String,
    /// The line on which the value begins; None for what cdflow sets.
    line: Option<u64>,
}

/// A layer: the values as they were written.
pub(crate) type Layer = BTreeMap<String, Box<RawValue>>;

/// The content of the var-file.
#[derive(Debug, Default)]
pub(crate) struct VarFile {
    values: Layer,
    /// Where the values that are not cdflow's own come from.
    places: BTreeMap<String, ValuePlace>,
}

impl VarFile {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns where each value comes from. `path` is the file to which this is written.
    pub(crate) fn origins(&self, path: &Path) -> ValueOrigins {
        let place = |name: &String| self.places.get(name).cloned();
        let values = self.values.iter();
        ValueOrigins::new(path, values.map(|(name, value)| (name, &**value, place(name))))
    }

    fn add(&mut self, name: String, layered: Layered) {
        if let Some(line) = layered.line {
            self.places.insert(name.clone(), ValuePlace { file: layered.source, line });
        }
        self.values.insert(name, layered.value);
    }

    /// Returns the text without one of the variables.
    pub(crate) fn without(&self, name: &str) -> String {
        let rest = self.values.iter().filter(|(of, _)| *of != name);
        serde_json::to_string_pretty(&rest.collect::<BTreeMap<_, _>>()).unwrap_or_default()
    }

    /// Returns every value as JSON, by its name. Those of a map are apart, as `release.version`.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (name, value) in &self.values {
            match serde_json::from_str::<Layer>(value.get()) {
                Ok(map) => texts.extend(
                    map.iter().map(|(key, of)| (format!("{name}.{key}"), of.get().to_owned())),
                ),
                Err(_) => drop(texts.insert(name.clone(), value.get().to_owned())),
            }
        }
        texts
    }

    pub(crate) fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        self.values.insert(name.to_owned(), raw(value)?);
        Ok(())
    }
}

impl fmt::Display for VarFile {
    /// One line per variable, and per secret: Terraform prints the line of a value that it
    /// rejects, which must not contain a secret as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(&self.values).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

fn raw(value: &Value) -> Result<Box<RawValue>> {
    RawValue::from_string(format!("{value:#}"))
        .map_err(|error| Error::internal("cannot write a variable").why(error))
}

/// The variables that cdflow sets. A config file that sets one is rejected, because its value would
/// have no effect.
const BUILT_IN: [&str; 3] = ["env", RELEASE, SECRETS];
/// The name of the variable with what a release says about itself.
pub(crate) const RELEASE: &str = "release";
/// The name of the variable with the secrets, a map of strings.
pub(crate) const SECRETS: &str = origins::SECRETS;

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
            let text = read_text(bundle, &name)?
                .ok_or_else(|| missing_platform_config(bundle, &name, environment))?;
            variables.add_layer(&name, &text, log)?;
        }
        for name in
            ["config/common.json".to_owned(), format!("config/{}.json", environment.shared_name())]
        {
            if let Some(text) = read_text(bundle, &name)? {
                variables.add_layer(&name, &text, log)?;
            }
        }
        variables.set_built_in("env", &Value::from(environment.as_str()))?;
        variables.set_built_in("release", &Value::Object(release.clone()))?;
        // A placeholder: secrets are read only after all other checks.
        variables.set_built_in(SECRETS, &Value::Object(Map::new()))?;
        Ok(variables)
    }

    /// Sets `preview`, which is built in only for previews.
    pub(crate) fn set_preview(&mut self, value: &Value) -> Result<()> {
        self.set_built_in("preview", value)
    }

    fn add_layer(&mut self, source: &str, text: &str, log: &Log) -> Result<()> {
        let lines = origins::lines(text);
        for (key, value) in parse_layer(source, text)? {
            check_key(source, &key)?;
            let line = lines.get(&key).copied();
            let layered = Layered { value, source: source.to_owned(), line };
            if let Some(before) = self.values.insert(key.clone(), layered) {
                log.detail(&format!("`{key}`: {source} overrides {}", before.source));
            }
        }
        Ok(())
    }

    fn set_built_in(&mut self, name: &str, value: &Value) -> Result<()> {
        let layered = Layered { value: raw(value)?, source: "cdflow".to_owned(), line: None };
        self.values.insert(name.to_owned(), layered);
        Ok(())
    }

    /// Returns the content of the var-file: the values of all declared variables, and no others.
    /// Fails if a declared variable has neither a value nor a default. What the code declares as
    /// sensitive is redacted from then on.
    ///
    /// If there is a file that cdflow cannot parse, all values are passed: Terraform ignores those
    /// that are not declared, and reports those that are missing.
    pub(crate) fn file_for(
        self,
        declared: &Declarations,
        environment: &Environment,
        log: &Log,
    ) -> Result<VarFile> {
        let mut values = self.values;
        let hidden = declared.variables.iter().filter(|variable| variable.is_sensitive);
        for variable in hidden.filter(|variable| !BUILT_IN.contains(&variable.name.as_str())) {
            values.get(&variable.name).iter().for_each(|it| redact(&it.value, &log.redactor));
        }
        let mut file = VarFile::default();
        for variable in &declared.variables {
            // An override file can declare a variable again.
            if file.has(&variable.name) {
                continue;
            }
            match values.remove(&variable.name) {
                Some(layered) => file.add(variable.name.clone(), layered),
                None if can_be_missing(declared, &variable.name) => {}
                None => return Err(no_value(variable, environment)),
            }
        }
        if let Some(unread) = declared.unread.first() {
            log.note(&format!(
                "{}: cdflow cannot parse the file, so Terraform gets all values",
                unread.place
            ));
            let is_passed = |key: &str| !BUILT_IN.contains(&key) || declared.may_declare(key);
            let rest = values.into_iter().filter(|(key, _)| is_passed(key));
            rest.for_each(|(key, layered)| file.add(key, layered));
            return Ok(file);
        }
        note_unused(&values, log);
        Ok(file)
    }
}

/// Names the values that no variable takes. Those of the platform config are for many components,
/// so only `-v` shows them.
fn note_unused(values: &BTreeMap<String, Layered>, log: &Log) {
    let unused = values.iter().filter(|(key, _)| !BUILT_IN.contains(&key.as_str()));
    let (own, shared): (Vec<_>, Vec<_>) =
        unused.partition(|(_, layered)| layered.source.starts_with("config/"));
    let named = |values: Vec<(&String, &Layered)>| {
        let each = values.iter().map(|(key, layered)| {
            format!("`{}` of {}", key.escape_debug(), layered.source.escape_debug())
        });
        each.collect::<Vec<_>>().join(", ")
    };
    if !own.is_empty() {
        log.note(&format!("not used, because infra/ does not declare it: {}", named(own)));
    }
    if !shared.is_empty() {
        log.detail(&format!("not used, because infra/ does not declare it: {}", named(shared)));
    }
}

fn redact(value: &RawValue, redactor: &Redactor) {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(value.get()) {
        collect_strings(&value, &mut found);
    }
    for text in found {
        redactor.add(&Secret::new(text));
    }
}

fn can_be_missing(declared: &Declarations, name: &str) -> bool {
    let mut same = declared.variables.iter().filter(|variable| variable.name == name);
    same.any(|variable| variable.has_default)
        || declared.assigned.contains_key(name)
        || !declared.unread.is_empty()
}

fn no_value(variable: &Variable, environment: &Environment) -> Error {
    Error::input(format!("{}: the variable `{}` has no value", variable.place, variable.name)).hint(
        format!(
            "add a default, or a value in config/{}.json, config/common.json or the platform \
             config, and release again",
            environment.shared_name()
        ),
    )
}

/// Checks a config file at release: no deploy could use an invalid one, and the version would be
/// lost. Files that do not end with `.json` are not layers. Returns the names of the values.
pub(crate) fn check_layer(name: &str, path: &Path) -> Result<Vec<String>> {
    if !name.ends_with(".json") {
        return Ok(Vec::new());
    }
    let text = small_file::text(path).map_err(|error| Error::io("cannot read", path, &error))?;
    let layer = parse_layer(name, &text)?;
    layer.keys().try_for_each(|key| check_key(name, key))?;
    Ok(layer.into_keys().collect())
}

fn check_key(source: &str, key: &str) -> Result<()> {
    if !BUILT_IN.contains(&key) {
        return Ok(());
    }
    Err(Error::input(format!("`{source}` sets `{key}`, which cdflow sets itself"))
        .hint(format!("rename the key in `{source}` and the variable in infra/")))
}

fn parse_layer(name: &str, text: &str) -> Result<Layer> {
    json::check_encoding(name, text)?;
    let layer = serde_json::from_str(text).map_err(|error| {
        let json::Fault { line, column, why, fix } = json::Fault::of(text, &error);
        Error::input(format!("{name}:{line}:{column}: not a JSON object of variables"))
            .why(why)
            .hint(fix.unwrap_or("write the variables as `{\"name\": value}`"))
            .at(name, line as u64, column as u64)
    })?;
    let document = Json::parse(text)
        .map_err(|error| Error::input(format!("{name}: cannot read the values")).why(error))?;
    match document.duplicate_key() {
        None => Ok(layer),
        Some(key) => Err(Error::input(format!("{name}: duplicate key `{}`", key.escape_debug()))
            .hint("keep one of the two")),
    }
}

/// Reads a layer of an unpacked bundle. None if the file does not exist.
pub(crate) fn read_layer(bundle: &Path, name: &str) -> Result<Option<Layer>> {
    read_text(bundle, name)?.map(|text| parse_layer(name, &text)).transpose()
}

fn read_text(bundle: &Path, name: &str) -> Result<Option<String>> {
    match small_file::text(&bundle.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::IsADirectory => Err(is_folder(name)),
        Err(error) => Err(Error::io("cannot read", Path::new(name), &error)),
    }
}

/// Returns the error for a folder in place of a layer.
pub(crate) fn is_folder(name: &str) -> Error {
    Error::input(format!("`{name}` is a folder, not a file of variables"))
        .hint("rename the folder, or put the variables into a file of this name")
}

/// Returns the name under which a file of `config/` would be a layer, if it differs from one only
/// in upper and lower case.
pub(crate) fn nearly_a_layer(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let is_layer = lower.strip_suffix(".json").is_some_and(|it| it.parse::<Environment>().is_ok());
    (lower != name && is_layer).then_some(lower)
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
    use crate::terraform::code::files::Dialect;

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
            is_sensitive: false,
            place: "infra/main.tf:7".into(),
        });
        let mut declared = Declarations::default();
        declared.variables = variables_declared.collect();
        let log = Log::new(Redactor::default(), 0, true, false);
        variables
            .file_for(&declared, &"live".parse().unwrap(), &log)
            .map(|file| file.to_string().split_whitespace().collect())
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

    #[test]
    fn what_the_code_declares_as_sensitive_is_redacted() {
        let code = "variable \"open\" {}\nvariable \"env\" {\n  sensitive = true\n}\n\
                    variable \"hidden\" {\n  sensitive = true\n}\n";
        let folder = bundle(&[("main.tf", code)]);
        let declared = Declarations::read(folder.path(), "infra", Dialect::Terraform).unwrap();
        let values = r#"{"open":"grey-Xy12-open","hidden":{"a":["grey-Xy12-hidden"]}}"#;
        let variables = read(&[("config/common.json", values)]).unwrap();
        let log = Log::new(Redactor::default(), 0, true, false);
        variables.file_for(&declared, &"live".parse().unwrap(), &log).unwrap();
        let text = "live grey-Xy12-open grey-Xy12-hidden";
        assert_eq!(log.redactor.apply(text), "live grey-Xy12-open ***");
    }

    #[test]
    fn numbers_keep_every_digit() {
        let values =
            r#"{"a":100000000000000000001,"b":[1e400,{"c":0.10000000000000000000000000001}]}"#;
        let variables = read(&[("config/common.json", values)]).unwrap();
        assert_eq!(file_for(variables, &[("a", false), ("b", false)]).unwrap(), values);
    }

    #[test]
    fn duplicate_keys_are_refused() {
        for (text, key) in [
            (r#"{"size": 1, "size": 2}"#, "size"),
            (r#"{"tags": [{"a": {"x": 1, "y": 2, "\u0078": 3}}]}"#, "x"),
        ] {
            let refused = read(&[("config/live.json", text)]).err().unwrap().to_string();
            let expected = format!("config/live.json: duplicate key `{key}`");
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }

    #[test]
    fn the_encoding_of_a_config_file_is_named() {
        for (text, what) in [("\u{feff}{}", "byte order mark"), ("{\0\"\0a\0\"\0:\0", "UTF-16")] {
            let refused = read(&[("config/live.json", text)]).err().unwrap().to_string();
            assert!(refused.starts_with("config/live.json") && refused.contains(what), "{refused}");
        }
    }

    #[test]
    fn all_values_are_passed_with_a_file_that_cannot_be_parsed() {
        let folder = bundle(&[
            ("deep.tf", &format!("locals {{ a = {}1{} }}\n", "[".repeat(300), "]".repeat(300))),
            ("main.tf", "variable \"size\" {}\nvariable \"other\" {}\n"),
        ]);
        let declared = Declarations::read(folder.path(), "infra", Dialect::Terraform).unwrap();
        assert_eq!(declared.unread.len(), 1);
        let variables = read(&[("config/live.json", r#"{"size":1,"more":2}"#)]).unwrap();
        let log = Log::new(Redactor::default(), 0, true, false);
        let file = variables.file_for(&declared, &"live".parse().unwrap(), &log).unwrap();
        assert!(file.has("size") && file.has("more") && !file.has(SECRETS));
    }
}
