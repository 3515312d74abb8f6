//! The folder that keeps downloads for the next run: below the runner's tool cache, or the user's
//! cache folder.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    base::{process_env::ProcessEnv, run_as::RunAs},
    services::ci::{container_action::is_container_action, host::Host},
};

/// The file in a folder of the cache that a run locks while it downloads into it.
pub(super) const LOCK: &str = ".lock";
/// The start of the name of a folder for an unfinished download.
const STAGED: &str = ".new-";

/// Creates a folder in `folder` for a download, which gets its place there by one rename.
pub(super) fn stage(folder: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(STAGED)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(folder)
}

/// Whether a name is that of a folder from [`stage`].
pub(super) fn is_staged(name: &str) -> bool {
    name.starts_with(STAGED)
}

/// Returns the folder `below` in the first place that can be written and that Terraform's user can
/// enter. None if there is none.
pub(super) fn open(below: &Path, host: &Host) -> Option<PathBuf> {
    open_as(below, host.run_as, host)
}

/// Like [`open`], for a folder that Terraform's user need not enter.
pub(crate) fn open_for_us(below: &Path, host: &Host) -> Option<PathBuf> {
    open_as(below, RunAs::Ourselves, host)
}

/// Returns where the folder `below` can be, in the order in which the places are tried.
pub(crate) fn places(below: &Path, environment: &ProcessEnv) -> Vec<PathBuf> {
    let variable = |name| environment.get(name).map(PathBuf::from);
    // A container action gets the variable, but the runner does not mount the folder. One that
    // cdflow creates would be lost at the end of the step.
    let tools = variable("RUNNER_TOOL_CACHE")
        .filter(|folder| !is_container_action(environment) || folder.is_dir());
    let candidates =
        [tools, variable("XDG_CACHE_HOME"), variable("HOME").map(|home| home.join(".cache"))];
    let bases = candidates.into_iter().flatten().filter(|base| base.is_absolute());
    bases.map(|base| base.join("cdflow").join(below)).collect()
}

/// Returns the folders `below` that exist and that Terraform's user can enter, also if they cannot
/// be written.
pub(super) fn existing(below: &Path, host: &Host) -> Vec<PathBuf> {
    let mut found = places(below, &host.environment);
    found.retain(|folder| folder.is_dir() && check_entry(folder, host.run_as).is_ok());
    found
}

fn open_as(below: &Path, run_as: RunAs, host: &Host) -> Option<PathBuf> {
    for folder in places(below, &host.environment) {
        match prepare(&folder, run_as) {
            Ok(()) => return Some(folder),
            Err(error) => {
                host.log.detail(&format!("`{}` cannot keep downloads: {error}", folder.display()))
            }
        }
    }
    None
}

fn prepare(folder: &Path, run_as: RunAs) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    check_entry(folder, run_as)?;
    // A folder that exists may still be read-only.
    tempfile::tempfile_in(folder).map(drop)
}

/// Fails if Terraform's user cannot enter the folder.
fn check_entry(folder: &Path, run_as: RunAs) -> io::Result<()> {
    if run_as != RunAs::Ourselves {
        for above in folder.ancestors() {
            if fs::metadata(above)?.permissions().mode() & 0o001 == 0 {
                let above = above.display();
                return Err(io::Error::other(format!("Terraform's user cannot enter `{above}`")));
            }
        }
    }
    Ok(())
}
