//! The parts of an image's name.

use std::fmt;

/// `<host>/<repository>@sha256:…`, or with `:<tag>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageReference {
    pub(crate) host: String,
    pub(crate) repository: String,
    /// A digest, which has a colon, or a tag.
    pub(crate) reference: String,
}

impl ImageReference {
    /// Returns None for text that is not the name of an image in a registry.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = text.split_once('/')?;
        // Docker's rule: a first part that does not look like a host belongs to Docker Hub.
        let is_host = host.contains(['.', ':']) || host == "localhost";
        let (host, rest) = if is_host { (host, rest) } else { ("docker.io", text) };
        let (name, digest) =
            rest.split_once('@').map_or((rest, None), |(name, digest)| (name, Some(digest)));
        let (repository, tag) =
            name.rsplit_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
        let reference = digest.or(tag)?;
        (!repository.is_empty() && !reference.is_empty()).then(|| Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        })
    }

    /// Returns the account and the region if the host is an ECR registry.
    pub(crate) fn ecr(&self) -> Option<(&str, &str)> {
        let (account, rest) = self.host.split_once(".dkr.ecr.")?;
        let (region, domain) = rest.split_once('.')?;
        (account.len() == 12 && domain.starts_with("amazonaws.com")).then_some((account, region))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.reference.contains(':') { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.host, self.repository, self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |text: &str| {
            ImageReference::parse(text).map(|r| [r.host, r.repository, r.reference].join(" "))
        };
        let is = |text: &str, expected: &str| assert_eq!(parts(text).as_deref(), Some(expected));
        is("1.dkr.ecr.x.amazonaws.com/a/b@sha256:00", "1.dkr.ecr.x.amazonaws.com a/b sha256:00");
        is("localhost:5000/a:1", "localhost:5000 a 1");
        is("ghcr.io/a/b:1@sha256:00", "ghcr.io a/b sha256:00");
        is("acme/app:1", "docker.io acme/app 1");
        for none in ["", "app", "ghcr.io/a", "ghcr.io/a@", "ghcr.io/:1", "busybox:1"] {
            assert_eq!(parts(none), None, "{none}");
        }
    }

    #[test]
    fn an_ecr_is_known_by_its_host() {
        let ecr = |host: &str| {
            let parsed = ImageReference::parse(&format!("{host}/a:1")).unwrap();
            parsed.ecr().map(|(account, region)| format!("{account} {region}"))
        };
        assert_eq!(
            ecr("123456789012.dkr.ecr.eu-west-1.amazonaws.com").as_deref(),
            Some("123456789012 eu-west-1")
        );
        assert_eq!(
            ecr("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn").as_deref(),
            Some("123456789012 cn-north-1")
        );
        assert_eq!(ecr("123456789012.dkr.ecr.eu-west-1.example.com"), None);
        assert_eq!(ecr("ghcr.io"), None);
    }
}
