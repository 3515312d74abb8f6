//! Decides whether a comment on a pull request commands the run. Anybody can write a comment, so
//! its text is untrusted, and GitHub is asked who wrote it.

use std::sync::Arc;

use super::{component, trust};
use crate::{
    base::error::{Error, Result},
    cli::{
        args::Global,
        comment::{CommentCommand, CommentVerb},
    },
    config::comments::Comments,
    services::{
        ci::{Commanded, CommentEvent, GitHubRun, Run, host::Host, short},
        github::{Api, DatedComment, GitHubAccount, GitHubError, PullRequest},
    },
};

/// The decision about a comment.
pub(crate) enum Judged {
    /// It does not command cdflow, for this reason. It gets no answer.
    Ignored(String),
    /// Its author may not use commands. The answer is a reaction without text, so that such a
    /// comment causes no other one.
    Denied(Error),
    /// It begins like a command, but is invalid.
    Wrong(Error),
    Refused(Error),
    Accepted(Box<Accepted>),
}

/// A comment whose command is to be carried out.
pub(crate) struct Accepted {
    pub(crate) command: CommentCommand,
    pub(crate) pull_request: PullRequest,
    pub(crate) commanded: Commanded,
}

impl Accepted {
    /// Returns the run as one of the pull request.
    pub(crate) fn run(&self, host: &Host) -> Option<Arc<Run>> {
        let run = host.run.as_deref()?.clone();
        let github = run.github.map(|github| GitHubRun {
            pull_request: Some(self.pull_request.clone()),
            // The checkout has been compared with the commit of the run.
            outsider: None,
            commanded: Some(self.commanded.clone()),
            ..github
        });
        Some(Arc::new(Run {
            commit: Some(self.pull_request.head.sha.clone()),
            tag: None,
            change: Some(self.pull_request.number),
            actor: Some(self.commanded.login.clone()),
            github,
            ..run
        }))
    }

    /// The version that the pull request's workflow has released.
    pub(crate) fn version(&self) -> String {
        format!("pr-{}-{}", self.pull_request.number, short(&self.pull_request.head.sha))
    }
}

/// Returns the comment that started the run.
pub(crate) fn of_run(host: &Host) -> Result<&CommentEvent> {
    let github = host.github().filter(|run| run.event == "issue_comment");
    let error = || {
        Error::input("the run was not started by a comment on a pull request").hint(
            "start the workflow by `issue_comment`, with `types: [created]`, and only if \
             `github.event.issue.pull_request` is set (docs/comment-commands.md)",
        )
    };
    github.and_then(|run| run.comment.as_ref()).ok_or_else(error)
}

/// Judges the comment of the run. With `head`, the pull request must not have a newer commit.
///
/// Fails if nothing can be decided. `comments` of cdflow.yml is read from the commit of the run,
/// which is on the default branch: a pull request cannot change what its own comments may do.
pub(crate) async fn judge(global: &Global, host: &Host, head: Option<&str>) -> Result<Judged> {
    let event = of_run(host)?;
    if !event.is_new {
        return Ok(Judged::Ignored("only new comments are read".to_owned()));
    }
    let Some(parsed) = CommentCommand::parse(&event.body) else {
        return Ok(Judged::Ignored("the comment is not for cdflow".to_owned()));
    };
    trust::check_own_commit(global, host).await?;
    let (manifest, _) = component::read_manifest(&component::folder(global)?)?;
    let api = Api::of(host, global.github_token.as_ref()).map_err(GitHubError::into_error)?;
    let asking = async { Ok(ask(&api, event, parsed, &manifest.comments, head, host).await) };
    let asked = host.interrupt.or_cancel("asking GitHub", asking).await?;
    asked.map_err(GitHubError::into_error)
}

async fn ask(
    api: &Api,
    event: &CommentEvent,
    parsed: Result<CommentCommand, String>,
    comments: &Comments,
    head: Option<&str>,
    host: &Host,
) -> Result<Judged, GitHubError> {
    let Some(found) = api.comment(event.id).await? else {
        return Ok(Judged::Ignored("the comment was deleted".to_owned()));
    };
    let author = found.user.as_ref().filter(|user| !user.is_bot());
    let Some(GitHubAccount { login, .. }) = author else {
        return Ok(Judged::Ignored("comments by bots are ignored".to_owned()));
    };
    if !api.can_push(login).await? {
        return Ok(Judged::Denied(
            Error::refused(format!("`{}` may not use cdflow's commands", login.escape_debug()))
                .why("they need write access to the repository")
                .hint("ask a person with write access to write the comment"),
        ));
    }
    if is_edited(&found, &event.body) {
        return Ok(Judged::Refused(
            Error::refused("the comment was edited")
                .why("what it commanded before cannot be seen")
                .hint("write a new comment"),
        ));
    }
    let command = match parsed {
        Ok(command) => command,
        Err(why) => {
            return Ok(Judged::Wrong(
                Error::input("the comment is not a command").why(why).hint("write a new comment"),
            ));
        }
    };
    if let Err(refused) = check_enabled(&command, comments) {
        return Ok(Judged::Refused(refused));
    }
    let pull_request = api.pull_request(event.pull_request).await?;
    let commanded = Commanded { login: login.clone(), at: found.created_at };
    let checked = match check_pull_request(&pull_request, command.verb, head) {
        Ok(()) => check_not_pushed(api, &pull_request, &commanded, host).await,
        refused => refused,
    };
    Ok(match checked {
        Ok(()) => Judged::Accepted(Box::new(Accepted { command, pull_request, commanded })),
        Err(refused) => Judged::Refused(refused),
    })
}

fn is_edited(found: &DatedComment, body: &str) -> bool {
    found.body.as_deref() != Some(body) || found.updated_at != found.created_at
}

/// Refuses a command that cdflow.yml does not name for the environment.
fn check_enabled(command: &CommentCommand, comments: &Comments) -> Result<()> {
    let CommentCommand { verb, environment, .. } = command;
    let enabled = match verb {
        CommentVerb::Plan => &comments.plan,
        CommentVerb::Apply => &comments.apply,
        CommentVerb::Unlock => &comments.unlock,
        CommentVerb::Hold | CommentVerb::Unhold => &comments.hold,
    };
    if enabled.contains(environment) {
        return Ok(());
    }
    let key = verb.key();
    let names: Vec<String> = enabled.iter().map(|name| format!("`{name}`")).collect();
    let why = match names.is_empty() {
        true => format!("`comments.{key}` in cdflow.yml of the default branch names none"),
        false => format!(
            "`comments.{key}` in cdflow.yml of the default branch names {}",
            names.join(", ")
        ),
    };
    Err(Error::refused(format!("`/cdflow {verb}` is not enabled for `{environment}`"))
        .why(why)
        .hint(format!("add `{environment}` to `comments.{key}`, and merge that first")))
}

/// Refuses a pull request that is closed, from outside, or has another newest commit.
fn check_pull_request(of: &PullRequest, verb: CommentVerb, head: Option<&str>) -> Result<()> {
    let number = of.number;
    // Its hold might still count, where GitHub could not be asked.
    if !of.is_open() && verb != CommentVerb::Unhold {
        return Err(Error::refused(format!("pull request #{number} is closed"))
            .why("commands need an open pull request")
            .hint("reopen it, or deploy what was merged"));
    }
    let outsider = match () {
        () if of.is_fork() => Some("comes from a fork"),
        () if of.is_by_dependabot() => Some("was opened by Dependabot"),
        () => None,
    };
    if let Some(outsider) = outsider {
        return Err(Error::refused(format!("pull request #{number} {outsider}"))
            .why("its code would run with access to the cloud, even if it is only planned")
            .hint("review the change, and open a pull request from a branch of the repository"));
    }
    match head {
        Some(head) if head != of.head.sha => Err(moved(
            of,
            &format!("{} was the newest commit when the comment was checked", short(head)),
        )),
        _ => Ok(()),
    }
}

fn moved(of: &PullRequest, why: &str) -> Error {
    let newest = short(&of.head.sha);
    Error::refused(format!("pull request #{} has a newer commit, {newest}", of.number))
        .why(why)
        .hint("review what was pushed, and write the comment again")
}

/// Refuses a commit that was pushed after the comment, because its author has not seen it.
///
/// Some servers do not list pushes. A plan then shows its commit, and an apply needs a plan of the
/// commit that is older than the comment.
async fn check_not_pushed(
    api: &Api,
    of: &PullRequest,
    commanded: &Commanded,
    host: &Host,
) -> Result<()> {
    let pushed = match api.pushed_at(&of.head.name, &of.head.sha).await {
        Ok(pushed) => pushed,
        Err(error) => {
            host.log.warning(&format!("cannot check when the commit was pushed: {error}"));
            None
        }
    };
    match pushed {
        Some(at) if at > commanded.at => Err(moved(of, "it was pushed after the comment")),
        _ => Ok(()),
    }
}
