//! Check runs: what GitHub shows next to a commit, and what a branch rule can require.

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api::{Api, segment},
    client::Call,
    error::GitHubError,
};

const NEEDS: &str = "checks: write";

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CheckRun {
    pub(crate) id: u64,
    output: Output,
}

#[derive(Clone, Debug, Deserialize)]
struct Output {
    text: Option<String>,
}

impl CheckRun {
    pub(crate) fn text(&self) -> &str {
        self.output.text.as_deref().unwrap_or_default()
    }
}

/// What a check run shows.
#[derive(Clone, Debug)]
pub(crate) struct NewCheckRun<'a> {
    pub(crate) name: &'a str,
    pub(crate) head_sha: &'a str,
    /// `success`, `failure` or `neutral`; None: it is in progress.
    pub(crate) conclusion: Option<&'static str>,
    pub(crate) title: String,
    /// Markdown.
    pub(crate) summary: String,
    /// Markdown below the summary.
    pub(crate) text: String,
    pub(crate) details_url: Option<&'a str>,
}

impl NewCheckRun<'_> {
    fn json(&self) -> Value {
        let status = if self.conclusion.is_some() { "completed" } else { "in_progress" };
        let output = json!({ "title": self.title, "summary": self.summary, "text": self.text });
        let mut body = json!({ "name": self.name, "status": status, "output": output });
        // GitHub refuses a null.
        if let Some(conclusion) = self.conclusion {
            body["conclusion"] = conclusion.into();
        }
        if let Some(url) = self.details_url {
            body["details_url"] = url.into();
        }
        body
    }
}

impl Api {
    /// Returns the check runs of a commit with this name, oldest first.
    pub(crate) async fn check_runs(
        &self,
        commit: &str,
        name: &str,
    ) -> Result<Vec<CheckRun>, GitHubError> {
        #[derive(Deserialize)]
        struct Listed {
            check_runs: Vec<CheckRun>,
        }
        let doing = format!("read the check runs of the commit {commit}");
        let (commit, name) = (segment(commit), segment(name));
        let route = format!("/commits/{commit}/check-runs?check_name={name}&filter=all");
        let call = Call::get(self.route(&format!("{route}&per_page=100")), &doing, NEEDS);
        let mut found = self.client.ask::<Listed>(call).await?.check_runs;
        found.sort_by_key(|run| run.id);
        Ok(found)
    }

    /// Creates a check run. A second one, after a lost answer, is merged by its writers.
    pub(crate) async fn create_check_run(
        &self,
        new: &NewCheckRun<'_>,
    ) -> Result<CheckRun, GitHubError> {
        let doing = format!("create the check run `{}`", new.name);
        let mut body = new.json();
        body["head_sha"] = new.head_sha.into();
        let call = Call::new(Method::POST, self.route("/check-runs"), &doing, NEEDS);
        self.client.ask(call.json(body).repeatable()).await
    }

    pub(crate) async fn update_check_run(
        &self,
        id: u64,
        new: &NewCheckRun<'_>,
    ) -> Result<CheckRun, GitHubError> {
        let doing = format!("update the check run `{}`", new.name);
        let route = self.route(&format!("/check-runs/{id}"));
        let call = Call::new(Method::PATCH, route, &doing, NEEDS);
        self.client.ask(call.json(new.json())).await
    }
}
