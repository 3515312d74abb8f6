//! The HTTP client for one registry, with the tokens that the registry has granted.

use std::{borrow::Cow, collections::BTreeMap};

use reqwest::{Client, header::HeaderValue, redirect::Policy};
use tokio::sync::Mutex;

use super::login::{DOCKER_HUB, Login};
use crate::base::{
    authorities,
    error::{Error, Result, chain},
    limits::Limit,
};

/// One registry.
pub(crate) struct Registry {
    pub(super) host: String,
    /// The start of every URL: scheme and host.
    pub(super) base: String,
    pub(super) client: Client,
    /// For token services. It follows no redirect, so that no login is sent to a third host.
    pub(super) token_client: Client,
    pub(super) login: Option<Login>,
    /// The value of the `Authorization` header per repository: a token is valid for one repository
    /// only.
    pub(super) authorizations: Mutex<BTreeMap<String, HeaderValue>>,
}

impl Registry {
    /// Returns a client for `host`, spelled as in the reference of an image: `ghcr.io`,
    /// `localhost:5000`.
    pub(crate) fn new(host: &str, login: Option<Login>) -> Result<Self> {
        let is_local = is_local(host);
        let builder = || {
            authorities::http_client()
                // This includes the targets of redirects.
                .https_only(!is_local)
                .connect_timeout(Limit::RegistryConnect.time())
                .read_timeout(Limit::RegistryIdle.time())
                .timeout(Limit::RegistryAnswer.time())
                .user_agent(concat!("cdflow/", env!("CARGO_PKG_VERSION")))
        };
        let failed = |error: reqwest::Error| {
            Error::internal("cannot create an HTTP client").why(chain(&error))
        };
        let address = if host == DOCKER_HUB { "registry-1.docker.io" } else { host };
        Ok(Self {
            host: host.to_owned(),
            base: format!("{}://{address}", if is_local { "http" } else { "https" }),
            client: builder().build().map_err(failed)?,
            token_client: builder().redirect(Policy::none()).build().map_err(failed)?,
            login,
            authorizations: Mutex::default(),
        })
    }

    /// Returns the registry's own name of a repository: Docker Hub's short names are in `library/`.
    pub(super) fn path<'r>(&self, repository: &'r str) -> Cow<'r, str> {
        match self.host == DOCKER_HUB && !repository.contains('/') {
            true => format!("library/{repository}").into(),
            false => repository.into(),
        }
    }
}

/// Returns whether cdflow uses HTTP for this host, as Docker's engine does: only for loopback
/// addresses.
pub(crate) fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
