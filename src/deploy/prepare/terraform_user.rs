//! The user of Terraform, and what it owns: the files of the run, and states that are local files.

use crate::{
    base::{error::Result, run_as::RunAs, run_folder::PrivateFolder},
    services::ci::host::Host,
    terraform::state::place::StatePlace,
};

/// Returns the user of Terraform, who can then write all of that. It is the user of all programs,
/// or the owner of a folder with local states, so that new states belong to the same owner.
pub(super) fn give_files(
    host: &Host,
    private: &PrivateFolder,
    place: &StatePlace,
) -> Result<RunAs> {
    let StatePlace::Local { root, prefix, .. } = place else {
        private.give_content(host.run_as)?;
        return Ok(host.run_as);
    };
    let run_as = host.run_as.with_owner_of(root);
    private.give_content(run_as)?;
    let states = root.join(prefix);
    run_as.open_way(root, &states)?;
    run_as.give(&states)?;
    Ok(run_as)
}
