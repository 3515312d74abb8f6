//! The variables and module calls that a folder of Terraform code declares, with file and line.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    blocks::{self, Block},
    files::{self, CodeFile, Dialect, Role},
    requirement::{self, Requirement},
};
use crate::{
    base::error::{Error, Result},
    config::version_constraint::Wanted,
};

/// The declarations in one folder.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    pub(crate) variables: Vec<Variable>,
    pub(crate) modules: Vec<ModuleCall>,
    /// Names and places of calls whose source is not a literal. Only OpenTofu evaluates these.
    pub(crate) computed_modules: Vec<(String, String)>,
    /// Local names of the providers that the folder uses, without those of its modules.
    pub(crate) providers: BTreeSet<String>,
    /// Variables with a value in a file that Terraform loads automatically (`terraform.tfvars`,
    /// `*.auto.tfvars`), and the last such file.
    pub(crate) assigned: BTreeMap<String, String>,
    /// Files that cdflow cannot parse. Terraform might, so nothing may be concluded from what the
    /// other fields do not contain.
    pub(crate) unread: Vec<Unread>,
    /// Places of `backend` and `cloud` blocks, which cdflow replaces.
    pub(crate) backends: Vec<String>,
    required: Vec<Requirement>,
    /// Location and name of what override files would override although cdflow sets it.
    overridden: Vec<(String, &'static str)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) has_default: bool,
    /// A plan does not contain its value, which apply needs again.
    pub(crate) is_ephemeral: bool,
    pub(crate) is_sensitive: bool,
    /// `infra/main.tf:3`.
    pub(crate) place: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ModuleCall {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) place: String,
}

#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) place: String,
    role: Role,
    text: String,
}

impl Declarations {
    /// Reads the code and value files in `folder`, without subfolders. Locations start with
    /// `shown`.
    pub(crate) fn read(folder: &Path, shown: &str, dialect: Dialect) -> Result<Self> {
        let mut found = Self::default();
        for file in files::list(folder, dialect)? {
            let text = files::text(&folder.join(&file.name), file.is_json)?;
            found.add(&file, format!("{shown}/{}", file.name), text);
        }
        Ok(found)
    }

    /// Returns what the code requires of the program's version. Fails if that is malformed.
    pub(crate) fn required_versions(&self) -> Result<Vec<Wanted>> {
        self.required.iter().filter_map(|it| it.wanted().transpose()).collect()
    }

    /// Returns the places of requirements that only Terraform can read.
    pub(crate) fn unknown_requirements(&self) -> Vec<String> {
        let unknown = self.required.iter().filter(|it| it.is_unknown()).map(|it| &it.place);
        let code = self.unread.iter().filter(|it| it.role != Role::Values);
        let unread = code.filter(|it| it.text.contains(requirement::NAME)).map(|it| &it.place);
        unknown.chain(unread).cloned().collect()
    }

    /// Fails if an override file sets what cdflow sets, or if that is not known. The last override
    /// file by name wins, so it could move the state to another backend.
    pub(crate) fn check_overrides(&self) -> Result<()> {
        if let Some((place, what)) = self.overridden.first() {
            return Err(Error::refused(format!(
                "{place}: an override file sets {what}, which cdflow sets itself"
            ))
            .hint(
                "remove it from the file, or delete the file; files that git ignores count as well",
            ));
        }
        match self.unread.iter().find(|file| file.role == Role::Override) {
            None => Ok(()),
            Some(file) => Err(Error::refused(format!(
                "{}: cdflow cannot parse the override file, so it cannot know what it sets",
                file.place
            ))
            .hint("correct its syntax, move its content into other files, or delete it")),
        }
    }

    /// Whether a variable is declared, or might be in a file that cdflow cannot parse.
    pub(crate) fn may_declare(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.name == name) || self.is_unread(name)
    }

    /// Whether apply needs the values again.
    pub(crate) fn may_have_ephemeral(&self) -> bool {
        self.variables.iter().any(|variable| variable.is_ephemeral) || self.is_unread("ephemeral")
    }

    fn is_unread(&self, word: &str) -> bool {
        // JSON can write a letter as `\u0061`.
        let unread = self.unread.iter().filter(|file| file.role != Role::Values);
        unread.map(|file| &file.text).any(|text| text.contains(word) || text.contains("\\u"))
    }

    fn add(&mut self, file: &CodeFile, place: String, text: String) {
        if file.role == Role::Values {
            match blocks::assigned(&text, file.is_json) {
                Some(names) => {
                    self.assigned.extend(names.into_iter().map(|name| (name, place.clone())));
                }
                None => self.unread.push(Unread { place, role: file.role, text }),
            }
            return;
        }
        match blocks::read(&text, file.is_json, &place) {
            Some(blocks) => {
                if file.role == Role::Override && blocks.iter().any(|it| it.requirement.is_some()) {
                    self.required.clear();
                }
                blocks.into_iter().for_each(|block| self.add_block(file.role, block));
            }
            None => self.unread.push(Unread { place, role: file.role, text }),
        }
    }

    fn add_block(&mut self, role: Role, block: Block) {
        if let (Role::Override, Some(what)) = (role, sets(&block)) {
            self.overridden.push((block.place.clone(), what));
        }
        match block.kind.as_str() {
            "variable" => self.variables.push(Variable {
                has_default: block.has("default"),
                is_ephemeral: block.can_be_true("ephemeral"),
                is_sensitive: block.can_be_true("sensitive"),
                name: block.label,
                place: block.place,
            }),
            "module" => self.add_module(role, block),
            "provider" => _ = self.providers.insert(block.label),
            "resource" | "data" | "ephemeral" => {
                let provider = block.label.split('_').next().unwrap_or_default();
                // `terraform_data` is part of Terraform itself.
                if provider != "terraform" {
                    self.providers.insert(provider.to_owned());
                }
            }
            "terraform" => {
                if role == Role::Code && sets(&block).is_some() {
                    self.backends.push(block.place.clone());
                }
                self.providers.extend(block.inner("required_providers").iter().cloned());
                self.required.extend(block.requirement);
            }
            _ => {}
        }
    }

    fn add_module(&mut self, role: Role, block: Block) {
        if !block.has("source") {
            return;
        }
        if role == Role::Override {
            self.modules.retain(|module| module.name != block.label);
            self.computed_modules.retain(|(name, _)| *name != block.label);
        }
        // In JSON, a string can be an expression.
        let literal = block.text("source").filter(|it| !it.contains("${") && !it.contains("%{"));
        let Some(source) = literal.map(str::to_owned) else {
            return self.computed_modules.push((block.label, block.place));
        };
        self.modules.push(ModuleCall { name: block.label, source, place: block.place });
    }
}

/// Returns what a block sets of what cdflow sets itself.
fn sets(block: &Block) -> Option<&'static str> {
    match block.kind.as_str() {
        "terraform" if block.has("backend") || block.has("cloud") => Some("a backend"),
        "variable" if block.label == "secrets" => Some("the variable `secrets`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect::OpenTofu;

    #[test]
    fn overrides_of_cdflows_settings_are_rejected() {
        for (name, text, refused) in [
            ("override.tf", "terraform {\n  backend \"local\" {}\n}", true),
            ("z_override.tf", "\nterraform {\n  cloud {}\n}", true),
            ("a_override.tofu", "variable \"secrets\" { sensitive = false }", true),
            ("b_override.tf.json", r#"{"terraform": [{"backend": {"s3": {}}}]}"#, true),
            ("override.tf.json", r#"{"variable": {"secrets": {}}}"#, true),
            ("override.tf", "\u{feff}variable \"secrets\" { sensitive = false }", true),
            ("override.tf.json", r#"[{"variable": [{"secrets": [{}]}]}]"#, true),
            ("override.tf.json", r#"{"terraform": {}, "terraform": {"cloud": {}}}"#, true),
            ("override.tf", "variable \"", true),
            ("._override.tf", "terraform { cloud {} }", false),
            ("main.tf", "terraform {\n  backend \"s3\" {}\n}\nvariable \"secrets\" {}", false),
            ("dev_override.tf", "resource \"terraform_data\" \"x\" {}", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            let found = Declarations::read(folder.path(), "infra", DIALECT).unwrap();
            let checked = found.check_overrides();
            assert_eq!(checked.is_err(), refused, "{name}");
        }
    }

    #[test]
    fn variables_and_modules() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("main.tf"),
            "# é\nvariable \"env\" {}\n\nmodule \"x\" {\n  source = \"../x\"\n}\n\
             variable \"token\" {\n  type = string\n  ephemeral = true\n  \
             sensitive = true\n  default = null\n}\n",
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
        let found = Declarations::read(folder.path(), "infra", DIALECT).unwrap();
        let variable = |name: &str, has_default, is_ephemeral, place: &str| Variable {
            name: name.into(),
            has_default,
            is_ephemeral,
            is_sensitive: is_ephemeral,
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
        let assigned: Vec<&str> = found.assigned.keys().map(String::as_str).collect();
        assert_eq!(assigned, ["a", "b", "c"]);
        assert_eq!(
            found.modules,
            [ModuleCall {
                name: "x".into(),
                source: "../x".into(),
                place: "infra/main.tf:4".into()
            }]
        );
    }

    #[test]
    fn providers_of_code() {
        let providers = |name: &str, text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            let found = Declarations::read(folder.path(), "infra", DIALECT).unwrap();
            found.providers.into_iter().collect::<Vec<_>>()
        };
        for (name, text, expected) in [
            ("a.tf", "resource \"terraform_data\" \"x\" {}\nvariable \"aws\" {}\n", &[][..]),
            ("a.tf", "data \"aws_region\" \"x\" {}\nprovider \"null\" {}\n", &["aws", "null"]),
            ("a.tf", "terraform {\n  required_providers {\n    tiny = {}\n  }\n}\n", &["tiny"]),
            ("a.tf.json", r#"{"resource": [{"aws_x": {"a": [{}]}}], "data": null}"#, &["aws"]),
            ("a.tf.json", r#"{"terraform": [{"required_providers": {"b": {}}}]}"#, &["b"]),
        ] {
            assert_eq!(providers(name, text), expected, "{text}");
        }
    }
}
