//! The Terraform plan of a run, and what is checked about its addresses.

use std::path::PathBuf;

use super::{hooks, order::Order, prepare::Prepared};
use crate::{
    base::{
        error::{Error, Result},
        spelling::nearest,
    },
    config::guards::{Protected, Source},
    context::Context,
    terraform::{Plan, PlanMode, PlanRequest, StoredFrom, state::summary::StateSummary},
};

pub(crate) async fn plan(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
) -> Result<Plan> {
    context.host.log.step(match order.mode {
        PlanMode::Deploy => "Plan",
        PlanMode::RefreshOnly => "Plan a refresh of the state",
        PlanMode::Destroy => "Plan the destruction",
    });
    let request = request(context, order, prepared, prepared.folder.var_file.clone());
    let plan = prepared.terraform.plan(request, before).await?;
    check_addresses(order, &plan)?;
    warn_about_unused_protection(context, order, &plan);
    warn_about_working_folder(context, prepared, &plan);
    Ok(plan)
}

/// Reads a stored plan, which is decrypted to where Terraform reads it.
pub(crate) async fn open(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    from: StoredFrom,
) -> Result<Plan> {
    context.host.log.step("Read the stored plan");
    let var_file = prepared.folder.write_ephemeral_variables()?;
    let request = request(context, order, prepared, var_file);
    let plan = prepared.terraform.open_plan(request, from).await?;
    warn_about_unused_protection(context, order, &plan);
    Ok(plan)
}

fn request(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    var_file: PathBuf,
) -> PlanRequest {
    PlanRequest {
        mode: order.mode,
        var_file,
        plan_file: prepared.folder.plan_file.clone(),
        targets: order.targets.clone(),
        replace: order.replace.clone(),
        lock_timeout: order.plan.lock_timeout.or(context.manifest.deploy.lock_timeout),
        parallelism: order.plan.parallelism,
        has_ephemeral: prepared.folder.has_ephemeral,
        origins: prepared.folder.origins(),
        wants_json: order.plan.plan_out.is_some() || hooks::want_json(order, prepared),
    }
}

/// Warns if the code keeps the path of a folder that only this run has.
fn warn_about_working_folder(context: &Context, prepared: &Prepared, plan: &Plan) {
    let folder = prepared.private.path().to_string_lossy();
    if plan.text.whole().contains(&*folder) {
        context.host.log.warning(&format!(
            "the plan contains the path of this run's working folder, `{folder}`, so the next \
             deploy will change it again: use `path.module` without `abspath`"
        ));
    }
}

/// Rejects an address that matches nothing. Terraform would plan no changes for it, and the run
/// would be recorded as a success.
fn check_addresses(order: &Order<'_>, plan: &Plan) -> Result<()> {
    // A refresh reads resources without listing them as changes.
    if order.mode == PlanMode::RefreshOnly {
        return Ok(());
    }
    let given = order.targets.iter().map(|address| ("--target", address));
    let given = given.chain(order.replace.iter().map(|address| ("--replace", address)));
    // A deploy that is run again might name what it has already destroyed, and a plan with targets
    // does not list the other resources.
    let is_new =
        |address: &&String| order.targets.is_empty() && !order.allowed_before.contains(*address);
    let allowed = order.allow_destroy.iter().filter(is_new);
    let mut given = given.chain(allowed.map(|address| ("--allow-destroy", address)));
    let Some((flag, address)) = given.find(|(_, address)| !plan.changes.knows(address)) else {
        return Ok(());
    };
    let error = Error::input(format!(
        "{flag} `{}` matches no resource in the code or the state",
        address.escape_debug()
    ));
    Err(match nearest(address, plan.changes.addresses.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("use an address from the plan: `aws_s3_bucket.data`, `module.network`"),
    })
}

/// Warns about a protected address that matches nothing, because a typo would look like
/// protection. Only rules of cdflow.yml are checked: the account scheme's apply to every component.
fn warn_about_unused_protection(context: &Context, order: &Order<'_>, plan: &Plan) {
    // With targets, the plan does not list the other resources.
    if order.mode != PlanMode::Deploy || !order.targets.is_empty() {
        return;
    }
    let moved: Vec<&str> =
        plan.changes.resources.iter().filter_map(|change| change.moved_from.as_deref()).collect();
    let is_known = |protected: &Protected| {
        let known = plan.changes.addresses.iter().map(String::as_str);
        known.chain(moved.iter().copied()).any(|known| protected.covers(known, ""))
    };
    let ours = order.limits.bounds.iter().filter(|bounds| bounds.source == Source::Component);
    for protected in ours.flat_map(|bounds| bounds.protect.keys()) {
        let Some(address) = protected.address().filter(|_| !is_known(protected)) else { continue };
        let near = nearest(address, plan.changes.addresses.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        context.host.log.warning(&format!(
            "`protect` in cdflow.yml names `{}`, which is neither in the code nor in the state of \
             {}, so it protects nothing there yet{near}",
            address.escape_debug(),
            order.environment()
        ));
    }
}
