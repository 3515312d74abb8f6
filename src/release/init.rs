//! `terraform init` at release: runs on a copy of the code and checks the lock file that it leaves.

use std::path::Path;

use super::{cached_init, init_access::InitAccess, source::Staged, validate};
use crate::{
    base::error::{Error, Result},
    services::ci::host::Host,
    terraform::{
        code::lockfile::{self, Locked},
        providers::sources::Sources,
        tool::Tool,
    },
};

/// Initialises `staged`. `component` is the folder of cdflow.yml, which messages name instead of
/// the copy. Fails if init changes what the lock file pins, which is `committed`.
pub(crate) async fn init(
    host: &Host,
    tool: &Tool,
    component: &Path,
    staged: &Staged,
    committed: &Locked,
    access: &mut InitAccess,
) -> Result<()> {
    // A CLI configuration that cannot be read is reported by Terraform.
    let sources = Sources::read(tool.flavor, &access.env).ok();
    if let Some(sources) = &sources {
        access.leave_cache_to(sources);
    }
    let folder = validate::folder(host, tool, component, staged, access);
    let mut turn = Vec::new();
    if let Some(plugins) = &access.plugins {
        turn = cached_init::turn(plugins, committed, sources.as_ref(), &folder.infra, host).await?;
        cached_init::fill(plugins, committed, sources.as_ref(), host)?;
    }
    let initialised = folder.init_for_release(&staged.names(), access.has_own_cache()).await;
    let locked = initialised.and_then(|()| staged.locked());
    let kept = match (&locked, &access.plugins) {
        (Ok(locked), Some(plugins)) => cached_init::keep(plugins, locked, host),
        _ => Ok(()),
    };
    // Now the cache has what other releases wait for.
    drop(turn);
    access.restore_owner(host);
    let locked = locked?;
    kept?;
    lockfile::check_kept(committed, &locked)?;
    for (address, provider) in &locked {
        if !provider.hashes.iter().any(|hash| hash.starts_with("h1:")) {
            return Err(Error::integrity(format!(
                "init recorded no h1 hash for {address} {}",
                provider.version
            ))
            .hint("run `terraform init` in infra/ and commit the lock file"));
        }
    }
    Ok(())
}
