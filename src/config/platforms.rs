//! `terraform-platforms` in cdflow.yml: the platforms that a release has providers for.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::base::{printable, spelling::nearest};

/// The platforms that Terraform or OpenTofu is published for, in the names of their archives.
const KNOWN: [&str; 16] = [
    "darwin_amd64",
    "darwin_arm64",
    "freebsd_386",
    "freebsd_amd64",
    "freebsd_arm",
    "linux_386",
    "linux_amd64",
    "linux_arm",
    "linux_arm64",
    "linux_s390x",
    "openbsd_386",
    "openbsd_amd64",
    "solaris_amd64",
    "windows_386",
    "windows_amd64",
    "windows_arm64",
];

/// The platform of a program, such as `linux_arm64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProviderPlatform(String);

/// At least one platform, each once, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderPlatforms(Vec<ProviderPlatform>);

impl ProviderPlatform {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl ProviderPlatforms {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ProviderPlatform::as_str)
    }
}

impl FromStr for ProviderPlatform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if KNOWN.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        // Other programs write `linux/arm64`, `Linux-x86_64` or `linux_aarch64`.
        let spelled = text.to_ascii_lowercase().replace(['/', '-'], "_");
        let spelled = spelled.replace("x86_64", "amd64").replace("aarch64", "arm64");
        let meant = KNOWN.into_iter().find(|known| *known == spelled);
        let meant = meant.or_else(|| nearest(text, KNOWN));
        let advice = match meant {
            Some(known) => format!("did you mean `{known}`?"),
            None => "write it as `linux_amd64` or `linux_arm64`".to_owned(),
        };
        Err(format!("`{}` is not a platform of Terraform: {advice}", printable::excerpt(text)))
    }
}

deserialize_from_str!(ProviderPlatform);

impl<'de> Deserialize<'de> for ProviderPlatforms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = ProviderPlatforms;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of platforms, such as [linux_amd64, linux_arm64]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut platforms: Vec<ProviderPlatform> = Vec::new();
                while let Some(platform) = list.next_element::<ProviderPlatform>()? {
                    if platforms.contains(&platform) {
                        let name = platform.as_str();
                        return Err(Error::custom(format!("`{name}` is in the list twice")));
                    }
                    platforms.push(platform);
                }
                match platforms.is_empty() {
                    true => Err(Error::custom("the list is empty: name at least one platform")),
                    false => Ok(ProviderPlatforms(platforms)),
                }
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::component::Manifest;

    fn parse(value: &str) -> Result<Vec<String>, String> {
        let text = format!(
            "account-scheme-url: a.json\nteam: x\ntype: lambda\nterraform-platforms: {value}\n"
        );
        let manifest = Manifest::parse("cdflow.yml", &text).map_err(|error| error.to_string())?;
        let names = manifest.terraform_platforms.iter().flat_map(ProviderPlatforms::names);
        Ok(names.map(str::to_owned).collect())
    }

    #[test]
    fn the_order_of_the_file() {
        let both = ["linux_arm64", "linux_amd64"];
        assert_eq!(parse("[linux_arm64, linux_amd64]").unwrap(), both);
        assert_eq!(parse("[darwin_arm64]").unwrap(), ["darwin_arm64"]);
    }

    #[test]
    fn mistakes_are_placed_and_named() {
        for (value, place, says) in [
            ("[linux_amd64, linux/arm64]", "4:36", "did you mean `linux_arm64`?"),
            ("[linux_x86_64]", "4:23", "did you mean `linux_amd64`?"),
            ("[linux_amd46]", "4:23", "did you mean `linux_amd64`?"),
            ("[plan9_mips]", "4:23", "`plan9_mips` is not a platform of Terraform: write it as"),
            ("[linux_amd64, linux_arm64, linux_amd64]", "4:", "`linux_amd64` is in the list twice"),
            ("[]", "4:", "the list is empty: name at least one platform"),
            ("linux_arm64", "4:22", "expected a list"),
            ("[5]", "4:23", ""),
            ("[\"\\e[2J\"]", "4:23", "is not a platform"),
        ] {
            let refused = parse(value).unwrap_err();
            let is_placed = refused.starts_with(&format!("cdflow.yml:{place}"));
            assert!(is_placed && refused.contains(says), "{value}: {refused}");
            assert!(!refused.contains('\u{1b}'), "{refused:?}");
        }
    }
}
