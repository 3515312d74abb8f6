//! A pull request. GitHub describes it in the same way in its API and in the events of Actions.

use serde::Deserialize;

use super::{account::GitHubAccount, repository::Repository};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PullRequest {
    pub(crate) number: u64,
    #[serde(default)]
    state: PullRequestState,
    #[serde(default)]
    pub(crate) draft: bool,
    /// Missing in lists, even for merged pull requests.
    #[serde(default)]
    pub(crate) merged: bool,
    #[serde(default)]
    pub(crate) merged_at: Option<String>,
    /// For a merged pull request: the commit that the merge added to the base branch.
    #[serde(default)]
    pub(crate) merge_commit_sha: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    /// None: the account was deleted.
    user: Option<GitHubAccount>,
    pub(crate) head: Branch,
    pub(crate) base: Branch,
}

/// One end of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Branch {
    pub(crate) sha: String,
    #[serde(rename = "ref")]
    pub(crate) name: String,
    /// None: the fork was deleted.
    pub(crate) repo: Option<Repository>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PullRequestState {
    #[default]
    Open,
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Label {
    name: String,
}

impl PullRequest {
    pub(crate) fn is_open(&self) -> bool {
        self.state == PullRequestState::Open
    }

    /// Returns true also if the fork was deleted.
    pub(crate) fn is_fork(&self) -> bool {
        let id = |branch: &Branch| branch.repo.as_ref().map(|repository| repository.id);
        id(&self.head).is_none() || id(&self.head) != id(&self.base)
    }

    /// Compares logins as GitHub does, without regard to case.
    pub(crate) fn is_by(&self, login: &str) -> bool {
        self.user.as_ref().is_some_and(|user| user.login.eq_ignore_ascii_case(login))
    }

    pub(crate) fn is_by_dependabot(&self) -> bool {
        self.user.as_ref().is_some_and(GitHubAccount::is_dependabot)
    }

    /// Compares names as GitHub does, without regard to case.
    pub(crate) fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label.name.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts() {
        let side = |repository: u64| {
            let repo = json!({ "id": repository, "full_name": "acme/checkout" });
            json!({ "sha": "abc", "ref": "topic", "repo": repo })
        };
        let parse = |value| serde_json::from_value::<PullRequest>(value).unwrap();
        let mut value = json!({
            "number": 7, "state": "closed", "draft": true, "labels": [{ "name": "Preview" }],
            "user": { "login": "dependabot[bot]", "type": "Bot" }, "head": side(1), "base": side(1),
        });
        let change = parse(value.clone());
        assert!(!change.is_open() && !change.is_fork() && change.is_by_dependabot());
        assert!(change.has_label("preview") && !change.has_label("x"));
        value["head"] = side(2);
        assert!(parse(value.clone()).is_fork());
        value["head"]["repo"] = json!(null);
        assert!(parse(value).is_fork());
    }
}
