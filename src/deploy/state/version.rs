//! The version of Terraform that wrote a state.

use semver::Version;

use crate::{
    base::error::{Error, Result},
    terraform::{
        state::summary::StateSummary,
        tool::{Flavor, Tool},
    },
};

/// Fails if a newer minor version wrote the state: an older one might not read it, or lose parts of
/// it. Terraform itself only checks the format, and `state pull` names its own version.
pub(crate) fn check(state: &StateSummary, tool: &Tool) -> Result<()> {
    // Both count on their own, and a state does not name which of them wrote it.
    if tool.flavor == Flavor::OpenTofu {
        return Ok(());
    }
    let minor = |version: &Version| (version.major, version.minor);
    match state.written_by.as_ref().filter(|by| minor(by) > minor(&tool.version)) {
        None => Ok(()),
        Some(written) => Err(Error::input(format!("the state was written by terraform {written}"))
            .why(format!("this run uses terraform {}, which is older", tool.version))
            .hint(format!(
                "make a release with terraform {written} or newer, or deploy this one with \
                 --terraform-version {written}"
            ))),
    }
}
