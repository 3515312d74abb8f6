//! The folder that keeps downloads for the next run: below the runner's tool cache, or the user's
//! cache folder.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{base::run_as::RunAs, services::ci::host::Host};

/// Returns the folder `below` in the first place that can be written and that Terraform's user can
/// enter. None if there is none.
pub(super) fn open(below: &Path, host: &Host) -> Option<PathBuf> {
    let variable = |name| host.environment.get(name).map(PathBuf::from);
    let candidates = [
        variable("RUNNER_TOOL_CACHE"),
        variable("XDG_CACHE_HOME"),
        variable("HOME").map(|home| home.join(".cache")),
    ];
    for base in candidates.into_iter().flatten().filter(|base| base.is_absolute()) {
        let folder = base.join("cdflow").join(below);
        match prepare(&folder, host.run_as) {
            Ok(()) => return Some(folder),
            Err(error) => {
                host.log.detail(&format!("`{}` cannot keep downloads: {error}", base.display()))
            }
        }
    }
    None
}

fn prepare(folder: &Path, run_as: RunAs) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    if run_as != RunAs::Ourselves {
        for above in folder.ancestors() {
            if fs::metadata(above)?.permissions().mode() & 0o001 == 0 {
                let above = above.display();
                return Err(io::Error::other(format!("Terraform's user cannot enter `{above}`")));
            }
        }
    }
    // A folder that exists may still be read-only.
    tempfile::tempfile_in(folder).map(drop)
}
