//! Sends to webhooks how a run ended. A message that is not delivered is a warning.

pub(crate) mod messages;

use futures_util::future::join_all;

use super::{Outcome, Report};
use crate::{
    base::redact::Secret,
    config::notify::{Event, Notify},
    services::{ci::host::Host, webhook},
};

/// The webhooks of a component, for a run that may change something or looks for drift.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices {
    pub(crate) rules: Vec<Notify>,
    pub(crate) is_about_drift: bool,
}

/// Sends the messages of a run, all at once.
pub(super) async fn notify(report: &Report, host: &Host) {
    let Some(event) = event(report) else { return };
    let is_meant = |it: &&Notify| it.on.contains(&event) && covers(it, report);
    join_all(report.notices.rules.iter().filter(is_meant).map(|it| send(it, event, report, host)))
        .await;
}

fn event(report: &Report) -> Option<Event> {
    let has_changes = report.plan.as_ref().is_some_and(|plan| plan.has_changes);
    match report.outcome {
        Outcome::Failed | Outcome::Interrupted => Some(Event::Failure),
        Outcome::Refused => Some(Event::Refusal),
        Outcome::Destroyed => Some(Event::Deploy),
        Outcome::Deployed | Outcome::Refreshed if has_changes => Some(Event::Deploy),
        Outcome::Planned if report.notices.is_about_drift && has_changes => Some(Event::Drift),
        _ => None,
    }
}

/// Whether a rule is about the environment of a run. One that names environments is not about a
/// release.
fn covers(rule: &Notify, report: &Report) -> bool {
    let of_run = report.environment.as_deref();
    rule.environments.is_empty() || rule.environments.iter().any(|it| Some(it.as_str()) == of_run)
}

async fn send(rule: &Notify, event: Event, report: &Report, host: &Host) {
    let name = &rule.url_variable.0;
    let url = host.environment.get(name).filter(|url| !url.trim().is_empty());
    let Some(url) = url.map(|url| Secret::new(url.trim())) else {
        host.log.warning(&format!(
            "no message was sent: `notify` needs the variable `{name}`, which is not set\n  -> set \
             it in the step's `env`, from a secret that holds the URL of the webhook"
        ));
        return;
    };
    let message = messages::of(rule.kind, event, report);
    match webhook::post(&url, &message, &host.interrupt).await {
        Ok(()) => host.log.detail(&format!("sent a message to the webhook in `{name}`")),
        Err(why) => host.log.warning(&format!(
            "no message was sent to the webhook in the variable `{name}`: {why}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn events_of_runs() {
        let of = |outcome, is_about_drift| {
            let mut report = samples::small_plan();
            report.outcome = outcome;
            report.notices.is_about_drift = is_about_drift;
            event(&report)
        };
        for (outcome, is_about_drift, expected) in [
            (Outcome::Failed, false, Some(Event::Failure)),
            (Outcome::Interrupted, false, Some(Event::Failure)),
            (Outcome::Refused, true, Some(Event::Refusal)),
            (Outcome::Destroyed, false, Some(Event::Deploy)),
            (Outcome::Deployed, false, Some(Event::Deploy)),
            (Outcome::Planned, false, None),
            (Outcome::Planned, true, Some(Event::Drift)),
            (Outcome::NoChanges, true, None),
            (Outcome::Superseded, false, None),
            (Outcome::Released, false, None),
        ] {
            assert_eq!(of(outcome, is_about_drift), expected, "{outcome:?}");
        }
    }
}
