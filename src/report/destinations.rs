//! Where a report is written: files, and the comment on a pull request.

use std::path::PathBuf;

use crate::{base::redact::Secret, config::settings::Commenting, services::ci::host::Host};

/// Where a report is written, from flags and inputs.
#[derive(Clone)]
pub(crate) struct Destinations {
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    /// The folder for `plan.txt` and `plan.json`.
    pub(crate) plan: Option<PathBuf>,
    /// None if not set: comment if there is a token.
    pub(crate) comment: Option<Commenting>,
    /// How many rows the check run waits for. None: no check run is written.
    pub(crate) check: Option<usize>,
    /// A GitHub token; without it, `GITHUB_TOKEN` of the environment is used.
    pub(crate) token: Option<Secret>,
}

impl Destinations {
    /// Whether the run is for a pull request and comments on it.
    pub(crate) fn comments(&self, host: &Host) -> bool {
        self.pull_request(host).is_some() && self.commenting(host).is_some()
    }

    pub(super) fn pull_request(&self, host: &Host) -> Option<u64> {
        Some(host.github()?.pull_request.as_ref()?.number)
    }

    /// Returns when to comment. None if comments are off, or without a token if not requested.
    pub(super) fn commenting(&self, host: &Host) -> Option<Commenting> {
        let has_token = self.token.is_some() || host.environment.get("GITHUB_TOKEN").is_some();
        match self.comment {
            Some(Commenting::Never) => None,
            None => has_token.then_some(Commenting::Always),
            requested => requested,
        }
    }
}
