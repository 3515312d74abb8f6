//! Reviews of a workflow run: what people decided before a job with an environment started.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    account::GitHubAccount,
    api::Api,
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};

const NEEDS: &str = "actions: read";

/// A decision about a run. GitHub does not say when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct RunReview {
    /// None: the account was deleted.
    pub(crate) user: Option<GitHubAccount>,
    /// `approved`, `rejected` or `pending`.
    state: String,
    environments: Vec<ReviewedEnvironment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct ReviewedEnvironment {
    name: String,
}

impl RunReview {
    /// Compares names as GitHub does, without regard to case.
    pub(crate) fn is_of(&self, environment: &str) -> bool {
        self.environments.iter().any(|it| it.name.eq_ignore_ascii_case(environment))
    }

    pub(crate) fn is_approved(&self) -> bool {
        self.state == "approved"
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.state == "rejected"
    }
}

impl Api {
    /// Returns the decisions about all attempts of a run.
    pub(crate) async fn run_reviews(&self, run: u64) -> Result<Vec<RunReview>, GitHubError> {
        let route = self.route(&format!("/actions/runs/{run}/approvals"));
        self.client.ask(Call::get(route, "read who approved this run", NEEDS)).await
    }

    /// Returns when the first attempt of a run started.
    pub(crate) async fn run_started_at(&self, run: u64) -> Result<Timestamp, GitHubError> {
        #[derive(Deserialize)]
        struct Attempt {
            run_started_at: Option<Timestamp>,
        }
        let doing = "read when this run started";
        let route = self.route(&format!("/actions/runs/{run}/attempts/1"));
        let attempt: Attempt = self.client.ask(Call::get(route, doing, NEEDS)).await?;
        attempt.run_started_at.ok_or_else(|| {
            let why = "the answer does not have `run_started_at`";
            GitHubError::new(GitHubErrorKind::Invalid, format!("failed to {doing}"), why)
        })
    }
}
