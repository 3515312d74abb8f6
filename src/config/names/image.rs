//! The name of an image as people write it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

use super::InvalidName;
use crate::base::printable;

const DOCKER_HUB: &str = "docker.io";
/// Of all but the tag and the digest, as registries take it.
const LONGEST: usize = 255;

/// `[host[:port]/]path[:tag][@sha256:…]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image(String);

#[derive(Default)]
struct ImageParts<'a> {
    host: &'a str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl Image {
    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Of the registry; the Docker Hub's where none is named.
    pub(crate) fn host(&self) -> &str {
        self.parts().host
    }

    /// Its repository, without the host.
    pub(crate) fn path(&self) -> &str {
        self.parts().path
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub(crate) fn reference(&self) -> &str {
        let parts = self.parts();
        parts.digest.or(parts.tag).unwrap_or("latest")
    }

    pub(crate) fn has_digest(&self) -> bool {
        self.parts().digest.is_some()
    }

    /// The same image by its digest. The tag stays, for people.
    pub(crate) fn at(&self, digest: &str) -> Result<Self, InvalidName> {
        let name = self.0.split_once('@').map_or(self.0.as_str(), |(name, _)| name);
        format!("{name}@{digest}").parse()
    }

    /// No image at all: an empty file system.
    pub(crate) fn is_scratch(&self) -> bool {
        self.0 == "scratch"
    }

    /// Images that are made to hold one program and no shell say so in their names.
    pub(crate) fn has_no_shell(&self) -> bool {
        self.is_scratch() || self.0.contains("distroless") || self.path().starts_with("chainguard/")
    }

    /// It was parsed before.
    fn parts(&self) -> ImageParts<'_> {
        parse(&self.0).unwrap_or_default()
    }
}

impl FromStr for Image {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        parse(text).map(|_| Self(text.to_owned())).ok_or_else(|| InvalidName {
            kind: "image",
            value: printable::excerpt(text),
            rule: "[host[:port]/]name[:tag], with the name in lowercase letters, digits and \
                   single `.`, `_`, `-` or `/` between them",
            advice: "for example `quay.io/roche/default:1.4.0`".to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<ImageParts<'_>> {
    let (name, digest) =
        text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    // Docker's own rule: a first part that looks like no host is a part of the path.
    let first =
        name.split_once('/').filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost");
    let (host, rest) = first.unwrap_or((DOCKER_HUB, name));
    let (path, tag) = rest.rsplit_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
    let is_good = is_host(host)
        && path.split('/').all(is_part)
        && host.len() + path.len() < LONGEST
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    is_good.then_some(ImageParts { host, path, tag, digest })
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "443"));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(is_label) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_part(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = part.split(is_plain).filter(|separator| !separator.is_empty());
    part.starts_with(is_plain)
        && part.ends_with(is_plain)
        && separators.all(|it| [".", "_", "__"].contains(&it) || it.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !tag.starts_with(['.', '-'])
}

fn is_digest(digest: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    digest.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && hex(rest))
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        let parts = |text: &str| {
            let image: Image = text.parse().unwrap();
            [image.host(), image.path(), image.reference()].join(" ")
        };
        assert_eq!(parts("quay.io/roche/default:1.4.0"), "quay.io roche/default 1.4.0");
        assert_eq!(parts("localhost:5000/a"), "localhost:5000 a latest");
        assert_eq!(parts("localhost/a:1"), "localhost a 1");
        assert_eq!(parts("me/hello"), "docker.io me/hello latest");
        assert_eq!(parts("a__b/c--d/e.f:V1_.-"), "docker.io a__b/c--d/e.f V1_.-");
        assert_eq!(parts(&format!("a:1@{digest}")), format!("docker.io a {digest}"));
        let image: Image = "quay.io/a:1".parse().unwrap();
        let pinned = image.at(&digest).unwrap();
        assert_eq!(
            (pinned.as_str(), pinned.reference()),
            (format!("quay.io/a:1@{digest}").as_str(), digest.as_str())
        );
        assert_eq!(
            (pinned.has_digest(), image.has_digest(), pinned.at(&digest).unwrap() == pinned),
            (true, false, true)
        );
        assert!(image.at("sha256:x AS build").is_err());
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        let long = format!("quay.io/{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "A",
            "a:",
            ":1",
            "a b",
            "a:1:2",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a@1",
            "a@sha256:00",
            "a:-1",
            "http://quay.io/a",
            "quay.io:x/a",
            "quay.io:0/a",
            "-quay.io/a",
            "a\nRUN b",
            "${A}",
            "a:1 AS b",
            &long,
        ] {
            let refused = bad.parse::<Image>().unwrap_err().to_string();
            assert!(
                refused.contains("expected [host[:port]/]name[:tag]") && !refused.contains('\n'),
                "{refused}"
            );
        }
    }

    #[test]
    fn images_for_one_program() {
        let has_no_shell = |text: &str| text.parse::<Image>().unwrap().has_no_shell();
        for without in
            ["scratch", "gcr.io/distroless/static-debian12", "cgr.dev/chainguard/static:latest"]
        {
            assert!(has_no_shell(without), "{without}");
        }
        assert!(!has_no_shell("alpine:3.20") && !has_no_shell("quay.io/roche/alpine-libgcc:3.12"));
    }
}
