//! Docker's config.json: logins that it contains, and the names of credential helpers.

use std::{collections::BTreeMap, io::ErrorKind, path::PathBuf};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
        redact::Secret,
        small_file,
    },
    services::registry::login::Login,
};

pub(super) const CONFIG_FILE: &str = "config.json";

/// The keys of config.json that cdflow uses. A map's key is a registry, in any spelling.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DockerConfig {
    pub(super) auths: BTreeMap<String, AuthEntry>,
    /// The helper for every registry without one of its own.
    pub(super) creds_store: Option<String>,
    pub(super) cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl DockerConfig {
    /// Reads config.json in `$DOCKER_CONFIG`, else in `~/.docker`. Returns None if the file does
    /// not exist.
    pub(super) fn read(environment: &ProcessEnv) -> Result<Option<(PathBuf, String)>> {
        let home = || environment.get("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let Some(folder) = environment.get("DOCKER_CONFIG").map(PathBuf::from).or_else(home) else {
            return Ok(None);
        };
        let path = folder.join(CONFIG_FILE);
        match small_file::text(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::io("cannot read", &path, &error)),
        }
    }

    /// Parses config.json. The error has no text of the parser, which could quote a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            format!(
                "not in the format that `docker login` writes (line {}, column {})",
                error.line(),
                error.column()
            )
        })
    }
}

impl AuthEntry {
    /// Returns None for an entry without a login, which Docker writes where a helper has it.
    pub(super) fn login(self) -> Result<Option<Login>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::IdentityToken(Secret::new(self.identitytoken))));
        }
        if self.auth.is_empty() {
            let is_complete = !self.username.is_empty() && !self.password.is_empty();
            return Ok(is_complete.then(|| Login::new(self.username, self.password)));
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
