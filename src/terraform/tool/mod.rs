//! Terraform or OpenTofu in the version that a run needs: from PATH, or downloaded and kept.

mod cache;
mod choice;
mod installed;
mod known_versions;
mod obtain;
mod platform;

use std::{path::PathBuf, sync::Arc};

use semver::Version;

pub(crate) use self::{choice::Choice, obtain::Chosen, platform::platform};
use crate::base::run_folder::PrivateFolder;
pub(crate) use crate::config::flavor::Flavor;

/// A Terraform or OpenTofu to run.
#[derive(Clone)]
pub(crate) struct Tool {
    pub(crate) program: PathBuf,
    pub(crate) flavor: Flavor,
    pub(crate) version: Version,
    /// Whether it might choose the version by the folder that it runs in.
    is_switcher: bool,
    /// Holds the program of a run that has no cache.
    _folder: Option<Arc<PrivateFolder>>,
}

impl Tool {
    pub(crate) fn installed(program: PathBuf, flavor: Flavor, version: Version) -> Self {
        Self { program, flavor, version, is_switcher: false, _folder: None }
    }

    /// Returns the name and the version: `terraform 1.11.4`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.flavor.name(), self.version)
    }

    /// Whether it supports lock files in S3, which Terraform 1.10 and OpenTofu 1.10 introduced.
    pub(crate) fn has_s3_lockfile(&self) -> bool {
        self.version >= Version::new(1, 10, 0)
    }
}
