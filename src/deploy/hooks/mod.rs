//! The hooks of a release: programs that judge a plan before it is applied, or follow an apply.

mod changed;
mod program;

use std::collections::BTreeMap;

use self::program::{Documents, Ended, HookRun};
use super::{order::Order, prepare::Prepared};
use crate::{
    base::{
        error::{Error, Exit, Result},
        json::Json,
    },
    config::hooks::Hook,
    context::Context,
    release::policy_check,
    report::{Guard, HookReport, HookStage, Report},
    terraform::PlanMode,
};

/// Whether Terraform's JSON of the plan is needed.
pub(super) fn want_json(order: &Order<'_>, prepared: &Prepared) -> bool {
    order.mode == PlanMode::Deploy && !prepared.hooks.is_empty()
}

/// Refuses a release without the hooks that the policy requires.
pub(super) fn check_required(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    if !order.guards_release || order.mode != PlanMode::Deploy {
        return Ok(());
    }
    let digest = |file: &str| {
        let manifest = prepared.bundle.manifest.as_ref()?;
        manifest.files.get(file).map(|it| it.sha256)
    };
    let release = format!("release {}", order.version());
    policy_check::check_hooks(&context.scheme, &prepared.hooks, digest, &release)
}

/// Runs the hooks `on-plan`. Fails with `Exit::Refused` if one that is not advisory does not pass.
/// If nothing will be applied, and in a rollback, that is a warning.
pub(super) async fn on_plan(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    json: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    if order.mode != PlanMode::Deploy || prepared.hooks.on_plan.is_empty() {
        return Ok(());
    }
    let json = json.ok_or_else(|| {
        Error::refused("the hooks cannot judge the plan")
            .why("Terraform's JSON of it cannot be read")
            .hint("see the warning above")
    })?;
    let documents = Documents { plan: json, outputs: None };
    let (hooks, stage) = (&prepared.hooks.on_plan, HookStage::OnPlan);
    let failed = run_all(context, order, prepared, hooks, stage, &documents, report).await?;
    if failed.is_empty() {
        return Ok(());
    }
    let has_run = |it: &HookReport| !it.passed && !it.advisory && it.exit_code.is_some();
    let refused = refusal(order, &failed, report.hooks.iter().any(has_run));
    let log = &context.host.log;
    if order.plan.plan_only {
        log.warning(&format!("a deploy would be refused: {refused}"));
        let text = log.redactor.apply(&refused.to_string()).into_owned();
        if !matches!(report.guard, Some(Guard::Refuses(_))) {
            report.guard = Some(Guard::Refuses(text));
        }
        return Ok(());
    }
    if !order.guards_release {
        log.warning(&format!("ignored in a rollback: {refused}"));
        return Ok(());
    }
    Err(refused)
}

/// Runs the hooks `after-apply`. The deploy is complete and recorded, whatever they do.
pub(super) async fn after_apply(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    json: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    let hooks = &prepared.hooks.after_apply;
    if order.mode != PlanMode::Deploy || hooks.is_empty() {
        return Ok(());
    }
    let redactor = &context.host.log.redactor;
    let is_shown = |value: &Json| !redactor.finds(&value.to_string());
    let outputs: BTreeMap<&String, &Json> =
        report.terraform_outputs.iter().filter(|(_, value)| is_shown(value)).collect();
    let outputs = serde_json::to_string_pretty(&outputs);
    let outputs = outputs.map_err(|error| {
        Error::internal("cannot write Terraform's outputs for the hooks").why(error)
    })?;
    let documents = Documents { plan: json.unwrap_or("{}\n"), outputs: Some(&outputs) };
    let stage = HookStage::AfterApply;
    let failed = run_all(context, order, prepared, hooks, stage, &documents, report).await?;
    let Some((name, why)) = failed.first() else { return Ok(()) };
    let environment = order.environment();
    Err(Error::new(
        Exit::BuildFailed,
        format!(
            "release {} is deployed to `{environment}`, but the hook `{name}` failed",
            order.version()
        ),
    )
    .why(why)
    .hint("read its output above; the apply is complete and recorded in the ledger")
    .hint(format!("to return to the release before: cdflow rollback {environment}")))
}

/// Runs hooks one after the other, all of them. Returns the names of those that failed, except for
/// advisory ones, and why.
async fn run_all(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    hooks: &[Hook],
    stage: HookStage,
    documents: &Documents<'_>,
    report: &mut Report,
) -> Result<Vec<(String, String)>> {
    // No Terraform runs meanwhile.
    let _closed = prepared.close_credentials();
    let mut failed = Vec::new();
    for hook in hooks {
        context.host.interrupt.check("the next hook")?;
        context.host.log.step(&format!("Hook {} ({})", hook.name, stage.name()));
        // A run that plans again runs its hooks again.
        let folder = format!("hook-{}", report.hooks.len());
        let run = HookRun { context, order, prepared, hook, folder: &folder };
        let Ended { code, failure, report: text } = run.run(documents).await?;
        context.host.interrupt.check("the end of the hook")?;
        if let Some(why) = failure.as_ref().filter(|_| hook.advisory) {
            context.host.log.warning(&format!("the advisory hook `{}` failed: {why}", hook.name));
        }
        if let Some(why) = failure.clone().filter(|_| !hook.advisory) {
            failed.push((hook.name.clone(), why));
        }
        report.hooks.push(HookReport {
            name: hook.name.clone(),
            stage,
            passed: failure.is_none(),
            advisory: hook.advisory,
            exit_code: code,
            message: failure,
            report: text,
        });
    }
    Ok(failed)
}

fn refusal(order: &Order<'_>, failed: &[(String, String)], was_started: bool) -> Error {
    let all: Vec<String> = failed.iter().map(|(name, why)| format!("`{name}`: {why}")).collect();
    let (what, verb) = if all.len() == 1 { ("hook", "refuses") } else { ("hooks", "refuse") };
    let environment = order.environment();
    Error::refused(format!("the {what} of the release {verb} the plan for `{environment}`"))
        .why(all.join("; "))
        .hint(match was_started {
            true => "read the output of the hook above, and correct the code or the hook",
            false => "correct the hook, and make a new release",
        })
}
