//! Checks before a release that each environment has a value of the declared type for every
//! variable. A deploy without them would fail, and the version would be lost.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};

use super::{init_access::InitAccess, source::Sources};
use crate::{
    base::{
        error::{Error, Result},
        log::Log,
        parallel::threads,
        run_folder::{PrivateFolder, write_new},
        small_file,
    },
    config::{
        identity::Identity,
        names::Environment,
        scheme::{AccountScheme, FrozenAccount},
    },
    services::ci::host::Host,
    terraform::{
        Folder,
        code::{
            declarations::Declarations,
            files::{self, Role},
            variable_blocks::only_variables,
            variables::{VarFile, Variables},
        },
        tool::Tool,
    },
};

/// The number of further errors that the error of a release has.
const MORE: usize = 5;
pub(crate) const NO_VALIDATE: &str = "use --no-validate to release without this check";

/// What a release is to be made from.
pub(crate) struct ValueCheck<'a> {
    pub(crate) host: &'a Host,
    pub(crate) tool: &'a Tool,
    pub(crate) identity: &'a Identity,
    /// The folder of cdflow.yml.
    pub(crate) component: &'a Path,
    pub(crate) scheme: &'a AccountScheme,
    pub(crate) sources: &'a Sources,
    pub(crate) private: &'a PrivateFolder,
    pub(crate) access: &'a InitAccess,
}

/// An environment, and why no deploy to it could succeed.
struct Checked {
    environment: Environment,
    /// It has a file in `config/`, so the component is meant for it.
    is_meant: bool,
    problem: Option<Error>,
}

impl ValueCheck<'_> {
    /// Fails if an environment with a file of its own in `config/` lacks a value or has one of a
    /// wrong type, or if this is so for all environments. Other environments might be those of
    /// other components, so they are only noted.
    pub(crate) async fn run(&self) -> Result<()> {
        let environments = self.environments();
        if environments.is_empty() {
            return Ok(());
        }
        let log = &self.host.log;
        log.step("Check the values");
        let folder = self.private.folder("values")?;
        for (name, file) in &self.sources.files {
            if name.starts_with("config/") || name.starts_with("platform-config/") {
                copy(&file.path, &folder.join(name))?;
            }
        }
        let declared =
            Declarations::read(&self.component.join("infra"), "infra", self.sources.dialect)?;
        let variables = self.variables_alone()?;
        let checks = environments.into_iter().map(|(environment, is_meant)| {
            self.check(environment, is_meant, &folder, &declared, variables.as_ref())
        });
        let checked: Vec<Result<Checked>> =
            stream::iter(checks).buffered(threads()).collect().await;
        let checked = checked.into_iter().collect::<Result<Vec<_>>>()?;
        if variables.is_none() {
            log.note("cdflow cannot parse every file of infra/, so the types are not checked");
        }
        judge(checked, log)
    }

    /// The named environments of the scheme, and whether they have a file in `config/`; a preview
    /// for `config/preview.json`, or for `"*"`. Under `"*"`, a file need not be of an environment.
    fn environments(&self) -> BTreeMap<Environment, bool> {
        let named = self.scheme.environments().keys().filter_map(|name| name.parse().ok());
        let mut found: BTreeMap<Environment, bool> = named.map(|it| (it, false)).collect();
        let preview = Environment::of_pull_request(1);
        for name in self.sources.files.keys() {
            let layer = name.strip_prefix("config/").and_then(|name| name.strip_suffix(".json"));
            let environment = match layer {
                None | Some("common") => None,
                Some("preview") => Some(preview.clone()),
                Some(layer) => layer.parse().ok().filter(|it| found.contains_key(it)),
            };
            let known = environment.filter(|it| self.scheme.account_of(it).is_ok());
            found.extend(known.map(|it| (it, true)));
        }
        if self.scheme.environments().contains_key("*") {
            found.entry(preview).or_default();
        }
        found
    }

    /// Returns a folder with the variables of the code and nothing else; None if a file cannot be
    /// parsed.
    fn variables_alone(&self) -> Result<Option<PathBuf>> {
        let infra = self.component.join("infra");
        let folder = self.private.folder("variables")?;
        for file in files::list(&infra, self.sources.dialect)? {
            let text = files::text(&infra.join(&file.name), file.is_json)?;
            let text = match file.role {
                Role::Values => Some(text),
                Role::Code | Role::Override => only_variables(&text, file.is_json),
            };
            let Some(text) = text else { return Ok(None) };
            write_new(&folder.join(&file.name), text.as_bytes())?;
        }
        self.host.run_as.give(&folder)?;
        Ok(Some(folder))
    }

    async fn check(
        &self,
        environment: Environment,
        is_meant: bool,
        values: &Path,
        declared: &Declarations,
        variables: Option<&PathBuf>,
    ) -> Result<Checked> {
        let problem = match self.var_file(&environment, values, declared) {
            Err(error) => Some(error),
            Ok(file) => match variables {
                Some(folder) => self.rejected(&environment, &file, folder).await?,
                None => None,
            },
        };
        Ok(Checked { environment, is_meant, problem })
    }

    /// Returns the values as a deploy passes them, except what is known only then.
    fn var_file(
        &self,
        environment: &Environment,
        values: &Path,
        declared: &Declarations,
    ) -> Result<VarFile> {
        let log = self.host.log.muted();
        let listed = self.scheme.listed_as(environment);
        let account = FrozenAccount::find(&self.scheme.raw, &self.identity.team, listed)?;
        let mut variables =
            Variables::read(values, environment, &account, &Map::<String, Value>::new(), &log)?;
        if environment.is_preview() {
            variables.set_preview(&json!({}))?;
        }
        variables.file_for(declared, environment, &log)
    }

    async fn rejected(
        &self,
        environment: &Environment,
        file: &VarFile,
        variables: &Path,
    ) -> Result<Option<Error>> {
        let path = self.private.path().join(format!("{environment}.tfvars.json"));
        write_new(&path, file.to_string().as_bytes())?;
        self.host.run_as.give(&path)?;
        let folder = Folder {
            tool: self.tool.clone(),
            host: self.host.clone(),
            infra: variables.to_owned(),
            original: self.component.join("infra"),
            env: self.access.env.clone(),
            run_as: self.host.run_as,
        };
        let error = folder.rejected_value(&path, &file.origins(&path)).await?;
        Ok(error.map(|error| error.below(self.component)))
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)
        .map_err(|error| Error::io("cannot create the folder", folder, &error))?;
    let content = small_file::read(from).map_err(|error| Error::io("cannot read", from, &error))?;
    write_new(to, &content)
}

fn judge(checked: Vec<Checked>, log: &Log) -> Result<()> {
    let is_refused = |it: &Checked| it.problem.is_some() && it.is_meant;
    // If the component is meant for none of them, one must work.
    let refuses_all =
        !checked.iter().any(is_refused) && checked.iter().all(|it| it.problem.is_some());
    let mut refused = Vec::new();
    // Problem to environments.
    let mut noted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Checked { environment, is_meant, problem } in checked {
        match problem {
            Some(error) if is_meant || refuses_all => refused.push((environment, error)),
            // It is any environment of `"*"`.
            Some(_) if environment.is_preview() => {}
            Some(error) => noted.entry(error.story()).or_default().push(environment.to_string()),
            None => {}
        }
    }
    let mut refused = refused.into_iter();
    if let Some((_, first)) = refused.next() {
        let others = refused.filter(|(_, other)| other.story() != first.story());
        let others: Vec<_> = others
            .take(MORE)
            .map(|(environment, other)| format!("correct {environment} too: {}", other.story()))
            .collect();
        let error = others.into_iter().fold(first, Error::hint);
        return Err(error.hint(NO_VALIDATE));
    }
    for (problem, environments) in noted {
        log.note(&format!(
            "the release continues, but cannot be deployed to {}: {problem}",
            environments.join(", ")
        ));
    }
    Ok(())
}
