//! Refuses runs of untrusted code before any access to the cloud.

use super::run::{GitHubRun, Outsider};
use crate::{
    base::error::Error,
    services::{git::Head, github::PullRequest},
};

/// The decision about a run.
#[derive(Debug)]
pub(crate) enum Verdict {
    Allowed(Files),
    Refused(Error),
    /// Allowed with files of the commit if this pull request is not from a fork, which only
    /// GitHub's API reveals. Anyone can write the comment that started the run.
    Ask {
        pull_request: u64,
    },
    /// Allowed if the commit that is checked out is one of the repository itself.
    Prove(Files),
}

/// Which files of the checkout a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// Also what earlier steps have built.
    All,
    /// Only those of the commit that is checked out: other files can come from outsiders.
    OfCommit,
}

/// The events that only people with write access, a schedule or the repository's own pull requests
/// trigger. A run for any other event can have brought in what an outsider has made, for example
/// the artifact of a fork's run.
const OWN_EVENTS: [&str; 11] = [
    "push",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "merge_group",
    "workflow_dispatch",
    "schedule",
    "release",
    "create",
    "delete",
    // Not set: a step on a machine that only looks like GitHub Actions.
    "",
];

fn files(run: &GitHubRun) -> Files {
    let is_own_run = run.event == "workflow_run" && run.triggered_by.is_some();
    match is_own_run || OWN_EVENTS.contains(&run.event.as_str()) {
        true => Files::All,
        false => Files::OfCommit,
    }
}

/// Decides about a run. `head` is what is checked out, or None if unknown.
pub(crate) fn judge(run: &GitHubRun, head: Option<&Head>) -> Verdict {
    match (&run.pull_request, &run.outsider) {
        (Some(change), None) if change.is_fork() => Verdict::Refused(of_fork(run, change)),
        (Some(change), None) if change.is_by_dependabot() => {
            Verdict::Refused(of_dependabot(change))
        }
        (Some(_), None) => Verdict::Allowed(files(run)),
        (_, Some(Outsider::Head { sha, whose })) => {
            let is_from_outside = run
                .pull_request
                .as_ref()
                .is_none_or(|change| change.is_fork() || change.is_by_dependabot());
            match is_checked_out(sha, run, head, is_from_outside) {
                true => Verdict::Refused(checked_out(run, sha, whose, head)),
                false => Verdict::Allowed(Files::OfCommit),
            }
        }
        (_, Some(Outsider::Unknown { pull_request })) if !is_ours(run, head) => {
            Verdict::Ask { pull_request: *pull_request }
        }
        (None, None) if !is_ours(run, head) => Verdict::Prove(files(run)),
        _ => Verdict::Allowed(files(run)),
    }
}

/// The head itself or a merge of it. For a change from outside, only the commit that triggered the
/// run is trusted: a rebased or squashed head has another hash.
fn is_checked_out(sha: &str, run: &GitHubRun, head: Option<&Head>, is_from_outside: bool) -> bool {
    match head {
        Some(head) if !is_from_outside => head.is_or_merges(sha),
        None if !is_from_outside => false,
        head => !is_ours(run, head),
    }
}

fn is_ours(run: &GitHubRun, head: Option<&Head>) -> bool {
    head.is_some_and(|head| run.own_commits().contains(&head.commit.as_str()))
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

/// The refusal of a commit that nothing shows to be one of the repository itself.
pub(crate) fn of_unknown_commit(run: &GitHubRun, head: &Head, why: &str) -> Error {
    let error = Error::refused(format!(
        "commit {} is checked out in a run for `{}`, and could be one of a fork",
        head.commit,
        run.event.escape_debug()
    ))
    .why(format!(
        "the run was started for {}, and {why}",
        run.sha.as_deref().unwrap_or("(unknown)").escape_debug()
    ))
    .hint(
        "check out a branch or tag of the repository by its name, or set `fetch-depth: 0` for \
         actions/checkout; push a commit that an earlier step made",
    );
    with_way_out(error, run)
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

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "1111111111111111111111111111111111111111";
    const OTHER: &str = "2222222222222222222222222222222222222222";

    /// Who made the change that the event is about.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum By {
        Unrelated,
        Colleague,
        Fork,
        Dependabot,
        /// A comment does not say.
        Unknown,
    }

    fn change(by: By) -> PullRequest {
        let side = |id: u64| {
            serde_json::json!({ "sha": OTHER, "ref": "topic",
                "repo": { "id": id, "full_name": "x/y" } })
        };
        let login = if by == By::Dependabot { "dependabot[bot]" } else { "ada" };
        serde_json::from_value(serde_json::json!({
            "number": 7, "user": { "login": login, "type": "Bot" },
            "head": side(if by == By::Fork { 2 } else { 1 }), "base": side(1),
        }))
        .unwrap()
    }

    fn run(event: &str, by: By) -> GitHubRun {
        let outsider = Outsider::Head { sha: OTHER.to_owned(), whose: "them".to_owned() };
        let is_change = event.starts_with("pull_request");
        let is_outsiders =
            event == "pull_request_target" || [By::Fork, By::Dependabot].contains(&by);
        GitHubRun {
            event: event.to_owned(),
            sha: Some(OURS.to_owned()),
            triggered_by: (event == "workflow_run" && !is_outsiders).then(|| OTHER.to_owned()),
            pull_request: is_change.then(|| change(by)),
            outsider: match by {
                By::Unknown => Some(Outsider::Unknown { pull_request: 7 }),
                _ => (is_outsiders && event != "pull_request").then_some(outsider),
            },
            ..Default::default()
        }
    }

    fn decided(run: &GitHubRun, head: Option<&str>) -> &'static str {
        let head = head.map(|commit| Head { commit: commit.to_owned(), parents: Vec::new() });
        match judge(run, head.as_ref()) {
            Verdict::Allowed(Files::All) => "all",
            Verdict::Allowed(Files::OfCommit) => "commit",
            Verdict::Refused(_) => "refused",
            Verdict::Ask { .. } => "ask",
            Verdict::Prove(Files::All) => "prove, all",
            Verdict::Prove(Files::OfCommit) => "prove, commit",
        }
    }

    /// The same table is in docs/commands.md.
    #[test]
    fn every_event_with_every_checkout() {
        use By::{Colleague, Dependabot, Fork, Unknown, Unrelated};
        let table = [
            // The event, whose change, and the decision with the commit of the run checked out,
            // with another one, and with none.
            ("push", Unrelated, ["all", "prove, all", "prove, all"]),
            ("merge_group", Unrelated, ["all", "prove, all", "prove, all"]),
            ("workflow_dispatch", Unrelated, ["all", "prove, all", "prove, all"]),
            ("schedule", Unrelated, ["all", "prove, all", "prove, all"]),
            ("release", Unrelated, ["all", "prove, all", "prove, all"]),
            ("", Unrelated, ["all", "prove, all", "prove, all"]),
            ("repository_dispatch", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("check_run", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("check_suite", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("status", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("issues", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("deployment_status", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("discussion_comment", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("an_event_of_next_year", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("issue_comment", Unrelated, ["commit", "prove, commit", "prove, commit"]),
            ("issue_comment", Unknown, ["commit", "ask", "ask"]),
            ("pull_request", Colleague, ["all", "all", "all"]),
            ("pull_request", Fork, ["refused", "refused", "refused"]),
            ("pull_request", Dependabot, ["refused", "refused", "refused"]),
            ("pull_request_target", Colleague, ["commit", "refused", "commit"]),
            ("pull_request_target", Fork, ["commit", "refused", "refused"]),
            ("pull_request_target", Dependabot, ["commit", "refused", "refused"]),
            ("workflow_run", Colleague, ["all", "all", "prove, all"]),
            ("workflow_run", Fork, ["commit", "refused", "refused"]),
            ("workflow_run", Dependabot, ["commit", "refused", "refused"]),
        ];
        for (event, by, decisions) in table {
            let run = run(event, by);
            let found = [Some(OURS), Some(OTHER), None].map(|head| decided(&run, head));
            assert_eq!(found, decisions, "{event} {by:?}");
        }
    }
}
