//! Whether an environment must have a Terraform state, and the errors if it has none, or has one.

use crate::{
    base::error::Error,
    config::{names::Environment, scheme::Matched},
    context::Context,
    deploy::{ledger::Record, target::Target},
    terraform::PlanMode,
};

const FIND_THE_STATE: &str = "check whether the state was deleted, or its bucket, `team` or \
     `component` changed, and fix that first";

/// Returns the error for a run in an environment without state; None if that is allowed.
pub(crate) fn missing(
    context: &Context,
    target: &Target<'_>,
    record: &Record,
    mode: PlanMode,
) -> Option<Error> {
    let environment = &target.environment;
    let refused = Error::refused(format!("the environment `{environment}` has no state"));
    let with_state = record.with_state();
    if mode == PlanMode::Destroy {
        return with_state.map(|_| missing_to_destroy(environment));
    }
    if let Some(start) = with_state {
        let component = &context.identity.component;
        return Some(
            refused
                .why(format!(
                    "the ledger says that {component} {} is deployed there",
                    start.version
                ))
                .hint(FIND_THE_STATE)
                .hint("or deploy with --new-environment to create every resource again"),
        );
    }
    // An earlier run has passed the guards below, and created nothing.
    if record.is_begun() {
        return None;
    }
    if context.manifest.deploy.require_state {
        return Some(
            refused
                .why("cdflow.yml sets `deploy: {require-state: true}`")
                .hint("deploy with --new-environment if the environment is new"),
        );
    }
    (target.matched == Matched::ByDefault && !environment.is_preview()).then(|| {
        refused
            .why(format!(
                "only \"*\" of the account scheme matches it, so `{environment}` might be a typo"
            ))
            .hint(
                "deploy with --new-environment (the Action's input `new-environment: true`) \
                 if the environment is new",
            )
    })
}

/// Returns the error for `--new-environment` if there is a state.
pub(crate) fn existing(environment: &Environment) -> Error {
    Error::refused(format!("the environment `{environment}` already has a state"))
        .why("--new-environment expects none")
        .hint("leave --new-environment out, if this is the environment you mean")
}

/// Returns the error for destroying an environment that is deployed but has no state.
fn missing_to_destroy(environment: &Environment) -> Error {
    Error::refused(format!(
        "the environment `{environment}` has no state, but the ledger says that it is deployed"
    ))
    .why("its resources might still exist, and nothing would refer to them any more")
    .hint(FIND_THE_STATE)
    .hint(format!(
        "or, if no resources are left, record that with \
         `cdflow destroy {environment} VERSION --confirm {environment}`"
    ))
}
