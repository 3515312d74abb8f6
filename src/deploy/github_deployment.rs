//! The GitHub deployment of a run: queued, in progress, then a success or a failure. An error of
//! GitHub is a warning.

use std::future::Future;

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{order::Order, prepare::Prepared};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
    },
    config::names::Environment,
    context::Context,
    services::github::{
        Api, Deployment, GitHubError, GitHubErrorKind, NewDeployment, NewStatus, Status,
    },
    terraform::PlanMode,
};

/// How many earlier deployments are set to inactive. Older ones already are.
const PREDECESSORS: usize = 10;
const AT_ONCE: usize = 5;
/// Environments that GitHub shows as production.
const PRODUCTION: [&str; 3] = ["live", "prod", "production"];

/// A deployment that has not ended.
pub(crate) struct OpenDeployment {
    api: Api,
    id: u64,
    environment: Environment,
}

/// Creates the deployment before the plan. None if there is none: nothing will be applied, the run
/// is not on GitHub, the token is missing, cdflow.yml disables deployments, or GitHub failed.
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
    deployment.set_status(context, Status::Queued, "", None).await;
    Some(deployment)
}

impl OpenDeployment {
    /// Shows it as in progress: from now on the run might change something.
    pub(crate) async fn begin(&self, context: &Context) {
        self.set_status(context, Status::InProgress, "", None).await;
    }

    /// Ends it without an apply: inactive with the reason, or failed.
    pub(crate) async fn stop(&self, context: &Context, ended: Result<&str, &Error>) {
        match ended {
            Ok(why) => self.set_status(context, Status::Inactive, why, None).await,
            Err(error) => self.fail(context, error).await,
        }
    }

    /// Ends it after an apply, and sets earlier deployments of the component to inactive.
    pub(crate) async fn end<T>(&self, context: &Context, result: &Result<T>, url: Option<&str>) {
        match result {
            Ok(_) => {
                self.set_status(context, Status::Success, "", url).await;
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
        self.set_status(context, state, error.exit().reason(), None).await;
    }

    async fn set_status(
        &self,
        context: &Context,
        state: Status,
        description: &str,
        url: Option<&str>,
    ) {
        let run = context.host.run.as_deref().and_then(|run| run.url.as_deref());
        let status = NewStatus { state, description, log_url: run, environment_url: url };
        in_time(context, self.api.deployment_status(self.id, &status)).await;
    }
}

/// Sets the component's deployments to inactive after a destroy. Deletes the GitHub environment of
/// a preview if the token permits it and no other component uses it.
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
                // Deleting needs the token of an administrator.
                Err(trouble) if matches!(trouble.kind, GitHubErrorKind::Forbidden { .. }) => {
                    context.host.log.detail(&format!("the GitHub environment is kept: {trouble}"));
                    Ok(())
                }
                deleted => deleted,
            }
        };
        in_time(context, deleting).await;
    }
}

/// GitHub does this itself only if an environment is neither transient nor production. Deployments
/// that are already inactive are skipped, because GitHub limits the rate of writes.
async fn inactivate(context: &Context, api: &Api, deployments: impl Iterator<Item = Deployment>) {
    let status = NewStatus {
        state: Status::Inactive,
        description: "",
        log_url: None,
        environment_url: None,
    };
    let reading =
        stream::iter(deployments.take(PREDECESSORS))
            .map(|it| async move {
                (it.id, in_time(context, api.deployment_state(it.id)).await.flatten())
            })
            .buffered(AT_ONCE);
    let known: Vec<(u64, Option<String>)> = reading.collect().await;
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
    // Without a token, GitHub is not expected to show anything.
    Api::of(&context.host, context.github_token.as_ref()).ok()
}

async fn in_time<T>(
    context: &Context,
    asking: impl Future<Output = Result<T, GitHubError>>,
) -> Option<T> {
    let log = &context.host.log;
    let limits = [Limit::Deployment, Limit::CommentStop];
    match context.host.interrupt.or_stop(limits, asking).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(trouble)) => {
            log.warning(&trouble.to_string());
            None
        }
        Err(limit) => {
            log.warning(&format!(
                "GitHub might show this deployment wrongly: {}",
                limit.passed("it did not answer")
            ));
            None
        }
    }
}
