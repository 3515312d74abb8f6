//! What `preview reap` did with each preview, as text and as JSON.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::error::Error,
    config::names::{Component, Environment, Team},
    context::Context,
    deploy::preview::expiry::{ExpiryReason, KeptReason},
    report::pages::{Deployed, Reaped},
};

/// What happened to a preview.
pub(super) enum ReapOutcome {
    Kept(Kept),
    WouldBeDestroyed(ExpiryReason),
    Destroyed(ExpiryReason),
    /// Another run has locked its state.
    Locked,
    Failed(Error),
}

/// Why a preview was kept.
pub(super) enum Kept {
    Because(KeptReason),
    /// It has a state only.
    WithoutLedger(Environment),
    /// Something changed after the plan; the text says what.
    Changed(String),
}

/// Returns the document of `--json`.
pub(super) fn document<'a>(
    context: &'a Context,
    ends: &'a [(Environment, ReapOutcome)],
    dry_run: bool,
) -> ReapDocument<'a> {
    let previews = ends.iter().map(|(environment, end)| {
        let error = match end {
            ReapOutcome::Failed(error) => Some(error),
            _ => None,
        };
        PreviewDocument {
            environment,
            pull_request: environment.pull_request(),
            result: end.result(),
            reason: end.reason(),
            exit_code: error.map(|error| error.exit() as u8),
            error: error.map(Error::story),
        }
    });
    ReapDocument {
        team: &context.identity.team,
        component: &context.identity.component,
        dry_run,
        previews: previews.collect(),
    }
}

/// The previews of a component, and what `cdflow preview reap` did with them.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow preview reap --json")]
pub(in crate::commands) struct ReapDocument<'a> {
    /// The team.
    team: &'a Team,
    /// The component.
    component: &'a Component,
    /// Whether the run was started with `--dry-run`.
    dry_run: bool,
    /// The previews that are deployed or have a state.
    previews: Vec<PreviewDocument<'a>>,
}

/// A preview.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "preview")]
struct PreviewDocument<'a> {
    /// The environment, such as `pr-12`.
    environment: &'a Environment,
    /// The number of its pull request. Null: the environment has a name that cdflow does not give,
    /// such as `pr-012`.
    #[schemars(range(min = 1))]
    pull_request: Option<u64>,
    /// What was done with it.
    result: ReapResult,
    /// Why it was kept or destroyed. Null: it is locked, or it failed.
    reason: Option<ReapReason>,
    /// The exit code of the failure. Null: it did not fail.
    exit_code: Option<u8>,
    /// The message of the failure. Null: it did not fail.
    error: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
enum ReapResult {
    Kept,
    WouldBeDestroyed,
    Destroyed,
    /// Another run has locked its state, so it was skipped.
    Locked,
    Failed,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "reason")]
enum ReapReason {
    /// Kept: its pull request is open.
    Open,
    /// Kept: it is old, and the label that keeps it is set.
    Label,
    /// Kept: it was not created by `preview up`.
    NotByPreviewUp,
    /// Kept: it belongs to another repository.
    OtherRepository,
    /// Kept: its repository is unknown.
    UnknownRepository,
    /// Kept: it has a state but no ledger.
    WithoutLedger,
    /// Kept: something changed after the plan.
    Changed,
    /// Destroyed: its pull request is merged.
    Merged,
    /// Destroyed: its pull request is closed.
    Closed,
    /// Destroyed: its pull request does not exist any more.
    NotFound,
    /// Destroyed: it was not deployed to for longer than `preview.ttl`.
    Old,
}

impl ReapOutcome {
    fn result(&self) -> ReapResult {
        match self {
            Self::Kept(_) => ReapResult::Kept,
            Self::WouldBeDestroyed(_) => ReapResult::WouldBeDestroyed,
            Self::Destroyed(_) => ReapResult::Destroyed,
            Self::Locked => ReapResult::Locked,
            Self::Failed(_) => ReapResult::Failed,
        }
    }

    /// Returns the result and the reason, for people.
    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Kept(why) => ("kept", why.to_string()),
            Self::WouldBeDestroyed(why) => ("would be destroyed", why.to_string()),
            Self::Destroyed(why) => ("destroyed", why.to_string()),
            Self::Locked => ("skipped", "locked by another run".to_owned()),
            Self::Failed(error) => ("not destroyed", error.story()),
        }
    }

    /// Returns the row of the page. Only a preview whose pull request is open expires later.
    pub(super) fn row(&self, preview: Deployed) -> Reaped {
        let (result, why) = self.words();
        let is_open = matches!(self, Self::Kept(Kept::Because(KeptReason::Open)));
        let expires = preview.expires.filter(|_| is_open);
        Reaped { preview: Deployed { expires, ..preview }, result, why }
    }

    fn reason(&self) -> Option<ReapReason> {
        match self {
            Self::Kept(Kept::Because(why)) => Some(why.into()),
            Self::Kept(Kept::WithoutLedger(_)) => Some(ReapReason::WithoutLedger),
            Self::Kept(Kept::Changed(_)) => Some(ReapReason::Changed),
            Self::WouldBeDestroyed(why) | Self::Destroyed(why) => Some((*why).into()),
            Self::Locked | Self::Failed(_) => None,
        }
    }
}

impl From<&KeptReason> for ReapReason {
    fn from(reason: &KeptReason) -> Self {
        match reason {
            KeptReason::NotByPreviewUp => Self::NotByPreviewUp,
            KeptReason::OtherRepository => Self::OtherRepository,
            KeptReason::UnknownRepository => Self::UnknownRepository,
            KeptReason::Open => Self::Open,
            KeptReason::Label(_) => Self::Label,
        }
    }
}

impl From<ExpiryReason> for ReapReason {
    fn from(reason: ExpiryReason) -> Self {
        match reason {
            ExpiryReason::Merged => Self::Merged,
            ExpiryReason::Closed => Self::Closed,
            ExpiryReason::NotFound => Self::NotFound,
            ExpiryReason::Old(_) => Self::Old,
        }
    }
}

impl fmt::Display for ReapOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (result, why) = self.words();
        write!(f, "{result}: {why}")
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(why) => write!(f, "{why}"),
            Self::WithoutLedger(environment) => {
                write!(f, "it has a state but no ledger: cdflow destroy {environment} VERSION")
            }
            Self::Changed(why) => f.write_str(why),
        }
    }
}
