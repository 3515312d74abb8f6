//! Refuses runs of untrusted code before any access to the cloud.

use super::run::{GitHubRun, Outsider};
use crate::{
    base::error::Error,
    services::{git::Head, github::PullRequest},
};

/// The decision about a run.
#[derive(Debug)]
pub(crate) enum Verdict {
    Fine,
    Refused(Error),
    /// Allowed if this pull request is not from a fork, which only GitHub's API reveals.
    Ask {
        pull_request: u64,
    },
}

/// Whether the verdict depends on what is checked out.
pub(crate) fn needs_head(run: &GitHubRun) -> bool {
    run.outsider.is_some()
}

/// Decides about a run. `head` is what is checked out, or None if unknown.
pub(crate) fn judge(run: &GitHubRun, head: Option<&Head>) -> Verdict {
    match (&run.pull_request, &run.outsider) {
        (Some(change), None) if change.is_fork() => Verdict::Refused(of_fork(run, change)),
        (Some(change), None) if change.is_by_dependabot() => {
            Verdict::Refused(of_dependabot(change))
        }
        (_, Some(Outsider::Head { sha, whose })) => {
            let is_from_outside = run
                .pull_request
                .as_ref()
                .is_none_or(|change| change.is_fork() || change.is_by_dependabot());
            match is_checked_out(sha, run, head, is_from_outside) {
                true => Verdict::Refused(checked_out(run, sha, whose, head)),
                false => Verdict::Fine,
            }
        }
        (_, Some(Outsider::Unknown { pull_request })) if !is_ours(run, head) => {
            Verdict::Ask { pull_request: *pull_request }
        }
        _ => Verdict::Fine,
    }
}

/// The head itself or a merge of it. For a change from outside, only the unchanged commit that
/// triggered the run is trusted: a rebased or squashed head has another hash, and an uncommitted
/// merge has none.
fn is_checked_out(sha: &str, run: &GitHubRun, head: Option<&Head>, is_from_outside: bool) -> bool {
    match head {
        Some(head) if !is_from_outside => {
            head.commit == sha || head.parents.iter().any(|parent| parent == sha)
        }
        None if !is_from_outside => false,
        head => !is_ours(run, head),
    }
}

fn is_ours(run: &GitHubRun, head: Option<&Head>) -> bool {
    head.is_some_and(|head| Some(&head.commit) == run.sha.as_ref() && !head.is_changed)
}

fn of_fork(run: &GitHubRun, change: &PullRequest) -> Error {
    let fork = match &change.head.repo {
        Some(fork) => format!("`{}`", fork.full_name.escape_debug()),
        None => "deleted since".to_owned(),
    };
    let error =
        Error::refused(format!("pull request #{} comes from a fork ({fork})", change.number))
            .why("its code would run with access to the cloud, even if it is only planned");
    with_way_out(error, run)
}

/// The refusal on CIs other than GitHub Actions.
pub(crate) fn of_foreign_change(fork: &str) -> Error {
    Error::refused(format!("the run is for a change from a fork (`{}`)", fork.escape_debug()))
        .why("its code would run with access to the cloud, even if it is only planned")
        .hint("run only checks that need no cloud access, such as tests and `terraform validate`")
        .hint(
            "to deploy the change, review it, push it to a branch of the repository itself, and \
               run it from there",
        )
}

fn of_dependabot(change: &PullRequest) -> Error {
    Error::refused(format!("pull request #{} was opened by Dependabot", change.number))
        .why(
            "its code is not reviewed, so GitHub provides no secrets and cdflow does not access \
              the cloud",
        )
        .hint(
            "run only checks that need no cloud access, such as tests and `terraform validate`; \
               deploy after the merge",
        )
}

fn checked_out(run: &GitHubRun, sha: &str, whose: &str, head: Option<&Head>) -> Error {
    let there = match head {
        Some(head) if head.is_changed => format!("{} with changes", head.commit),
        Some(head) => head.commit.clone(),
        None => "not known (no git checkout)".to_owned(),
    };
    let error =
        Error::refused(format!("code of {whose} is checked out in a run for `{}`", run.event)).why(
            format!(
                "checked out is {there}, the change is {}, and the run was started for {}",
                sha.escape_debug(),
                run.sha.as_deref().unwrap_or("(unknown)")
            ),
        );
    with_way_out(
        error.hint(
            "leave `ref:` out of actions/checkout in this workflow, or start it by `pull_request`",
        ),
        run,
    )
}

/// The refusal where GitHub says that a pull request comes from a fork, or says nothing.
pub(crate) fn of_comment(run: &GitHubRun, pull_request: u64, why: &str) -> Error {
    let error = Error::refused(format!(
        "a comment on pull request #{pull_request} started this run, and another commit than that \
         of the run is checked out"
    ))
    .why(why);
    with_way_out(error, run)
}

fn with_way_out(error: Error, run: &GitHubRun) -> Error {
    let here = run.repository.as_ref().map_or("this repository".to_owned(), |it| format!("`{it}`"));
    error.hint("run only checks that need no cloud access, such as tests and `terraform \
                validate`").hint(format!(
        "to deploy the change, review it, push it to a branch of {here}, and open the pull request \
         from there"
    ))
}
