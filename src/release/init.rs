//! `terraform init` at release: runs on a copy of the code and checks the lock file that it leaves.

use std::path::Path;

use super::{init_access::InitAccess, source::Staged};
use crate::{
    base::error::{Error, Result},
    services::ci::host::Host,
    terraform::{Folder, code::lockfile, tool::Tool},
};

/// Initialises `staged`. `component` is the folder of cdflow.yml, which messages name instead of
/// the copy. Fails if init changes what the committed lock file pins.
pub(crate) async fn init(
    host: &Host,
    tool: &Tool,
    component: &Path,
    staged: &Staged,
    access: &InitAccess,
) -> Result<()> {
    let lock = staged.infra.join(lockfile::FILE);
    let committed = lockfile::read(&lock)?;
    let folder = Folder {
        tool: tool.clone(),
        host: host.clone(),
        infra: staged.infra.clone(),
        original: component.join("infra"),
        env: access.env.clone(),
        run_as: host.run_as,
    };
    let initialised = folder.init_for_release().await;
    access.restore_owner(host);
    initialised?;
    let locked = lockfile::read(&lock)?;
    lockfile::check_kept(&committed, &locked)?;
    for (address, provider) in &locked {
        if !committed.contains_key(address) {
            host.log.warning(&format!(
                "{address} {} is not in the lock file; commit infra/{}, so that every release \
                 uses the same version",
                provider.version,
                lockfile::FILE
            ));
        }
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
