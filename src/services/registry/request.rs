//! One request to a registry: retries, login, and errors that name the image.

use std::{
    fmt,
    time::{Duration, Instant},
};

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};

use super::client::Registry;
use crate::base::{
    authorities::Rejection,
    digest::Sha256,
    error::{Error, Exit, Result},
    http_wait,
    limits::Limit,
    retry::Retry,
};

pub(super) const RETRY: Retry = Retry {
    attempts: 4,
    first_pause: Duration::from_millis(500),
    // `Limit::RegistryPause` limits what a registry asks for.
    longest_pause: Duration::MAX,
};
/// The largest manifest that registries accept; image configurations are smaller.
pub(super) const LIMIT: usize = 4 << 20;
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.oci.image.index.v1+json";

/// What rustls says of an answer that is not TLS.
const WITHOUT_TLS: &str = "received corrupt message of type InvalidContentType";

pub(super) struct RegistryRequest<'a> {
    pub(super) registry: &'a Registry,
    /// The image as messages name it.
    pub(super) image: String,
    pub(super) repository: &'a str,
    pub(super) access: Access,
}

/// The permission that a request needs.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Pull,
    Push,
}

impl RegistryRequest<'_> {
    /// An answer of success or 404. Lets itself be authorizations, once, where that is asked for.
    pub(super) async fn send(&self, method: Method, path: &str) -> Result<Response> {
        self.send_content(method, path, None).await
    }

    /// Like [`Self::send`], with a media type and content.
    pub(super) async fn send_content(
        &self,
        method: Method,
        path: &str,
        content: Option<(&str, &[u8])>,
    ) -> Result<Response> {
        let registry = self.registry;
        let url = format!("{}/v2/{}/{path}", registry.base, registry.path(self.repository));
        let mut authorizations = registry.authorizations.lock().await;
        let request = |authorization: Option<&HeaderValue>| {
            let request = registry.client.request(method.clone(), &url).header(ACCEPT, MANIFESTS);
            let request = match content {
                Some((kind, bytes)) => request.header(CONTENT_TYPE, kind).body(bytes.to_vec()),
                None => request,
            };
            match authorization {
                Some(value) => request.header(AUTHORIZATION, value.clone()),
                None => request,
            }
        };
        let mut answer = self.with_retries(|| request(authorizations.get(self.repository))).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let header = self.authorization(&answer).await?;
            answer = self.with_retries(|| request(Some(&header))).await?;
            authorizations.insert(self.repository.to_owned(), header);
        }
        match answer.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.rejected(&answer)),
            status => Err(self.unavailable(format!("the registry answers {status}"))),
        }
    }

    /// Returns the content and its media type; None if it does not exist. If `reference` is a
    /// digest, the content is checked against it.
    pub(super) async fn get(
        &self,
        path: &str,
        reference: &str,
    ) -> Result<Option<(Vec<u8>, String)>> {
        let mut answer = self.send(Method::GET, path).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let media_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = media_type.to_owned();
        let bytes = self.content(&mut answer).await?;
        let digest = digest_of(&bytes);
        if reference.starts_with("sha256:") && reference != digest {
            return Err(Error::integrity(self.what())
                .why(format!("the registry sent {digest} instead of {reference}")));
        }
        Ok(Some((bytes, media_type)))
    }

    /// Like [`Self::get`], for a part that an existing manifest refers to.
    pub(super) async fn must_get(&self, path: &str, digest: &str) -> Result<Vec<u8>> {
        let found = self.get(path, digest).await?;
        found
            .map(|(bytes, _)| bytes)
            .ok_or_else(|| self.unavailable(format!("its part {digest} is missing")))
    }

    pub(super) async fn content(&self, answer: &mut Response) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut began = Instant::now();
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| self.unavailable(unanswered(error, began)))?
        {
            began = Instant::now();
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LIMIT {
                return Err(self.unavailable(format!("the answer has more than {LIMIT} bytes")));
            }
        }
        Ok(bytes)
    }

    pub(super) fn parse<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.unavailable(format!("invalid answer: {error}")))
    }

    /// Repeats a request after 429, 5xx and connection errors.
    pub(super) async fn with_retries(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response> {
        let mut attempts = RETRY.start();
        loop {
            let began = Instant::now();
            let failed = match request().send().await {
                Ok(answer) if is_temporary(answer.status()) => Ok(answer),
                Ok(answer) => return Ok(answer),
                Err(error) => Err(unanswered(error, began)),
            };
            if failed.as_ref().is_err_and(|why| why.contains(WITHOUT_TLS)) {
                return Err(self.without_tls());
            }
            let retry_after = failed.as_ref().ok().and_then(retry_after_of);
            if !attempts.again_after(retry_after).await {
                return failed.map_err(|why| self.unavailable(why));
            }
        }
    }

    pub(super) fn rejected(&self, answer: &Response) -> Error {
        let host = &self.registry.host;
        let error = Error::new(Exit::Credentials, self.what())
            .why(format!("the registry {host} denies access (HTTP {})", answer.status().as_u16()));
        match self.registry.login {
            Some(_) => error.hint(format!(
                "check the login for {host}: it must be allowed to {} `{}`",
                self.access.words(),
                self.repository
            )),
            None => error.hint(format!("log in: docker login {host}")),
        }
        .hint("check the name: some registries answer the same for a missing repository")
    }

    fn without_tls(&self) -> Error {
        let host = &self.registry.host;
        Error::input(self.what())
            .why(format!("the registry {host} uses HTTP, and cdflow expects HTTPS"))
            .hint("give the registry a certificate: cdflow uses HTTP only for loopback addresses")
    }

    pub(super) fn unavailable(&self, why: impl fmt::Display) -> Error {
        let (why, error) = (why.to_string(), Error::new(Exit::Unavailable, self.what()));
        match Rejection::of(&why, &format!("the registry {}", self.registry.host)) {
            Some(Rejection { why, hint }) => error.why(why).hint(hint),
            None => {
                error.why(why).hint("check that the registry is reachable, and run again later")
            }
        }
    }

    pub(super) fn what(&self) -> String {
        match self.access {
            Access::Pull => format!("cannot look up the image `{}`", self.image),
            Access::Push => format!("cannot push images to `{}`", self.image),
        }
    }
}

impl Access {
    fn words(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
        }
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Returns the pause that the registry asks for. It can ask for minutes, and cdflow would seem to
/// hang.
fn retry_after_of(answer: &Response) -> Option<Duration> {
    Some(http_wait::retry_after(answer)?.min(Limit::RegistryPause.time()))
}

/// Returns why nothing more arrived since `began`. reqwest does not say which of its limits has
/// passed; the one of a pause cannot have passed in less time.
fn unanswered(error: reqwest::Error, began: Instant) -> String {
    let limit = match began.elapsed() < Limit::RegistryIdle.time() {
        true => Limit::RegistryAnswer,
        false => Limit::RegistryIdle,
    };
    http_wait::why(error, Limit::RegistryConnect, limit)
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::of(bytes))
}
