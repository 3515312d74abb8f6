//! The logins for registries. The first source that has a login for a registry wins: the input
//! `registries`, then DOCKERHUB_USERNAME and DOCKERHUB_PASSWORD, then Docker's config.json with its
//! credential helpers.
//!
//! The crate `docker_credential` reads the process's environment and starts helpers itself. In
//! cdflow the environment is a value and only `base/process.rs` starts programs, so config.json is
//! read here.

mod docker_config;
mod helper;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::docker_config::DockerConfig;
use super::login::{DOCKER_HUB, DOCKER_HUB_KEY, Login, normalize_host};
use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
        redact::Redactor,
    },
    config::settings::RegistryLogin,
    services::ci::host::Host,
};

/// The logins of one run. The key of a map is a registry as the reference of an image spells it.
pub(crate) struct Logins {
    known: BTreeMap<String, Login>,
    helpers: BTreeMap<String, Helper>,
    /// The helper for all other registries.
    store: Option<String>,
}

/// A helper that answers for one registry.
struct Helper {
    name: String,
    /// The registry as config.json spells it.
    key: String,
}

impl Logins {
    /// Collects all logins, and masks every password from here on. Runs no helper.
    pub(crate) fn gather(
        registries: &[RegistryLogin],
        environment: &ProcessEnv,
        redactor: &Redactor,
    ) -> Result<Self> {
        let mut logins = Self { known: BTreeMap::new(), helpers: BTreeMap::new(), store: None };
        for registry in registries {
            let (host, login) = login_of(registry, environment)?;
            if logins.known.insert(host.clone(), login).is_some() {
                return Err(Error::input(format!("`registries` has two logins for `{host}`"))
                    .hint("remove one of the two"));
            }
        }
        if let Some(login) = docker_hub(environment)? {
            logins.known.entry(DOCKER_HUB.to_owned()).or_insert(login);
        }
        if let Some((path, text)) = DockerConfig::read(environment)? {
            logins.add_config(&text).map_err(|why| {
                Error::input(format!("cannot use `{}`", path.display()))
                    .why(why)
                    .hint("correct it, or set DOCKER_CONFIG to a folder with another config.json")
            })?;
        }
        logins.known.values().for_each(|login| login.mask(redactor));
        Ok(logins)
    }

    /// Returns the login for `registry`, in any spelling; None if no source has one.
    pub(crate) async fn for_host(&self, registry: &str, host: &Host) -> Result<Option<Login>> {
        let registry = normalize_host(registry);
        if let Some(login) = self.known.get(&registry) {
            return Ok(Some(login.clone()));
        }
        let (name, key) = match (self.helpers.get(&registry), &self.store) {
            (Some(helper), _) => (helper.name.as_str(), helper.key.as_str()),
            (None, Some(store)) if registry == DOCKER_HUB => (store.as_str(), DOCKER_HUB_KEY),
            (None, Some(store)) => (store.as_str(), registry.as_str()),
            (None, None) => return Ok(None),
        };
        let login = helper::get(name, key, host).await?;
        if let Some(login) = &login {
            login.mask(&host.log.redactor);
        }
        Ok(login)
    }

    /// Returns all logins, for a build whose images are not known in advance. A helper that fails
    /// is only a warning, because the build might not need its registry.
    pub(crate) async fn all(&self, host: &Host) -> Result<BTreeMap<String, Login>> {
        let mut names: Vec<String> = self.helpers.keys().cloned().collect();
        if let Some(store) = &self.store {
            match helper::list(store, host).await {
                Ok(keys) => names.extend(keys.iter().map(|key| normalize_host(key))),
                Err(error) => host.log.warning(&error.story()),
            }
        }
        let mut all = self.known.clone();
        for name in names {
            match self.for_host(&name, host).await {
                Ok(Some(login)) => drop(all.insert(name, login)),
                Ok(None) => {}
                Err(error) => host.log.warning(&error.story()),
            }
            host.interrupt.check("asking for the logins of registries")?;
        }
        Ok(all)
    }

    fn add_config(&mut self, text: &str) -> Result<(), String> {
        let config = DockerConfig::parse(text)?;
        for (key, name) in config.cred_helpers.into_iter().filter(|(_, name)| !name.is_empty()) {
            let helper = Helper { name: helper::check_name(name)?, key };
            self.helpers.insert(normalize_host(&helper.key), helper);
        }
        self.store = config
            .creds_store
            .filter(|name| !name.is_empty())
            .map(helper::check_name)
            .transpose()?;
        for (key, entry) in config.auths {
            let registry = normalize_host(&key);
            if self.helpers.contains_key(&registry) {
                continue;
            }
            if let Some(login) =
                entry.login().map_err(|why| format!("the login for `{key}`: {why}"))?
            {
                self.known.entry(registry).or_insert(login);
            }
        }
        Ok(())
    }
}

fn login_of(registry: &RegistryLogin, environment: &ProcessEnv) -> Result<(String, Login)> {
    let malformed = || {
        // The item is not shown: it might be a password.
        Error::input("an item of `registries` is not HOST=VARIABLE").hint(
            "name an environment variable that contains USER:PASSWORD, \
             for example `quay.io=QUAY_LOGIN`",
        )
    };
    let (host, variable) = registry.text().split_once('=').ok_or_else(malformed)?;
    let is_host =
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    let is_variable =
        variable.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && variable.starts_with(|c: char| !c.is_ascii_digit());
    if !is_host || !is_variable {
        return Err(malformed());
    }
    // The variable is not named: what looks like a name might be a token.
    let value = environment.get(variable).ok_or_else(|| {
        Error::input(format!("the variable that `registries` names for `{host}` is not set"))
            .hint("set it to USER:PASSWORD, in a workflow under `env:` of the step")
    })?;
    let login = Login::parse(value.trim()).ok_or_else(|| {
        Error::input(format!(
            "the variable that `registries` names for `{host}` does not contain USER:PASSWORD"
        ))
    })?;
    Ok((normalize_host(host), login))
}

fn docker_hub(environment: &ProcessEnv) -> Result<Option<Login>> {
    match ["DOCKERHUB_USERNAME", "DOCKERHUB_PASSWORD"].map(|name| environment.get(name)) {
        [Some(user), Some(password)] => Ok(Some(Login::new(user.to_owned(), password.to_owned()))),
        [None, None] => Ok(None),
        [user, _] => {
            let missing = if user.is_some() { "DOCKERHUB_PASSWORD" } else { "DOCKERHUB_USERNAME" };
            Err(Error::input(format!("`{missing}` is not set"))
                .hint("set both DOCKERHUB_USERNAME and DOCKERHUB_PASSWORD, or neither"))
        }
    }
}
