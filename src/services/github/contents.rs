//! Files of the repository at a commit.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    api::{Api, segment},
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};

const NEEDS: &str = "contents: read";

/// A file as it is at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RepositoryFile {
    Content(Vec<u8>),
    /// Larger than the caller reads, in bytes.
    TooLarge(u64),
}

/// What GitHub says about a path. It has the content only up to 1 MB.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    sha: String,
}

#[derive(Deserialize)]
struct Blob {
    /// In lines of base64.
    content: String,
}

impl Api {
    /// Returns a file of at most `limit` bytes. None if there is no file of that name.
    pub(crate) async fn file(
        &self,
        path: &str,
        commit: &str,
        limit: u64,
    ) -> Result<Option<RepositoryFile>, GitHubError> {
        let doing = format!("read `{path}` at the commit {commit}");
        let names: Vec<String> = path.split('/').map(segment).collect();
        let route = format!("/contents/{}?ref={}", names.join("/"), segment(commit));
        let asked = self.client.ask(Call::get(self.route(&route), &doing, NEEDS)).await;
        let found: Value = match asked {
            Err(error) if error.kind == GitHubErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        // A folder is a list.
        let entry = serde_json::from_value::<Entry>(found).ok().filter(|it| it.kind == "file");
        let Some(entry) = entry else { return Ok(None) };
        if entry.size > limit {
            return Ok(Some(RepositoryFile::TooLarge(entry.size)));
        }
        let route = self.route(&format!("/git/blobs/{}", segment(&entry.sha)));
        let blob: Blob = self.client.ask(Call::get(route, &doing, NEEDS)).await?;
        let text: Vec<u8> = blob.content.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
        let content = STANDARD.decode(text).map_err(|error| {
            GitHubError::new(GitHubErrorKind::Invalid, format!("failed to {doing}"), error)
        })?;
        Ok(Some(RepositoryFile::Content(content)))
    }
}
