//! The answer to a comment that commands cdflow: a reaction, and a reply if there is no row that
//! shows the result. Problems are warnings.

use super::markdown::{fence, link};
use crate::{
    base::{limits::Limit, redact::Secret},
    services::{
        ci::{CommentEvent, host::Host},
        github::{Api, GitHubError, Reaction},
    },
};

/// In bytes. A comment has at most 65,536 characters.
const REPLY_LIMIT: usize = 20_000;

/// Answers one comment.
pub(crate) struct Answer {
    host: Host,
    /// None if GitHub cannot be used.
    api: Option<Api>,
    comment: u64,
    pull_request: u64,
}

impl Answer {
    pub(crate) fn to(comment: &CommentEvent, host: &Host, token: Option<&Secret>) -> Self {
        let api = Api::of(host, token);
        let api = api.map_err(|error| host.log.warning(&error.to_string())).ok();
        let CommentEvent { id, pull_request, .. } = *comment;
        Self { host: host.clone(), api, comment: id, pull_request }
    }

    pub(crate) async fn react(&self, with: Reaction) {
        let Some(api) = &self.api else { return };
        self.in_time(api.react(self.comment, with)).await;
    }

    /// Writes a comment of its own with `text`, which is shown as it is.
    pub(crate) async fn reply(&self, what: &str, text: &str) {
        let Some(api) = &self.api else { return };
        let body = self.body(what, text);
        let writing = async {
            let me = api.me().await?;
            api.create_comment(self.pull_request, &body, &me).await.map(drop)
        };
        self.in_time(writing).await;
    }

    /// Never begins as a command.
    fn body(&self, what: &str, text: &str) -> String {
        let text = self.host.log.redactor.apply(text).into_owned();
        let text = super::markdown::cut_lines(&text, REPLY_LIMIT);
        let run = self.host.run.as_ref().and_then(|run| run.url.as_deref());
        let log = run.map_or_else(String::new, |url| format!(" ({})", link("run log", Some(url))));
        format!("{what}{log}:\n\n{}\n", fence("text", &text))
    }

    async fn in_time(&self, writing: impl Future<Output = Result<(), GitHubError>>) {
        let limits = [Limit::Comment, Limit::CommentStop];
        let failed = match self.host.interrupt.or_stop(limits, writing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(limit) => limit.passed("GitHub did not answer"),
        };
        let comment = self.comment;
        self.host.log.warning(&format!("cannot answer the comment {comment}: {failed}"));
    }
}
