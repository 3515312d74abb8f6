//! Where programs of Terraform and OpenTofu come from: the publisher's site, or a mirror of it; and
//! providers from a network mirror.
//!
//! A program is taken only from an archive that `SHA256SUMS` lists, and these sums only with a
//! signature by a key of the publisher, or by one that the account scheme adds for a mirror.

mod archive;
mod destination;
mod download;
mod place;
mod provider_mirror;
mod signature;
mod sums;

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, de::IgnoredAny};

pub(crate) use self::{destination::Destination, provider_mirror::ProviderMirror};
use self::{
    download::Downloader,
    place::Place,
    signature::{Keys, NotSigned},
};
use crate::{
    base::{
        blocking::blocking,
        digest::Sha256,
        error::{Error, Result},
        interrupt::Interrupt,
        log::Log,
        units,
    },
    config::flavor::Flavor,
    services::ci::host::Host,
};

/// The largest list of versions that is read. Terraform's had 1.6 MB in 2026.
const LARGEST_INDEX: u64 = 64 << 20;
/// The largest `SHA256SUMS` or signature that is read.
const LARGEST_SUMS: u64 = 1 << 20;

/// A program that was written, and who vouches for it.
pub(crate) struct Fetched {
    pub(crate) digest: Sha256,
    /// The fingerprint of the key that signed its sum.
    pub(crate) signed_by: String,
}

/// The site of one of the two tools.
pub(crate) struct ToolSite {
    flavor: Flavor,
    place: Place,
    keys: Keys,
    downloader: Downloader,
    log: Log,
    interrupt: Interrupt,
}

/// The list of versions: a map in HashiCorp's `index.json`, a list in OpenTofu's `api.json`.
#[derive(Deserialize)]
struct Index {
    versions: Versions,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Versions {
    Map(BTreeMap<String, IgnoredAny>),
    List(Vec<Listed>),
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// Fails if one of the keys that an account scheme adds for a mirror cannot be used.
pub(crate) fn check_keys(added: &[String]) -> Result<()> {
    Keys::read(Flavor::Terraform, added)?.check_valid()
}

impl ToolSite {
    /// The mirror of `CDFLOW_TERRAFORM_MIRROR` if it is set, else the publisher's site.
    /// `mirror_keys` are the public keys that the account scheme adds for a mirror.
    pub(crate) fn open(flavor: Flavor, host: &Host, mirror_keys: &[String]) -> Result<Self> {
        let place = Place::choose(flavor, &host.environment)?;
        let added = if place.is_mirror() { mirror_keys } else { &[] };
        Ok(Self {
            keys: Keys::read(flavor, added)?,
            downloader: Downloader::new(place.allows_http(), host.log.clone())?,
            log: host.log.clone(),
            interrupt: host.interrupt.clone(),
            flavor,
            place,
        })
    }

    /// Returns how messages name the site.
    pub(crate) fn name(&self) -> &str {
        self.place.name()
    }

    pub(crate) fn is_mirror(&self) -> bool {
        self.place.is_mirror()
    }

    /// Whether a program whose sum this key signed may be used.
    pub(crate) fn trusts(&self, fingerprint: &str) -> bool {
        self.keys.has(fingerprint)
    }

    /// Returns every version there, in no order.
    pub(crate) async fn versions(&self) -> Result<Vec<Version>> {
        let address = self.place.index();
        let bytes = self.downloader.small(&address, LARGEST_INDEX).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::input(format!("the mirror has no list of versions: no `{address}`"))
                .hint("check CDFLOW_TERRAFORM_MIRROR: docs/terraform-download.md shows the layout")
        })?;
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| {
            Error::integrity(format!("`{address}` is not a list of versions")).why(error)
        })?;
        let names: Vec<String> = match index.versions {
            Versions::Map(map) => map.into_keys().collect(),
            Versions::List(list) => list.into_iter().map(|listed| listed.id).collect(),
        };
        // Old releases of Terraform have names that are no versions, such as `0.1.0-alpha_1`.
        Ok(names.iter().filter_map(|name| name.trim_start_matches('v').parse().ok()).collect())
    }

    /// Writes the program of `version`, mode 0755.
    pub(crate) async fn fetch(
        &self,
        version: &Version,
        platform: &str,
        to: &Destination,
    ) -> Result<Fetched> {
        let name = self.place.archive(version, platform);
        let (expected, signed_by) = self.sum_of(version, &name).await?;
        let address = self.place.file(version, &name);
        let step = format!("download {} {version} from {}", self.flavor.name(), self.name());
        self.log.note(&step);
        let archive = tempfile::tempfile_in(to.folder()).map_err(|error| to.failed(&error))?;
        let found = self.downloader.large(&address, archive, to).await?.ok_or_else(|| {
            Error::input(format!("`{address}` does not exist"))
                .why(format!("SHA256SUMS of {version} lists it"))
                .hint("complete the mirror")
        })?;
        if found.digest != expected {
            return Err(Error::integrity(format!("`{address}` is not what SHA256SUMS lists"))
                .why(format!("its SHA-256 is {}, expected {expected}", found.digest))
                .hint("compare the mirror with the publisher's site; nothing was kept"));
        }
        let (program, to) = (self.flavor.program(), to.clone());
        let (shown, size, archive) = (address.to_string(), found.size, found.file);
        let progress = self.log.progress("unpacking", None).until(&self.interrupt);
        let digest = blocking(move || {
            let digest = archive::extract(archive, &shown, program, &to, &progress);
            digest.map_err(|error| progress.or_cancelled(error))
        })
        .await?;
        let size = units::bytes_text(size);
        self.log.note(&format!("{size} downloaded, signature and SHA-256 verified"));
        Ok(Fetched { digest, signed_by })
    }

    /// Reads SHA256SUMS, checks its signature, and returns the sum of one file, and the key.
    async fn sum_of(&self, version: &Version, name: &str) -> Result<(Sha256, String)> {
        let address = self.place.sums(version);
        let (tool, site) = (self.flavor.name(), self.name());
        let sums = self.downloader.small(&address, LARGEST_SUMS).await?.ok_or_else(|| {
            Error::input(format!("{tool} {version} is not at {site}"))
                .why(format!("there is no `{address}`"))
                .hint("check the version, or add all of its files to the mirror")
        })?;
        let signed = self.place.signature(version);
        let signature = self.downloader.small(&signed, LARGEST_SUMS).await?.ok_or_else(|| {
            Error::integrity(format!("the sums of {tool} {version} are not signed"))
                .why(format!("there is no `{signed}`"))
                .hint("add the publisher's signature to the mirror")
        })?;
        let checked = self.keys.check(&sums, &signature);
        let signed_by = checked.map_err(|NotSigned { why, is_by_unknown }| {
            let error = Error::integrity(format!("the signature of `{address}` is not valid"));
            error.why(why).hint(match (is_by_unknown, self.place.is_mirror()) {
                (true, true) => {
                    "use the publisher's files, or add the mirror's key to \
                     `terraform-mirror-keys` in the account scheme"
                }
                (true, false) => {
                    "update cdflow, which contains the publisher's key; if it is the newest, do \
                     not use this download"
                }
                (false, true) => {
                    "copy both files to the mirror again, or sign the file again: a file that \
                     changed after it was signed is not trusted"
                }
                (false, false) => "do not use this download; find out who changed it on its way",
            })
        })?;
        let sum = sums::sum_of(&sums, name).map_err(|why| {
            Error::integrity(format!("`{address}` lists no valid SHA-256 of {name}")).why(why)
        })?;
        Ok((sum, signed_by))
    }
}
