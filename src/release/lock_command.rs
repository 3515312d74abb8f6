//! The command that adds providers to the lock file, from where Terraform takes them.
//!
//! `terraform providers lock` ignores the sources in Terraform's CLI configuration. Without a flag
//! for a mirror, it asks the registries, which a runner with a mirror often cannot reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

use reqwest::Url;

use crate::{
    base::shell_word::shell_word,
    config::flavor::Flavor,
    services::{ci::host::Host, tool_site::ProviderMirror},
    terraform::{
        providers::{
            Package,
            sources::{Source, Sources},
        },
        tool::platform,
    },
};

/// What the command depends on.
pub(crate) struct LockCommand<'a> {
    pub(crate) host: &'a Host,
    pub(crate) flavor: Flavor,
    /// The environment of the user's own Terraform.
    pub(crate) env: &'a BTreeMap<OsString, OsString>,
    /// The folder of cdflow.yml.
    pub(crate) component: &'a Path,
    /// The platforms that the release has providers for. Empty: that of the runner.
    pub(crate) platforms: &'a [&'a str],
}

/// The flag for a mirror, and the platforms for which a provider comes from there.
type Way = (String, BTreeSet<String>);

impl LockCommand<'_> {
    /// Returns the command that locks `providers` for all platforms of the release.
    pub(crate) async fn text(&self, providers: &[(&str, &str)]) -> String {
        let here = platform();
        let platforms: BTreeSet<&str> = match self.platforms {
            [] => BTreeSet::from([here.as_str()]),
            platforms => platforms.iter().copied().collect(),
        };
        self.for_platforms(providers, &platforms).await
    }

    /// Like [`Self::text`], with the platform of the runner.
    pub(crate) async fn with_runner(&self, providers: &[(&str, &str)]) -> String {
        let here = platform();
        let platforms = self.platforms.iter().copied().chain([here.as_str()]).collect();
        self.for_platforms(providers, &platforms).await
    }

    async fn for_platforms(
        &self,
        providers: &[(&str, &str)],
        platforms: &BTreeSet<&str>,
    ) -> String {
        let sources = Sources::read(self.flavor, self.env).ok();
        let mut ways: BTreeMap<Way, Vec<&str>> = BTreeMap::new();
        for (address, version) in providers {
            let mut flags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for platform in platforms {
                let flag = match (&sources, Package::new(address, version, platform)) {
                    (Some(sources), Ok(package)) => self.flag(sources, &package).await,
                    _ => String::new(),
                };
                flags.entry(flag).or_default().insert((*platform).to_owned());
            }
            for way in flags {
                ways.entry(way).or_default().push(address);
            }
        }
        if ways.is_empty() {
            let platforms = platforms.iter().map(|platform| (*platform).to_owned()).collect();
            ways.insert((String::new(), platforms), Vec::new());
        }
        let is_one = ways.len() == 1;
        let command = |((flag, platforms), addresses): (Way, Vec<&str>)| {
            let platforms = platforms.iter().map(|it| format!(" -platform={it}"));
            // Without addresses, the command locks all providers from the same place.
            let addresses = addresses.iter().filter(|_| !is_one).map(|it| format!(" {it}"));
            let words = platforms.chain(addresses).collect::<String>();
            format!("{} -chdir=infra providers lock{flag}{words}", self.flavor.program())
        };
        ways.into_iter().map(command).collect::<Vec<_>>().join(" && ")
    }

    /// Returns the flag for the mirror that has the package; empty for a registry.
    async fn flag(&self, sources: &Sources, package: &Package) -> String {
        let infra = self.component.join("infra");
        let found = sources.of(&package.address);
        for (number, source) in found.iter().enumerate() {
            let is_last = number + 1 == found.len();
            let flag = match source {
                Source::Folder(root) if source.has(package, &infra) => {
                    format!("-fs-mirror={}", root.display())
                }
                Source::Folder(_) => continue,
                Source::Network(url) if is_last || self.lists(sources, url, package).await => {
                    format!("-net-mirror={}", without_login(url))
                }
                Source::Network(_) => continue,
                Source::Registry => return String::new(),
            };
            return format!(" {}", shell_word(&flag));
        }
        String::new()
    }

    /// Whether a network mirror has the package. One that does not answer might have it.
    async fn lists(&self, sources: &Sources, url: &str, package: &Package) -> bool {
        let log = self.host.log.muted();
        let Ok(mirror) = ProviderMirror::open(url, |host| sources.token(host), &log) else {
            return true;
        };
        let Package { address, version, platform } = package;
        let asking = mirror.lists(address, version, platform);
        self.host.interrupt.or_cancel("asking a mirror", asking).await.unwrap_or(true)
    }
}

/// A URL can have a password, which must not be shown.
fn without_login(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    let is_plain = url.set_username("").and(url.set_password(None)).is_ok();
    if is_plain { url.to_string() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("https://mirror.example/providers/", "https://mirror.example/providers/"),
            ("https://me:word@mirror.example/", "https://mirror.example/"),
            ("nowhere", ""),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
