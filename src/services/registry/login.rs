//! The login for a registry, and how a registry's name is spelled.

use crate::base::redact::{Redactor, Secret};

/// Docker Hub in the reference of an image.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// Docker Hub in Docker's own files and clients.
pub(crate) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Docker's own user name for "the password is an identity token".
const TOKEN_USER: &str = "<token>";

/// A user and a password, or a token that replaces both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// An OAuth refresh token, as `docker login` keeps for some registries.
    IdentityToken(Secret),
}

impl Login {
    pub(crate) fn new(user: String, password: String) -> Self {
        match user.as_str() {
            TOKEN_USER => Self::IdentityToken(Secret::new(password)),
            _ => Self::Password { user, password: Secret::new(password) },
        }
    }

    /// Parses `USER:PASSWORD`; a password may contain `:`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':')?;
        (!user.is_empty() && !password.is_empty())
            .then(|| Self::new(user.to_owned(), password.to_owned()))
    }

    pub(crate) fn mask(&self, redactor: &Redactor) {
        let (Self::Password { password: secret, .. } | Self::IdentityToken(secret)) = self;
        redactor.add(secret);
    }
}

/// Returns the name of a registry as the reference of an image spells it: lowercase, without scheme
/// and path, and one name for Docker Hub.
pub(super) fn normalize_host(registry: &str) -> String {
    let host = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    match host.split('/').next().unwrap_or(host) {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            DOCKER_HUB.to_owned()
        }
        host => host.to_ascii_lowercase(),
    }
}
