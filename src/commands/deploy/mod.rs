//! deploy: make an environment match a release.

mod newest;

use crate::{
    base::error::{Error, Result},
    cli::args::DeployInputs,
    config::{
        names::{Environment, Version},
        settings::Reviewed,
    },
    context::Context,
    deploy::{
        self,
        confirmation::Confirmation,
        guards::{release, state},
        ledger::{Record, environments},
        order::Order,
        target::Target,
    },
    report::Report,
    terraform::PlanMode,
};

pub(crate) async fn run(
    context: &Context,
    inputs: DeployInputs,
    report: &mut Report,
) -> Result<()> {
    report.set_subject(&inputs.environment, inputs.version.as_ref());
    let target = Target::resolve(context, inputs.environment.clone())?;
    let confirmation = Confirmation::of(&context.host, &inputs.confirm_apply)?;
    let version = match &inputs.version {
        None if confirmation.is_asked() => newest::offer(context, &target.environment).await?,
        given => {
            let version = context.version(given.clone()).await;
            version.map_err(|error| incomplete(context, &target.environment, error))?
        }
    };
    report.set_subject(&target.environment, Some(&version));
    let record = target.record(context).await?;
    let order =
        Order { asks: confirmation.is_asked(), ..order(context, target, version, &record, inputs) };
    let swapped = swapped(context, order.environment(), order.version());
    let deployed = match check_release(context, &order, &record).await {
        Ok(()) => deploy::run(context, order, report).await.map(drop),
        refused => refused,
    };
    deployed.map_err(|error| swapped.into_iter().fold(error, Error::hint))
}

/// Adds advice for somebody who left out one of the two arguments.
fn incomplete(context: &Context, environment: &Environment, error: Error) -> Error {
    match environments::meant(context, environment) {
        Some(meant) => error.hint(format!("did you mean: cdflow deploy {meant} VERSION")),
        None if environment.as_str().starts_with(|first: char| first.is_ascii_digit()) => {
            error.hint(format!("did you mean: cdflow deploy ENVIRONMENT {environment}"))
        }
        None => error,
    }
}

/// Returns the advice for somebody who wrote the version first.
fn swapped(context: &Context, environment: &Environment, version: &Version) -> Option<String> {
    let is_named = |name: &str| context.scheme.environments().contains_key(name);
    let is_swapped = is_named(version.as_str()) && !is_named(environment.as_str());
    is_swapped.then(|| format!("did you mean: cdflow deploy {version} {environment}"))
}

fn order<'c>(
    context: &Context,
    target: Target<'c>,
    version: Version,
    record: &Record,
    inputs: DeployInputs,
) -> Order<'c> {
    let mut order = Order::deploy(context, target, version, record, inputs.plan);
    if inputs.new_environment {
        order.guards_missing_state = false;
        order.refuse_existing_state = Some(state::existing(order.environment()));
    }
    if inputs.allow_downgrade {
        order = order.allow_downgrade();
    }
    if inputs.allow_older_state {
        order.last_state = None;
    }
    let reviewed = inputs.reviewed.unwrap_or(Reviewed::Unset);
    // A comment applies what the pull request showed, and nothing else.
    let is_commanded = context.host.commanded().is_some();
    if reviewed != Reviewed::Unset || order.limits.requires_review || is_commanded {
        order.review = Some(order.limits.review.clone());
    }
    order.is_exact = reviewed == Reviewed::Exact;
    if inputs.refresh_only {
        order.mode = PlanMode::RefreshOnly;
        order.review = None;
        order.newest_known_run = None;
    }
    Order {
        targets: inputs.target,
        replace: inputs.replace,
        allow_destroy: inputs.allow_destroy,
        store_plan: inputs.store_plan,
        age_identity: inputs.age_identity,
        ..order
    }
}

/// Fails if cdflow.yml says that the component is only for other environments.
fn check_meant(context: &Context, environment: &Environment) -> Result<()> {
    let deploy = &context.manifest.deploy;
    let Some(only) = deploy.only.as_ref().filter(|_| !deploy.is_for(environment)) else {
        return Ok(());
    };
    let only: Vec<&str> = only.iter().map(Environment::as_str).collect();
    Err(Error::refused(format!(
        "{} is not for the environment `{environment}`",
        context.identity.component
    ))
    .why(format!("`deploy.only` in cdflow.yml has {}", only.join(", ")))
    .hint(format!("add `{environment}` to `deploy.only`, or deploy to one of these")))
}

/// Evaluates the guards that need no plan. A plan-only run only warns about them.
async fn check_release(context: &Context, order: &Order<'_>, record: &Record) -> Result<()> {
    if order.mode == PlanMode::RefreshOnly {
        return Ok(());
    }
    let (environment, version) = (order.environment(), order.version());
    let mut checks = vec![
        check_meant(context, environment),
        release::promoted(context, environment, version, &order.limits).await,
    ];
    if order.newest_known_run.is_some() {
        checks.push(release::not_older(context, environment, version, record).await);
    }
    checks.into_iter().try_for_each(|judged| deploy::refused_or_warned(context, order, judged))
}
