//! Deployments: what GitHub shows of environments.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    api::{Api, segment},
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};

const NEEDS: &str = "deployments: write";
/// GitHub refuses a longer one.
const DESCRIPTION_LIMIT: usize = 140;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) id: u64,
    #[serde(rename = "ref")]
    pub(crate) git_ref: String,
    /// What we gave it: an object, or text.
    #[serde(default)]
    pub(crate) payload: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct NewDeployment<'a> {
    pub(crate) git_ref: &'a str,
    pub(crate) environment: &'a str,
    /// The environment will be deleted.
    pub(crate) is_transient: bool,
    pub(crate) is_production: bool,
    /// Identifies the deployment among others in the same environment.
    pub(crate) payload: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Queued,
    InProgress,
    Success,
    Failure,
    Error,
    Inactive,
}

#[derive(Clone, Debug)]
pub(crate) struct NewStatus<'a> {
    pub(crate) state: Status,
    pub(crate) description: &'a str,
    /// Where the run is seen.
    pub(crate) log_url: Option<&'a str>,
    /// Where what was deployed is seen.
    pub(crate) environment_url: Option<&'a str>,
}

impl Api {
    /// Creates a deployment of `git_ref`. If the response is lost, it is found by `payload`, which
    /// should name the run.
    pub(crate) async fn create_deployment(
        &self,
        new: NewDeployment<'_>,
    ) -> Result<Deployment, GitHubError> {
        let NewDeployment { git_ref, environment, payload, .. } = new;
        let doing = format!("record the deployment to `{environment}`");
        let call = Call::new(Method::POST, self.route("/deployments"), &doing, NEEDS);
        // By default GitHub would merge the default branch into the ref, and wait for every check.
        let body = json!({
            "ref": git_ref, "environment": environment, "payload": payload,
            "transient_environment": new.is_transient,
            "production_environment": new.is_production,
            "auto_merge": false, "required_contexts": [],
        });
        let lost = match self.client.ask(call.json(body)).await {
            Err(trouble) if trouble.kind == GitHubErrorKind::Unavailable => trouble,
            answered => return answered,
        };
        let found = self.deployments(environment).await.map_err(|_| lost.clone())?;
        found.into_iter().find(|it| it.git_ref == git_ref && it.payload == payload).ok_or(lost)
    }

    /// Sets the status of a deployment. GitHub's `auto_inactive` is off, because it ignores who
    /// created the other deployments, and skips transient and production environments. A repeated
    /// status appears twice, which is better than a deployment that never ends.
    pub(crate) async fn deployment_status(
        &self,
        deployment: u64,
        status: &NewStatus<'_>,
    ) -> Result<(), GitHubError> {
        let doing = format!("update the status of deployment {deployment}");
        let route = self.route(&format!("/deployments/{deployment}/statuses"));
        let description: String = status.description.chars().take(DESCRIPTION_LIMIT).collect();
        let mut body =
            json!({ "state": status.state, "description": description, "auto_inactive": false });
        let urls = [("log_url", status.log_url), ("environment_url", status.environment_url)];
        for (key, url) in urls.into_iter().filter_map(|(key, url)| Some((key, url?))) {
            body[key] = url.into();
        }
        self.client
            .send_only(Call::new(Method::POST, route, &doing, NEEDS).json(body).repeatable())
            .await
    }

    /// Returns the deployments to an environment, newest first.
    pub(crate) async fn deployments(
        &self,
        environment: &str,
    ) -> Result<Vec<Deployment>, GitHubError> {
        let doing = format!("read the deployments to `{environment}`");
        let route = self.route(&format!("/deployments?environment={}", segment(environment)));
        self.client.list(Call::get(route, &doing, "deployments: read")).await
    }

    /// Returns the latest status, or None.
    pub(crate) async fn deployment_state(
        &self,
        deployment: u64,
    ) -> Result<Option<String>, GitHubError> {
        #[derive(Deserialize)]
        struct Said {
            state: String,
        }
        let doing = format!("read the status of deployment {deployment}");
        let route = self.route(&format!("/deployments/{deployment}/statuses?per_page=1"));
        let newest: Vec<Said> =
            self.client.ask(Call::get(route, &doing, "deployments: read")).await?;
        Ok(newest.into_iter().next().map(|said| said.state))
    }

    /// Deletes an environment; succeeds if it does not exist. This needs an administrator's token,
    /// not a workflow's.
    pub(crate) async fn delete_environment(&self, environment: &str) -> Result<(), GitHubError> {
        let doing = format!("delete the GitHub environment `{environment}`");
        let route = self.route(&format!("/environments/{}", segment(environment)));
        match self.client.send_only(Call::new(Method::DELETE, route, &doing, NEEDS)).await {
            Err(trouble) if trouble.kind == GitHubErrorKind::NotFound => Ok(()),
            answered => answered,
        }
    }
}
