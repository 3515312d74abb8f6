//! `notify` in cdflow.yml: which ends of runs are sent to which webhook.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{names::Environment, variable_name::VariableName};
use crate::base::error::{Error, Result};

/// A webhook and what is sent to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Notify {
    #[serde(rename = "type")]
    pub(crate) kind: Webhook,
    /// The environment variable with the URL, which is a secret.
    pub(crate) url_variable: VariableName,
    #[serde(default = "failures")]
    pub(crate) on: Vec<Event>,
    /// Only runs of these. Default: all runs.
    #[serde(default)]
    pub(crate) environments: Vec<Environment>,
}

/// The form of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Webhook {
    /// cdflow's own JSON.
    Json,
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams that posts an Adaptive Card.
    Teams,
}

/// How a run can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum Event {
    Failure,
    Refusal,
    /// Something was applied: a deploy, a rollback, a destroy.
    Deploy,
    /// A run with `--plan-only --refresh-only` found changes.
    Drift,
}

fn failures() -> Vec<Event> {
    vec![Event::Failure, Event::Refusal]
}

/// Rejects an entry that would never be used.
pub(super) fn check(file: &str, notify: &[Notify]) -> Result<()> {
    match notify.iter().position(|it| it.on.is_empty()) {
        None => Ok(()),
        Some(at) => Err(Error::input(format!("{file}: `notify[{at}].on` is empty"))
            .hint("name events: `failure`, `refusal`, `deploy`, `drift`; or remove the entry")),
    }
}
