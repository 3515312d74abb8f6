//! The variables and module calls that a folder of Terraform code declares, with file and line.

use std::{collections::BTreeSet, path::Path};

use hcl_edit::{Span, expr::Expression, structure::Block, structure::Body};

use crate::base::{
    error::{Error, Result},
    small_file,
};

/// The declarations in one folder.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    pub(crate) variables: Vec<Variable>,
    pub(crate) modules: Vec<ModuleCall>,
    /// Variables with a value in a file that Terraform loads automatically: `terraform.tfvars`,
    /// `*.auto.tfvars`.
    pub(crate) assigned: BTreeSet<String>,
    /// Location and name of what override files would override although cdflow sets it.
    overridden: Vec<(String, &'static str)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) has_default: bool,
    /// A plan does not contain its value, which apply needs again.
    pub(crate) is_ephemeral: bool,
    /// `infra/main.tf:3`.
    pub(crate) place: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ModuleCall {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) place: String,
}

impl Declarations {
    /// Reads the code and value files in `folder`, without subfolders. Locations start with
    /// `shown`. A file with a syntax error is skipped: Terraform reports it better.
    pub(crate) fn read(folder: &Path, shown: &str) -> Result<Self> {
        let mut names = Vec::new();
        for entry in
            std::fs::read_dir(folder).map_err(|error| Error::io("cannot read", folder, &error))?
        {
            let entry = entry.map_err(|error| Error::io("cannot read", folder, &error))?;
            names.extend(
                entry
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| is_code(name) || has_values(name)),
            );
        }
        names.sort();
        let mut found = Self::default();
        for name in names {
            let path = folder.join(&name);
            let text =
                small_file::text(&path).map_err(|error| Error::io("cannot read", &path, &error))?;
            let place = format!("{shown}/{name}");
            match (has_values(&name), name.ends_with(".json")) {
                (true, true) => found.add_json_values(&text),
                (true, false) => found.add_hcl_values(&text),
                (false, true) => found.add_json(&place, &text),
                (false, false) => found.add_hcl(&place, &text),
            }
        }
        Ok(found)
    }

    /// Fails if an override file sets what cdflow sets. The last override file by name wins, so it
    /// could move the state to another backend.
    pub(crate) fn check_overrides(&self) -> Result<()> {
        let Some((place, what)) = self.overridden.first() else { return Ok(()) };
        Err(Error::refused(format!(
            "{place}: an override file sets {what}, which cdflow sets itself"
        ))
        .hint("remove it from the file, or delete the file; files that git ignores count as well"))
    }

    fn add_hcl(&mut self, file: &str, text: &str) {
        let Ok(body) = hcl_edit::parser::parse_body(text) else { return };
        for block in body.blocks().filter(|_| is_override(file)) {
            let place = format!("{file}:{}", line_of(block, text));
            match block.ident.as_str() {
                "terraform" if block.body.has_blocks("backend") => {
                    self.overridden.push((place, "a backend"))
                }
                "terraform" if block.body.has_blocks("cloud") => {
                    self.overridden.push((place, "a backend"))
                }
                "variable" if block.has_labels(&["secrets"]) => {
                    self.overridden.push((place, "the variable `secrets`"))
                }
                _ => {}
            }
        }
        for block in body.blocks() {
            let (kind, Some(label)) = (block.ident.as_str(), block.labels.first()) else {
                continue;
            };
            let (name, place) =
                (label.as_str().to_owned(), format!("{file}:{}", line_of(block, text)));
            match kind {
                "variable" => self.variables.push(Variable {
                    name,
                    has_default: block.body.has_attribute("default"),
                    is_ephemeral: is_true(&block.body, "ephemeral"),
                    place,
                }),
                "module" => {
                    let source =
                        block.body.get_attribute("source").and_then(|source| source.value.as_str());
                    self.modules.extend(source.map(|source| ModuleCall {
                        name,
                        source: source.to_owned(),
                        place,
                    }));
                }
                _ => {}
            }
        }
    }

    fn add_hcl_values(&mut self, text: &str) {
        let Ok(body) = hcl_edit::parser::parse_body(text) else { return };
        self.assigned.extend(body.attributes().map(|attribute| attribute.key.as_str().to_owned()));
    }

    fn add_json_values(&mut self, text: &str) {
        let Ok(root) = serde_json::from_str::<serde_json::Value>(text) else { return };
        self.assigned.extend(root.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }

    fn add_json(&mut self, file: &str, text: &str) {
        let Ok(root) = serde_json::from_str::<serde_json::Value>(text) else { return };
        if is_override(file) {
            let has = |block: &serde_json::Value, key: &str| {
                block.as_array().map_or(block.get(key).is_some(), |list| {
                    list.iter().any(|it| it.get(key).is_some())
                })
            };
            if has(&root["terraform"], "backend") || has(&root["terraform"], "cloud") {
                self.overridden.push((file.to_owned(), "a backend"));
            }
            if has(&root["variable"], "secrets") {
                self.overridden.push((file.to_owned(), "the variable `secrets`"));
            }
        }
        for (name, body) in root["variable"].as_object().into_iter().flatten() {
            self.variables.push(Variable {
                name: name.clone(),
                has_default: body.get("default").is_some(),
                is_ephemeral: body["ephemeral"] == true,
                place: file.to_owned(),
            });
        }
        for (name, body) in root["module"].as_object().into_iter().flatten() {
            let source = body["source"].as_str().map(str::to_owned);
            self.modules.extend(source.map(|source| ModuleCall {
                name: name.clone(),
                source,
                place: file.to_owned(),
            }));
        }
    }
}

/// Whether a file name is Terraform code. OpenTofu also reads `.tofu`.
pub(crate) fn is_code(name: &str) -> bool {
    stem(name).is_some()
}

fn stem(name: &str) -> Option<&str> {
    [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().find_map(|ending| name.strip_suffix(ending))
}

/// Whether a file is an override file, which Terraform merges over the others.
fn is_override(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    stem(name).is_some_and(|stem| stem == "override" || stem.ends_with("_override"))
}

/// Whether Terraform loads variable values from the file automatically.
fn has_values(name: &str) -> bool {
    let name = name.strip_suffix(".json").unwrap_or(name);
    name == "terraform.tfvars" || name.ends_with(".auto.tfvars")
}

fn is_true(body: &Body, key: &str) -> bool {
    body.get_attribute(key)
        .is_some_and(|attribute| matches!(&attribute.value, Expression::Bool(value) if **value))
}

fn line_of(block: &Block, text: &str) -> usize {
    let start = block.ident.span().or_else(|| block.span()).map_or(0, |span| span.start);
    text.get(..start).unwrap_or_default().matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_of_cdflows_settings_are_rejected() {
        for (name, text, refused) in [
            ("override.tf", "terraform {\n  backend \"local\" {}\n}", true),
            ("z_override.tf", "\nterraform {\n  cloud {}\n}", true),
            ("a_override.tofu", "variable \"secrets\" { sensitive = false }", true),
            ("b_override.tf.json", r#"{"terraform": [{"backend": {"s3": {}}}]}"#, true),
            ("override.tf.json", r#"{"variable": {"secrets": {}}}"#, true),
            ("main.tf", "terraform {\n  backend \"s3\" {}\n}\nvariable \"secrets\" {}", false),
            ("dev_override.tf", "resource \"terraform_data\" \"x\" {}", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            let checked = Declarations::read(folder.path(), "infra").unwrap().check_overrides();
            assert_eq!(checked.is_err(), refused, "{name}");
        }
    }

    #[test]
    fn variables_and_modules() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("main.tf"),
            "# é\nvariable \"env\" {}\n\nmodule \"x\" {\n  source = \"../x\"\n}\n\
             variable \"token\" {\n  type = string\n  ephemeral = true\n  default = null\n}\n",
        )
        .unwrap();
        std::fs::write(
            folder.path().join("v.tf.json"),
            r#"{"variable": {"release": {"type": "map(string)"}}}"#,
        )
        .unwrap();
        std::fs::write(folder.path().join("broken.tf"), "variable \"").unwrap();
        std::fs::write(folder.path().join("terraform.tfvars"), "a = 1\nb = \"x\"\n").unwrap();
        std::fs::write(folder.path().join("c.auto.tfvars.json"), r#"{"c": null}"#).unwrap();
        std::fs::write(folder.path().join("other.tfvars"), "d = 1\n").unwrap();
        let found = Declarations::read(folder.path(), "infra").unwrap();
        let variable = |name: &str, has_default, is_ephemeral, place: &str| Variable {
            name: name.into(),
            has_default,
            is_ephemeral,
            place: place.into(),
        };
        assert_eq!(
            found.variables,
            [
                variable("env", false, false, "infra/main.tf:2"),
                variable("token", true, true, "infra/main.tf:7"),
                variable("release", false, false, "infra/v.tf.json"),
            ]
        );
        assert_eq!(found.assigned, ["a", "b", "c"].map(str::to_owned).into());
        assert_eq!(
            found.modules,
            [ModuleCall {
                name: "x".into(),
                source: "../x".into(),
                place: "infra/main.tf:4".into()
            }]
        );
    }
}
