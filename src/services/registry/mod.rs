//! A client for any container registry: whether an image exists, the digest of a tag, and an
//! image's labels.

mod auth;
mod challenge;
mod client;
pub(crate) mod login;
pub(crate) mod logins;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, LOCATION},
};
use serde::Deserialize;
use serde_json::Value;

use self::request::{Access, RegistryRequest, digest_of};
use crate::base::error::Result;

pub(crate) use self::client::{Registry, is_local};

/// The image of a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageManifest {
    /// `sha256:…`, computed from the bytes of the manifest.
    pub(crate) digest: String,
    pub(crate) media_type: String,
    /// The labels of the image; for an index, those of its first image.
    pub(crate) labels: BTreeMap<String, String>,
}

/// A manifest as the registry returns it: an image's has `config`, an index's has `manifests`.
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
    platform: Option<DescriptorPlatform>,
}

#[derive(Deserialize)]
struct DescriptorPlatform {
    #[serde(default)]
    os: String,
}

impl Registry {
    /// Returns whether a tag or digest exists. It requests no content, which Docker Hub would count
    /// as a pull.
    pub(crate) async fn has(&self, repository: &str, reference: &str) -> Result<bool> {
        let request = self.request_for(repository, reference);
        let answer = request.send(Method::HEAD, &format!("manifests/{reference}")).await?;
        Ok(answer.status() != StatusCode::NOT_FOUND)
    }

    /// Returns the digest of a tag; None if the tag or the repository does not exist. Like
    /// [`Self::has`], it usually requests no content.
    pub(crate) async fn digest(&self, repository: &str, reference: &str) -> Result<Option<String>> {
        let request = self.request_for(repository, reference);
        let answer = request.send(Method::HEAD, &format!("manifests/{reference}")).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        match answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()) {
            Some(digest) => Ok(Some(digest.to_owned())),
            // The header is optional.
            None => Ok(self.manifest(repository, reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// Returns the image of a tag or digest; None if it or the repository does not exist.
    pub(crate) async fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<ImageManifest>> {
        let request = self.request_for(repository, reference);
        let Some((bytes, media_type)) =
            request.get(&format!("manifests/{reference}"), reference).await?
        else {
            return Ok(None);
        };
        let document = request.parse::<Document>(&bytes)?;
        let labels = labels(&request, &document).await?;
        let media_type = document.media_type.unwrap_or(media_type);
        Ok(Some(ImageManifest { digest: digest_of(&bytes), media_type, labels }))
    }

    /// Gives the image of a digest one more tag. Returns false if the registry does not have it.
    pub(crate) async fn tag(&self, repository: &str, digest: &str, tag: &str) -> Result<bool> {
        let reading = self.request_for(repository, digest);
        let Some((bytes, media_type)) = reading.get(&format!("manifests/{digest}"), digest).await?
        else {
            return Ok(false);
        };
        let writing = RegistryRequest {
            registry: self,
            image: format!("{}/{repository}:{tag}", self.host),
            repository,
            access: Access::Push,
        };
        let content = Some((media_type.as_str(), bytes.as_slice()));
        let path = format!("manifests/{tag}");
        let answer = writing.send_content(Method::PUT, &path, content).await?;
        Ok(answer.status() != StatusCode::NOT_FOUND)
    }

    /// Checks the permission to push by starting an upload and cancelling it, which leaves nothing
    /// behind. Returns false if the repository does not exist and the registry does not create it
    /// on a push.
    pub(crate) async fn may_push(&self, repository: &str) -> Result<bool> {
        let request = RegistryRequest {
            registry: self,
            image: format!("{}/{repository}", self.host),
            repository,
            access: Access::Push,
        };
        let answer = request.send(Method::POST, "blobs/uploads/").await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let upload = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| answer.url().join(value.to_str().ok()?).ok());
        // ECR has no DELETE and removes the upload itself. No other host may receive the
        // authorization.
        if let Some(upload) = upload.filter(|url| url.origin() == answer.url().origin()) {
            let authorization = self.authorizations.lock().await.get(repository).cloned();
            let request = self.client.delete(upload);
            let request = authorization
                .into_iter()
                .fold(request, |request, header| request.header(AUTHORIZATION, header));
            let _ = request.send().await;
        }
        Ok(true)
    }

    fn request_for<'a>(&'a self, repository: &'a str, reference: &str) -> RegistryRequest<'a> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let image = format!("{}/{repository}{separator}{reference}", self.host);
        RegistryRequest { registry: self, image, repository, access: Access::Pull }
    }
}

async fn labels(
    request: &RegistryRequest<'_>,
    document: &Document,
) -> Result<BTreeMap<String, String>> {
    let first_image = document.manifests.iter().find(|manifest| manifest.is_image());
    let config = match (&document.config, first_image) {
        (Some(config), _) => config.digest.clone(),
        (None, Some(first)) => {
            let manifest =
                request.must_get(&format!("manifests/{}", first.digest), &first.digest).await?;
            match request.parse::<Document>(&manifest)?.config {
                Some(config) => config.digest,
                None => return Ok(BTreeMap::new()),
            }
        }
        (None, None) => return Ok(BTreeMap::new()),
    };
    let config = request.must_get(&format!("blobs/{config}"), &config).await?;
    let config: Value = request.parse(&config)?;
    let labels = config["config"]["Labels"].as_object().into_iter().flatten();
    Ok(labels
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect())
}

impl Descriptor {
    /// An index also contains BuildKit's attestations, with the platform "unknown".
    fn is_image(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    }
}
