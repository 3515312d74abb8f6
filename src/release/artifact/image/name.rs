//! The name of a release's image.

use std::collections::BTreeMap;

use crate::{
    base::error::{Error, Result},
    config::{
        identity::Release,
        names::Version,
        scheme::{AccountScheme, ImageRegistry},
    },
};

/// The tag of the newest image.
pub(crate) const LATEST: &str = "latest";

/// `<host>/<component>:<version>`
#[derive(Clone, Debug)]
pub(crate) struct ImageName {
    /// `host[:port]` of the registry.
    pub(crate) host: String,
    /// The repository's path in the registry.
    pub(crate) path: String,
    pub(crate) version: Version,
}

impl ImageName {
    pub(crate) fn new(host: String, release: &Release) -> Result<Self> {
        release.identity.component.check_as_image()?;
        if release.version.as_str() == LATEST {
            return Err(Error::input(format!(
                "version `{LATEST}` is rejected: every release moves that tag"
            ))
            .why("the image would lose its only tag, and registries delete untagged images")
            .hint("release under another version"));
        }
        Ok(Self {
            host,
            path: release.identity.component.to_string(),
            version: release.version.clone(),
        })
    }

    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    pub(crate) fn tag(&self) -> String {
        format!("{}:{}", self.repository(), self.version)
    }

    pub(crate) fn latest(&self) -> String {
        format!("{}:{LATEST}", self.repository())
    }

    /// Returns the keys of `var.release`. The digest identifies the bytes; the tag is for people.
    pub(crate) fn metadata(&self, digest: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("image_id".to_owned(), format!("{}@{digest}", self.repository())),
            ("image_tag".to_owned(), self.tag()),
        ])
    }
}

/// Returns `host[:port]` of the registry that the account scheme names.
pub(crate) fn registry_host(scheme: &AccountScheme) -> Result<String> {
    let region = &scheme.default_region;
    Ok(match scheme.image_registry()? {
        ImageRegistry::Host(host) => host,
        ImageRegistry::Ecr { account_id } => {
            let domain =
                if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("{account_id}.dkr.ecr.{region}.{domain}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::{Identity, Layout};

    fn named(component: &str, version: &str) -> Result<ImageName> {
        let identity = Identity {
            team: "platform".parse().unwrap(),
            component: component.parse().unwrap(),
            layout: Layout::ByTeam,
        };
        let release = Release { identity, version: version.parse().unwrap() };
        ImageName::new("localhost:5000".to_owned(), &release)
    }

    #[test]
    fn names_and_metadata() {
        let metadata = named("shop", "1.2").unwrap().metadata("sha256:ab");
        assert_eq!(metadata["image_id"], "localhost:5000/shop@sha256:ab");
        assert_eq!(metadata["image_tag"], "localhost:5000/shop:1.2");
        assert!(named("Shop", "1.2").is_err());
        assert!(named("shop", "latest").is_err());
    }
}
