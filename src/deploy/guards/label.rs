//! Who allows a plan to destroy what the guards would keep: somebody by addresses, or a pull request by its label.

use std::collections::BTreeSet;

use super::plan;
use crate::{
    base::error::{Error, Result},
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::github::{Api, GitHubError, PullRequest},
    terraform::output::changes::Changes,
};

/// What is destroyed in spite of the guards, and why that is fine. For the ledger.
#[derive(Default)]
pub(crate) struct GuardOverride {
    pub(crate) addresses: Vec<String>,
    pub(crate) by: Option<String>,
}

impl GuardOverride {
    /// The sentence of the report; None if nothing was overridden.
    pub(crate) fn summary(&self) -> Option<String> {
        let by = self.by.as_ref()?;
        Some(format!(
            "{by} let pass what the guards would have kept: {}",
            plan::shown(&self.addresses)
        ))
    }
}

/// The pull requests that count, or why there are none.
enum Asked {
    Found(Vec<PullRequest>),
    None(String),
}

/// GitHub is asked only where a label would help. Whatever it doesn't say for certain allows nothing.
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
                .warning(&format!("whether a pull request has {named} is not known: {trouble}"));
            return Err(refused);
        }
    };
    let found = match asked {
        Asked::Found(found) => found,
        Asked::None(why) => return Err(refused.hint(why)),
    };
    match found.iter().find(|it| labels.iter().all(|label| it.has_label(label))) {
        Some(found) => allowed_by(context, order, changes, &labels, found.number),
        None => Err(lacking(refused, &found, &labels)),
    }
}

/// The pull request that the run is for. A run for none deploys what was merged: then the one that made the release's commit.
async fn ask(context: &Context, prepared: &Prepared) -> Result<Asked, GitHubError> {
    let api = Api::of(&context.host, context.github_token.as_ref())?;
    // The event tells which labels there were when it was sent; they may have been taken away since.
    if let Some(of_event) = context.host.github().and_then(|run| run.pull_request.as_ref()) {
        let found = api.pull_request(of_event.number).await?;
        return Ok(Asked::Found(vec![found]));
    }
    let Some(commit) = prepared.facts.commit() else {
        return Ok(Asked::None(
            "whose label counts is not known: the release doesn't tell its commit".to_owned(),
        ));
    };
    let found = api.merged_as(commit).await?;
    Ok(match found.is_empty() {
        true => Asked::None(format!(
            "no label counts: no merged pull request has made the release's commit {commit}"
        )),
        false => Asked::Found(found),
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
        .warning(&format!("{by_label} allows what the guards refuse: {}", plan::shown(&addresses)));
    let by_address = addresses.iter().any(|address| order.allow_destroy.contains(address));
    let by = if by_address { format!("--allow-destroy, and {by_label}") } else { by_label };
    Ok(GuardOverride { addresses, by: Some(by) })
}

fn lacking(refused: Error, found: &[PullRequest], labels: &BTreeSet<String>) -> Error {
    let numbers: Vec<String> = found.iter().map(|it| format!("#{}", it.number)).collect();
    let lacks = if numbers.len() == 1 { "lacks" } else { "each lack" };
    refused.hint(format!(
        "by GitHub's word {} {lacks} {}",
        numbers.join(" and "),
        plan::named(labels)
    ))
}
