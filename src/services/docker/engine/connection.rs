//! The connection to a Docker engine, and what its failures mean.

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as Failure};

use super::{
    address::EngineAddress,
    builder::{self, Builder},
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
    },
    services::ci::host::Host,
};

/// An engine that has answered.
pub(crate) struct Engine {
    pub(super) docker: Docker,
    pub(super) address: EngineAddress,
    pub(crate) builder: Builder,
    pub(crate) is_podman: bool,
}

impl Engine {
    pub(crate) async fn connect(host: &Host) -> Result<Self> {
        let address = EngineAddress::find(&host.environment)?;
        let docker = client(&address).map_err(|failure| absent(&address, words(&failure)))?;
        let version = tokio::time::timeout(Limit::EngineAnswer.time(), docker.version())
            .await
            .map_err(|_| absent(&address, Limit::EngineAnswer.passed("no answer")))?
            .map_err(|failure| absent(&address, words(&failure)))?;
        let builder = Builder::choose(&version, &host.environment);
        let name = version.version.as_deref().unwrap_or("(unknown)");
        host.log.detail(&format!("engine {name} at {address}, {builder}"));
        let is_podman = builder::is_podman(&version);
        Ok(Self { docker, address, builder, is_podman })
    }
}

fn client(address: &EngineAddress) -> Result<Docker, Failure> {
    // Covers the upload of a build's files, which bollard's own two minutes would cut off.
    let timeout = Limit::Engine.time().as_secs();
    let docker = match address {
        EngineAddress::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), timeout, API_DEFAULT_VERSION)
        }
        EngineAddress::Tcp(address) => {
            Docker::connect_with_http(address, timeout, API_DEFAULT_VERSION)
        }
        EngineAddress::Tls { address, certificates } => {
            let [key, cert, authority] =
                ["key.pem", "cert.pem", "ca.pem"].map(|name| certificates.join(name));
            Docker::connect_with_ssl(address, &key, &cert, &authority, timeout, API_DEFAULT_VERSION)
        }
    }?;
    Ok(docker.with_request_modifier(with_url_safe_base64))
}

/// bollard 0.21 writes credentials in base64's standard alphabet, and the engine reads the one for
/// URLs.
pub(super) fn with_url_safe_base64(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers_mut().get_mut(name) else { continue };
        let url_safe = value.to_str().map(|text| text.replace('+', "-").replace('/', "_"));
        if let Some(Ok(mut header)) =
            url_safe.ok().map(|text| text.parse::<reqwest::header::HeaderValue>())
        {
            header.set_sensitive(true);
            *value = header;
        }
    }
    request
}

fn absent(address: &EngineAddress, why: String) -> Error {
    let error = Error::input(format!("the Docker engine at {address} does not answer")).why(&why);
    match why.contains("ermission denied") {
        true => error.hint(
            "let this user use the engine: it must be in the socket's group, mostly `docker`",
        ),
        false => error.hint("start the engine, or set DOCKER_HOST to where it listens"),
    }
}

/// The engine's own words where there are some.
pub(super) fn words(failure: &Failure) -> String {
    match failure {
        Failure::DockerStreamError { error } => error.clone(),
        Failure::DockerResponseServerError { status_code, message } => {
            format!("{message} (HTTP {status_code})")
        }
        Failure::RequestTimeoutError => Limit::Engine.passed("no answer"),
        other => crate::base::error::chain(other),
    }
}

/// A request that the engine did not answer to the end.
pub(super) fn lost(doing: &str, failure: &Failure) -> Error {
    Error::new(Exit::Unavailable, format!("the engine was lost while {doing}"))
        .why(words(failure))
        .hint("try again")
}
