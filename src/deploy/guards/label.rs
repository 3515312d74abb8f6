//! Overrides of the plan's guards: by addresses in `--allow-destroy`, or by the label of a pull
//! request.

use std::collections::BTreeSet;

use super::plan;
use crate::{
    base::error::{Error, Result},
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::{
        ci::GitHubRun,
        github::{Api, GitHubError, PullRequest},
    },
    terraform::output::changes::Changes,
};

/// What is destroyed despite the guards, and what allowed it. The ledger records both.
#[derive(Default)]
pub(crate) struct GuardOverride {
    pub(crate) addresses: Vec<String>,
    pub(crate) by: Option<String>,
}

impl GuardOverride {
    /// The sentence of the report; None if nothing was overridden.
    pub(crate) fn summary(&self) -> Option<String> {
        let by = self.by.as_ref()?;
        Some(format!("{by} overrode the deploy guards for: {}", plan::shown(&self.addresses)))
    }
}

/// The pull requests whose labels count, or why there are none.
enum LabelSource {
    PullRequests(Vec<PullRequest>),
    None(String),
}

/// Evaluates the guards. GitHub is asked only if a label could override them, and an answer that is
/// not certain overrides nothing.
pub(crate) async fn judge(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    changes: &Changes,
) -> Result<GuardOverride> {
    let refused = match plan::judge(changes, &order.limits, &order.allow_destroy) {
        Ok(addresses) => {
            let by = (!addresses.is_empty()).then(|| "--allow-destroy".to_owned());
            return Ok(GuardOverride { addresses, by });
        }
        Err(refused) => refused,
    };
    let labels = plan::labels(changes, &order.limits, &order.allow_destroy);
    if labels.is_empty() {
        return Err(refused);
    }
    let asking = async { Ok(ask(context, prepared).await) };
    let asked = match context.host.interrupt.or_cancel("asking GitHub", asking).await? {
        Ok(asked) => asked,
        Err(trouble) => {
            let named = plan::named(&labels);
            context
                .host
                .log
                .warning(&format!("cannot check whether a pull request has {named}: {trouble}"));
            return Err(refused);
        }
    };
    let found = match asked {
        LabelSource::PullRequests(found) => found,
        LabelSource::None(why) => return Err(refused.hint(why)),
    };
    match found.iter().find(|it| labels.iter().all(|label| it.has_label(label))) {
        Some(found) => allowed_by(context, order, changes, &labels, found.number),
        None => Err(lacking(refused, &found, &labels)),
    }
}

/// Returns the pull request of the run. A run for none deploys what was merged: then the pull
/// request whose merge created the release's commit counts.
async fn ask(context: &Context, prepared: &Prepared) -> Result<LabelSource, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    // The event has the labels of the moment when it was sent; some might have been removed since.
    if let Some(number) = context.host.github().and_then(GitHubRun::number) {
        let found = api.pull_request(number).await?;
        return Ok(LabelSource::PullRequests(vec![found]));
    }
    let Some(commit) = prepared.facts.commit() else {
        return Ok(LabelSource::None(
            "no label counts, because the release does not record its commit".to_owned(),
        ));
    };
    let found = api.merged_as(commit).await?;
    Ok(match found.is_empty() {
        true => LabelSource::None(format!(
            "no label counts, because no merged pull request created the release's commit {commit}"
        )),
        false => LabelSource::PullRequests(found),
    })
}

fn allowed_by(
    context: &Context,
    order: &Order<'_>,
    changes: &Changes,
    labels: &BTreeSet<String>,
    number: u64,
) -> Result<GuardOverride> {
    let addresses = plan::overridden(changes, &order.limits)?;
    let by_label = format!("{} of pull request #{number}", plan::named(labels));
    context
        .host
        .log
        .warning(&format!("deploy guards overridden by {by_label}: {}", plan::shown(&addresses)));
    let by_address = addresses.iter().any(|address| order.allow_destroy.contains(address));
    let by = if by_address { format!("--allow-destroy, and {by_label}") } else { by_label };
    Ok(GuardOverride { addresses, by: Some(by) })
}

fn lacking(refused: Error, found: &[PullRequest], labels: &BTreeSet<String>) -> Error {
    let numbers: Vec<String> = found.iter().map(|it| format!("#{}", it.number)).collect();
    let lacks = if numbers.len() == 1 { "lacks" } else { "each lack" };
    refused.hint(format!(
        "label the pull request: according to GitHub, {} {lacks} {}",
        numbers.join(" and "),
        plan::named(labels)
    ))
}
