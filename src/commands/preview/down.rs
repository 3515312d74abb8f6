//! preview down: destroys the preview of a pull request, with the release that is deployed there.

use crate::{
    base::error::{Error, Exit, Result},
    cli::args::{PlanInputs, PreviewDownInputs},
    commands::prune,
    config::names::Environment,
    context::Context,
    deploy::{
        self,
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

/// Returns the check for a run that was started because the pull request was closed: it must not
/// destroy the preview of a reopened one. A person who runs the command may. Without a token,
/// GitHub cannot be asked.
fn watch(context: &Context, number: u64) -> Option<Watch> {
    of_event(context).filter(|change| change.number == number && !change.is_open())?;
    Api::of(&context.host, context.github_token.as_ref()).ok().map(|_| Watch::Closed(number))
}

/// Destroys the preview, even if another run does the same at the same time. Returns why it was
/// kept, or None.
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
        return nothing_to_destroy(context, environment, &record, is_plan, watch.as_ref(), report)
            .await
            .map(|()| None);
    };
    check_place(&target, &deployed)?;
    let version = deployed.version.clone();
    report.set_subject(environment, Some(&version));
    let order = Order {
        guards_missing_state: true,
        watch: watch.clone(),
        ..Order::destroy(context, target, version, &record, plan)
    };
    match deploy::run(context, order, report).await {
        Err(error)
            if !can_be_a_race(&error) || !recording::is_destroyed(context, environment).await? =>
        {
            return Err(error);
        }
        Err(_) => {
            report.outcome = Outcome::Destroyed;
            context.host.log.done(&format!(
                "Nothing to destroy: another run destroyed {environment} at the same time"
            ));
        }
        Ok(Some(why)) => return Ok(Some(why)),
        Ok(None) => {}
    }
    if !is_plan {
        delete_releases(context, environment, watch.as_ref()).await?;
    }
    Ok(None)
}

async fn nothing_to_destroy(
    context: &Context,
    environment: &Environment,
    record: &Record,
    is_plan: bool,
    watch: Option<&Watch>,
    report: &mut Report,
) -> Result<()> {
    if !record.is_destroyed() && location::has_state(context, environment).await? {
        return Err(Error::refused(format!(
            "`{environment}` has a state, but the ledger has no deploy to it"
        ))
        .why("the release to destroy it with is unknown")
        .hint(format!("name the release: cdflow destroy {environment} VERSION")));
    }
    report.outcome = Outcome::Destroyed;
    let why = if record.is_destroyed() { "is already destroyed" } else { "never existed" };
    // A comment about an environment that never existed would be noise.
    if !record.is_destroyed() {
        report.environment = None;
    }
    context.host.log.done(&format!("Nothing to destroy: {environment} {why}"));
    match is_plan {
        true => Ok(()),
        false => delete_releases(context, environment, watch).await,
    }
}

/// Fails if the account scheme or `preview.account-environment` has changed since the deploy:
/// Terraform would look in the wrong account.
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
    Err(Error::refused(format!(
        "the preview `{environment}` is not where previews are deployed now"
    ))
    .why(format!(
        "it was deployed to the account {}; previews now use {}",
        place(&deployed.account, &deployed.region),
        place(&account.id, &account.region)
    ))
    .hint(
        "restore `preview.account-environment` in cdflow.yml, destroy the previews, and only then \
             change it",
    ))
}

/// Whether another run that destroys at the same time can cause the error: the state is missing, or
/// has changed since the plan.
fn can_be_a_race(error: &Error) -> bool {
    [Exit::Refused, Exit::PlanFailed, Exit::ApplyFailed, Exit::Integrity].contains(&error.exit())
}

/// Deletes the releases of the preview if cdflow.yml says so. Keeps them if the pull request is
/// open: `preview up` might have just published one that is not in the ledger yet.
async fn delete_releases(
    context: &Context,
    environment: &Environment,
    watch: Option<&Watch>,
) -> Result<()> {
    if !context.manifest.preview.delete_releases.unwrap_or_default() {
        return Ok(());
    }
    if let Some(watch) = watch
        && let Some(number) = watch.open(context, environment).await
    {
        context.host.log.note(&format!(
            "pull request #{number} is open, so its releases are kept until it is closed"
        ));
        return Ok(());
    }
    prune::of_preview(context, environment).await
}
