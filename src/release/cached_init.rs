//! Lets `terraform init` take providers from the cache, and keeps what it downloads.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
};

use super::init_access::Plugins;
use crate::{
    base::error::{Error, Result},
    services::ci::host::Host,
    terraform::{
        code::lockfile::Locked,
        providers::{
            Package,
            cache::Content,
            hash,
            sources::{Source, Sources},
        },
        tool::platform,
    },
};

/// Waits until no other release downloads the providers of this platform. Returns the locks of
/// those that this release downloads; `keep` must be called before they end. `infra` is where
/// Terraform runs.
pub(crate) async fn turn(
    plugins: &Plugins,
    locked: &Locked,
    sources: Option<&Sources>,
    infra: &Path,
    host: &Host,
) -> Result<Vec<File>> {
    let mut locks = Vec::new();
    for (address, provider) in locked {
        let package = Package::new(address, &provider.version, &platform())?;
        let hashes: Vec<String> =
            provider.hashes.iter().filter(|hash| hash.starts_with("h1:")).cloned().collect();
        let is_local = sources.is_some_and(|sources| !sources.downloads(&package, infra));
        if is_local || gains_hashes(address, &provider.hashes, sources) {
            continue;
        }
        let Some(cache) = plugins.cache(host) else { return Ok(locks) };
        let turn = cache.turn(&package, &hashes, host);
        locks.extend(
            host.interrupt.or_cancel("waiting for a download", async { Ok(turn.await) }).await?,
        );
    }
    Ok(locks)
}

/// Puts links to cached providers where Terraform looks for its own cache. Terraform takes only
/// those whose hash the lock file has, so it verifies them once more.
pub(crate) fn fill(
    plugins: &Plugins,
    locked: &Locked,
    sources: Option<&Sources>,
    host: &Host,
) -> Result<()> {
    let cache = if locked.is_empty() { None } else { plugins.cache(host) };
    let Some(cache) = cache else { return Ok(()) };
    for (address, provider) in locked {
        if gains_hashes(address, &provider.hashes, sources) {
            continue;
        }
        let package = Package::new(address, &provider.version, &platform())?;
        let progress = host.progress(&format!("hashing {address}"), None);
        let found = cache.find(&package, &provider.hashes, &host.log, &progress)?;
        if let Some(Content::Folder(found)) = found {
            link(&package, &found, plugins, host)?;
        }
    }
    Ok(())
}

/// Whether an install adds the registry's hashes to the lock file, which a cached package does not.
/// The release must not depend on what is cached.
fn gains_hashes(address: &str, hashes: &[String], sources: Option<&Sources>) -> bool {
    let is_registry = |sources: &Sources| sources.of(address).contains(&&Source::Registry);
    !hashes.iter().any(|hash| hash.starts_with("zh:")) && sources.is_none_or(is_registry)
}

fn link(package: &Package, found: &Path, plugins: &Plugins, host: &Host) -> Result<()> {
    let place = package.folder(&plugins.folder);
    let failed = |error: io::Error| Error::io("cannot create", &place, &error);
    fs::create_dir_all(place.parent().unwrap_or(&plugins.folder)).map_err(failed)?;
    let absolute = std::path::absolute(found).map_err(failed)?;
    symlink(absolute, &place).map_err(failed)?;
    host.log.detail(&format!("{} {} is in the cache", package.address, package.version));
    // Links are not followed: the cache stays ours.
    host.run_as.give(&plugins.folder)
}

/// Keeps the packages that Terraform downloaded. Those in a mirror that is a folder are links.
pub(crate) fn keep(plugins: &Plugins, locked: &Locked, host: &Host) -> Result<()> {
    for (address, provider) in locked {
        let package = Package::new(address, &provider.version, &platform())?;
        let folder = package.folder(&plugins.folder);
        if folder.is_symlink() || !folder.is_dir() {
            continue;
        }
        let progress = host.progress(&format!("hashing {address}"), None);
        let found = hash::of_folder(&folder, &progress);
        let failed = |error| progress.or_cancelled(Error::io("cannot read", &folder, &error));
        let found = found.map_err(failed)?;
        if provider.hashes.contains(&found) {
            let Some(cache) = plugins.cache(host) else { return Ok(()) };
            cache.keep(&package, &Content::Folder(folder), &found, host.run_as, &host.log);
        }
    }
    Ok(())
}
