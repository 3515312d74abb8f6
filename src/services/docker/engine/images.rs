//! Images that an engine has.

use bollard::errors::Error as Failure;

use super::connection::{Engine, lost};
use crate::base::error::Result;

/// An image in the engine's own store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LocalImage {
    /// `sha256:…` of its configuration; names it on this engine alone.
    pub(crate) id: String,
    /// `repository@sha256:…`, as far as it came from a registry.
    pub(crate) digests: Vec<String>,
}

impl Engine {
    /// None where it has no such image.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<LocalImage>> {
        match self.docker.inspect_image(name).await {
            Ok(found) => Ok(Some(LocalImage {
                // Podman leaves out how it is hashed.
                id: format!(
                    "sha256:{}",
                    found.id.unwrap_or_default().trim_start_matches("sha256:")
                ),
                digests: found.repo_digests.unwrap_or_default(),
            })),
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(failure) => Err(lost(&format!("`{name}` was looked for"), &failure)),
        }
    }
}
