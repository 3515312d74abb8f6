//! What `preview reap` did with each preview, as text and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    base::error::Error,
    config::names::Environment,
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
