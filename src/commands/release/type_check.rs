//! Checks before a release that its data fits the type that the code declares for the variable
//! `release`. No deploy of it could succeed otherwise.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::data_check::is_of_artifact;
use crate::{
    base::{
        error::{Error, Result},
        printable,
        run_folder::{PrivateFolder, write_new},
    },
    config::component::ComponentType,
    release::{init_access::InitAccess, source::Sources, value_check::NO_VALIDATE},
    services::ci::host::Host,
    terraform::{
        Folder,
        code::{
            release_type::{ReleaseType, TypeAttribute},
            variables::VarFile,
        },
        tool::Tool,
    },
};

const VARIABLE: &str = "release";
/// What an artifact says about itself is a text that is known only after the build.
const AFTER_THE_BUILD: &str = "known after the build";

/// What a release is to be made from.
pub(super) struct TypeCheck<'a> {
    pub(super) host: &'a Host,
    pub(super) tool: &'a Tool,
    /// The folder of cdflow.yml.
    pub(super) component: &'a Path,
    pub(super) kind: ComponentType,
    pub(super) sources: &'a Sources,
    pub(super) private: &'a PrivateFolder,
    pub(super) access: &'a InitAccess,
    /// What is known before the build.
    pub(super) facts: &'a BTreeMap<String, String>,
}

impl TypeCheck<'_> {
    pub(super) async fn run(&self) -> Result<()> {
        let infra = self.component.join("infra");
        let declared = ReleaseType::read(&infra, "infra", self.sources.dialect)?;
        let Some(declared) = declared else { return Ok(()) };
        let values = match declared.attributes() {
            Some(attributes) => self.attributes(&declared, attributes)?,
            None => vec![(VARIABLE.to_owned(), declared.text().to_owned(), self.all()?)],
        };
        match self.rejected(infra, values).await? {
            Some(rejected) => Err(self.misfit(&declared, &Misfit::of(rejected.cause()))),
            None => Ok(()),
        }
    }

    /// Returns a variable for each attribute that has a value, because Terraform does not name an
    /// attribute whose value it rejects.
    fn attributes(
        &self,
        declared: &ReleaseType,
        attributes: Vec<TypeAttribute>,
    ) -> Result<Vec<(String, String, Value)>> {
        let mut found = Vec::new();
        for TypeAttribute { name, text, is_optional } in attributes {
            let value = match self.facts.get(&name) {
                Some(value) => value.as_str(),
                None if is_of_artifact(&name, self.kind) => AFTER_THE_BUILD,
                None if is_optional => continue,
                None => {
                    let why = "the release has no such data".to_owned();
                    return Err(self.misfit(declared, &Misfit { key: Some(name), why }));
                }
            };
            found.push((format!("{VARIABLE}_{name}"), text, value.into()));
        }
        Ok(found)
    }

    fn all(&self) -> Result<Value> {
        serde_json::to_value(self.facts)
            .map_err(|error| Error::internal("cannot write the release data").why(error))
    }

    /// Lets Terraform convert the values, in a folder with these variables alone.
    async fn rejected(
        &self,
        original: PathBuf,
        values: Vec<(String, String, Value)>,
    ) -> Result<Option<Error>> {
        let infra = self.private.folder("release-type")?;
        let (mut code, mut var_file) = (String::new(), VarFile::default());
        for (name, text, value) in values {
            code.push_str(&format!("variable \"{name}\" {{\n  type = {text}\n}}\n"));
            var_file.set(&name, &value)?;
        }
        write_new(&infra.join("release.tf"), code.as_bytes())?;
        let path = self.private.path().join("release.tfvars.json");
        write_new(&path, var_file.to_string().as_bytes())?;
        self.host.run_as.give(&infra)?;
        self.host.run_as.give(&path)?;
        let folder = Folder {
            tool: self.tool.clone(),
            host: self.host.clone(),
            infra,
            original,
            env: self.access.env.clone(),
            run_as: self.host.run_as,
        };
        folder.rejected_value(&path, &var_file.origins(&path)).await
    }

    fn misfit(&self, declared: &ReleaseType, misfit: &Misfit) -> Error {
        let (place, file) = (declared.place(), &declared.file);
        let key = misfit.key.as_deref().map(printable::excerpt);
        let what = match &key {
            Some(key) => {
                format!("{place}: `{key}` does not fit the type of the variable `release`")
            }
            None => format!("{place}: the release does not fit the type of the variable `release`"),
        };
        let hint = match key {
            Some(key) if is_set_by_cdflow(&key, self.kind) => {
                format!("declare `{key}` as a string in {file}: cdflow sets it")
            }
            Some(key) => format!(
                "set a value that fits: --release-data {key}=VALUE (the Action's input \
                 `release-data`); or correct the type in {file}"
            ),
            None => format!("correct the type in {file}: each value of the release is a string"),
        };
        let line = declared.line.and_then(|line| u64::try_from(line).ok()).unwrap_or_default();
        let error = Error::input(what).why(&misfit.why).hint(hint).hint(NO_VALIDATE);
        error.at(file, line, 0).below(self.component)
    }
}

/// Which value does not fit, and why.
#[derive(Debug, PartialEq, Eq)]
struct Misfit {
    key: Option<String>,
    why: String,
}

impl Misfit {
    /// Reads Terraform's words: `The given value is not suitable for var.release_copies declared at
    /// release.tf:1,1-26: a number is required.`
    fn of(text: &str) -> Self {
        let parsed = || {
            let (_, rest) = text.split_once(&format!("var.{VARIABLE}"))?;
            let (key, rest) = rest.split_once(" declared at ")?;
            let (_, why) = rest.split_once(": ")?;
            Some((key.strip_prefix('_').map(str::to_owned), why))
        };
        let (key, why) = parsed().unwrap_or((None, text));
        Self { key, why: why.to_owned() }
    }
}

fn is_set_by_cdflow(key: &str, kind: ComponentType) -> bool {
    ["commit", "version", "component", "team"].contains(&key) || is_of_artifact(key, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_terraform() {
        let start = "The given value is not suitable for var.release";
        let misfit = |key: Option<&str>, why: &str| Misfit {
            key: key.map(str::to_owned),
            why: why.to_owned(),
        };
        for (text, found) in [
            (
                format!("{start}_copies declared at release.tf:1,1-26: a number is required."),
                misfit(Some("copies"), "a number is required."),
            ),
            (
                format!(
                    "{start} declared at release.tf:1,1-19: element \"a\": a bool is required."
                ),
                misfit(None, "element \"a\": a bool is required."),
            ),
            ("Others.".to_owned(), misfit(None, "Others.")),
        ] {
            assert_eq!(Misfit::of(&text), found);
        }
    }
}
