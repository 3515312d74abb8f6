//! Where a report is to go: files, and the comment of a pull request.

use std::path::PathBuf;

use crate::{base::redact::Secret, config::settings::Commenting, services::ci::host::Host};

/// Where a report is to go.
#[derive(Clone)]
pub(crate) struct Destinations {
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    /// A folder.
    pub(crate) plan: Option<PathBuf>,
    /// None: wherever that can be done.
    pub(crate) comment: Option<Commenting>,
    pub(crate) token: Option<Secret>,
}

impl Destinations {
    /// Whether the run has a row in the comment of its pull request.
    pub(crate) fn comments(&self, host: &Host) -> bool {
        self.pull_request(host).is_some() && self.commenting(host).is_some()
    }

    pub(super) fn pull_request(&self, host: &Host) -> Option<u64> {
        Some(host.github()?.pull_request.as_ref()?.number)
    }

    /// None where no comment is wanted, or none can be written and nobody insists.
    pub(super) fn commenting(&self, host: &Host) -> Option<Commenting> {
        let has_token = self.token.is_some() || host.environment.get("GITHUB_TOKEN").is_some();
        match self.comment {
            Some(Commenting::Never) => None,
            None => has_token.then_some(Commenting::Always),
            wanted => wanted,
        }
    }
}
