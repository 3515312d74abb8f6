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
        parallel::threads,
        run_folder::{PrivateFolder, write_new},
        small_file,
    },
    config::{
        component::Deploy,
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
    pub(crate) deploy: &'a Deploy,
    pub(crate) sources: &'a Sources,
    pub(crate) private: &'a PrivateFolder,
    pub(crate) access: &'a InitAccess,
}

/// An environment, and why no deploy to it could succeed.
struct Checked {
    environment: Environment,
    /// It is not a preview that only `"*"` allows, and that the component might never have.
    is_meant: bool,
    /// It has a file of its own in `config/`.
    has_file: bool,
    problem: Option<Error>,
}

impl ValueCheck<'_> {
    /// Fails if an environment that the scheme names lacks a value or has one of a wrong type,
    /// except those that `deploy.only` of cdflow.yml leaves out.
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
        judge(checked)
    }

    /// The environments that the scheme names, and whether they are meant; a preview for
    /// `config/preview.json`, or for `"*"`. Under `"*"`, a file need not be of an environment.
    fn environments(&self) -> BTreeMap<Environment, bool> {
        let named = self.scheme.environments().keys().filter_map(|name| name.parse().ok());
        let named = named.filter(|it| self.deploy.is_for(it));
        let mut found: BTreeMap<Environment, bool> = named.map(|it| (it, true)).collect();
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
        let file = format!("config/{}.json", environment.shared_name());
        let has_file = self.sources.files.contains_key(&file);
        Ok(Checked { environment, is_meant, has_file, problem })
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

/// Whether an error is about a value in the file of this environment alone.
fn is_in_own_file(error: &Error, environment: &str) -> bool {
    error.place().is_some_and(|it| it.file.ends_with(format!("config/{environment}.json")))
}

/// One preview is checked for all of them.
fn shown(environment: &Environment) -> String {
    match environment.is_preview() {
        true => "previews".to_owned(),
        false => environment.to_string(),
    }
}

fn judge(mut checked: Vec<Checked>) -> Result<()> {
    // What is surely meant comes first.
    checked.sort_by_key(|it| !it.has_file);
    // If all others are previews that the component might never have, they count.
    let refuses_all = checked.iter().all(|it| it.problem.is_some());
    let is_refused = |it: &Checked| it.problem.is_some() && (it.is_meant || refuses_all);
    // The component might not be for them.
    let is_foreign = |it: &&Checked| is_refused(it) && !it.has_file;
    let named = checked.iter().filter(|it| !it.environment.is_preview());
    let (foreign, own): (Vec<&Checked>, Vec<&Checked>) = named.partition(is_foreign);
    let names = |of: &[&Checked]| {
        of.iter().map(|it| it.environment.as_str()).collect::<Vec<_>>().join(", ")
    };
    let narrowed = (!foreign.is_empty() && !own.is_empty()).then(|| {
        format!(
            "if this component is not for {}, write into cdflow.yml: `deploy: {{only: [{}]}}`",
            names(&foreign),
            names(&own)
        )
    });
    let mut refused = checked.into_iter().filter(is_refused).filter_map(|it| {
        let problem = it.problem?;
        Some((it.environment, problem))
    });
    let Some((environment, first)) = refused.next() else { return Ok(()) };
    let (others, same): (Vec<_>, Vec<_>) =
        refused.partition(|(_, other)| other.story() != first.story());
    let same = std::iter::once(environment).chain(same.into_iter().map(|(it, _)| it));
    let mut same: Vec<String> = same.map(|it| shown(&it)).collect();
    same.dedup();
    let is_shared = is_in_own_file(&first, "common");
    let narrowed = narrowed.filter(|_| !is_shared);
    let first = match &same[..] {
        // The file says it.
        _ if is_shared => first,
        [only] if is_in_own_file(&first, only) => first,
        all => first.hint(format!("correct the values of {}", all.join(", "))),
    };
    let others = others.into_iter().take(MORE);
    let error = others.fold(first, |error, (environment, other)| {
        error.hint(format!("correct {} too: {}", shown(&environment), other.story()))
    });
    Err(narrowed.into_iter().fold(error, Error::hint).hint(NO_VALIDATE))
}
