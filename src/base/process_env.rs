//! The process environment as a value: read once in `main.rs`, and passed on to programs by an
//! allow list only.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use super::error::{Error, Result};

/// The variables that cdflow was started with.
#[derive(Clone, Default)]
pub struct ProcessEnv(BTreeMap<OsString, OsString>);

/// Passed to every program: paths, user, network. No credentials, tokens or inputs.
const FOR_PROGRAMS: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];

/// Where AWS is, for Terraform's backend and providers. Credentials are not here: they come from
/// the credentials endpoint.
const FOR_TERRAFORM: &[&str] = &[
    "AWS_EC2_METADATA_DISABLED",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "TF_LOG",
];

/// Where the engine is and who we are there, for a hook that works with an image.
const FOR_DOCKER: &[&str] =
    &["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"];

/// What Terraform needs to fetch modules and providers, which it does at release only.
const FOR_FETCHING: &[&str] = &[
    "TF_CLI_CONFIG_FILE",
    "TF_PLUGIN_CACHE_DIR",
    "TF_REGISTRY_CLIENT_TIMEOUT",
    "TF_REGISTRY_DISCOVERY_RETRY",
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "NETRC",
];

/// Where the programs that keep Docker's passwords find them.
const FOR_CREDENTIAL_HELPERS: &[&str] = &[
    "DOCKER_CONFIG",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "CLOUDSDK_CONFIG",
];

/// Never passed on, because they would override what cdflow has checked: identity, workspace and
/// values.
const NEVER_PASSED: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_",
    "TF_WORKSPACE",
    "TF_DATA_DIR",
    "TF_CLI_ARGS",
    "TF_CLI_CONFIG_FILE",
    "TF_VAR_",
    "TF_LOG_PATH",
    "TF_PLUGIN_CACHE_DIR",
];

impl ProcessEnv {
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// Returns None if the variable is unset, empty or not UTF-8.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(OsStr::new(name))?.to_str().filter(|value| !value.is_empty())
    }

    /// Whether the variable is set to an empty value.
    pub(crate) fn is_empty(&self, name: &str) -> bool {
        self.0.get(OsStr::new(name)).is_some_and(|value| value.is_empty())
    }

    /// Sets a variable for programs.
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Like [`Self::get`], but owned.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Returns None also if the value is not a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Refuses a name whose value Terraform must not get from outside; says which names are not
    /// set.
    pub(crate) fn check_passed<'a>(&self, names: &'a [String]) -> Result<Vec<&'a str>> {
        if let Some(name) =
            names.iter().find(|name| NEVER_PASSED.iter().any(|never| name.starts_with(never)))
        {
            return Err(Error::input(format!(
                "cannot pass `{}` to Terraform",
                name.escape_debug()
            ))
            .why("cdflow sets the identity, the workspace and the values itself")
            .hint("remove it from `pass-environment`, and put values into config/"));
        }
        Ok(names.iter().map(String::as_str).filter(|name| self.get(name).is_none()).collect())
    }

    pub(crate) fn for_programs(&self) -> BTreeMap<OsString, OsString> {
        self.pick(|name| FOR_PROGRAMS.contains(&name) || name.starts_with("LC_"))
    }

    /// For a program that talks to the Docker engine.
    pub(crate) fn for_docker(&self) -> BTreeMap<OsString, OsString> {
        let mut picked = self.pick(|name| FOR_DOCKER.contains(&name));
        picked.extend(self.for_programs());
        picked
    }

    /// For Terraform at deploy: with `passed`, the names that the user asked for.
    pub(crate) fn for_terraform(&self, passed: &[String]) -> BTreeMap<OsString, OsString> {
        let mut picked = self.pick(|name| {
            FOR_TERRAFORM.contains(&name)
                || name.starts_with("AWS_ENDPOINT_URL")
                || passed.iter().any(|passed| passed == name)
        });
        picked.extend(self.for_programs());
        picked.insert("TF_IN_AUTOMATION".into(), "1".into());
        picked.insert("TF_INPUT".into(), "0".into());
        picked.insert("CHECKPOINT_DISABLE".into(), "1".into());
        picked
    }

    /// For Terraform at release.
    pub(crate) fn for_fetching(&self, passed: &[String]) -> BTreeMap<OsString, OsString> {
        let mut picked =
            self.pick(|name| FOR_FETCHING.contains(&name) || name.starts_with("TF_TOKEN_"));
        // Without this, git and ssh would wait forever for an answer at a terminal.
        picked.entry("GIT_SSH_COMMAND".into()).or_insert_with(|| "ssh -o BatchMode=yes".into());
        picked.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
        picked.extend(self.for_terraform(passed));
        picked
    }

    pub(crate) fn for_credential_helpers(&self) -> BTreeMap<OsString, OsString> {
        let mut picked = self.pick(|name| FOR_CREDENTIAL_HELPERS.contains(&name));
        picked.extend(self.for_programs());
        picked
    }

    fn pick(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<OsString, OsString> {
        let wanted = |name: &OsString| name.to_str().is_some_and(&wanted);
        self.0
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_keys_stay_here() {
        let all = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("GITHUB_TOKEN", "x"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x"),
            ("INPUT_SSH-KEY", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_PROFILE", "x"),
            ("TF_WORKSPACE", "x"),
            ("TF_CLI_ARGS", "x"),
            ("TF_VAR_a", "x"),
            ("TF_TOKEN_app_terraform_io", "x"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:5555"),
            ("DATADOG_API_KEY", "k"),
        ];
        let environment = ProcessEnv::new(all.map(|(name, value)| (name.into(), value.into())));
        let names = |picked: BTreeMap<OsString, OsString>| -> Vec<String> {
            picked.into_keys().map(|name| name.into_string().unwrap()).collect()
        };
        assert_eq!(names(environment.for_programs()), ["LC_ALL", "PATH"]);
        assert_eq!(
            names(environment.for_terraform(&["DATADOG_API_KEY".into()])),
            [
                "AWS_ENDPOINT_URL",
                "CHECKPOINT_DISABLE",
                "DATADOG_API_KEY",
                "LC_ALL",
                "PATH",
                "TF_INPUT",
                "TF_IN_AUTOMATION"
            ]
        );
        let passed =
            |name: &str| environment.check_passed(&[name.to_owned()]).map(|unset| unset.len()).ok();
        assert_eq!(
            ["DATADOG_API_KEY", "NOT_SET", "AWS_ACCESS_KEY_ID", "TF_CLI_ARGS_plan", "TF_VAR_a"]
                .map(passed),
            [Some(0), Some(1), None, None, None]
        );
        assert!(
            names(environment.for_fetching(&[])).contains(&"TF_TOKEN_app_terraform_io".to_owned())
        );
    }
}
