//! A pull request as far as its preview needs it: by GitHub's word, or where that can't be had by the run's event.

use crate::{
    base::error::{Error, Result},
    config::preview::Preview,
    context::Context,
    services::{
        ci,
        github::{self, Api, Trouble},
    },
};

pub(crate) struct PullRequest {
    pub(crate) number: u64,
    pub(crate) state: String,
    pub(crate) head: String,
    pub(crate) branch: String,
    is_fork: bool,
    is_draft: bool,
    labels: Vec<String>,
}

impl PullRequest {
    pub(crate) async fn find(context: &Context, number: u64) -> Result<Self> {
        let asked = async {
            let api = Api::of(&context.host, context.github_token.as_ref())?;
            api.pull_request(number).await
        };
        let found =
            context.host.interrupt.or_cancel("asking GitHub", async { Ok(asked.await) }).await?;
        let of_event = of_event(context).filter(|change| change.number == number);
        match (found, of_event) {
            (Ok(found), _) => Ok(Self::of(found)),
            (Err(trouble), Some(change)) => {
                context
                    .host
                    .log
                    .warning(&format!("only the run's event tells of the pull request: {trouble}"));
                Ok(Self::of_event(change))
            }
            (Err(trouble), None) => Err(trouble.into_error()),
        }
    }

    pub(crate) fn of(found: github::PullRequest) -> Self {
        Self {
            number: found.number,
            is_fork: found.is_fork(),
            is_draft: found.draft,
            labels: found.labels.into_iter().map(|label| label.name).collect(),
            state: found.state,
            head: found.head.sha,
            branch: found.head.branch,
        }
    }

    fn of_event(change: &ci::PullRequest) -> Self {
        Self {
            number: change.number,
            state: if change.is_closed { "closed" } else { "open" }.to_owned(),
            head: change.head_sha.clone(),
            branch: change.head_branch.clone(),
            is_fork: change.is_fork,
            is_draft: change.is_draft,
            labels: change.labels.clone(),
        }
    }

    pub(crate) fn has_label(&self, name: &str) -> bool {
        // GitHub's labels are the same in any case.
        self.labels.iter().any(|label| label.eq_ignore_ascii_case(name))
    }

    /// Why it has no preview, which is nobody's mistake.
    pub(crate) async fn unwanted(
        &self,
        context: &Context,
        preview: &Preview,
    ) -> Result<Option<String>> {
        if self.is_fork {
            return Err(Error::refused(format!("pull request #{} comes from a fork", self.number))
                .why("code of outsiders never reaches the cloud")
                .hint("somebody who may push here can take the change over into a branch of this repository"));
        }
        if let Some(label) = preview.label.as_ref().filter(|label| !self.has_label(label)) {
            return Ok(Some(format!("it has no label `{}`", label.escape_debug())));
        }
        if self.is_draft && !preview.wants_drafts() {
            return Ok(Some("it is a draft".to_owned()));
        }
        let Some(paths) = &preview.paths else { return Ok(None) };
        let files = async {
            let api = Api::of(&context.host, context.github_token.as_ref())?;
            api.changed_files(self.number).await
        };
        let files = async { files.await.map_err(Trouble::into_error) };
        let files = context.host.interrupt.or_cancel("asking GitHub", files).await?;
        let matches = paths.match_any(files.iter().map(String::as_str));
        Ok((!matches).then(|| format!("it changes nothing in {paths}")))
    }
}

/// The change that the run's event tells of.
pub(crate) fn of_event(context: &Context) -> Option<&ci::PullRequest> {
    context.host.github()?.pull_request.as_ref()
}
