//! Logins of registries, as the engine's API spells them.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;

use crate::services::registry::login::Login;

/// What Docker's own files and clients call Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Logins by the host of their registry.
#[derive(Clone, Default)]
pub(crate) struct RegistryCredentials(Vec<(String, Login)>);

impl RegistryCredentials {
    pub(crate) fn new(logins: impl IntoIterator<Item = (String, Login)>) -> Self {
        Self(logins.into_iter().map(|(host, login)| (spelled(&host).to_owned(), login)).collect())
    }

    pub(super) fn of(&self, host: &str) -> Option<&Login> {
        let host = spelled(host);
        self.0.iter().find(|(known, _)| known == host).map(|(_, login)| login)
    }

    /// For the classic builder, which gets all of them with the request.
    pub(super) fn for_header(&self) -> HashMap<String, DockerCredentials> {
        self.0.iter().map(|(host, login)| (host.clone(), credentials(host, login))).collect()
    }
}

/// Docker Hub has several names, and `auths` knows one of them.
fn spelled(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

pub(super) fn credentials(host: &str, login: &Login) -> DockerCredentials {
    let serveraddress = Some(host.to_owned());
    match login {
        Login::Password { user, password } => DockerCredentials {
            username: Some(user.clone()),
            password: Some(password.expose().to_owned()),
            serveraddress,
            ..DockerCredentials::default()
        },
        Login::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token.expose().to_owned()),
            serveraddress,
            ..DockerCredentials::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Secret;

    #[test]
    fn docker_hub_by_any_name() {
        let login = || Login::IdentityToken(Secret::new("t0ken"));
        let credentials = RegistryCredentials::new([
            ("docker.io".to_owned(), login()),
            ("r.acme:5000".to_owned(), login()),
        ]);
        for host in ["registry-1.docker.io", "docker.io", DOCKER_HUB, "r.acme:5000"] {
            assert!(credentials.of(host).is_some(), "{host}");
        }
        assert!(credentials.of("r.acme").is_none());
        assert!(credentials.for_header().contains_key(DOCKER_HUB));
    }
}
