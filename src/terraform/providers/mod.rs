//! Packages of providers: their hashes, where they come from, and the cache of those that were
//! downloaded.

mod archive;
pub(crate) mod cache;
pub(crate) mod hash;
pub(crate) mod sources;

use std::path::{Path, PathBuf};

pub(crate) use self::archive::unpack;
use crate::base::error::{Error, Result};

/// One build of a provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// `registry.terraform.io/hashicorp/aws`
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) platform: String,
}

impl Package {
    /// Fails for an address or version of the lock file that cannot be part of a path.
    pub(crate) fn new(address: &str, version: &str, platform: &str) -> Result<Self> {
        let is_plain = |word: &str| {
            let plain = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
            word.chars().all(plain) && !word.is_empty() && !word.starts_with('.')
        };
        // A host can have a port.
        let parts: Vec<String> = address.split('/').map(|part| part.replace(':', "")).collect();
        if parts.len() != 3 || !parts.iter().all(|part| is_plain(part)) || !is_plain(version) {
            return Err(Error::input(format!(
                "the lock file names the provider `{}` `{}`",
                address.escape_debug(),
                version.escape_debug()
            ))
            .hint("restore it from git, or run `terraform init`"));
        }
        Ok(Self {
            address: address.to_owned(),
            version: version.to_owned(),
            platform: platform.to_owned(),
        })
    }

    /// Returns the folder of the unpacked package in a mirror or in Terraform's own folder.
    pub(crate) fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.address).join(&self.version).join(&self.platform)
    }

    /// Returns the archive of the package in a mirror.
    pub(crate) fn archive(&self, root: &Path) -> PathBuf {
        let kind = self.address.rsplit('/').next().unwrap_or_default();
        let name = format!("terraform-provider-{kind}_{}_{}.zip", self.version, self.platform);
        root.join(&self.address).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_mirror() {
        let address = "registry.terraform.io/hashicorp/aws";
        let package = Package::new(address, "5.1.0", "linux_arm64").unwrap();
        let folder = package.folder(Path::new("/m"));
        assert_eq!(folder, Path::new("/m").join(address).join("5.1.0/linux_arm64"));
        let archive = package.archive(Path::new("/m"));
        let name = "terraform-provider-aws_5.1.0_linux_arm64.zip";
        assert_eq!(archive, Path::new("/m").join(address).join(name));
        for (address, version) in [
            ("a/b", "1.0.0"),
            ("a/../b", "1.0.0"),
            ("a/b/c/d", "1.0.0"),
            ("a/b/", "1.0.0"),
            (address, ".."),
            (address, "1/2"),
            ("a/\u{1b}/b", "1.0.0"),
        ] {
            assert!(Package::new(address, version, "linux_arm64").is_err(), "{address} {version}");
        }
        assert!(Package::new("localhost:8080/a/b", "1.0.0-rc.1+x", "linux_arm64").is_ok());
    }
}
