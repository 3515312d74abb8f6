//! What a registry is told to let us in. The first that knows a registry wins: the input `registries`, DOCKERHUB_USERNAME and
//! DOCKERHUB_PASSWORD, then Docker's own config.json with its credential helpers.
//!
//! `docker_credential` reads the process's environment and starts helpers itself. Ours is a value, and programs start in
//! `process` only; so the file is read here.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::PathBuf};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use crate::{
    base::{
        error::{Error, Exit, Result},
        process::{Captured, Program, find},
        process_env::ProcessEnv,
        redact::{Redactor, Secret},
    },
    config::settings::RegistryLogin,
    services::ci::host::Host,
};

/// By which name Docker keeps the password of docker.io.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB: &str = "docker.io";
/// Docker's own word for "the password is an identity token".
const TOKEN_USER: &str = "<token>";
const CONFIG_FILE: &str = "config.json";

/// A user and a password, or a token that stands for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// An OAuth refresh token, as `docker login` keeps for some registries.
    IdentityToken(Secret),
}

/// The registries that we can log in to.
pub(crate) struct Logins {
    /// By the registry's name in a reference of an image.
    known: BTreeMap<String, Login>,
    helpers: Helpers,
}

/// Programs that are asked only once a registry is needed.
#[derive(Default)]
struct Helpers {
    /// By registry.
    own: BTreeMap<String, Helper>,
    /// For all others.
    store: Option<String>,
}

struct Helper {
    name: String,
    /// How config.json spells the registry.
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Logins {
    /// Every password is masked from here on. Asks no helper yet.
    pub(crate) fn gather(
        registries: &[RegistryLogin],
        environment: &ProcessEnv,
        redactor: &Redactor,
    ) -> Result<Self> {
        let mut logins = Self { known: BTreeMap::new(), helpers: Helpers::default() };
        for registry in registries {
            let (host, login) = login_of(registry, environment)?;
            if logins.known.insert(host.clone(), login).is_some() {
                return Err(Error::input(format!("`registries` has two logins for `{host}`"))
                    .hint("keep one of the two"));
            }
        }
        if let Some(login) = docker_hub(environment)? {
            logins.known.entry(DOCKER_HUB.to_owned()).or_insert(login);
        }
        if let Some((path, text)) = read_config(environment)? {
            logins.add_config(&text).map_err(|why| {
                Error::input(format!("`{}` can't be used", path.display()))
                    .why(why)
                    .hint("mend it, or name a folder with another config.json: DOCKER_CONFIG")
            })?;
        }
        logins.known.values().for_each(|login| login.mask(redactor));
        Ok(logins)
    }

    /// How to log in to the registry `registry` (as an image's reference spells it); None where nobody knows.
    pub(crate) async fn for_host(&self, registry: &str, host: &Host) -> Result<Option<Login>> {
        let registry = normal(registry);
        if let Some(login) = self.known.get(&registry) {
            return Ok(Some(login.clone()));
        }
        let (name, key) = match (self.helpers.own.get(&registry), &self.helpers.store) {
            (Some(helper), _) => (helper.name.as_str(), helper.key.as_str()),
            (None, Some(store)) if registry == DOCKER_HUB => (store.as_str(), DOCKER_HUB_KEY),
            (None, Some(store)) => (store.as_str(), registry.as_str()),
            (None, None) => return Ok(None),
        };
        let said = ask(name, "get", key, host).await?;
        if said.code != 0 {
            // It says so on standard output; any other word is trouble.
            let words = String::from_utf8_lossy(&said.stdout);
            if words.contains("credentials not found") {
                return Ok(None);
            }
            return Err(helper_failed(name, key)
                .why(words.trim())
                .hint(format!("try it: docker login {registry}")));
        }
        let answer: Answer = serde_json::from_slice(&said.stdout)
            .map_err(|_| helper_failed(name, key).why("its answer has no Username and Secret"))?;
        let login = Login::new(answer.username, answer.secret);
        login.mask(&host.log.redactor);
        Ok(Some(login))
    }

    /// All that are known, for a build that does not say what it will pull. A helper that fails costs a warning only: perhaps
    /// nobody needs its registry.
    pub(crate) async fn all(&self, host: &Host) -> Result<BTreeMap<String, Login>> {
        let mut names: Vec<String> = self.helpers.own.keys().cloned().collect();
        if let Some(store) = &self.helpers.store {
            names.extend(self.stored(store, host).await);
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

    async fn stored(&self, store: &str, host: &Host) -> Vec<String> {
        let listed = ask(store, "list", "", host).await;
        let listed = listed.and_then(|said| {
            serde_json::from_slice::<BTreeMap<String, String>>(&said.stdout).map_err(|_| {
                helper_failed(store, "list").why("its answer is no list of registries")
            })
        });
        match listed {
            Ok(users) => users.into_keys().map(|key| normal(&key)).collect(),
            Err(error) => {
                host.log.warning(&error.story());
                Vec::new()
            }
        }
    }

    fn add_config(&mut self, text: &str) -> Result<(), String> {
        // The parser's own words could quote a password.
        let config: Config = serde_json::from_str(text).map_err(|error| {
            format!(
                "it is not what `docker login` writes (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        for (key, name) in config.cred_helpers.into_iter().filter(|(_, name)| !name.is_empty()) {
            self.helpers.own.insert(normal(&key), Helper { name: checked(name)?, key });
        }
        self.helpers.store =
            config.creds_store.filter(|name| !name.is_empty()).map(checked).transpose()?;
        for (key, auth) in config.auths {
            let registry = normal(&key);
            if self.helpers.own.contains_key(&registry) {
                continue;
            }
            if let Some(login) =
                auth.login().map_err(|why| format!("the login for `{key}`: {why}"))?
            {
                self.known.entry(registry).or_insert(login);
            }
        }
        Ok(())
    }
}

impl Login {
    fn new(user: String, password: String) -> Self {
        match user.as_str() {
            TOKEN_USER => Self::IdentityToken(Secret::new(password)),
            _ => Self::Password { user, password: Secret::new(password) },
        }
    }

    /// `USER:PASSWORD`; a password may contain `:`.
    fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':')?;
        (!user.is_empty() && !password.is_empty())
            .then(|| Self::new(user.to_owned(), password.to_owned()))
    }

    fn mask(&self, redactor: &Redactor) {
        let (Self::Password { password: secret, .. } | Self::IdentityToken(secret)) = self;
        redactor.add(secret);
    }
}

fn login_of(registry: &RegistryLogin, environment: &ProcessEnv) -> Result<(String, Login)> {
    let malformed = || {
        Error::input("an item of `registries` is not HOST=VARIABLE (it is not shown: it may be a password)")
            .hint("VARIABLE is the name of an environment variable that holds USER:PASSWORD: `quay.io=QUAY_LOGIN`")
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
    // A variable that is not set may be no variable at all, but a token that looks like one.
    let value = environment.get(variable).ok_or_else(|| {
        Error::input(format!("the variable that `registries` names for `{host}` is not set"))
            .hint("set it to USER:PASSWORD; in a workflow: `env:` of the step")
    })?;
    let login = Login::parse(value.trim()).ok_or_else(|| {
        Error::input(format!(
            "the variable that `registries` names for `{host}` does not hold USER:PASSWORD"
        ))
    })?;
    Ok((normal(host), login))
}

fn docker_hub(environment: &ProcessEnv) -> Result<Option<Login>> {
    match ["DOCKERHUB_USERNAME", "DOCKERHUB_PASSWORD"].map(|name| environment.get(name)) {
        [Some(user), Some(password)] => Ok(Some(Login::new(user.to_owned(), password.to_owned()))),
        [None, None] => Ok(None),
        [user, _] => {
            let missing = if user.is_some() { "DOCKERHUB_PASSWORD" } else { "DOCKERHUB_USERNAME" };
            Err(Error::input(format!("`{missing}` is not set"))
                .hint("set both it and its partner, or neither"))
        }
    }
}

/// From `$DOCKER_CONFIG`, else `~/.docker`.
fn read_config(environment: &ProcessEnv) -> Result<Option<(PathBuf, String)>> {
    let home = || environment.get("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let Some(folder) = environment.get("DOCKER_CONFIG").map(PathBuf::from).or_else(home) else {
        return Ok(None);
    };
    let path = folder.join(CONFIG_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::io("can't read", &path, &error)),
    }
}

impl Auth {
    fn login(self) -> Result<Option<Login>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::IdentityToken(Secret::new(self.identitytoken))));
        }
        if self.auth.is_empty() {
            let is_whole = !self.username.is_empty() && !self.password.is_empty();
            return Ok(is_whole.then(|| Login::new(self.username, self.password)));
        }
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decoded = GeneralPurpose::new(&STANDARD, lenient).decode(self.auth.trim());
        let decoded = decoded
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or("`auth` is not base64")?;
        // Older versions of Docker padded with zeros.
        Login::parse(decoded.trim_end_matches('\0'))
            .map(Some)
            .ok_or("`auth` is not USER:PASSWORD in base64")
    }
}

/// A registry as an image's reference spells it: without scheme and path; Docker Hub has several names.
fn normal(registry: &str) -> String {
    let host = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    match host.split('/').next().unwrap_or(host) {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            DOCKER_HUB.to_owned()
        }
        host => host.to_ascii_lowercase(),
    }
}

/// A helper is a program in PATH, and its name no path.
fn checked(name: String) -> Result<String, String> {
    match name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        true => Ok(name),
        false => Err(format!("`{}` can't be the name of a credential helper", name.escape_debug())),
    }
}

async fn ask(name: &str, verb: &str, key: &str, host: &Host) -> Result<Captured> {
    let env = host.environment.for_credential_helpers();
    let program = format!("docker-credential-{name}");
    let path = find(&program, env.get(std::ffi::OsStr::new("PATH")).map(|path| path.as_os_str()));
    let path = path.ok_or_else(|| {
        helper_failed(name, key)
            .why(format!("there is no `{program}` in PATH"))
            .hint("Docker's config.json names it")
    })?;
    Program::new(&path, std::path::Path::new("/"), &env)
        .args([verb])
        .input(key)
        .capture(&host.log, &host.interrupt)
        .await
}

fn helper_failed(name: &str, key: &str) -> Error {
    Error::new(Exit::Credentials, format!("the credential helper `{name}` failed for `{key}`"))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::{
        base::{interrupt::Interrupt, log::Log},
        services::github::Pace,
    };

    fn host(variables: &[(&str, &str)]) -> Host {
        Host {
            environment: ProcessEnv::new(
                variables.iter().map(|(name, value)| (name.into(), value.into())),
            ),
            log: Log::new(Redactor::default(), 0, true, false),
            interrupt: Interrupt::never(),
            run: None,
            pace: Pace::new(Interrupt::never()),
        }
    }

    fn gather(registries: &[&str], host: &Host) -> Result<Logins> {
        let registries: Vec<_> = registries.iter().map(|text| text.parse().unwrap()).collect();
        Logins::gather(&registries, &host.environment, &host.log.redactor)
    }

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.into(), password: Secret::new(password) })
    }

    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIG_FILE), config).unwrap();
        folder
    }

    fn helper(folder: &Path, name: &str, script: &str) {
        let path = folder.join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn the_first_that_knows_a_registry_wins() {
        let config = folder(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "Y29uZmlnOmNvbmZpZy1wYXNzd29yZA=="},
                "quay.io": {"auth": "Y29uZmlnOmNvbmZpZy1wYXNzd29yZA"},
                "https://ghcr.io/v2/": {"username": "u", "password": "ghcr-password"},
                "token.example": {"identitytoken": "refresh-token"},
                "nothing.example": {}}}"#,
        );
        let host = host(&[
            ("DOCKER_CONFIG", config.path().to_str().unwrap()),
            ("DOCKERHUB_USERNAME", "hub"),
            ("DOCKERHUB_PASSWORD", "hub-password"),
            ("QUAY", "robot:a:b=c-password"),
            ("LOCAL", "<token>:local-token"),
        ]);
        let logins = gather(&["quay.io=QUAY", "localhost:5000=LOCAL"], &host).unwrap();
        let login = async |registry: &str| logins.for_host(registry, &host).await.unwrap();
        assert_eq!(login("quay.io").await, password("robot", "a:b=c-password"));
        for name in ["docker.io", "index.docker.io", DOCKER_HUB_KEY] {
            assert_eq!(login(name).await, password("hub", "hub-password"));
        }
        assert_eq!(login("ghcr.io").await, password("u", "ghcr-password"));
        assert_eq!(
            login("token.example").await,
            Some(Login::IdentityToken(Secret::new("refresh-token")))
        );
        assert_eq!(
            login("localhost:5000").await,
            Some(Login::IdentityToken(Secret::new("local-token")))
        );
        assert_eq!(login("nothing.example").await, None);
        let all = logins.all(&host).await.unwrap();
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["docker.io", "ghcr.io", "localhost:5000", "quay.io", "token.example"]);
        for secret in
            ["a:b=c-password", "hub-password", "ghcr-password", "refresh-token", "local-token"]
        {
            assert_eq!(host.log.redactor.apply(secret), "***");
        }
        let shown = format!("{all:?} {:?}", "quay.io=QUAY".parse::<RegistryLogin>());
        assert!(
            !shown.contains("-password") && !shown.contains("-token") && !shown.contains("QUAY"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn the_config_of_the_home_folder() {
        let home = tempfile::tempdir().unwrap();
        let host = host(&[("HOME", home.path().to_str().unwrap())]);
        assert_eq!(gather(&[], &host).unwrap().all(&host).await.unwrap(), BTreeMap::new());
        fs::create_dir(home.path().join(".docker")).unwrap();
        fs::write(
            home.path().join(".docker/config.json"),
            r#"{"auths": {"a.b": {"auth": "dTpwYXNz"}}, "x": 1}"#,
        )
        .unwrap();
        assert_eq!(
            gather(&[], &host).unwrap().for_host("A.b", &host).await.unwrap(),
            password("u", "pass")
        );
    }

    #[tokio::test]
    async fn helpers_are_asked_when_needed() {
        let config = folder(
            r#"{"credsStore": "all", "credHelpers": {"https://own.example": "own", "bad.example": "bad"}}"#,
        );
        let bin = config.path();
        helper(
            bin,
            "own",
            r#"read key; printf '{"ServerURL":"x","Username":"%s","Secret":"own-password%s"}' "$key" "$1$TOKEN""#,
        );
        helper(bin, "bad", "echo broken; exit 1");
        let list = r#"[ "$1" = list ] && { printf '{"https://index.docker.io/v1/": "u", "gone.example": "u"}'; exit; }
read key
case $key in https://index.docker.io/v1/) printf '{"Username":"<token>","Secret":"hub-token"}';;
*) echo "credentials not found in native keychain"; exit 1;; esac"#;
        helper(bin, "all", list);
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let host =
            host(&[("DOCKER_CONFIG", bin.to_str().unwrap()), ("PATH", &path), ("TOKEN", "leaked")]);
        let logins = gather(&[], &host).unwrap();
        assert_eq!(
            logins.for_host("own.example", &host).await.unwrap(),
            password("https://own.example", "own-passwordget")
        );
        assert_eq!(host.log.redactor.apply("own-passwordget"), "***");
        let token = Login::IdentityToken(Secret::new("hub-token"));
        assert_eq!(logins.for_host("docker.io", &host).await.unwrap(), Some(token));
        assert_eq!(logins.for_host("other.example", &host).await.unwrap(), None);
        let error = logins.for_host("bad.example", &host).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Credentials);
        assert!(
            error.to_string().contains("`bad`") && error.to_string().contains("broken"),
            "{error}"
        );
        let all = logins.all(&host).await.unwrap();
        assert_eq!(
            all.keys().map(String::as_str).collect::<Vec<_>>(),
            ["docker.io", "own.example"]
        );
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_is_named() {
        let config = folder(r#"{"credHelpers": {"own.example": "no-such-helper"}}"#);
        let host =
            host(&[("DOCKER_CONFIG", config.path().to_str().unwrap()), ("PATH", "/usr/bin")]);
        let error = gather(&[], &host)
            .unwrap()
            .for_host("own.example", &host)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no `docker-credential-no-such-helper` in PATH"), "{error}");
    }

    #[test]
    fn malformed_logins_are_refused_and_not_shown() {
        let host_ =
            host(&[("QUAY", "user:secret-word"), ("EMPTY", ""), ("NO_COLON", "secret-word")]);
        for (registries, why) in [
            (vec!["quay.io"], "is not HOST=VARIABLE"),
            (vec!["quay.io=user:secret-word"], "is not HOST=VARIABLE"),
            (vec!["=QUAY"], "is not HOST=VARIABLE"),
            (vec!["https://quay.io/v2=QUAY"], "is not HOST=VARIABLE"),
            (vec!["quay.io="], "is not HOST=VARIABLE"),
            (vec!["quay.io=SECRET"], "for `quay.io` is not set"),
            (vec!["quay.io=EMPTY"], "for `quay.io` is not set"),
            (vec!["quay.io=NO_COLON"], "does not hold USER:PASSWORD"),
            (vec!["quay.io=QUAY", "QUAY.io=QUAY"], "two logins for `quay.io`"),
        ] {
            let error = gather(&registries, &host_).err().unwrap();
            let text = error.to_string();
            assert!(error.exit() == Exit::Input && text.contains(why), "{registries:?}: {text}");
            assert!(!text.contains("secret-word") && !text.contains("SECRET"), "{text}");
        }
        for (config, why) in [
            (r#"{"auths": {"quay.io": "secret-word"}}"#, "line 1, column"),
            (
                r#"{"auths": {"quay.io": {"auth": "!secret-word"}}}"#,
                "`quay.io`: `auth` is not base64",
            ),
            (r#"{"auths": {"quay.io": {"auth": "c2VjcmV0LXdvcmQ="}}}"#, "not USER:PASSWORD"),
            (r#"{"credsStore": "../x"}"#, "can't be the name of a credential helper"),
        ] {
            let folder = folder(config);
            let error = gather(&[], &host(&[("DOCKER_CONFIG", folder.path().to_str().unwrap())]))
                .err()
                .unwrap();
            let text = error.to_string();
            assert!(
                error.exit() == Exit::Input && text.contains(why) && !text.contains("secret-word"),
                "{text}"
            );
        }
        let alone = gather(&[], &host(&[("DOCKERHUB_USERNAME", "u")])).err().unwrap().to_string();
        assert!(alone.contains("`DOCKERHUB_PASSWORD` is not set"), "{alone}");
    }
}
