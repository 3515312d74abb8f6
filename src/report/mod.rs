//! What a run did: once as data, and every view of it. What a view shows has passed the redactor.

mod body;
mod comment;
mod destinations;
mod file;
mod losses;
mod markdown;
mod outcome;
mod outputs;
mod past_run;
mod plan;
mod publish;
#[cfg(test)]
pub(crate) mod samples;
mod summary;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::{
    comment::{Commenter, announcement},
    destinations::Destinations,
    outcome::{Outcome, RunRef},
    past_run::PastRun,
    plan::PlanReport,
    publish::{publish, publish_startup_failure},
};
use crate::{
    base::{
        error::{Error, Exit},
        redact::Redactor,
    },
    services::ci,
};

/// Filled while a run goes on, and published at its end, however it ends.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) component: Option<String>,
    pub(crate) team: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) version: Option<String>,
    /// Where the release lies, as the store puts it.
    pub(crate) release_key: Option<String>,
    pub(crate) release_digest: Option<String>,
    pub(crate) image_id: Option<String>,
    pub(crate) lambda_key: Option<String>,
    pub(crate) plan: Option<PlanReport>,
    pub(crate) outcome: Outcome,
    /// What the guards said of the plan, if they said anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) guard: Option<Guard>,
    pub(crate) failure: Option<RunFailure>,
    /// Terraform's outputs after an apply; the sensitive ones are only named.
    pub(crate) terraform_outputs: BTreeMap<String, Value>,
    pub(crate) sensitive_outputs: Vec<String>,
    /// Started and never ended: may exist without being in the state.
    pub(crate) in_flight: Vec<String>,
    pub(crate) state_serial: Option<u64>,
    pub(crate) seconds: u64,
    pub(crate) run: Option<RunRef>,
    pub(crate) commit: Option<String>,
    pub(crate) preview: Option<Lifetime>,
    /// Markdown of the command's own, for the job summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<String>,
    /// The output that `deploy.url-output` of cdflow.yml names.
    pub(crate) environment_url: Option<String>,
    pub(crate) ended: Option<Timestamp>,
    /// The component's environments for which the ledger knows of a run for the same pull request.
    #[serde(skip)]
    pub(crate) past: Vec<PastRun>,
}

/// In words that have passed the redactor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Guard {
    /// Why a deploy of this plan would be refused.
    Refuses(String),
    /// What they would have kept, and what let it pass.
    Allowed(String),
}

/// How a preview ends, and what keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Lifetime {
    pub(crate) pull_request: u64,
    pub(crate) ttl_seconds: Option<u64>,
    pub(crate) keep_label: String,
    pub(crate) deployed: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RunFailure {
    /// One stable word per exit code.
    pub(crate) reason: &'static str,
    pub(crate) exit: u8,
    pub(crate) text: String,
}

impl Report {
    /// The beginning of a run.
    pub(crate) fn of(run: Option<&ci::Run>) -> Self {
        let Some(run) = run else { return Self::default() };
        let github = run.github.as_ref();
        let id = github.and_then(|github| github.run_id).or(run.number).unwrap_or_default();
        let attempt = github.map_or(1, |github| github.attempt);
        Self {
            run: Some(RunRef { id, attempt, url: run.url.clone() }),
            commit: run.commit.clone(),
            ..Self::default()
        }
    }

    /// The end of a run.
    pub(crate) fn end(&mut self, error: Option<&Error>, took: Duration, redactor: &Redactor) {
        self.seconds = took.as_secs();
        self.ended = Some(Timestamp::now());
        let Some(error) = error else { return };
        self.outcome = match error.exit() {
            Exit::Interrupted | Exit::Terminated => Outcome::Interrupted,
            Exit::Refused => Outcome::Refused,
            _ => Outcome::Failed,
        };
        self.failure = Some(RunFailure {
            reason: error.exit().reason(),
            exit: error.exit() as u8,
            text: redactor.apply(&error.to_string()).into_owned(),
        });
    }

    /// Whether the comment of a pull request has a row for it.
    pub(crate) fn has_row(&self) -> bool {
        self.component.is_some() && self.environment.is_some() && self.version.is_some()
    }

    /// Values that come from outside; the names that cdflow itself has checked are never masked.
    pub(crate) fn mask(&mut self, redactor: &Redactor) {
        let masked = |text: &mut String| *text = redactor.apply(text).into_owned();
        self.terraform_outputs.values_mut().for_each(|value| mask_value(value, redactor));
        self.in_flight.iter_mut().for_each(masked);
        self.environment_url.iter_mut().for_each(masked);
    }
}

fn mask_value(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => *text = redactor.apply(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(item, redactor)),
        Value::Object(fields) => fields.values_mut().for_each(|field| mask_value(field, redactor)),
        _ => {}
    }
}
