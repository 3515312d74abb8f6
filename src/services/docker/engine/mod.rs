//! The Docker engine, over its API: which one there is, what it can do, and what it is told.

use std::{collections::HashMap, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, BollardRequest, Docker, auth::DockerCredentials, errors::Error as Failure,
};

use crate::{
    base::error::{Error, Exit, Result},
    services::{ci::host::Host, registry::logins::Login},
};

mod build;
mod buildkit_session;
mod endpoint;
mod images;
mod progress;
mod push;
mod running;

pub(crate) use self::{
    build::{Build, Builder},
    endpoint::Endpoint,
    push::Refusal,
    running::Running,
};

/// It covers the upload of a build's files, which bollard's own two minutes would cut off.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// An engine that is there answers at once.
const FIRST_ANSWER: Duration = Duration::from_secs(20);
/// What Docker's own files and clients call Docker Hub.
pub(crate) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// An engine that has answered.
pub(crate) struct Engine {
    docker: Docker,
    endpoint: Endpoint,
    pub(crate) builder: Builder,
}

impl Engine {
    pub(crate) async fn connect(host: &Host) -> Result<Self> {
        let endpoint = Endpoint::find(&host.environment)?;
        let docker = client(&endpoint).map_err(|failure| absent(&endpoint, &failure))?;
        let version = tokio::time::timeout(FIRST_ANSWER, docker.version())
            .await
            .unwrap_or(Err(Failure::RequestTimeoutError))
            .map_err(|failure| absent(&endpoint, &failure))?;
        let builder = Builder::choose(&version, &host.environment);
        let name = version.version.as_deref().unwrap_or("(unknown)");
        host.log.detail(&format!("engine {name} at {endpoint}, {builder}"));
        Ok(Self { docker, endpoint, builder })
    }
}

fn client(endpoint: &Endpoint) -> Result<Docker, Failure> {
    let timeout = TIMEOUT.as_secs();
    let docker = match endpoint {
        Endpoint::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), timeout, API_DEFAULT_VERSION)
        }
        Endpoint::Tcp(address) => Docker::connect_with_http(address, timeout, API_DEFAULT_VERSION),
        Endpoint::Tls { address, certificates } => {
            let [key, cert, authority] =
                ["key.pem", "cert.pem", "ca.pem"].map(|name| certificates.join(name));
            Docker::connect_with_ssl(address, &key, &cert, &authority, timeout, API_DEFAULT_VERSION)
        }
    }?;
    Ok(docker.with_request_modifier(mended))
}

/// bollard 0.21 writes credentials in base64's standard alphabet, and the engine reads the one for URLs.
fn mended(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers_mut().get_mut(name) else { continue };
        let mended = value.to_str().map(|text| text.replace('+', "-").replace('/', "_"));
        if let Some(Ok(mut mended)) =
            mended.ok().map(|text| text.parse::<reqwest::header::HeaderValue>())
        {
            mended.set_sensitive(true);
            *value = mended;
        }
    }
    request
}

fn absent(endpoint: &Endpoint, failure: &Failure) -> Error {
    let why = words(failure);
    let error = Error::input(format!("the Docker engine at {endpoint} does not answer")).why(&why);
    match why.contains("ermission denied") {
        true => error.hint(
            "let this user use the engine: it must be in the socket's group, mostly `docker`",
        ),
        false => error.hint("start the engine, or set DOCKER_HOST to where it listens"),
    }
}

/// The engine's own words where there are some.
fn words(failure: &Failure) -> String {
    match failure {
        Failure::DockerStreamError { error } => error.clone(),
        Failure::DockerResponseServerError { status_code, message } => {
            format!("{message} (HTTP {status_code})")
        }
        Failure::RequestTimeoutError => "no answer in time".to_owned(),
        other => crate::base::error::chain(other),
    }
}

/// A request that the engine did not answer to the end.
fn lost(doing: &str, failure: &Failure) -> Error {
    Error::new(Exit::Unavailable, format!("the engine was lost while {doing}"))
        .why(words(failure))
        .hint("try again")
}

/// Logins by the host of their registry.
#[derive(Clone, Default)]
pub(crate) struct Credentials(Vec<(String, Login)>);

impl Credentials {
    pub(crate) fn new(logins: impl IntoIterator<Item = (String, Login)>) -> Self {
        Self(logins.into_iter().map(|(host, login)| (spelled(&host).to_owned(), login)).collect())
    }

    fn of(&self, host: &str) -> Option<&Login> {
        let host = spelled(host);
        self.0.iter().find(|(known, _)| known == host).map(|(_, login)| login)
    }

    /// For the classic builder, which gets all of them with the request.
    fn for_header(&self) -> HashMap<String, DockerCredentials> {
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

fn credentials(host: &str, login: &Login) -> DockerCredentials {
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
        let credentials = Credentials::new([
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
