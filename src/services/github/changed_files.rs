//! The files that a pull request changes.

use serde::Deserialize;

use super::{api::Api, client::Call, error::GitHubError};

/// The most files that GitHub lists for a pull request.
pub(crate) const LISTED: usize = 3000;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ChangedFile {
    pub(crate) filename: String,
    status: String,
    /// Of a file that was renamed or copied.
    previous_filename: Option<String>,
}

impl ChangedFile {
    /// Returns the name, and the previous one of a file that was renamed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let previous = self.previous_filename.as_deref().filter(|_| self.status == "renamed");
        std::iter::once(self.filename.as_str()).chain(previous)
    }
}

impl Api {
    /// Returns the files that a pull request changes, at most `LISTED`.
    pub(crate) async fn changed_files(&self, number: u64) -> Result<Vec<ChangedFile>, GitHubError> {
        let doing = format!("read the files of pull request #{number}");
        let route = self.route(&format!("/pulls/{number}/files"));
        self.client.list(Call::get(route, &doing, "pull-requests: read")).await
    }
}
