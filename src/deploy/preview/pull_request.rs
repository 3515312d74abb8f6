//! The pull request of a preview, from GitHub or else from the run's event; whether it gets one.

use crate::{
    base::error::{Error, Result},
    cli::values::PullRequestNumber,
    config::{names::Environment, preview::Preview},
    context::Context,
    deploy::ledger::Record,
    services::github::{Api, GitHubError, PullRequest},
};

/// Returns the pull request from GitHub. If GitHub fails, the one of the run's event is used.
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
            context.host.log.warning(&format!(
                "using the pull request of the run's event, because GitHub failed: {trouble}"
            ));
            Ok(change.clone())
        }
        (Err(trouble), None) => Err(trouble.into_error()),
    }
}

/// Returns why the pull request gets no preview; None if it does. A fork is an error.
pub(crate) async fn reason_for_none(
    change: &PullRequest,
    context: &Context,
    preview: &Preview,
) -> Result<Option<String>> {
    if change.is_fork() {
        return Err(Error::refused(format!("pull request #{} comes from a fork", change.number))
            .why("code from a fork must not reach the cloud")
            .hint(
                "ask a person with write access to push the change to a branch of this repository",
            ));
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
    let matches = paths.match_any(files.iter().map(|it| it.filename.as_str()));
    Ok((!matches).then(|| format!("it changes nothing in {paths}")))
}

/// Returns the pull request of the run's event.
pub(crate) fn of_event(context: &Context) -> Option<&PullRequest> {
    context.host.github()?.pull_request.as_ref()
}

/// Fails if the preview belongs to another repository. Two repositories whose components share a
/// name would create and destroy each other's previews.
pub(crate) fn check_repository(
    context: &Context,
    environment: &Environment,
    record: &Record,
) -> Result<()> {
    let ours = context.host.github().and_then(|run| run.repository_id);
    let theirs = record.deployed().and_then(|deployed| deployed.preview.as_ref()?.repository);
    match ours.zip(theirs) {
        Some((ours, theirs)) if ours != theirs => Err(Error::refused(format!(
            "the preview `{environment}` belongs to another repository"
        ))
        .why(format!(
            "the ledger records the repository with the ID {theirs}, and this run is for {ours}"
        ))
        .hint("rename one of the two components: `component` in cdflow.yml")),
        _ => Ok(()),
    }
}

/// Returns the number given by a flag, or else that of the run's pull request.
pub(crate) fn number(context: &Context, given: Option<PullRequestNumber>) -> Result<u64> {
    given
        .map(|PullRequestNumber(number)| number)
        .or_else(|| context.host.run.as_ref()?.change)
        .ok_or_else(|| {
            Error::input("the number of the pull request is missing")
                .why("this run is not for a pull request")
                .hint("set it: --pull-request NUMBER (the Action's input `pull-request`)")
        })
}
