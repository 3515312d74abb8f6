//! The addresses of the files of a version.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use semver::Version;

use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
    },
    config::flavor::Flavor,
    services::registry,
};

const VARIABLE: &str = "CDFLOW_TERRAFORM_MIRROR";

pub(super) struct Place {
    flavor: Flavor,
    base: Base,
}

enum Base {
    Publisher,
    Mirror(Root),
}

enum Root {
    Url(String),
    Folder(PathBuf),
}

/// The address of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Url(String),
    File(PathBuf),
}

impl Place {
    pub(super) fn choose(flavor: Flavor, environment: &ProcessEnv) -> Result<Self> {
        let base = match environment.get(VARIABLE) {
            None => Base::Publisher,
            Some(text) => Base::Mirror(root(text.trim())?),
        };
        Ok(Self { flavor, base })
    }

    pub(super) fn is_mirror(&self) -> bool {
        matches!(self.base, Base::Mirror(_))
    }

    /// Only a mirror on this machine is asked without TLS.
    pub(super) fn allows_http(&self) -> bool {
        matches!(&self.base, Base::Mirror(Root::Url(url)) if url.starts_with("http:"))
    }

    pub(super) fn name(&self) -> &str {
        match &self.base {
            Base::Publisher if self.flavor == Flavor::OpenTofu => "github.com/opentofu/opentofu",
            Base::Publisher => "releases.hashicorp.com",
            Base::Mirror(_) => "the mirror",
        }
    }

    /// The list of versions. A mirror has it in the place and format of HashiCorp's site.
    pub(super) fn index(&self) -> Address {
        match &self.base {
            Base::Publisher if self.flavor == Flavor::OpenTofu => {
                Address::Url("https://get.opentofu.org/tofu/api.json".into())
            }
            Base::Publisher => {
                Address::Url("https://releases.hashicorp.com/terraform/index.json".into())
            }
            Base::Mirror(root) => root.below(&[self.flavor.name(), "index.json"]),
        }
    }

    pub(super) fn file(&self, version: &Version, name: &str) -> Address {
        match &self.base {
            Base::Publisher if self.flavor == Flavor::OpenTofu => Address::Url(format!(
                "https://github.com/opentofu/opentofu/releases/download/v{version}/{name}"
            )),
            Base::Publisher => {
                Address::Url(format!("https://releases.hashicorp.com/terraform/{version}/{name}"))
            }
            Base::Mirror(root) => root.below(&[self.flavor.name(), &version.to_string(), name]),
        }
    }

    pub(super) fn archive(&self, version: &Version, platform: &str) -> String {
        format!("{}_{version}_{platform}.zip", self.flavor.program())
    }

    pub(super) fn sums(&self, version: &Version) -> Address {
        self.file(version, &format!("{}_{version}_SHA256SUMS", self.flavor.program()))
    }

    /// OpenTofu's `.sig` is one of cosign; its OpenPGP signature has another name.
    pub(super) fn signature(&self, version: &Version) -> Address {
        let ending = match self.flavor {
            Flavor::Terraform => "sig",
            Flavor::OpenTofu => "gpgsig",
        };
        self.file(version, &format!("{}_{version}_SHA256SUMS.{ending}", self.flavor.program()))
    }
}

impl Root {
    fn below(&self, names: &[&str]) -> Address {
        match self {
            Self::Url(url) => Address::Url(format!("{url}/{}", names.join("/"))),
            Self::Folder(folder) => Address::File(folder.join(names.join("/"))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&without_login(url)),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A mirror's URL can contain a password.
fn without_login(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((login, rest)))) if !login.contains('/') => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

fn root(text: &str) -> Result<Root> {
    if let Some(path) = text.strip_prefix("file:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match Path::new(path).is_absolute() {
            true => Ok(Root::Folder(path.into())),
            false => Err(rejected(text, "a `file:` path is absolute")),
        };
    }
    let url = reqwest::Url::parse(text).map_err(|error| rejected(text, &error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => {}
        "http" if registry::is_local(host) => {}
        "http" => return Err(rejected(text, "plain http is only for this machine (loopback)")),
        _ => return Err(rejected(text, "it is neither `https:` nor `file:`")),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(rejected(text, "it has a query or a fragment"));
    }
    Ok(Root::Url(text.trim_end_matches('/').to_owned()))
}

fn rejected(text: &str, why: &str) -> Error {
    let text = without_login(text);
    Error::input(format!("{VARIABLE} is `{}`, not a mirror", text.escape_debug()))
        .why(why)
        .hint("set it to `https://HOST/PATH` or `file:/PATH`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(flavor: Flavor, mirror: Option<&str>) -> Result<Place> {
        let variables = mirror.map(|text| (VARIABLE.into(), text.into()));
        Place::choose(flavor, &ProcessEnv::new(variables))
    }

    #[test]
    fn the_addresses_of_a_version() {
        let version = Version::new(1, 9, 8);
        for (flavor, mirror, expected) in [
            (
                Flavor::Terraform,
                None,
                [
                    "https://releases.hashicorp.com/terraform/index.json",
                    "https://releases.hashicorp.com/terraform/1.9.8/terraform_1.9.8_SHA256SUMS",
                    "https://releases.hashicorp.com/terraform/1.9.8/terraform_1.9.8_SHA256SUMS.sig",
                    "https://releases.hashicorp.com/terraform/1.9.8/terraform_1.9.8_linux_arm64.zip",
                ],
            ),
            (
                Flavor::OpenTofu,
                None,
                [
                    "https://get.opentofu.org/tofu/api.json",
                    "https://github.com/opentofu/opentofu/releases/download/v1.9.8/\
                     tofu_1.9.8_SHA256SUMS",
                    "https://github.com/opentofu/opentofu/releases/download/v1.9.8/\
                     tofu_1.9.8_SHA256SUMS.gpgsig",
                    "https://github.com/opentofu/opentofu/releases/download/v1.9.8/\
                     tofu_1.9.8_linux_arm64.zip",
                ],
            ),
            (
                Flavor::OpenTofu,
                Some("https://user:secret@mirror.example/tools/"),
                [
                    "https://mirror.example/tools/opentofu/index.json",
                    "https://mirror.example/tools/opentofu/1.9.8/tofu_1.9.8_SHA256SUMS",
                    "https://mirror.example/tools/opentofu/1.9.8/tofu_1.9.8_SHA256SUMS.gpgsig",
                    "https://mirror.example/tools/opentofu/1.9.8/tofu_1.9.8_linux_arm64.zip",
                ],
            ),
            (
                Flavor::Terraform,
                Some("file:///srv/mirror"),
                [
                    "/srv/mirror/terraform/index.json",
                    "/srv/mirror/terraform/1.9.8/terraform_1.9.8_SHA256SUMS",
                    "/srv/mirror/terraform/1.9.8/terraform_1.9.8_SHA256SUMS.sig",
                    "/srv/mirror/terraform/1.9.8/terraform_1.9.8_linux_arm64.zip",
                ],
            ),
        ] {
            let place = place(flavor, mirror).unwrap();
            let archive = place.file(&version, &place.archive(&version, "linux_arm64"));
            let found = [place.index(), place.sums(&version), place.signature(&version), archive];
            assert_eq!(found.map(|address| address.to_string()), expected);
        }
    }

    #[test]
    fn places_that_are_no_mirrors() {
        for (text, why) in [
            ("http://mirror.example", "plain http is only for this machine"),
            ("ftp://mirror.example", "neither `https:` nor `file:`"),
            ("file:mirror", "a `file:` path is absolute"),
            ("/srv/mirror", "relative URL"),
            ("https://mirror.example/?a=b", "a query"),
        ] {
            let error = place(Flavor::Terraform, Some(text)).err().unwrap();
            assert!(error.story().contains(why), "{text}: {}", error.story());
        }
        let error = place(Flavor::Terraform, Some("http://me:hidden@mirror.example")).err();
        assert!(!error.unwrap().story().contains("hidden"));
        assert!(place(Flavor::Terraform, Some("http://127.0.0.1:99")).unwrap().allows_http());
    }
}
