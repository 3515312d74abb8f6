//! preview down: a pull request's preview is destroyed, with the release that is deployed there.

use crate::{
    base::error::{Error, Exit, Result},
    cli::args::{PlanInputs, PreviewDownInputs},
    commands::prune,
    config::names::Environment,
    context::Context,
    deploy::{
        self,
        guards::state,
        ledger::{Record, Start},
        order::Order,
        preview::{
            pull_request::{check_repository, number, of_event},
            watch::Watch,
        },
        recording,
        state::location,
        target::Target,
    },
    report::{Outcome, Report},
    services::github::Api,
};

pub(crate) async fn run(
    context: &Context,
    inputs: PreviewDownInputs,
    report: &mut Report,
) -> Result<()> {
    let number = number(context, inputs.pull_request)?;
    let target = Target::resolve(context, Environment::of_pull_request(number))?;
    let record = target.record(context).await?;
    check_repository(context, &target.environment, &record)?;
    let watch = watch(context, number);
    destroy(context, target, record, inputs.plan, watch, report).await.map(drop)
}

/// Whoever destroys a preview by hand means it, whatever the pull request is; a run that was started because it was closed does not,
/// once it is open again. Without a token nobody can be asked.
fn watch(context: &Context, number: u64) -> Option<Watch> {
    of_event(context).filter(|change| change.number == number && !change.is_open())?;
    Api::of(&context.host, context.github_token.as_ref()).ok().map(|_| Watch::Closed(number))
}

/// Safe to be done twice, also at once. Why it was left as it is; None when it is gone.
pub(crate) async fn destroy(
    context: &Context,
    target: Target<'_>,
    record: Record,
    plan: PlanInputs,
    watch: Option<Watch>,
    report: &mut Report,
) -> Result<Option<String>> {
    let is_plan = plan.plan_only;
    let environment = &target.environment.clone();
    report.set_subject(environment, None);
    let Some(deployed) = record.deployed().cloned() else {
        return nothing(context, environment, &record, is_plan, watch.as_ref(), report)
            .await
            .map(|()| None);
    };
    check_place(&target, &deployed)?;
    let version = deployed.version.clone();
    report.set_subject(environment, Some(&version));
    let order = Order {
        refuse_missing_state: record.is_deployed().then(|| state::missing_to_destroy(environment)),
        watch: watch.clone(),
        ..Order::destroy(context, target, version, &record, plan)
    };
    match deploy::run(context, order, report).await {
        Err(error)
            if !is_somebody_elses(&error)
                || !recording::is_destroyed(context, environment).await? =>
        {
            return Err(error);
        }
        Err(_) => {
            report.outcome = Outcome::Destroyed;
            context.host.log.done(&format!("Another run has destroyed {environment} meanwhile"));
        }
        Ok(Some(why)) => return Ok(Some(why)),
        Ok(None) => {}
    }
    if !is_plan {
        delete_releases(context, environment, watch.as_ref()).await?;
    }
    Ok(None)
}

async fn nothing(
    context: &Context,
    environment: &Environment,
    record: &Record,
    is_plan: bool,
    watch: Option<&Watch>,
    report: &mut Report,
) -> Result<()> {
    if !record.is_destroyed() && location::has_state(context, environment).await? {
        return Err(Error::refused(format!(
            "`{environment}` has a state, but the ledger knows of no deploy there"
        ))
        .why("which release it must be destroyed with is not known")
        .hint(format!("name the release: cdflow destroy {environment} VERSION")));
    }
    report.outcome = Outcome::Destroyed;
    let why = if record.is_destroyed() { "is already destroyed" } else { "never existed" };
    // A comment about what never was would be noise.
    if !record.is_destroyed() {
        report.environment = None;
    }
    context.host.log.done(&format!("Nothing to destroy: {environment} {why}"));
    match is_plan {
        true => Ok(()),
        false => delete_releases(context, environment, watch).await,
    }
}

/// Where the account scheme or `preview.account-environment` has changed since, Terraform would look in the wrong account.
fn check_place(target: &Target<'_>, deployed: &Start) -> Result<()> {
    let Target { environment, account, .. } = target;
    let is_same_account =
        account.id.is_none() || deployed.account.is_none() || account.id == deployed.account;
    if is_same_account && account.region == deployed.region {
        return Ok(());
    }
    let place = |id: &Option<String>, region: &str| {
        format!("{} in {region}", id.as_deref().unwrap_or("(local)"))
    };
    Err(Error::refused(format!("the preview `{environment}` is not where previews are made now"))
        .why(format!(
            "it was deployed to the account {}; now that is {}",
            place(&deployed.account, &deployed.region),
            place(&account.id, &account.region)
        ))
        .hint("set `preview.account-environment` of cdflow.yml back, destroy the previews, and change it then"))
}

/// What another run that destroys at the same moment would lead to: no state any more, or one that the plan is not for.
fn is_somebody_elses(error: &Error) -> bool {
    [Exit::Refused, Exit::PlanFailed, Exit::ApplyFailed, Exit::Integrity].contains(&error.exit())
}

/// Asked once more, because a run may find the environment gone long before: the releases of an open pull request may be what
/// `preview up` has just made, and no ledger tells of them yet.
async fn delete_releases(
    context: &Context,
    environment: &Environment,
    watch: Option<&Watch>,
) -> Result<()> {
    if !context.manifest.preview.delete_releases {
        return Ok(());
    }
    if let Some(watch) = watch
        && let Some(number) = watch.open(context, environment).await
    {
        context
            .host
            .log
            .note(&format!("pull request #{number} is open: its releases stay until it is closed"));
        return Ok(());
    }
    prune::of_preview(context, environment).await
}
