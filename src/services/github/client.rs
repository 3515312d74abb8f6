//! One request to GitHub's API, by octocrab over reqwest: what it waits for, what it repeats, and
//! where a token may go. octocrab's own ways of repeating requests are not used, because they
//! repeat writes that may have been carried out.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use octocrab::Octocrab;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{GitHubError, GitHubErrorKind, permissions};
use crate::base::{
    authorities::{self, Rejection},
    http_wait,
    limits::Limit,
    log::Log,
    pace::Pace,
    redact::Secret,
    retry::Retry,
};

/// Only `Limit::GitHubPatience` limits the pauses.
const RETRY: Retry =
    Retry { attempts: 4, first_pause: Duration::from_millis(500), longest_pause: Duration::MAX };
const ANSWER_LIMIT: usize = 16 << 20;
/// Of a hundred each.
const PAGES: usize = 100;

pub(crate) struct Client {
    octocrab: Octocrab,
    /// Scheme and host, without a path: octocrab would put a path also before URLs that GitHub gave
    /// us.
    origin: Uri,
    /// `/api/v3` on GitHub Enterprise Server.
    prefix: String,
    /// Where assets are uploaded to: another host, except on GitHub Enterprise Server.
    uploads: Uri,
    patience: Mutex<Duration>,
    pub(crate) pace: Pace,
    log: Log,
}

/// A request, and its description for messages.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// `/repos/…`, or a URL that GitHub gave us.
    pub(crate) route: String,
    pub(crate) body: Body,
    /// "failed to …" of a message.
    pub(crate) doing: &'a str,
    /// What a workflow's `permissions:` must have: `pull-requests: write`.
    pub(crate) needs: &'a str,
    /// Sending it twice has the same effect as once.
    is_repeatable: bool,
    /// It changes something, so it is subject to the write rate.
    is_write: bool,
}

pub(crate) enum Body {
    None,
    Json(Value),
    File { content_type: &'static str, bytes: Bytes },
}

struct HttpAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum AnswerMeaning {
    Good,
    /// Nothing was done; retry after a pause.
    Wait(Duration),
    /// It may have been done.
    Unclear,
    Bad(GitHubErrorKind),
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, route: String, doing: &'a str, needs: &'a str) -> Self {
        let (is_repeatable, is_write) = (method != Method::POST, method != Method::GET);
        Self { method, route, body: Body::None, doing, needs, is_repeatable, is_write }
    }

    /// Marks a POST that is harmless if sent twice.
    pub(crate) fn repeatable(self) -> Self {
        Self { is_repeatable: true, ..self }
    }

    /// Marks a POST that changes nothing.
    pub(crate) fn question(self) -> Self {
        Self { is_repeatable: true, is_write: false, ..self }
    }

    pub(crate) fn get(route: String, doing: &'a str, needs: &'a str) -> Self {
        Self::new(Method::GET, route, doing, needs)
    }

    pub(crate) fn json(self, body: Value) -> Self {
        Self { body: Body::Json(body), ..self }
    }

    pub(crate) fn file(self, content_type: &'static str, bytes: Bytes) -> Self {
        Self { body: Body::File { content_type, bytes }, ..self }
    }

    fn trouble(&self, kind: GitHubErrorKind, why: impl std::fmt::Display) -> GitHubError {
        GitHubError::new(kind, format!("failed to {}", self.doing), why)
    }
}

impl Client {
    /// `url` is GITHUB_API_URL.
    pub(crate) fn new(
        url: &str,
        token: &Secret,
        log: Log,
        pace: Pace,
    ) -> Result<Self, GitHubError> {
        let trouble = |kind, why: String| GitHubError::new(kind, "cannot call GitHub", why);
        let origin_and_prefix = split(url);
        let (origin, prefix) = origin_and_prefix.ok_or_else(|| {
            trouble(GitHubErrorKind::Invalid, format!("GITHUB_API_URL is `{}`", url.escape_debug()))
        })?;
        // octocrab panics if the token is not a valid header value.
        if token.expose().is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(trouble(
                GitHubErrorKind::NoToken,
                "the token contains invalid characters".to_owned(),
            ));
        }
        log.redactor.add(token);
        let uploads = uploads(&origin);
        let failed =
            |error: &dyn std::error::Error| trouble(GitHubErrorKind::Unavailable, chain(error));
        // Redirects are octocrab's, which takes the token away where they lead to another host.
        let http = authorities::http_client()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Limit::GitHubConnect.time())
            .timeout(Limit::GitHubAnswer.time())
            .build()
            .map_err(|error| failed(&error))?;
        let builder = Octocrab::builder().personal_token(token.expose().to_owned());
        let builder = builder.base_uri(origin.clone()).map_err(|error| failed(&error))?;
        let builder = builder.upload_uri(uploads.clone()).map_err(|error| failed(&error))?;
        let octocrab = builder.build_with_reqwest(http).map_err(|error| failed(&error))?;
        Ok(Self {
            octocrab,
            origin,
            prefix,
            uploads,
            patience: Mutex::new(Limit::GitHubPatience.time()),
            pace,
            log,
        })
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, GitHubError> {
        let answer = self.answer(&call).await?;
        parse(&call, &answer.body)
    }

    /// Sends a request whose response has no content.
    pub(crate) async fn send_only(&self, call: Call<'_>) -> Result<(), GitHubError> {
        self.answer(&call).await.map(drop)
    }

    /// Returns the items of all pages of a list.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        mut call: Call<'_>,
    ) -> Result<Vec<T>, GitHubError> {
        let joint = if call.route.contains('?') { '&' } else { '?' };
        call.route = format!("{}{joint}per_page=100", call.route);
        let mut items = Vec::new();
        for _ in 0..PAGES {
            let answer = self.answer(&call).await?;
            items.extend(parse::<Vec<T>>(&call, &answer.body)?);
            match next_page(&answer.headers) {
                Some(next) => call.route = next,
                None => return Ok(items),
            }
        }
        Err(call.trouble(
            GitHubErrorKind::Invalid,
            format!("there are more than {} of them", PAGES * 100),
        ))
    }

    async fn answer(&self, call: &Call<'_>) -> Result<HttpAnswer, GitHubError> {
        let uri = self.uri(call)?;
        let mut attempts = RETRY.start();
        loop {
            if call.is_write {
                self.pace.turn().await;
            }
            let (verdict, why, accepted) = match self.send(call, &uri).await {
                Ok(answer) => match judge(&answer, SystemTime::now()) {
                    AnswerMeaning::Good => return Ok(answer),
                    verdict => {
                        let accepted = text(&answer.headers, "x-accepted-github-permissions")
                            .map(str::to_owned);
                        (verdict, said(&answer), accepted)
                    }
                },
                // No request was sent, and a retry would fail in the same way.
                Err(failed) => match Rejection::of(&failed, &self.host(&uri)) {
                    Some(Rejection { why, hint }) => {
                        return Err(call.trouble(GitHubErrorKind::Untrusted { fix: hint }, why));
                    }
                    None => (AnswerMeaning::Unclear, failed, None),
                },
            };
            let (asked_pause, kind) = match verdict {
                AnswerMeaning::Wait(pause) => (Some(pause), GitHubErrorKind::Limited),
                AnswerMeaning::Unclear if call.is_repeatable => {
                    (None, GitHubErrorKind::Unavailable)
                }
                AnswerMeaning::Unclear | AnswerMeaning::Good => {
                    return Err(call.trouble(GitHubErrorKind::Unavailable, why));
                }
                AnswerMeaning::Bad(GitHubErrorKind::Forbidden { .. }) => {
                    let permissions = permissions(accepted.as_deref(), call.needs);
                    return Err(call.trouble(GitHubErrorKind::Forbidden { permissions }, why));
                }
                AnswerMeaning::Bad(kind) => return Err(call.trouble(kind, why)),
            };
            let Some(pause) = attempts.next_pause(asked_pause) else {
                return Err(call.trouble(kind, why));
            };
            if !self.has_patience(pause) {
                let limit = Limit::GitHubPatience.passed("the pauses of the run must end");
                return Err(call.trouble(kind, format!("{why}; {limit}")));
            }
            if kind == GitHubErrorKind::Limited {
                self.log.note(&format!("GitHub asks to wait {} s", pause.as_secs()));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The answer whatever its status, or why there is none.
    async fn send(&self, call: &Call<'_>, uri: &Uri) -> Result<HttpAnswer, String> {
        let builder = Request::builder().method(call.method.clone()).uri(uri.clone());
        let request = match &call.body {
            Body::None => {
                self.octocrab.build_request(builder, None::<&()>).map_err(|error| chain(&error))
            }
            Body::Json(body) => {
                self.octocrab.build_request(builder, Some(body)).map_err(|error| chain(&error))
            }
            Body::File { content_type, bytes } => {
                let builder = builder.header(header::CONTENT_TYPE, *content_type);
                let builder = builder.header(header::CONTENT_LENGTH, bytes.len());
                builder.body(bytes.clone().into()).map_err(|error| chain(&error))
            }
        };
        let request = request?;
        let answer = self.octocrab.execute(request).await.map_err(|error| unanswered(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| unanswered(&*error))?
            .to_bytes();
        Ok(HttpAnswer { status: parts.status, headers: parts.headers, body })
    }

    /// Accepts a URL from GitHub only if it leads to GitHub, because the token is sent to it.
    fn uri(&self, call: &Call<'_>) -> Result<Uri, GitHubError> {
        let is_route = call.route.starts_with('/');
        let full =
            if is_route { format!("{}{}", self.prefix, call.route) } else { call.route.clone() };
        let uri: Uri = full.parse().map_err(|_| {
            call.trouble(
                GitHubErrorKind::Invalid,
                format!("`{}` is not a URL", full.escape_debug()),
            )
        })?;
        let same =
            |there: &Uri| uri.scheme() == there.scheme() && uri.authority() == there.authority();
        match is_route || same(&self.origin) || same(&self.uploads) {
            true => Ok(uri),
            false => Err(call.trouble(
                GitHubErrorKind::Invalid,
                format!(
                    "the response leads to another host, `{}`",
                    uri.host().unwrap_or_default().escape_debug()
                ),
            )),
        }
    }

    /// The host of a request, for messages.
    fn host(&self, uri: &Uri) -> String {
        format!("`{}`", uri.host().or(self.origin.host()).unwrap_or_default().escape_debug())
    }

    fn has_patience(&self, pause: Duration) -> bool {
        let mut left = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        left.checked_sub(pause).map(|rest| *left = rest).is_some()
    }
}

fn split(url: &str) -> Option<(Uri, String)> {
    let uri: Uri = url.trim_end_matches('/').parse().ok()?;
    let prefix = uri.path().trim_end_matches('/').to_owned();
    let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?).parse().ok()?;
    Some((origin, prefix))
}

/// Returns `uploads.github.com` for `api.github.com`, and likewise below ghe.com.
fn uploads(origin: &Uri) -> Uri {
    let sibling = || {
        let host = origin.authority()?.as_str().strip_prefix("api.")?;
        format!("{}://uploads.{host}", origin.scheme_str()?).parse().ok()
    };
    sibling().unwrap_or_else(|| origin.clone())
}

fn judge(answer: &HttpAnswer, now: SystemTime) -> AnswerMeaning {
    let status = answer.status;
    match status.as_u16() {
        200..=299 => AnswerMeaning::Good,
        401 => AnswerMeaning::Bad(GitHubErrorKind::NoToken),
        403 | 429 => match limit(answer, now) {
            Some(pause) => AnswerMeaning::Wait(pause),
            None => AnswerMeaning::Bad(GitHubErrorKind::Forbidden { permissions: Vec::new() }),
        },
        404 | 410 => AnswerMeaning::Bad(GitHubErrorKind::NotFound),
        500..=599 => AnswerMeaning::Unclear,
        _ => AnswerMeaning::Bad(GitHubErrorKind::Invalid),
    }
}

/// How long to wait, where too many requests are the reason. GitHub's order: `retry-after`, then
/// the reset, then a minute.
fn limit(answer: &HttpAnswer, now: SystemTime) -> Option<Duration> {
    let number = |name| text(&answer.headers, name)?.parse::<u64>().ok();
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        // A time that no clock shows is one that we don't wait for.
        let reset = UNIX_EPOCH
            .checked_add(Duration::from_secs(number("x-ratelimit-reset").unwrap_or_default()));
        let pause =
            reset.map_or(Duration::MAX, |reset| reset.duration_since(now).unwrap_or_default());
        return Some(pause.saturating_add(Duration::from_secs(1)));
    }
    let is_secondary = answer.status == StatusCode::TOO_MANY_REQUESTS
        || said(answer).contains("secondary rate limit");
    is_secondary.then_some(Duration::from_secs(60))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Returns GitHub's message and the request's id, which its support needs.
fn said(answer: &HttpAnswer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut why = format!("HTTP {}", answer.status.as_u16());
    if let Some(message) = body["message"].as_str() {
        why += &format!(", {}", message.escape_debug());
    }
    for error in body["errors"].as_array().into_iter().flatten() {
        let words =
            ["resource", "field", "code", "message"].iter().filter_map(|key| error[key].as_str());
        let words: Vec<&str> = words.chain(error.as_str()).collect();
        why += &format!(" ({})", words.join(" ").escape_debug());
    }
    if let Some(id) = text(&answer.headers, "x-github-request-id") {
        why += &format!(" (request {})", id.escape_debug());
    }
    why
}

/// `<https://…>; rel="next"`
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = text(headers, "link")?
        .split(',')
        .filter_map(|link| link.trim().strip_prefix('<')?.split_once('>'));
    let mut next = links.filter(|(_, relation)| relation.contains("rel=\"next\""));
    next.next().map(|(url, _)| url.to_owned())
}

fn parse<T: DeserializeOwned>(call: &Call<'_>, body: &Bytes) -> Result<T, GitHubError> {
    serde_json::from_slice(body).map_err(|error| {
        call.trouble(
            GitHubErrorKind::Invalid,
            format!("the response does not match GitHub's API description: {error}"),
        )
    })
}

fn unanswered(error: &(dyn std::error::Error + 'static)) -> String {
    http_wait::passed(error, Limit::GitHubConnect, Limit::GitHubAnswer)
        .unwrap_or_else(|| chain(error))
}

/// octocrab's own words are "GitHub" and "Other"; those below it say what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if words.last().is_none_or(|last: &String| !last.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], message: &str) -> HttpAnswer {
        let pairs = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), header::HeaderValue::from_static(value))
        });
        HttpAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: pairs.collect(),
            body: serde_json::json!({ "message": message }).to_string().into(),
        }
    }

    #[test]
    fn what_an_answer_means() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let verdict = |status, headers: &[(&'static str, &'static str)], message: &str| {
            judge(&answer(status, headers, message), now)
        };
        let wait = |seconds| AnswerMeaning::Wait(Duration::from_secs(seconds));
        let forbidden = AnswerMeaning::Bad(GitHubErrorKind::Forbidden { permissions: Vec::new() });
        assert_eq!(verdict(201, &[], ""), AnswerMeaning::Good);
        assert_eq!(verdict(429, &[("retry-after", "5")], ""), wait(5));
        assert_eq!(verdict(429, &[], ""), wait(60));
        assert_eq!(verdict(403, &[], "You have exceeded a secondary rate limit."), wait(60));
        assert_eq!(
            verdict(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")], ""),
            wait(31)
        );
        let never = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "18446744073709551615")];
        assert_eq!(verdict(403, &never, ""), AnswerMeaning::Wait(Duration::MAX));
        assert_eq!(
            verdict(
                403,
                &[("x-ratelimit-remaining", "7")],
                "Resource not accessible by integration"
            ),
            forbidden
        );
        assert_eq!(
            verdict(401, &[], "Bad credentials"),
            AnswerMeaning::Bad(GitHubErrorKind::NoToken)
        );
        assert_eq!(verdict(404, &[], ""), AnswerMeaning::Bad(GitHubErrorKind::NotFound));
        assert_eq!(verdict(422, &[], ""), AnswerMeaning::Bad(GitHubErrorKind::Invalid));
        assert_eq!(verdict(301, &[], ""), AnswerMeaning::Bad(GitHubErrorKind::Invalid));
        assert_eq!(verdict(502, &[], ""), AnswerMeaning::Unclear);
    }

    #[test]
    fn hosts_and_paths() {
        let of = |url| {
            split(url)
                .map(|(origin, prefix)| (origin.to_string(), prefix, uploads(&origin).to_string()))
        };
        let some = |origin: &str, prefix: &str, uploads: &str| {
            Some((origin.into(), prefix.into(), uploads.into()))
        };
        assert_eq!(
            of("https://api.github.com"),
            some("https://api.github.com/", "", "https://uploads.github.com/")
        );
        assert_eq!(
            of("https://api.acme.ghe.com/"),
            some("https://api.acme.ghe.com/", "", "https://uploads.acme.ghe.com/")
        );
        assert_eq!(
            of("https://ghes.acme.com/api/v3"),
            some("https://ghes.acme.com/", "/api/v3", "https://ghes.acme.com/")
        );
        assert_eq!(of("ghes.acme.com"), None);
        let links = "<https://x/?page=1>; rel=\"prev\", <https://x/?page=3>; rel=\"next\"";
        let headers =
            HeaderMap::from_iter([(header::LINK, header::HeaderValue::from_static(links))]);
        assert_eq!(next_page(&headers).as_deref(), Some("https://x/?page=3"));
        assert_eq!(next_page(&HeaderMap::new()), None);
    }
}
