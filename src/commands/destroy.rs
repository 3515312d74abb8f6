//! destroy: take down what is deployed in an environment, with the release that is deployed there.

use std::collections::BTreeSet;

use crate::{
    base::error::{Error, Result},
    cli::args::{DestroyInputs, PlanInputs},
    config::{
        guards::Effective,
        names::{Environment, Version},
        scheme::Matched,
    },
    context::Context,
    deploy::{
        self, Order,
        ledger::{self, Action, Record},
        prepare::Wanted,
    },
    report::{Outcome, Report},
    terraform::PlanMode,
};

pub(crate) async fn run(
    context: &Context,
    inputs: DestroyInputs,
    report: &mut Report,
) -> Result<()> {
    let DestroyInputs { environment, version, plan, confirm, .. } = inputs;
    report.environment = Some(environment.to_string());
    report.version = version.as_ref().map(Version::to_string);
    let (_, matched) = context.scheme.account_of(&environment)?;
    if !plan.plan_only {
        check_confirmed(&environment, named_in(context, &environment, matched), confirm.as_ref())?;
    }
    let record = ledger::record(context, &environment).await?;
    // Whoever names the version knows what there is; without it the ledger's word must hold.
    let missing_state =
        record.is_deployed().then(|| no_state(&environment)).filter(|_| version.is_none());
    if version.is_none() && record.is_destroyed() && record.unsettled.is_empty() {
        report.outcome = Outcome::Destroyed;
        context.host.log.done(&format!("Nothing to destroy: {environment} was destroyed before"));
        return Ok(());
    }
    let version = version_of(&environment, &record, version)?;
    report.version = Some(version.to_string());
    context
        .host
        .log
        .step(&format!("Destroy {} {version} in {environment}", context.identity.component));
    let order = order(context, environment, version, &record, plan, missing_state);
    deploy::run(context, order, report).await.map(drop)
}

pub(crate) fn order(
    context: &Context,
    environment: Environment,
    version: Version,
    record: &Record,
    plan: PlanInputs,
    missing_state: Option<Error>,
) -> Order {
    Order {
        action: Action::Destroy,
        wanted: Wanted {
            release: context.release(version),
            recorded: record.deployed().cloned(),
            preview: None,
            plan_only: plan.plan_only,
            environment,
        },
        mode: PlanMode::Destroy,
        plan,
        target: Vec::new(),
        replace: Vec::new(),
        missing_state,
        refuse_existing_state: None,
        limits: Effective::default(),
        allow_destroy: Vec::new(),
        allowed_before: BTreeSet::new(),
        seen: None,
        watch: None,
    }
}

/// Who names the environment: it is one that people count on.
fn named_in(
    context: &Context,
    environment: &Environment,
    matched: Matched,
) -> Option<&'static str> {
    match matched {
        Matched::ByName => Some("the account scheme"),
        _ if context.scheme.policy.environments.contains_key(environment) => {
            Some("`policy` of the account scheme")
        }
        _ if context.manifest.deploy.limits().environments.contains_key(environment) => {
            Some("cdflow.yml")
        }
        _ => None,
    }
}

/// Such an environment is not destroyed by a slip of the hand.
fn check_confirmed(
    environment: &Environment,
    named: Option<&str>,
    confirm: Option<&Environment>,
) -> Result<()> {
    let asked =
        |told: &str| Error::refused(format!("destroying `{environment}`{told} must be confirmed"));
    let flag = format!("--confirm {environment} (the Action's input `confirm: {environment}`)");
    match (confirm, named) {
        (Some(confirmed), _) if confirmed == environment => Ok(()),
        (Some(other), _) => Err(asked("").why(format!("--confirm names `{other}`")).hint(flag)),
        (None, Some(by)) => Err(asked(&format!(", which {by} names,")).hint(flag)),
        (None, None) => Ok(()),
    }
}

pub(crate) fn no_state(environment: &Environment) -> Error {
    Error::refused(format!("the environment `{environment}` has no state, but by the ledger it is deployed"))
        .why("its resources may exist all the same, and would be forgotten")
        .hint("was the state deleted, or did its bucket, `team` or `component` change? Mend that first")
        .hint(format!("if there is really nothing left: cdflow destroy {environment} VERSION --confirm {environment}, which only records it"))
}

fn version_of(
    environment: &Environment,
    record: &Record,
    given: Option<Version>,
) -> Result<Version> {
    given.or_else(|| record.deployed().map(|start| start.version.clone())).ok_or_else(|| {
        Error::input(format!("by the ledger nothing is deployed in `{environment}`"))
            .hint(format!(
                "if something is, name the release to destroy it with: cdflow destroy {environment} VERSION --confirm {environment}"
            ))
    })
}
