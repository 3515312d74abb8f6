//! A run of GitHub Actions.

use super::{
    actions_event,
    run::{GitHubRun, Outsider, Run},
};
use crate::{
    base::{error::Result, process_env::ProcessEnv},
    services::github::GitHubAccount,
};

pub(crate) fn read(environment: &ProcessEnv) -> Result<Run> {
    let name = environment.get("GITHUB_EVENT_NAME").unwrap_or_default();
    let event = actions_event::read(environment, name)?;
    Ok(Run {
        commit: environment.text("GITHUB_SHA"),
        tag: environment
            .text("GITHUB_REF_NAME")
            .filter(|_| environment.get("GITHUB_REF_TYPE") == Some("tag")),
        number: environment.number("GITHUB_RUN_NUMBER"),
        change: event.pull_request.as_ref().map(|it| it.number),
        actor: environment.text("GITHUB_ACTOR"),
        fork: None,
        url: run_url(environment),
        github: Some(GitHubRun {
            repository: environment.get("GITHUB_REPOSITORY").map(str::parse).transpose()?,
            repository_id: environment.number("GITHUB_REPOSITORY_ID"),
            event: name.to_owned(),
            sha: environment.text("GITHUB_SHA"),
            triggered_by: triggered_by(name, &event),
            outsider: outsider(name, &event),
            comment: event.new_comment(name),
            commanded: None,
            pull_request: event.pull_request,
            queued: environment
                .get("GITHUB_REF")
                .filter(|_| name == "merge_group")
                .and_then(pull_request_of_queue),
            run_id: environment.number("GITHUB_RUN_ID"),
            attempt: environment.number("GITHUB_RUN_ATTEMPT").unwrap_or(1),
        }),
    })
}

fn run_url(environment: &ProcessEnv) -> Option<String> {
    let [server, repository, run] = ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"]
        .map(|name| environment.get(name));
    Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
}

/// Returns 7 for `refs/heads/gh-readonly-queue/main/pr-7-<commit>`.
fn pull_request_of_queue(branch: &str) -> Option<u64> {
    let queued = branch.strip_prefix("refs/heads/gh-readonly-queue/")?;
    let (_, name) = queued.rsplit_once("/pr-")?;
    name.split('-').next()?.parse().ok()
}

fn triggered_by(name: &str, event: &actions_event::Event) -> Option<String> {
    let run = event.workflow_run.as_ref().filter(|_| name == "workflow_run")?;
    outsider(name, event).is_none().then(|| run.head_sha.clone())
}

fn outsider(name: &str, event: &actions_event::Event) -> Option<Outsider> {
    match (name, &event.pull_request, &event.workflow_run, &event.issue) {
        // For this event even a branch of the repository is unreviewed code that runs with the
        // secrets of the base.
        ("pull_request_target", Some(change), ..) => Some(Outsider::Head {
            sha: change.head.sha.clone(),
            whose: format!("pull request #{}", change.number),
        }),
        ("workflow_run", _, Some(run), _) => {
            let ours = event.repository.as_ref().map(|repository| repository.id);
            let is_fork = run.head_repository.is_none()
                || run.head_repository.as_ref().map(|it| it.id) != ours;
            // Also a push: Dependabot pushes the branches of its pull requests.
            let is_dependabots = run.actor.as_ref().is_some_and(GitHubAccount::is_dependabot);
            let whose = match &run.head_repository {
                _ if is_dependabots => "Dependabot".to_owned(),
                Some(fork) => format!("the fork `{}`", fork.full_name.escape_debug()),
                None => "a fork that was deleted".to_owned(),
            };
            (is_fork || is_dependabots).then(|| Outsider::Head { sha: run.head_sha.clone(), whose })
        }
        ("issue_comment", _, _, Some(issue)) if issue.pull_request.is_some() => {
            Some(Outsider::Unknown { pull_request: issue.number })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(event: &str, content: &Value, others: &[(&str, &str)]) -> Result<Run> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content.to_string()).unwrap();
        let path = file.path().to_str().unwrap();
        let always =
            [("GITHUB_EVENT_NAME", event), ("GITHUB_EVENT_PATH", path), ("GITHUB_SHA", "merge")];
        let variables = always.iter().chain(others);
        read(&ProcessEnv::new(variables.map(|(name, value)| (name.into(), value.into()))))
    }

    #[test]
    fn facts_of_a_pull_request() {
        let repository = json!({ "id": 1, "full_name": "acme/checkout", "default_branch": "main" });
        let event = json!({
            "repository": repository,
            "pull_request": {
                "number": 7, "state": "closed", "draft": true,
                "labels": [{ "name": "preview" }, { "name": "x" }], "user": { "login": "ada" },
                "head": { "sha": "abc", "ref": "topic", "repo": repository },
                "base": { "sha": "def", "ref": "main", "repo": repository },
            },
        });
        let others = [
            ("GITHUB_REPOSITORY", "acme/checkout"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REF_NAME", "7/merge"),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_RUN_NUMBER", "42"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_SERVER_URL", "https://github.com"),
        ];
        let run = run("pull_request", &event, &others).unwrap();
        assert_eq!((run.change, run.tag, run.number), (Some(7), None, Some(42)));
        assert_eq!(run.url.as_deref(), Some("https://github.com/acme/checkout/actions/runs/77"));
        let github = run.github.unwrap();
        assert_eq!((github.run_id, github.attempt), (Some(77), 2));
        let change = github.pull_request.unwrap();
        assert_eq!((change.number, change.head.sha.as_str()), (7, "abc"));
        assert_eq!((change.head.name.as_str(), change.base.name.as_str()), ("topic", "main"));
        let head_repository = change.head.repo.as_ref().unwrap();
        assert_eq!(head_repository.full_name, "acme/checkout");
        assert!(!change.is_fork() && !change.is_open() && change.draft);
        assert!(["preview", "x"].iter().all(|label| change.has_label(label)));
        assert!(!change.is_by_dependabot());
    }

    #[test]
    fn the_pull_request_of_a_merge_queue() {
        let of = |event: &str, branch: &str| {
            let variables = [("GITHUB_REF", branch)];
            run(event, &json!({}), &variables).unwrap().github.unwrap().queued
        };
        let queue = "refs/heads/gh-readonly-queue";
        assert_eq!(of("merge_group", &format!("{queue}/main/pr-7-a1b2c3d")), Some(7));
        assert_eq!(of("merge_group", &format!("{queue}/release/pr-1/pr-12-a1b2c3d")), Some(12));
        assert_eq!(of("merge_group", &format!("{queue}/main/x")), None);
        assert_eq!(of("merge_group", "refs/heads/pr-7-a1b2c3d"), None);
        assert_eq!(of("push", &format!("{queue}/main/pr-7-a1b2c3d")), None);
    }

    #[test]
    fn a_run_that_another_run_triggered() {
        let after = |repository: Option<u64>, event: &str, actor: &str| {
            let fork = |id| json!({ "id": id, "full_name": "mallory/checkout" });
            let content = json!({
                "repository": { "id": 1, "full_name": "acme/checkout" },
                "workflow_run": {
                    "event": event, "head_sha": "abc", "actor": { "login": actor },
                    "head_repository": repository.map(fork),
                },
            });
            let github = run("workflow_run", &content, &[]).unwrap().github.unwrap();
            let whose = github.outsider.map(|outsider| match outsider {
                Outsider::Head { whose, .. } => whose,
                Outsider::Unknown { .. } => panic!("{event}"),
            });
            (github.triggered_by, whose)
        };
        assert_eq!(after(Some(1), "push", "ada"), (Some("abc".to_owned()), None));
        let outside = |whose: &str| (None, Some(whose.to_owned()));
        for event in ["push", "pull_request", "pull_request_target", "schedule"] {
            assert_eq!(after(Some(1), event, "dependabot[bot]"), outside("Dependabot"), "{event}");
            assert_eq!(after(None, event, "ada"), outside("a fork that was deleted"), "{event}");
            let fork = outside("the fork `mallory/checkout`");
            assert_eq!(after(Some(2), event, "ada"), fork, "{event}");
        }
    }

    /// Unknown content of events is ignored; only events about a change must name its author.
    #[test]
    fn other_events() {
        for event in
            ["push", "schedule", "workflow_dispatch", "release", "deployment", "merge_group"]
        {
            let content = json!({
                "inputs": null, "ref": "refs/heads/main", "release": { "tag_name": "v1" } });
            let run =
                run(event, &content, &[("GITHUB_REF_TYPE", "branch"), ("GITHUB_REF_NAME", "main")])
                    .unwrap();
            assert_eq!((run.tag, run.change), (None, None), "{event}");
        }
        let on_issue = run("issue_comment", &json!({ "issue": { "number": 3 } }), &[]).unwrap();
        assert!(!on_issue.is_of_change() && on_issue.github.unwrap().outsider.is_none());
        let on_change = json!({ "issue": { "number": 3, "pull_request": {} } });
        assert!(run("issue_comment", &on_change, &[]).unwrap().is_of_change());
    }
}
