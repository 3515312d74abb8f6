//! hold and unhold: a pull request keeps deploys from elsewhere away from an environment.

use crate::{
    base::error::{Error, Result},
    cli::args::{HoldInputs, UnholdInputs},
    context::Context,
    deploy::{
        guards::hold,
        preview::pull_request::{find, number},
        target::Target,
    },
    report::Report,
};

pub(crate) async fn take(context: &Context, inputs: HoldInputs, report: &mut Report) -> Result<()> {
    let Target { environment, ledger, .. } = Target::resolve(context, inputs.environment)?;
    if environment.is_preview() {
        return Err(Error::input(format!("`{environment}` is the preview of one pull request"))
            .why("no other pull request deploys to it")
            .hint("name another environment"));
    }
    let number = number(context, inputs.pull_request)?;
    hold::repository(context)?;
    if !find(context, number).await?.is_open() {
        return Err(Error::refused(format!("pull request #{number} is closed"))
            .why("a hold ends when its pull request is merged or closed")
            .hint("reopen it, or name another one"));
    }
    let is_new = hold::take(context, environment.as_str(), &ledger, number).await?;
    let said = match is_new {
        true => hold::taken_by(environment.as_str(), number),
        false => format!("{environment} was already held by pull request #{number}"),
    };
    context.host.log.done(&said);
    report.answer = Some(said);
    Ok(())
}

pub(crate) async fn release(
    context: &Context,
    inputs: UnholdInputs,
    report: &mut Report,
) -> Result<()> {
    let Target { environment, ledger, .. } = Target::resolve(context, inputs.environment)?;
    let said = match hold::release(context, environment.as_str(), &ledger).await? {
        Some(hold) => format!("ended the hold: {environment} was {}", hold::describe(&hold)),
        None => format!("{environment} is not held"),
    };
    context.host.log.done(&said);
    report.answer = Some(said);
    Ok(())
}
