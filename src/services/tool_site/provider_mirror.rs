//! A network mirror of providers, in Terraform's protocol: a JSON document per version lists the
//! archive of each platform.

use std::{collections::BTreeMap, fs::File};

use reqwest::Url;
use serde::Deserialize;

use super::{destination::Destination, download::Downloader, place::Address};
use crate::base::{
    error::{Error, Result},
    log::Log,
    redact::Secret,
};

/// In bytes.
const LARGEST_LIST: u64 = 1 << 20;

pub(crate) struct ProviderMirror {
    base: Url,
    downloader: Downloader,
}

#[derive(Deserialize)]
struct Listed {
    archives: BTreeMap<String, Archive>,
}

#[derive(Deserialize)]
struct Archive {
    /// Relative to the document.
    url: String,
    #[serde(default)]
    hashes: Vec<String>,
}

impl ProviderMirror {
    /// `token` returns what the mirror's host is given, such as `mirror.example:8443`.
    pub(crate) fn open(
        url: &str,
        token: impl FnOnce(&str) -> Option<Secret>,
        log: &Log,
    ) -> Result<Self> {
        let with_slash = format!("{}/", url.trim_end_matches('/'));
        let base = Url::parse(&with_slash).ok().filter(|url| url.scheme() == "https");
        let base = base.ok_or_else(|| {
            // It can have a password.
            Error::input("the `url` of a `network_mirror` is not an HTTPS address")
                .hint("correct Terraform's CLI configuration")
        })?;
        let host = base.authority().to_owned();
        let token = token(&host);
        let downloader = Downloader::new(false, log.clone())?.with_token(host, token);
        Ok(Self { base, downloader })
    }

    /// Returns the mirror for messages.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Writes the archive of `version` of the provider at `address` for `platform`. False if the
    /// mirror does not list it.
    pub(crate) async fn fetch(
        &self,
        (address, version, platform): (&str, &str, &str),
        archive: File,
        to: &Destination,
    ) -> Result<bool> {
        let document = self.document(address, version)?;
        let listed = Address::Url(document.to_string());
        let found = self.listed(&listed).await?;
        let Some(package) = found.and_then(|mut found| found.archives.remove(platform)) else {
            return Ok(false);
        };
        let at = Address::Url(self.join(&document, &package.url)?.to_string());
        let Some(downloaded) = self.downloader.large(&at, archive, to).await? else {
            return Err(Error::input(format!("`{at}` does not exist"))
                .why(format!("`{listed}` lists it"))
                .hint("complete the mirror"));
        };
        let expected: Vec<&str> =
            package.hashes.iter().filter_map(|hash| hash.strip_prefix("zh:")).collect();
        let digest = downloaded.digest.to_string();
        match expected.is_empty() || expected.contains(&digest.as_str()) {
            true => Ok(true),
            false => Err(Error::integrity(format!("`{at}` is not what the mirror lists"))
                .why(format!("its SHA-256 is {digest}, expected {}", expected.join(" or ")))
                .hint("compare the mirror with the provider's registry; nothing was kept")),
        }
    }

    /// Returns true if the mirror lists the provider at `address` for `platform`.
    pub(crate) async fn lists(&self, address: &str, version: &str, platform: &str) -> Result<bool> {
        let document = Address::Url(self.document(address, version)?.to_string());
        let found = self.listed(&document).await?;
        Ok(found.is_some_and(|found| found.archives.contains_key(platform)))
    }

    fn document(&self, address: &str, version: &str) -> Result<Url> {
        self.join(&self.base, &format!("{address}/{version}.json"))
    }

    async fn listed(&self, document: &Address) -> Result<Option<Listed>> {
        let Some(bytes) = self.downloader.small(document, LARGEST_LIST).await? else {
            return Ok(None);
        };
        let found = serde_json::from_slice(&bytes).map_err(|error| {
            Error::integrity(format!("`{document}` is not a list of packages")).why(error)
        })?;
        Ok(Some(found))
    }

    fn join(&self, base: &Url, path: &str) -> Result<Url> {
        base.join(path).map_err(|error| {
            Error::integrity(format!("the mirror {} names an invalid address", self.host()))
                .why(error)
        })
    }
}
