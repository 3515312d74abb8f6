//! A pull request as far as its preview needs it: by GitHub's word, or where that can't be had by the run's event.

use crate::{
    base::error::{Error, Result},
    config::preview::Preview,
    context::Context,
    services::github::{Api, GitHubError, PullRequest},
};

pub(crate) async fn find(context: &Context, number: u64) -> Result<PullRequest> {
    let asked = async {
        let api = Api::of(&context.host, context.github_token.as_ref())?;
        api.pull_request(number).await
    };
    let found =
        context.host.interrupt.or_cancel("asking GitHub", async { Ok(asked.await) }).await?;
    let of_event = of_event(context).filter(|change| change.number == number);
    match (found, of_event) {
        (Ok(found), _) => Ok(found),
        (Err(trouble), Some(change)) => {
            context
                .host
                .log
                .warning(&format!("only the run's event tells of the pull request: {trouble}"));
            Ok(change.clone())
        }
        (Err(trouble), None) => Err(trouble.into_error()),
    }
}

/// Why it has no preview, which is nobody's mistake.
pub(crate) async fn unwanted(
    change: &PullRequest,
    context: &Context,
    preview: &Preview,
) -> Result<Option<String>> {
    if change.is_fork() {
        return Err(Error::refused(format!("pull request #{} comes from a fork", change.number))
            .why("code of outsiders never reaches the cloud")
            .hint("somebody who may push here can take the change over into a branch of this repository"));
    }
    if let Some(label) = preview.label.as_ref().filter(|label| !change.has_label(label)) {
        return Ok(Some(format!("it has no label `{}`", label.escape_debug())));
    }
    if change.draft && !preview.wants_drafts() {
        return Ok(Some("it is a draft".to_owned()));
    }
    let Some(paths) = &preview.paths else { return Ok(None) };
    let files = async {
        let api = Api::of(&context.host, context.github_token.as_ref())?;
        api.changed_files(change.number).await
    };
    let files = async { files.await.map_err(GitHubError::into_error) };
    let files = context.host.interrupt.or_cancel("asking GitHub", files).await?;
    let matches = paths.match_any(files.iter().map(String::as_str));
    Ok((!matches).then(|| format!("it changes nothing in {paths}")))
}

/// The change that the run's event tells of.
pub(crate) fn of_event(context: &Context) -> Option<&PullRequest> {
    context.host.github()?.pull_request.as_ref()
}
