//! Whether an environment must have a Terraform state, and the errors if it has none, or has one.

use crate::{
    base::error::{ADVICE, Error, is_disk_full},
    config::{names::Environment, scheme::Matched},
    context::Context,
    deploy::{
        ledger::{LastState, Record, Start, text},
        push_command::PUSH,
        target::Target,
    },
    terraform::{PlanMode, state::summary::StateSummary},
};

const FIND_THE_STATE: &str = "check whether the state was deleted, or its bucket, `team` or \
     `component` changed, and fix that first";

const WITHOUT_COPY: &str = "or, if the copy is lost, import what the run created, then deploy with \
     --allow-older-state";

/// Returns the error for a run in an environment without state; None if that is allowed.
pub(crate) fn missing(
    context: &Context,
    target: &Target<'_>,
    record: &Record,
    mode: PlanMode,
) -> Option<Error> {
    let environment = &target.environment;
    if let Some(LastState { run, not_saved: Some(why), .. }) = record.last_state() {
        return Some(not_saved(environment, run, &why));
    }
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
    if context.manifest.deploy.require_state.unwrap_or_default() {
        return Some(
            refused
                .why(
                    "`deploy.require-state` is set in cdflow.yml, or in `defaults` of the account \
                     scheme",
                )
                .hint("deploy with --new-environment if the environment is new"),
        );
    }
    (target.matched == Matched::ByDefault && !environment.is_preview()).then(|| {
        let refused = refused.why(format!(
            "only \"*\" of the account scheme matches it, so `{environment}` might be a typo"
        ));
        let refused = match context.scheme.spelled_nearly(environment) {
            Some(near) => refused.hint(format!("did you mean `{near}`?")),
            None => refused,
        };
        refused.hint(
            "deploy with --new-environment (the Action's input `new-environment: true`) \
             if the environment is new",
        )
    })
}

/// Returns the error for a state that cannot be what the last run left: Terraform would create
/// again what was created since.
pub(crate) fn outdated(
    environment: &Environment,
    last: &LastState,
    state: &StateSummary,
) -> Option<Error> {
    let is_other = last.lineage.as_ref().is_some_and(|lineage| *lineage != state.lineage);
    let known = last.serial.unwrap_or_default();
    if let Some(why) = &last.not_saved {
        // A state that was pushed since has a higher serial.
        let is_pushed = last.serial.is_none() || state.serial > known;
        return (is_other || !is_pushed).then(|| not_saved(environment, last.run, why));
    }
    let run = last.run;
    let why = match is_other {
        true => format!("its lineage is {}, not the one that run {run} left", state.lineage),
        false if state.serial < known => {
            format!("its serial is {}, and run {run} left serial {known}", state.serial)
        }
        false => return None,
    };
    let what = if is_other { "another state" } else { "an older state" };
    Some(
        Error::refused(format!("the environment `{environment}` has {what} than the ledger says"))
            .why(why)
            .hint("restore the newest version of the state's object, or push a backup of it")
            .hint(format!(
                "or accept it: deploy with --allow-older-state, destroy with \
                 `cdflow destroy {environment} VERSION`"
            )),
    )
}

/// Returns the error for a run that was to create resources and recorded no end, and left no state.
pub(crate) fn unfinished(environment: &Environment, start: &Start) -> Error {
    Error::refused(format!("the environment `{environment}` has no state"))
        .why(format!(
            "{} was to create {} resource(s) and has not recorded its end",
            text::run(start),
            start.plan.add
        ))
        .hint("if that run is in progress, wait for it to end, and deploy again")
        .hint(
            "if it died, check whether its resources exist, and delete them or import them; \
             then deploy with --new-environment",
        )
}

/// Returns the error for a state of which only the digest in the lock table is left.
pub(crate) fn only_digest(environment: &Environment) -> Error {
    Error::refused(format!("the environment `{environment}` has no state"))
        .why("the lock table has the digest of one, so its object was deleted or moved")
        .hint(FIND_THE_STATE)
        .hint("or deploy with --new-environment to create every resource again")
}

fn not_saved(environment: &Environment, run: u64, why: &str) -> Error {
    let error = Error::refused(format!("run {run} could not save the state of `{environment}`"));
    let error = match is_disk_full(why) {
        true => error.hint("free some space on the disk of the state first"),
        false => error,
    };
    // The advice of that run was recorded with its error.
    let (story, advice) = why.split_once(ADVICE).unwrap_or((why, ""));
    let push = advice.split(ADVICE).find(|line| line.contains(PUSH));
    let error = error.why(story);
    match push {
        Some(line) => error.hint(line.trim_start_matches("then ")).hint(WITHOUT_COPY),
        None if advice.is_empty() => error
            .hint(format!(
                "save the copy with `terraform state push` in the workspace {environment} \
                 (docs/terraform.md)"
            ))
            .hint(WITHOUT_COPY),
        // That run could not make a copy.
        None => error.hint(
            "import what the run created, then deploy with --allow-older-state \
             (docs/terraform.md, \"State\")",
        ),
    }
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
