//! Pushes an image, and classifies a registry's rejection by the engine's text.

use std::collections::HashMap;

use bollard::{
    errors::Error as Failure,
    query_parameters::{PushImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::StreamExt;

use super::{
    connection::{Engine, words},
    credentials::credentials,
};
use crate::{
    base::{
        error::{Error, Result},
        limits::Limit,
        log::Log,
    },
    services::registry::login::Login,
};

/// Why a registry did not take an image. The text is the engine's, which is the registry's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushRejection {
    /// Who we are is not known, or not any more.
    Unauthorized(String),
    /// Who we are is known, and may not do this.
    Denied(String),
    /// The repository does not exist.
    Missing(String),
    /// The tag is taken, and stays as it is.
    Immutable(String),
    /// The registry has no TLS, and the engine accepts that only if its settings say so.
    PlainHttp(String),
    /// The registry, or the way to it, is in trouble.
    Trouble(String),
}

impl Engine {
    pub(crate) async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        self.docker.tag_image(image, Some(options)).await.map_err(|failure| {
            Error::internal(format!("the image `{image}` can't be tagged `{tag}`"))
                .why(words(&failure))
        })
    }

    /// One attempt.
    pub(crate) async fn push(
        &self,
        repository: &str,
        tag: &str,
        host: &str,
        login: Option<&Login>,
        log: &Log,
    ) -> Result<(), PushRejection> {
        let pushing = self.push_until_done(repository, tag, host, login, log);
        tokio::time::timeout(Limit::ImagePush.time(), pushing).await.unwrap_or_else(|_| {
            Err(PushRejection::Trouble(Limit::ImagePush.passed("the push did not end")))
        })
    }

    async fn push_until_done(
        &self,
        repository: &str,
        tag: &str,
        host: &str,
        login: Option<&Login>,
        log: &Log,
    ) -> Result<(), PushRejection> {
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        let login = login.map(|login| credentials(host, login)).unwrap_or_default();
        let mut messages =
            std::pin::pin!(self.docker.push_image(repository, Some(options), Some(login)));
        let (progress, mut layers) = (log.progress("pushing", None), HashMap::new());
        while let Some(info) = messages.next().await {
            let info = info.map_err(|failure| rejection(&failure))?;
            if let Some(error) = info.error_detail.and_then(|detail| detail.message) {
                return Err(PushRejection::of(error));
            }
            match (info.status, info.progress_detail) {
                (Some(status), None) => log.detail(&status),
                (_, Some(detail)) => {
                    let count = |number: Option<i64>| number.unwrap_or(0).max(0).unsigned_abs();
                    let [done, total] = [detail.current, detail.total].map(count);
                    // The library drops the name of the layer, so its size has to identify it. The
                    // last message about a layer has no size.
                    if total > 0 {
                        layers.insert(total, done.min(total));
                    }
                    progress.set_done(layers.values().sum());
                    progress.set_total(layers.keys().sum());
                }
                (None, None) => {}
            }
        }
        Ok(())
    }
}

fn rejection(failure: &Failure) -> PushRejection {
    PushRejection::of(words(failure))
}

impl PushRejection {
    /// The engine passes on what the registry said, and no code.
    fn of(text: String) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| text.to_lowercase().contains(word));
        if has(&["server gave http response to https client"]) {
            Self::PlainHttp(text)
        } else if has(&["immutable"]) {
            Self::Immutable(text)
        } else if has(&["toomanyrequests", "too many requests", "429"]) {
            Self::Trouble(text)
        } else if has(&[
            "unauthorized",
            "no basic auth credentials",
            "authentication required",
            "token has expired",
        ]) {
            Self::Unauthorized(text)
        } else if has(&["denied", "forbidden", "not authorized"]) {
            Self::Denied(text)
        } else if has(&[
            "name unknown",
            "repository does not exist",
            "does not exist in the registry",
        ]) {
            Self::Missing(text)
        } else {
            Self::Trouble(text)
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Unauthorized(text)
            | Self::Denied(text)
            | Self::Missing(text)
            | Self::Immutable(text)
            | Self::PlainHttp(text)
            | Self::Trouble(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_engines_and_registries() {
        type Variant = fn(String) -> PushRejection;
        let cases: [(Variant, &str); 11] = [
            (PushRejection::Unauthorized, "no basic auth credentials"),
            (PushRejection::Unauthorized, "unauthorized: authentication required"),
            (
                PushRejection::Unauthorized,
                "denied: Your authorization token has expired. Reauthenticate and try again.",
            ),
            (
                PushRejection::Denied,
                "denied: User: arn:aws:iam::1:role/x is not authorized to perform: ecr:PutImage",
            ),
            (
                PushRejection::Missing,
                "name unknown: The repository with name 'x' does not exist in the registry with id \
                '1'",
            ),
            (
                PushRejection::Immutable,
                "tag invalid: The image tag 'latest' already exists in the 'x' repository and \
                cannot be overwritten because the repository is immutable.",
            ),
            (
                PushRejection::PlainHttp,
                "trying to reuse blob sha256:9d at destination: pinging container registry \
                 localhost:5000: Get \"https://localhost:5000/v2/\": http: server gave HTTP \
                 response to HTTPS client",
            ),
            (
                PushRejection::PlainHttp,
                "Get \"https://10.0.0.9:5000/v2/\": http: server gave HTTP response to HTTPS \
                 client",
            ),
            (PushRejection::Trouble, "toomanyrequests: Rate exceeded"),
            (PushRejection::Trouble, "received unexpected HTTP status: 503 Service Unavailable"),
            (PushRejection::Trouble, "EOF"),
        ];
        for (kind, text) in cases {
            assert_eq!(PushRejection::of(text.to_owned()), kind(text.to_owned()));
        }
    }
}
