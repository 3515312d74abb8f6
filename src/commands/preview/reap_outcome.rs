//! What `preview reap` did with each preview, as text and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    base::error::Error,
    config::names::Environment,
    context::Context,
    deploy::preview::expiry::{ExpiryReason, KeptReason},
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
pub(super) fn document(
    context: &Context,
    ends: &[(Environment, ReapOutcome)],
    dry_run: bool,
) -> Value {
    let previews = ends.iter().map(|(environment, end)| {
        let error = match end {
            ReapOutcome::Failed(error) => Some(error),
            _ => None,
        };
        json!({
            "environment": environment,
            "pull_request": environment.pull_request(),
            "result": end.word(),
            "reason": end.reason(),
            "exit_code": error.map(|error| error.exit() as i32),
            "error": error.map(Error::story),
        })
    });
    json!({
        "team": context.identity.team,
        "component": context.identity.component,
        "dry_run": dry_run,
        "previews": previews.collect::<Vec<_>>(),
    })
}

impl ReapOutcome {
    /// A stable word, for programs (docs/schema).
    fn word(&self) -> &'static str {
        match self {
            Self::Kept(_) => "kept",
            Self::WouldBeDestroyed(_) => "would-be-destroyed",
            Self::Destroyed(_) => "destroyed",
            Self::Locked => "locked",
            Self::Failed(_) => "failed",
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Kept(Kept::Because(why)) => Some(why.word()),
            Self::Kept(Kept::WithoutLedger(_)) => Some("without-ledger"),
            Self::Kept(Kept::Changed(_)) => Some("changed"),
            Self::WouldBeDestroyed(why) | Self::Destroyed(why) => Some(why.word()),
            Self::Locked | Self::Failed(_) => None,
        }
    }
}

impl fmt::Display for ReapOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(why) => write!(f, "kept: {why}"),
            Self::WouldBeDestroyed(why) => write!(f, "would be destroyed: {why}"),
            Self::Destroyed(why) => write!(f, "destroyed: {why}"),
            Self::Locked => f.write_str("skipped: locked by another run"),
            Self::Failed(error) => write!(f, "not destroyed: {}", error.story()),
        }
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
