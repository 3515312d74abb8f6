//! GitHub releases and their assets.

use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    api::{Api, segment},
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};

const NEEDS: &str = "contents: write";

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GitHubRelease {
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) body: Option<String>,
    pub(crate) html_url: String,
    /// `https://uploads.github.com/…{?name,label}`
    upload_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Asset {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// `uploaded`, or `open` for one whose upload was cut off.
    pub(crate) state: String,
    pub(crate) size: u64,
    /// `sha256:…`; assets of before June 2025 have none.
    #[serde(default)]
    pub(crate) digest: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct NewRelease<'a> {
    pub(crate) tag_name: &'a str,
    pub(crate) name: &'a str,
    pub(crate) body: &'a str,
    pub(crate) prerelease: bool,
}

#[derive(Deserialize)]
struct Notes {
    body: String,
}

impl Api {
    /// Returns None if the tag has no release.
    pub(crate) async fn release_by_tag(
        &self,
        tag: &str,
    ) -> Result<Option<GitHubRelease>, GitHubError> {
        let doing = format!("read the GitHub release of `{}`", tag.escape_debug());
        let route = self.route(&format!("/releases/tags/{}", segment(tag)));
        match self.client.ask(Call::get(route, &doing, "contents: read")).await {
            Err(trouble) if trouble.kind == GitHubErrorKind::NotFound => Ok(None),
            answered => answered.map(Some),
        }
    }

    /// Creates a release. Returns an existing one unchanged, for example if a response was lost or
    /// another run was faster.
    pub(crate) async fn create_release(
        &self,
        new: &NewRelease<'_>,
    ) -> Result<GitHubRelease, GitHubError> {
        let doing = format!("create the GitHub release of `{}`", new.tag_name.escape_debug());
        let call = Call::new(Method::POST, self.route("/releases"), &doing, NEEDS).json(json!(new));
        let refused = match self.client.ask(call).await {
            Err(trouble)
                if [GitHubErrorKind::Unavailable, GitHubErrorKind::Invalid]
                    .contains(&trouble.kind) =>
            {
                trouble
            }
            answered => return answered,
        };
        self.release_by_tag(new.tag_name).await.ok().flatten().ok_or(refused)
    }

    pub(crate) async fn update_release(
        &self,
        id: u64,
        body: &str,
    ) -> Result<GitHubRelease, GitHubError> {
        let doing = format!("update the GitHub release {id}");
        let call = Call::new(Method::PATCH, self.route(&format!("/releases/{id}")), &doing, NEEDS);
        self.client.ask(call.json(json!({ "body": body }))).await
    }

    /// Returns the changes since the previous release, in Markdown.
    pub(crate) async fn generate_notes(&self, tag: &str) -> Result<String, GitHubError> {
        let doing = format!("generate release notes for `{}`", tag.escape_debug());
        let call = Call::new(Method::POST, self.route("/releases/generate-notes"), &doing, NEEDS);
        let notes: Notes =
            self.client.ask(call.json(json!({ "tag_name": tag })).question()).await?;
        Ok(notes.body)
    }

    pub(crate) async fn assets(&self, release: u64) -> Result<Vec<Asset>, GitHubError> {
        let doing = format!("read the files of the GitHub release {release}");
        self.client
            .list(Call::get(
                self.route(&format!("/releases/{release}/assets")),
                &doing,
                "contents: read",
            ))
            .await
    }

    /// Uploads an asset. Names are unique: an existing asset must be deleted first.
    pub(crate) async fn upload_asset(
        &self,
        release: &GitHubRelease,
        name: &str,
        content_type: &'static str,
        bytes: Bytes,
    ) -> Result<Asset, GitHubError> {
        let doing = format!("upload `{}` to the GitHub release", name.escape_debug());
        let place = release.upload_url.split('{').next().unwrap_or_default();
        let call =
            Call::new(Method::POST, format!("{place}?name={}", segment(name)), &doing, NEEDS);
        self.client.ask(call.file(content_type, bytes)).await
    }

    pub(crate) async fn delete_asset(&self, id: u64) -> Result<(), GitHubError> {
        let doing = format!("delete the file {id} of the GitHub release");
        let route = self.route(&format!("/releases/assets/{id}"));
        match self.client.send_only(Call::new(Method::DELETE, route, &doing, NEEDS)).await {
            Err(trouble) if trouble.kind == GitHubErrorKind::NotFound => Ok(()),
            answered => answered,
        }
    }
}
