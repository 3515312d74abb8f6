//! The images of deleted releases. Several releases can share an image, so cdflow deletes only the
//! tag of a release. ECR deletes an image with its last tag.

use std::collections::BTreeMap;

use crate::{
    base::error::Result,
    config::{names::Version, scheme::ImageRegistry},
    context::Context,
    services::aws::ecr::{Ecr, StoredImage},
};

/// The tagged images in the repository of a component.
pub(crate) struct ReleaseImages {
    ecr: Ecr,
    repository: String,
    /// Tags to sizes in bytes.
    tags: BTreeMap<String, u64>,
}

impl ReleaseImages {
    /// Lists the images. Returns `None` if the component has none, or if they are not in ECR: other
    /// registries cannot delete a single tag.
    pub(crate) async fn list(context: &Context) -> Result<Option<Self>> {
        if !context.manifest.kind.has_image() {
            return Ok(None);
        }
        let account_id = match context.scheme.image_registry()? {
            ImageRegistry::Ecr { account_id } => account_id,
            ImageRegistry::Host(host) => {
                let note =
                    format!("keeping the images in {host}: cdflow deletes images only in ECR");
                context.host.log.note(&note);
                return Ok(None);
            }
        };
        let Some(session) = &context.release_session else { return Ok(None) };
        let ecr = Ecr::new(&session.config, account_id, context.scheme.default_region.clone());
        let repository = context.identity.component.to_string();
        let tags = tags(ecr.images(&repository).await?);
        Ok(Some(Self { ecr, repository, tags }))
    }

    /// Returns the size of a version's image in bytes, if it has one.
    pub(crate) fn size(&self, version: &Version) -> Option<u64> {
        self.tags.get(version.as_str()).copied()
    }

    /// Returns the versions of a preview that have an image. Ignores tags that are not from cdflow.
    pub(crate) fn of_preview(&self, prefix: &str) -> impl Iterator<Item = Version> {
        let is_commit = |rest: &str| rest.len() == 7 && rest.bytes().all(|b| b.is_ascii_hexdigit());
        let ours =
            self.tags.keys().filter(move |tag| tag.strip_prefix(prefix).is_some_and(is_commit));
        ours.filter_map(|tag| tag.parse().ok())
    }

    pub(crate) fn describe(&self, version: &Version) -> String {
        format!("{}/{}:{version}", self.ecr.host(), self.repository)
    }

    pub(crate) async fn delete(&self, version: &Version) -> Result<()> {
        self.ecr.remove_tag(&self.repository, version.as_str()).await.map_err(|error| {
            error.hint(format!(
                "the release itself is already deleted; delete the image `{}` manually",
                self.describe(version)
            ))
        })
    }
}

fn tags(images: Vec<StoredImage>) -> BTreeMap<String, u64> {
    images
        .into_iter()
        .flat_map(|image| image.tags.into_iter().map(move |tag| (tag, image.size)))
        .collect()
}
