//! destroy: destroy what is deployed in an environment, with the release that is deployed there.

use crate::{
    base::error::{Error, Result},
    cli::args::DestroyInputs,
    config::{
        names::{Environment, Version},
        scheme::Matched,
    },
    context::Context,
    deploy::{
        self,
        confirmation::Confirmation,
        ledger::{Record, environments},
        order::Order,
        target::Target,
    },
    report::{Outcome, Report},
};

pub(crate) async fn run(
    context: &Context,
    inputs: DestroyInputs,
    report: &mut Report,
) -> Result<()> {
    report.set_subject(&inputs.environment, inputs.version.as_ref());
    let target = Target::resolve(context, inputs.environment)?;
    if !inputs.plan.plan_only {
        check_confirmed(&target.environment, named_in(context, &target), inputs.confirm.as_ref())?;
    }
    let confirmation = Confirmation::of(&context.host, &inputs.confirm_apply)?;
    check_prevented(context, &target.environment, inputs.plan.plan_only)?;
    let record = target.record(context).await?;
    if inputs.version.is_none() && record.is_destroyed() && record.unsettled.is_empty() {
        report.outcome = Outcome::Destroyed;
        let environment = &target.environment;
        context.host.log.done(&format!("Nothing to destroy: {environment} is already destroyed"));
        return Ok(());
    }
    // A person who names the version knows the environment; otherwise the ledger must be right.
    let guards_missing_state = inputs.version.is_none();
    let plan_only = inputs.plan.plan_only;
    let version = version_of(context, &target.environment, &record, inputs.version, plan_only)?;
    report.set_subject(&target.environment, Some(&version));
    let order = Order {
        guards_missing_state,
        asks: confirmation.is_asked(),
        ..Order::destroy(context, target, version, &record, inputs.plan)
    };
    deploy::run(context, order, report).await.map(drop)
}

/// Returns the file that names the environment. People depend on such an environment.
fn named_in(context: &Context, target: &Target<'_>) -> Option<&'static str> {
    let environment = &target.environment;
    match target.matched {
        Matched::ByName => Some("the account scheme"),
        _ if context.scheme.policy.guards.environments.contains_key(environment) => {
            Some("`policy` of the account scheme")
        }
        _ if context.manifest.deploy.limits().environments.contains_key(environment) => {
            Some("cdflow.yml")
        }
        _ => None,
    }
}

/// Requires `--confirm` for an environment that a file names, and rejects a wrong name.
fn check_confirmed(
    environment: &Environment,
    named: Option<&str>,
    confirm: Option<&Environment>,
) -> Result<()> {
    let refused = |named: &str| {
        Error::refused(format!("destroying `{environment}`{named} must be confirmed"))
    };
    let flag =
        format!("confirm: --confirm {environment} (the Action's input `confirm: {environment}`)");
    match (confirm, named) {
        (Some(confirmed), _) if confirmed == environment => Ok(()),
        (Some(other), _) => Err(refused("").why(format!("--confirm names `{other}`")).hint(flag)),
        (None, Some(by)) => Err(refused(&format!(", which {by} names,")).hint(flag)),
        (None, None) => Ok(()),
    }
}

/// Refuses to destroy an environment that `prevent-destroy` keeps. A plan-only run only warns.
fn check_prevented(context: &Context, environment: &Environment, is_plan: bool) -> Result<()> {
    let Some(rule) = context.guards(environment).prevents_destroy else { return Ok(()) };
    let refused = Error::refused(format!("cannot destroy the environment `{environment}`"))
        .why(format!("the rule is {rule}"))
        .hint("remove the rule first if the environment is no longer needed");
    if !is_plan {
        return Err(refused);
    }
    context.host.log.warning(&format!("a destroy would be refused: {refused}"));
    Ok(())
}

fn version_of(
    context: &Context,
    environment: &Environment,
    record: &Record,
    given: Option<Version>,
    plan_only: bool,
) -> Result<Version> {
    given.or_else(|| record.deployed().map(|start| start.version.clone())).ok_or_else(|| {
        let error = environments::not_deployed(context, environment);
        let flags = match plan_only {
            true => "--plan-only".to_owned(),
            false => format!("--confirm {environment}"),
        };
        error.hint(format!(
            "if there are resources anyway, name the release to destroy them with: \
             cdflow destroy {environment} VERSION {flags}"
        ))
    })
}
