//! What a run did, as data, and the views of it: comment, job summary, outputs, files.
//!
//! Everything that a view shows is redacted.

mod addresses;
mod answer;
mod body;
mod check;
pub(crate) mod comment;
mod destinations;
mod diff;
mod file;
mod hooks;
mod loss_list;
mod losses;
mod markdown;
mod messages;
pub(crate) mod notify;
mod outcome;
mod outputs;
pub(crate) mod pages;
mod past_run;
pub(crate) mod plan;
mod publish;
#[cfg(test)]
mod real_plan;
mod reasons;
mod results;
mod run_context;
#[cfg(test)]
pub(crate) mod samples;
mod sarif;
mod security;
mod summary;
mod verdict;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::{
    answer::Answer,
    check::{CheckState, Checking, NAME as CHECK, begin_check, write_unaffected},
    comment::{Commenter, announce_apply},
    destinations::Destinations,
    hooks::{HookReport, HookStage},
    notify::Notices,
    outcome::{Outcome, RunRef},
    past_run::{LastStart, PastRun},
    plan::PlanReport,
    publish::{publish, publish_command, publish_startup_failure},
    results::open_results,
    run_context::RunContext,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit},
        json::Json,
        log::Log,
        redact::Redactor,
    },
    config::names::{Environment, Version},
    services::ci,
    terraform::output::unknown::UnknownChange,
};

/// The title of a folded plan once it was applied: its text is in the future tense.
const PLAN_BEFORE: &str = "The plan before the apply";

/// What a run did. It is filled during the run and published at its end, even if the run fails.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(title = "--report-json")]
pub(crate) struct Report {
    /// The command.
    pub(crate) command: String,
    /// The component. Null: the run failed before it was known.
    pub(crate) component: Option<String>,
    /// The team. Null: the run failed before it was known.
    pub(crate) team: Option<String>,
    /// The environment. Null: the command has none, or the run failed before it was known.
    pub(crate) environment: Option<String>,
    /// The version. Null: the command has none, or the run failed before it was known.
    pub(crate) version: Option<String>,
    /// The URL of the release in the release store.
    pub(crate) release_key: Option<String>,
    /// The bundle digest.
    #[schemars(with = "Option<Sha256>")]
    pub(crate) release_digest: Option<String>,
    /// The image, by digest. Null: the release has none.
    pub(crate) image_id: Option<String>,
    /// The key of the Lambda zip. Null: the release has none.
    pub(crate) lambda_key: Option<String>,
    /// The plan. Null: the run made none.
    pub(crate) plan: Option<PlanReport>,
    /// What the run did.
    pub(crate) outcome: Outcome,
    /// The result of the deploy guards. Absent: none applied to the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) guard: Option<Guard>,
    /// Whose review covers the plan. In a merge queue: that the plan does what the pull request
    /// showed. Absent: neither was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reviewed: Option<String>,
    /// What the hooks of the release said. Absent: none ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<HookReport>,
    /// Why the run failed. Null: it did not.
    pub(crate) failure: Option<RunFailure>,
    /// What a reader of the result should know, as redacted text.
    pub(crate) warnings: Vec<String>,
    /// Terraform's outputs after an apply, without the sensitive ones.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(crate) terraform_outputs: BTreeMap<String, Json>,
    /// The names of the sensitive outputs.
    pub(crate) sensitive_outputs: Vec<String>,
    /// The changes of which no answer says whether they were made.
    pub(crate) unknown_changes: Vec<UnknownChange>,
    /// The serial of the state. Null: unknown.
    pub(crate) state_serial: Option<u64>,
    /// The duration in seconds, without the time of questions.
    pub(crate) seconds: u64,
    /// The run of the CI. Null: the run was not in a CI.
    pub(crate) run: Option<RunRef>,
    /// The commit of the run or of the release. Null: unknown.
    pub(crate) commit: Option<String>,
    /// Where and for whom the run was.
    pub(crate) context: RunContext,
    /// The lifetime of a preview. Null: the environment is not a preview.
    pub(crate) preview: Option<Lifetime>,
    /// Markdown of the command for the job summary. Absent: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<String>,
    /// The value of the output that `deploy.url-output` in cdflow.yml names. Null: there is none.
    pub(crate) environment_url: Option<String>,
    /// When the run ended, in UTC.
    pub(crate) ended: Option<Timestamp>,
    /// Runs of the component for the same pull request, from the ledger: the newest per
    /// environment.
    #[serde(skip)]
    pub(crate) past: Vec<PastRun>,
    #[serde(skip)]
    pub(crate) checking: Checking,
    /// The newest run of each environment of the component, from the ledger.
    #[serde(skip)]
    pub(crate) last_starts: Vec<LastStart>,
    /// The answer to a comment that commands the run, if no row shows it.
    #[serde(skip)]
    pub(crate) answer: Option<String>,
    /// The run, if more is known about it than its event says.
    #[serde(skip)]
    pub(crate) run_of_comment: Option<Arc<ci::Run>>,
    /// The webhooks for the end of the run.
    #[serde(skip)]
    pub(crate) notices: Notices,
}

/// The result of the deploy guards, as redacted text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "guard")]
pub(crate) enum Guard {
    /// Why deploying this plan would be refused.
    Refuses(String),
    /// What a guard would have refused, and what overrode it.
    Allowed(String),
}

/// When a preview is removed, and which label keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "lifetime")]
pub(crate) struct Lifetime {
    /// The pull request.
    pub(crate) pull_request: u64,
    /// The lifetime in seconds. Null: until the pull request is closed.
    pub(crate) ttl_seconds: Option<u64>,
    /// The label that keeps it.
    pub(crate) keep_label: String,
    /// When it was deployed, in UTC.
    pub(crate) deployed: Timestamp,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "failure")]
pub(crate) struct RunFailure {
    /// The stable name of the exit code, such as `plan-failed`.
    pub(crate) reason: &'static str,
    /// The exit code.
    pub(crate) exit: u8,
    /// The error, as redacted text.
    pub(crate) text: String,
}

impl Report {
    /// Returns the report of a run that starts.
    pub(crate) fn of(run: Option<&ci::Run>) -> Self {
        let Some(run) = run else { return Self::default() };
        let github = run.github.as_ref();
        let id = github.and_then(|github| github.run_id).or(run.number).unwrap_or_default();
        let attempt = github.map_or(1, |github| github.attempt);
        Self {
            run: Some(RunRef { id, attempt, url: run.url.clone() }),
            commit: run.commit.clone(),
            context: RunContext::of(run),
            ..Self::default()
        }
    }

    /// Makes this the report of a run whose event did not say everything.
    pub(crate) fn set_run(&mut self, run: Option<&Arc<ci::Run>>) {
        let of_run = Self::of(run.map(Arc::as_ref));
        let merge_deploys = std::mem::take(&mut self.context.merge_deploys);
        self.context = RunContext { merge_deploys, ..of_run.context };
        self.commit = of_run.commit;
        self.run_of_comment = run.cloned();
    }

    /// Sets the environment and, once it is known, the version that the run is about. A report
    /// without both has no row in the comment.
    pub(crate) fn set_subject(&mut self, environment: &Environment, version: Option<&Version>) {
        self.environment = Some(environment.to_string());
        self.version = version.map(Version::to_string);
    }

    /// Records the end of a run: its duration, and its outcome if it failed.
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

    /// Whether the comment has a row for this report.
    pub(crate) fn has_row(&self) -> bool {
        self.component.is_some() && self.environment.is_some() && self.version.is_some()
    }

    /// Removes outputs that hold a secret with a warning, because a masked output would be false,
    /// and redacts the other values from outside. Names that cdflow has validated are never masked.
    pub(crate) fn mask(&mut self, log: &Log) {
        let redactor = &log.redactor;
        let mut removed = Vec::new();
        let is_secret = |value: &Json| redactor.finds(&value.to_string());
        let secret = self.terraform_outputs.extract_if(.., |_, value| is_secret(value));
        let secret: Vec<String> = secret.map(|(name, _)| name).collect();
        removed.extend(secret.iter().map(|name| format!("the Terraform output `{name}`")));
        self.sensitive_outputs.extend(secret);
        if self.environment_url.take_if(|url| redactor.finds(url)).is_some() {
            removed.push("the output `environment-url`".to_owned());
        }
        let mask = |text: &str| redactor.apply(text).into_owned();
        let unknown = std::mem::take(&mut self.unknown_changes);
        self.unknown_changes = unknown.into_iter().map(|change| change.masked(mask)).collect();
        let actor = self.context.actor.take();
        self.context.actor = actor.map(|actor| mask(&actor));
        for name in removed {
            log.warning(&format!("{name} was left out of outputs and reports: it holds a secret"));
        }
    }
}
