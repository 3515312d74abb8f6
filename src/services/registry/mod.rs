//! A client of container registries: is an image there, which digest has a tag, and which labels does it bear.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use self::{challenge::Challenge, logins::Login};
use crate::base::{
    digest::Sha256,
    error::{Error, Exit, Result, chain},
    redact::Secret,
    retry::Retry,
};

mod challenge;
pub(crate) mod logins;
#[cfg(test)]
mod tests;

const RETRY: Retry = Retry {
    attempts: 4,
    first_pause: Duration::from_millis(500),
    // A registry may ask for minutes; who waits that long believes that we hang.
    longest_pause: Duration::from_secs(30),
};
const PATIENCE: Duration = Duration::from_secs(30);
/// For a whole answer, however steadily it drips.
const LONGEST_ANSWER: Duration = Duration::from_secs(120);
/// The largest manifest that registries take, and configurations are smaller.
const LIMIT: usize = 4 << 20;
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.oci.image.index.v1+json";

/// One registry, and what it has let us in with.
pub(crate) struct Registry {
    host: String,
    base: String,
    client: Client,
    /// For token services: what is sent there must not be sent on to where an answer leads.
    tokens: Client,
    login: Option<Login>,
    /// By repository: a token is good for one. The whole header.
    admitted: Mutex<BTreeMap<String, HeaderValue>>,
}

/// What is under a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// `sha256:…`, of the bytes that came.
    pub(crate) digest: String,
    pub(crate) media_type: String,
    /// Of the image; of the first image of an index.
    pub(crate) labels: BTreeMap<String, String>,
}

/// An image's manifest has a `config`, an index has `manifests`.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
}

impl Registry {
    /// `host` as it stands in an image's name: `ghcr.io`, `localhost:5000`.
    pub(crate) fn new(host: &str, login: Option<Login>) -> Result<Self> {
        let is_local = is_local(host);
        let builder = || {
            Client::builder()
                // Also where a redirect leads.
                .https_only(!is_local)
                .connect_timeout(Duration::from_secs(10))
                .read_timeout(PATIENCE)
                .timeout(LONGEST_ANSWER)
                .user_agent(concat!("cdflow/", env!("CARGO_PKG_VERSION")))
        };
        let failed = |error: reqwest::Error| {
            Error::internal("no HTTP client can be made").why(chain(&error))
        };
        let client = builder().build().map_err(failed)?;
        let tokens =
            builder().redirect(reqwest::redirect::Policy::none()).build().map_err(failed)?;
        let at = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let base = format!("{}://{at}", if is_local { "http" } else { "https" });
        Ok(Self { host: host.to_owned(), base, client, tokens, login, admitted: Mutex::default() })
    }

    /// Whether it has this tag or digest. Asks for no content: the Docker Hub counts that as a pull.
    pub(crate) async fn has(&self, repository: &str, reference: &str) -> Result<bool> {
        let asked = self.about(repository, reference);
        let answer = asked.send(Method::HEAD, &format!("manifests/{reference}")).await?;
        Ok(answer.status() != StatusCode::NOT_FOUND)
    }

    /// Which bytes a tag stands for; None when there is no such tag or repository. Asks for no content, as `has`.
    pub(crate) async fn digest(&self, repository: &str, reference: &str) -> Result<Option<String>> {
        let asked = self.about(repository, reference);
        let answer = asked.send(Method::HEAD, &format!("manifests/{reference}")).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        match answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()) {
            Some(digest) => Ok(Some(digest.to_owned())),
            // A registry need not say it.
            None => Ok(self.manifest(repository, reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// None when there is no such tag, digest or repository.
    pub(crate) async fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Manifest>> {
        let asked = self.about(repository, reference);
        let Some((bytes, media_type)) =
            asked.get(&format!("manifests/{reference}"), reference).await?
        else {
            return Ok(None);
        };
        let document = asked.parse::<Document>(&bytes)?;
        let labels = asked.labels(&document).await?;
        let media_type = document.media_type.unwrap_or(media_type);
        Ok(Some(Manifest { digest: digest_of(&bytes), media_type, labels }))
    }

    /// An upload is begun and given up, which leaves nothing. False when there is no such repository, where a registry wants one
    /// to be made first.
    pub(crate) async fn may_push(&self, repository: &str) -> Result<bool> {
        let asked = Asked {
            registry: self,
            image: format!("{}/{repository}", self.host),
            repository,
            may: Right::Push,
        };
        let answer = asked.send(Method::POST, "blobs/uploads/").await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let place = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| answer.url().join(value.to_str().ok()?).ok());
        // ECR forgets it by itself, and takes no DELETE. Another host must not see what this one has let us in with.
        if let Some(place) = place.filter(|place| place.origin() == answer.url().origin()) {
            let admitted = self.admitted.lock().await.get(repository).cloned();
            let request = self.client.delete(place);
            let request = admitted
                .into_iter()
                .fold(request, |request, header| request.header(AUTHORIZATION, header));
            let _ = request.send().await;
        }
        Ok(true)
    }

    fn about<'a>(&'a self, repository: &'a str, reference: &str) -> Asked<'a> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let image = format!("{}/{repository}{separator}{reference}", self.host);
        Asked { registry: self, image, repository, may: Right::Pull }
    }

    /// The registry's own, in which the Docker Hub's short names are long.
    fn path<'r>(&self, repository: &'r str) -> std::borrow::Cow<'r, str> {
        match self.host == "docker.io" && !repository.contains('/') {
            true => format!("library/{repository}").into(),
            false => repository.into(),
        }
    }
}

/// One question: all its errors name the image.
struct Asked<'a> {
    registry: &'a Registry,
    /// As it is written.
    image: String,
    repository: &'a str,
    /// What somebody must be allowed to do there.
    may: Right,
}

#[derive(Clone, Copy)]
enum Right {
    Pull,
    Push,
}

impl Asked<'_> {
    async fn labels(&self, document: &Document) -> Result<BTreeMap<String, String>> {
        let config = match (
            &document.config,
            document.manifests.iter().find(|manifest| manifest.is_image()),
        ) {
            (Some(config), _) => config.digest.clone(),
            (None, Some(first)) => {
                let manifest =
                    self.must_get(&format!("manifests/{}", first.digest), &first.digest).await?;
                match self.parse::<Document>(&manifest)?.config {
                    Some(config) => config.digest,
                    None => return Ok(BTreeMap::new()),
                }
            }
            (None, None) => return Ok(BTreeMap::new()),
        };
        let config: Value =
            self.parse(&self.must_get(&format!("blobs/{config}"), &config).await?)?;
        let labels = config["config"]["Labels"].as_object().into_iter().flatten();
        Ok(labels
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect())
    }

    async fn must_get(&self, path: &str, digest: &str) -> Result<Vec<u8>> {
        let found = self.get(path, digest).await?;
        found
            .map(|(bytes, _)| bytes)
            .ok_or_else(|| self.unavailable(format!("the registry has not got its part {digest}")))
    }

    /// The content and its type. What was asked for by digest has that digest.
    async fn get(&self, path: &str, reference: &str) -> Result<Option<(Vec<u8>, String)>> {
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
                .why(format!("{reference} was asked for, and {digest} came")));
        }
        Ok(Some((bytes, media_type)))
    }

    async fn content(&self, answer: &mut Response) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| self.unavailable(chain(&error.without_url())))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LIMIT {
                return Err(self.unavailable(format!("the answer has more than {LIMIT} bytes")));
            }
        }
        Ok(bytes)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.unavailable(format!("the answer makes no sense: {error}")))
    }

    /// An answer of success or 404. Lets itself be admitted, once, where that is asked for.
    async fn send(&self, method: Method, path: &str) -> Result<Response> {
        let registry = self.registry;
        let url = format!("{}/v2/{}/{path}", registry.base, registry.path(self.repository));
        let mut admitted = registry.admitted.lock().await;
        let request = |authorization: Option<&HeaderValue>| {
            let request = registry.client.request(method.clone(), &url).header(ACCEPT, MANIFESTS);
            match authorization {
                Some(value) => request.header(AUTHORIZATION, value.clone()),
                None => request,
            }
        };
        let mut answer = self.patiently(|| request(admitted.get(self.repository))).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let header = self.admission(&answer).await?;
            answer = self.patiently(|| request(Some(&header))).await?;
            admitted.insert(self.repository.to_owned(), header);
        }
        match answer.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.refused(&answer)),
            status => Err(self.unavailable(format!("the answer is {status}"))),
        }
    }

    /// What the registry's challenge asks for.
    async fn admission(&self, refusal: &Response) -> Result<HeaderValue> {
        let challenges = refusal.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenges.iter().find_map(|value| Challenge::parse(value.to_str().ok()?));
        match (challenge, &self.registry.login) {
            (Some(Challenge::Bearer { realm, service, scope }), login) => {
                self.token(&realm, service, scope, login.as_ref()).await
            }
            (Some(Challenge::Basic), Some(Login::Password { user, password })) => {
                self.header(&basic(user, password))
            }
            _ => Err(self.refused(refusal)),
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        login: Option<&Login>,
    ) -> Result<HeaderValue> {
        let registry = self.registry;
        if login.is_some() && !is_safe(realm) {
            return Err(Error::refused(self.what())
                .why(format!(
                    "its token service, `{}`, would get the login without TLS",
                    realm.escape_debug()
                ))
                .hint("find out who answers as this registry"));
        }
        let scope =
            scope.unwrap_or_else(|| format!("repository:{}:pull", registry.path(self.repository)));
        let mut fields = vec![("scope", scope)];
        fields.extend(service.map(|service| ("service", service)));
        let request = || match login {
            Some(Login::IdentityToken(token)) => {
                let mut fields = fields.clone();
                fields.push(("grant_type", "refresh_token".to_owned()));
                fields.push(("refresh_token", token.expose().to_owned()));
                fields.push(("client_id", "cdflow".to_owned()));
                let form = "application/x-www-form-urlencoded";
                registry
                    .tokens
                    .post(realm)
                    .header(CONTENT_TYPE, form)
                    .body(challenge::encoded(&fields))
            }
            Some(Login::Password { user, password }) => {
                let request = registry.tokens.get(challenge::with_query(realm, &fields));
                request.header(AUTHORIZATION, basic(user, password))
            }
            None => registry.client.get(challenge::with_query(realm, &fields)),
        };
        let mut answer = self.patiently(request).await?;
        match answer.status() {
            status if status.is_success() => {}
            // Some say 400 of a refresh token that they do not know.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.refused(&answer));
            }
            status => return Err(self.unavailable(format!("its token service answers {status}"))),
        }
        let granted: Value = self.parse(&self.content(&mut answer).await?)?;
        match ["token", "access_token"].iter().find_map(|name| granted[*name].as_str()) {
            Some(token) => self.header(&format!("Bearer {token}")),
            None => Err(self.unavailable("its token service gave no token")),
        }
    }

    /// A header that no log shows.
    fn header(&self, text: &str) -> Result<HeaderValue> {
        let mut value =
            HeaderValue::from_str(text).map_err(|_| self.unavailable("its token is no header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Again after 429, 5xx and where nobody answers, with growing pauses or those that the registry asks for.
    async fn patiently(&self, request: impl Fn() -> RequestBuilder) -> Result<Response> {
        let mut attempts = RETRY.start();
        loop {
            let failed = match request().send().await {
                Ok(answer) if is_passing(answer.status()) => Ok(answer),
                Ok(answer) => return Ok(answer),
                Err(error) => Err(error.without_url()),
            };
            let retry_after = failed.as_ref().ok().and_then(asked_pause);
            if !attempts.again_after(retry_after).await {
                return failed.map_err(|error| self.unavailable(chain(&error)));
            }
        }
    }

    fn refused(&self, answer: &Response) -> Error {
        let host = &self.registry.host;
        let error = Error::new(Exit::Credentials, self.what()).why(format!(
            "the registry {host} does not let us (HTTP {})",
            answer.status().as_u16()
        ));
        match self.registry.login {
            Some(_) => error.hint(format!(
                "check the login for {host}: it must be allowed to {} `{}`",
                self.right(),
                self.repository
            )),
            None => error.hint(format!("log in: docker login {host}")),
        }
        .hint("some registries say this also of a repository that does not exist")
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Error {
        Error::new(Exit::Unavailable, self.what())
            .why(why)
            .hint("run again later, and check that the registry can be reached")
    }

    fn what(&self) -> String {
        match self.may {
            Right::Pull => format!("the image `{}` can't be looked up", self.image),
            Right::Push => format!("images can't be pushed to `{}`", self.image),
        }
    }

    fn right(&self) -> &'static str {
        match self.may {
            Right::Pull => "pull from",
            Right::Push => "push to",
        }
    }
}

impl Descriptor {
    /// BuildKit's attestations are in the index too, for a platform that is unknown.
    fn is_image(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    }
}

/// Where Docker's engine, too, speaks http.
pub(crate) fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a login may be sent to this token service.
fn is_safe(realm: &str) -> bool {
    reqwest::Url::parse(realm).is_ok_and(|url| {
        url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_local)
    })
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn asked_pause(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn basic(user: &str, password: &Secret) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::of(bytes))
}
