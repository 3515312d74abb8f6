//! Comments on pull requests.

use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    account::GitHubAccount,
    api::Api,
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};

const NEEDS: &str = "pull-requests: write";
/// The pauses before each search for a comment whose creation got no answer. The list lagged up to
/// three seconds in public reports.
const LOST_ANSWER_PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(4)];

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "CommentAnswer")]
pub(crate) struct Comment {
    pub(crate) id: u64,
    /// Empty: the account was deleted.
    pub(crate) author_login: String,
    pub(crate) author_is_bot: bool,
    pub(crate) body: String,
    pub(crate) html_url: String,
}

/// A comment with its author and its times.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DatedComment {
    /// None: the account was deleted.
    pub(crate) user: Option<GitHubAccount>,
    #[serde(default)]
    pub(crate) body: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// As GitHub sends it.
#[derive(Deserialize)]
struct CommentAnswer {
    id: u64,
    user: Option<GitHubAccount>,
    #[serde(default)]
    body: Option<String>,
    html_url: String,
}

impl From<CommentAnswer> for Comment {
    fn from(wire: CommentAnswer) -> Self {
        Self {
            id: wire.id,
            author_is_bot: wire.user.as_ref().is_some_and(GitHubAccount::is_bot),
            author_login: wire.user.map(|user| user.login).unwrap_or_default(),
            body: wire.body.unwrap_or_default(),
            html_url: wire.html_url,
        }
    }
}

impl Api {
    /// Returns the comments of a pull request or issue, oldest first.
    pub(crate) async fn comments(&self, issue: u64) -> Result<Vec<Comment>, GitHubError> {
        let doing = format!("read the comments of #{issue}");
        let route = self.route(&format!("/issues/{issue}/comments"));
        self.client.list(Call::get(route, &doing, "pull-requests: read")).await
    }

    /// Creates a comment. If GitHub's response is lost, an identical comment by `author` (from
    /// `me`) counts as this one, so that no duplicate is created. The list of comments can lag,
    /// so it is read several times before the comment is sent again. A second comment is then
    /// possible: `upsert` merges it into the first as soon as both are listed.
    pub(crate) async fn create_comment(
        &self,
        issue: u64,
        body: &str,
        author: &str,
    ) -> Result<Comment, GitHubError> {
        let lost = match self.post_comment(issue, body).await {
            Err(error) if error.kind == GitHubErrorKind::Unavailable => error,
            answered => return answered,
        };
        for pause in LOST_ANSWER_PAUSES {
            tokio::time::sleep(pause).await;
            let found = self.comments(issue).await.map_err(|_| lost.clone())?;
            if let Some(ours) =
                found.into_iter().rev().find(|it| it.author_login == author && it.body == body)
            {
                return Ok(ours);
            }
        }
        self.post_comment(issue, body).await
    }

    async fn post_comment(&self, issue: u64, body: &str) -> Result<Comment, GitHubError> {
        let doing = format!("comment on #{issue}");
        let call = Call::new(
            Method::POST,
            self.route(&format!("/issues/{issue}/comments")),
            &doing,
            NEEDS,
        );
        self.client.ask(call.json(json!({ "body": body }))).await
    }

    /// Whether the comment exists. Unlike the list of comments, this does not lag.
    pub(crate) async fn has_comment(&self, id: u64) -> Result<bool, GitHubError> {
        let doing = format!("read the comment {id}");
        let route = self.route(&format!("/issues/comments/{id}"));
        match self.client.ask::<Comment>(Call::get(route, &doing, "pull-requests: read")).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == GitHubErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the comment as it is now. None if it was deleted.
    pub(crate) async fn comment(&self, id: u64) -> Result<Option<DatedComment>, GitHubError> {
        let doing = format!("read the comment {id}");
        let route = self.route(&format!("/issues/comments/{id}"));
        match self.client.ask(Call::get(route, &doing, "pull-requests: read")).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == GitHubErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn update_comment(&self, id: u64, body: &str) -> Result<Comment, GitHubError> {
        let doing = format!("update the comment {id}");
        // octocrab's own sends POST, which GitHub refuses.
        let call =
            Call::new(Method::PATCH, self.route(&format!("/issues/comments/{id}")), &doing, NEEDS);
        self.client.ask(call.json(json!({ "body": body }))).await
    }

    /// Succeeds if the comment does not exist.
    pub(crate) async fn delete_comment(&self, id: u64) -> Result<(), GitHubError> {
        let doing = format!("delete the comment {id}");
        let route = self.route(&format!("/issues/comments/{id}"));
        match self.client.send_only(Call::new(Method::DELETE, route, &doing, NEEDS)).await {
            Err(trouble) if trouble.kind == GitHubErrorKind::NotFound => Ok(()),
            answered => answered,
        }
    }
}
