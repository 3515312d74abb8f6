//! deploy: make an environment be as a release says.

use crate::{
    base::error::{Error, Exit, Result},
    cli::args::DeployInputs,
    config::{
        guards::Effective,
        names::{Environment, Version},
        scheme::Matched,
    },
    context::Context,
    deploy::{
        self, Order,
        guards::release,
        ledger::{self, Action, Record, Start},
        prepare::Wanted,
    },
    report::Report,
    terraform::PlanMode,
};

pub(crate) async fn run(
    context: &Context,
    inputs: DeployInputs,
    report: &mut Report,
) -> Result<()> {
    report.environment = Some(inputs.environment.to_string());
    report.version = inputs.version.as_ref().map(Version::to_string);
    context.scheme.account_of(&inputs.environment)?;
    let version = context.version(inputs.version.clone()).await?;
    let record = ledger::record(context, &inputs.environment).await?;
    report.version = Some(version.to_string());
    check_gates(context, &inputs, &version, &record).await?;
    let recorded = record.deployed().cloned();
    carry(context, inputs, version, &record, recorded, report).await
}

/// Where nothing will be applied, a closed gate is only told.
async fn check_gates(
    context: &Context,
    inputs: &DeployInputs,
    version: &Version,
    record: &Record,
) -> Result<()> {
    if inputs.refresh_only {
        return Ok(());
    }
    let environment = &inputs.environment;
    let limits = limits(context, environment);
    let mut checks = vec![release::promoted(context, environment, version, &limits).await];
    if !inputs.allow_downgrade {
        checks.push(release::not_older(context, environment, version, record).await);
    }
    for refused in checks.into_iter().filter_map(Result::err) {
        match inputs.plan.plan_only && refused.exit() == Exit::Refused {
            true => context.host.log.warning(&format!("a deploy would be refused: {refused}")),
            false => return Err(refused),
        }
    }
    Ok(())
}

fn limits(context: &Context, environment: &Environment) -> Effective {
    Effective::of(environment, &context.manifest.deploy.limits(), &context.scheme.policy)
}

/// `recorded` is what the ledger knows of the version, if it was deployed here before: it must be the same bundle.
pub(crate) async fn carry(
    context: &Context,
    inputs: DeployInputs,
    version: Version,
    record: &Record,
    recorded: Option<Start>,
    report: &mut Report,
) -> Result<()> {
    // A label was given for the way there, not for the way back.
    let limits = match inputs.allow_downgrade {
        true => limits(context, &inputs.environment).without_labels(),
        false => limits(context, &inputs.environment),
    };
    let seen = (!inputs.allow_downgrade && !inputs.refresh_only).then(|| record.newest());
    let DeployInputs {
        environment,
        plan,
        new_environment,
        target,
        replace,
        refresh_only,
        allow_destroy,
        ..
    } = inputs;
    let (_, matched) = context.scheme.account_of(&environment)?;
    let wanted = Wanted {
        release: context.release(version),
        recorded,
        preview: None,
        plan_only: plan.plan_only,
        environment,
    };
    let order = Order {
        action: if refresh_only { Action::Refresh } else { Action::Deploy },
        mode: if refresh_only { PlanMode::RefreshOnly } else { PlanMode::Deploy },
        missing_state: missing_state(
            context,
            &wanted.environment,
            matched,
            record,
            new_environment,
        ),
        refuse_existing_state: new_environment.then(|| exists(&wanted.environment)),
        limits,
        allow_destroy,
        allowed_before: record.allowed_before().cloned().collect(),
        seen,
        wanted,
        plan,
        target,
        replace,
        watch: None,
    };
    context.host.log.step(&format!(
        "Deploy {} {} to {}",
        context.identity.component, order.wanted.release.version, order.wanted.environment
    ));
    deploy::run(context, order, report).await.map(drop)
}

/// What to say where there is no state; None where a new environment is fine.
fn missing_state(
    context: &Context,
    environment: &Environment,
    matched: Matched,
    record: &Record,
    is_new: bool,
) -> Option<Error> {
    if is_new {
        return None;
    }
    let refused = Error::refused(format!("the environment `{environment}` has no state"));
    if let Some(start) = record.deployed() {
        return Some(
            refused
                .why(format!("by the ledger {} {} is deployed there", context.identity.component, start.version))
                .hint("was the state deleted, or did its bucket, `team` or `component` change? Mend that first")
                .hint("if it is really gone and everything shall be made anew: deploy with --new-environment"),
        );
    }
    if context.manifest.deploy.require_state {
        return Some(
            refused
                .why("cdflow.yml says `deploy: {require-state: true}`")
                .hint("if it is really new: --new-environment"),
        );
    }
    (matched == Matched::ByDefault && !environment.is_preview()).then(|| {
        refused
            .why(format!("only \"*\" of the account scheme matches it, so `{environment}` may be a typing error"))
            .hint("if it is really new: --new-environment (the Action's input `new-environment: true`)")
    })
}

fn exists(environment: &Environment) -> Error {
    Error::refused(format!("the environment `{environment}` has a state already"))
        .why("--new-environment says that there is none")
        .hint("leave --new-environment out, if this is the environment you mean")
}
