//! Reactions to a comment.

use hyper::Method;
use serde_json::json;

use super::{api::Api, client::Call, error::GitHubError};

/// What cdflow answers a comment that commands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// It is being carried out.
    Eyes,
    /// It was carried out.
    Rocket,
    /// It was refused, or failed.
    Down,
    /// It was not understood.
    Confused,
}

impl Reaction {
    fn content(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::Rocket => "rocket",
            Self::Down => "-1",
            Self::Confused => "confused",
        }
    }
}

impl Api {
    /// Adds a reaction to a comment. A reaction that exists stays the only one of its kind.
    pub(crate) async fn react(&self, comment: u64, with: Reaction) -> Result<(), GitHubError> {
        let doing = format!("react to the comment {comment}");
        let route = self.route(&format!("/issues/comments/{comment}/reactions"));
        let call = Call::new(Method::POST, route, &doing, "pull-requests: write").repeatable();
        self.client.send_only(call.json(json!({ "content": with.content() }))).await
    }
}
