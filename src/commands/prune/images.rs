//! The images of the releases that go. An image may be more than one release's: what is deleted is the tag that a release has
//! given it, and ECR lets an image go with its last one.

use std::collections::BTreeMap;

use crate::{
    base::error::Result,
    config::{names::Version, scheme::ImageRegistry},
    context::Context,
    services::aws::ecr::{Ecr, StoredImage},
};

/// A component's repository, as it was when we looked.
pub(crate) struct ReleaseImages {
    ecr: Ecr,
    repository: String,
    /// Tag to size.
    tags: BTreeMap<String, u64>,
}

impl ReleaseImages {
    /// None where the component has no images, or where they are in no ECR: other registries can't delete a tag alone.
    pub(crate) async fn list(context: &Context) -> Result<Option<Self>> {
        if !context.manifest.kind.has_image() {
            return Ok(None);
        }
        let account_id = match context.scheme.image_registry()? {
            ImageRegistry::Ecr { account_id } => account_id,
            ImageRegistry::Host(host) => {
                context
                    .host
                    .log
                    .note(&format!("the images in {host} stay: cdflow deletes those in ECR only"));
                return Ok(None);
            }
        };
        let Some(session) = &context.release_session else { return Ok(None) };
        let ecr = Ecr::new(&session.config, account_id, context.scheme.default_region.clone());
        let repository = context.identity.component.to_string();
        let tags = tags(ecr.images(&repository).await?);
        Ok(Some(Self { ecr, repository, tags }))
    }

    /// The size of a version's image, if there is one.
    pub(crate) fn size(&self, version: &Version) -> Option<u64> {
        self.tags.get(version.as_str()).copied()
    }

    /// The versions of a preview's images. What somebody else has given such a name to is none of ours.
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
                "the release is gone already, so that nobody deploys it without its image; delete `{}` by hand",
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
