//! What GitHub shows of a deploy: a deployment of the environment, queued, in progress, and then well or not. Trouble is a warning.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{order::Order, prepare::Prepared};
use crate::{
    base::error::{Error, Exit, Result},
    config::names::Environment,
    context::Context,
    services::github::{
        Api, Deployment, GitHubError, GitHubErrorKind, NewDeployment, NewStatus, Status,
    },
    terraform::PlanMode,
};

/// So long a deploy waits for GitHub each time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Older ones were made inactive by those that came after them.
const PREDECESSORS: usize = 10;
const AT_ONCE: usize = 5;
/// What GitHub is to show as production.
const PRODUCTION: [&str; 3] = ["live", "prod", "production"];

/// A deployment that has not ended.
pub(crate) struct OpenDeployment {
    api: Api,
    id: u64,
    environment: Environment,
}

/// Of a release that can be prepared: it waits for its plan and for the state's lock. None where GitHub is not deployment: nothing is to be
/// applied, another CI, no token, not wanted, or it did not listen.
pub(crate) async fn queue(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Option<OpenDeployment> {
    if order.mode != PlanMode::Deploy || order.plan.plan_only {
        return None;
    }
    let api = api(context)?;
    let environment = order.environment().clone();
    let git_ref = match order.subject.preview() {
        Some(preview) => Some(preview.sha.clone()),
        None => prepared.facts.commit().map(str::to_owned),
    };
    let github = context.host.github()?;
    let payload = json!({ "cdflow": {
        "component": context.identity.component, "version": order.version(),
        "run": github.run_id, "attempt": github.attempt,
    }});
    let new = NewDeployment {
        git_ref: &git_ref?,
        environment: environment.as_str(),
        is_transient: environment.is_preview(),
        is_production: PRODUCTION.contains(&environment.as_str()),
        payload,
    };
    let created = in_time(context, api.create_deployment(new)).await?;
    let deployment = OpenDeployment { api, id: created.id, environment };
    deployment.say(context, Status::Queued, "", None).await;
    Some(deployment)
}

impl OpenDeployment {
    /// From now on something may be changed.
    pub(crate) async fn begin(&self, context: &Context) {
        self.say(context, Status::InProgress, "", None).await;
    }

    /// Nothing was changed, and nothing will be.
    pub(crate) async fn stop(&self, context: &Context, ended: Result<&str, &Error>) {
        match ended {
            Ok(why) => self.say(context, Status::Inactive, why, None).await,
            Err(error) => self.fail(context, error).await,
        }
    }

    pub(crate) async fn end<T>(&self, context: &Context, result: &Result<T>, url: Option<&str>) {
        match result {
            Ok(_) => {
                self.say(context, Status::Success, "", url).await;
                let others =
                    in_time(context, self.api.deployments(self.environment.as_str())).await;
                let ours = others
                    .into_iter()
                    .flatten()
                    .filter(|it| it.id < self.id && is_ours(context, it));
                inactivate(context, &self.api, ours).await;
            }
            Err(error) => self.fail(context, error).await,
        }
    }

    async fn fail(&self, context: &Context, error: &Error) {
        let state = match error.exit() {
            Exit::Interrupted | Exit::Terminated => Status::Error,
            _ => Status::Failure,
        };
        self.say(context, state, error.exit().reason(), None).await;
    }

    async fn say(&self, context: &Context, state: Status, description: &str, url: Option<&str>) {
        let run = context.host.run.as_deref().and_then(|run| run.url.as_deref());
        let status = NewStatus { state, description, log_url: run, environment_url: url };
        in_time(context, self.api.deployment_status(self.id, &status)).await;
    }
}

/// Nothing is deployed there any more. A preview's environment goes, if the token may and no other component is in it.
pub(crate) async fn retire(context: &Context, environment: &Environment) {
    let Some(api) = api(context) else { return };
    let Some(all) = in_time(context, api.deployments(environment.as_str())).await else { return };
    let (ours, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| is_ours(context, it));
    if ours.is_empty() {
        return;
    }
    inactivate(context, &api, ours.into_iter()).await;
    if environment.is_preview() && others.is_empty() {
        let deleting = async {
            match api.delete_environment(environment.as_str()).await {
                // That needs an administrator's token.
                Err(trouble) if matches!(trouble.kind, GitHubErrorKind::Forbidden { .. }) => {
                    context.host.log.detail(&format!("the GitHub environment stays: {trouble}"));
                    Ok(())
                }
                deleted => deleted,
            }
        };
        in_time(context, deleting).await;
    }
}

/// GitHub does this itself only where an environment is neither transient nor production. Most are inactive already, and GitHub
/// counts what is written to it.
async fn inactivate(context: &Context, api: &Api, deployments: impl Iterator<Item = Deployment>) {
    let status = NewStatus {
        state: Status::Inactive,
        description: "",
        log_url: None,
        environment_url: None,
    };
    let looking =
        stream::iter(deployments.take(PREDECESSORS))
            .map(|it| async move {
                (it.id, in_time(context, api.deployment_state(it.id)).await.flatten())
            })
            .buffered(AT_ONCE);
    let known: Vec<(u64, Option<String>)> = looking.collect().await;
    for (id, _) in known.iter().filter(|(_, state)| state.as_deref() != Some("inactive")) {
        in_time(context, api.deployment_status(*id, &status)).await;
    }
}

fn is_ours(context: &Context, deployment: &Deployment) -> bool {
    deployment.payload["cdflow"]["component"] == *context.identity.component.as_str()
}

fn api(context: &Context) -> Option<Api> {
    let is_wanted = context.manifest.deploy.github_deployments.unwrap_or(true);
    context.host.github().filter(|_| is_wanted)?;
    // Who gives no token wants nothing of GitHub.
    Api::of(&context.host, context.github_token.as_ref()).ok()
}

async fn in_time<T>(
    context: &Context,
    asking: impl Future<Output = Result<T, GitHubError>>,
) -> Option<T> {
    let log = &context.host.log;
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(trouble)) => {
            log.warning(&trouble.to_string());
            None
        }
        Err(_) => {
            log.warning("GitHub may show this deployment wrongly: it takes too long to answer");
            None
        }
    }
}
