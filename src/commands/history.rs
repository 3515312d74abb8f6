//! history: lists the runs that changed an environment or tried to, newest first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::{
        error::Result,
        table::{Cell, Screen, fitted},
    },
    cli::args::HistoryInputs,
    config::names::{Component, Environment, Team},
    context::Context,
    deploy::{
        guards::plan,
        ledger::{Entry, Ledger, Outcome, RunDocument, Start, environments, text},
    },
};

/// The number of runs without `--all`.
const SHOWN: usize = 20;

/// The runs in an environment.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow history --json")]
pub(super) struct HistoryDocument<'a> {
    /// The team.
    team: &'a Team,
    /// The component.
    component: &'a Component,
    /// The environment.
    environment: &'a Environment,
    /// The runs, newest first.
    runs: Vec<ExplainedRun<'a>>,
    /// Whether there are older runs.
    more: bool,
}

/// A run, as the ledger records it, with its reasons.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "run")]
struct ExplainedRun<'a> {
    #[serde(flatten)]
    run: RunDocument<'a>,
    /// The addresses that a deploy guard would have kept.
    allowed_destroy: &'a [String],
    /// What overrode the guard. Null: nothing, or an older cdflow did not record it.
    allowed_by: Option<&'a str>,
    /// Why the run failed. Null: it did not, or it is unfinished.
    reason: Option<&'a str>,
}

pub(crate) async fn run(context: &Context, inputs: &HistoryInputs) -> Result<()> {
    let environment = &inputs.environment;
    let at_most = if inputs.all { usize::MAX } else { SHOWN };
    let ledger = Ledger::of(context, environment);
    let (entries, is_cut) = ledger.newest(at_most).await?;
    let log = &context.host.log;
    if inputs.json {
        log.json(&HistoryDocument {
            team: &context.identity.team,
            component: &context.identity.component,
            environment,
            runs: entries.iter().map(ExplainedRun::of).collect(),
            more: is_cut,
        });
    } else if entries.is_empty() {
        // Fails if the environment is misspelled.
        context.scheme.account_of(environment)?;
        log.output(&format!("{} was never deployed to {environment}", context.identity.component));
        if let Some(meant) = environments::meant(context, environment) {
            log.note(&format!("did you mean `{meant}`?"));
        }
    } else {
        table(&entries, context.host.screen()).iter().for_each(|line| log.output(line));
        if is_cut {
            log.note(&format!(
                "only the newest {SHOWN}; to list all: cdflow history {environment} --all"
            ));
        }
    }
    Ok(())
}

impl<'a> ExplainedRun<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            run: RunDocument::of(entry),
            allowed_destroy: &entry.start.allowed_destroy,
            allowed_by: entry.start.allowed_by.as_deref(),
            reason: entry.end.as_ref().and_then(|end| end.reason.as_deref()),
        }
    }
}

fn table(entries: &[Entry], screen: Screen) -> Vec<String> {
    let head = ["RUN", "ACTION", "VERSION", "OUTCOME", "WHEN", "PLAN", "BY", "REASON"];
    let head = head.map(|name| Cell::from(name.to_owned()));
    let rows = entries.iter().map(|entry| row(entry, screen));
    fitted(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), screen)
}

fn row(entry: &Entry, screen: Screen) -> [Cell; 8] {
    let plan = &entry.start.plan;
    [
        entry.start.number.to_string().into(),
        text::command(&entry.start).to_owned().into(),
        text::version(entry).into(),
        outcome(entry).to_owned().into(),
        text::when(entry).into(),
        format!("+{} ~{} -{}", plan.add, plan.change, plan.destroy).into(),
        text::by(entry, screen),
        reason(entry).into(),
    ]
}

fn outcome(entry: &Entry) -> &'static str {
    match entry.end.as_ref().map(|end| end.outcome) {
        Some(Outcome::Succeeded) => "succeeded",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Interrupted) => "interrupted",
        None => "unfinished",
    }
}

/// Returns the first line of the reason for a failure, and the overridden deploy guards.
fn reason(entry: &Entry) -> String {
    let failed = entry
        .end
        .as_ref()
        .and_then(|end| end.reason.as_deref())
        .and_then(|reason| reason.lines().next());
    let unknown = entry.end.as_ref().map(|end| end.unknown_changes.as_slice()).unwrap_or_default();
    let unknown: Vec<String> =
        unknown.iter().map(|it| format!("{} ({})", it.address, it.action)).collect();
    let unknown = (!unknown.is_empty()).then(|| format!("unknown: {}", plan::shown(&unknown)));
    [failed.map(str::to_owned), unknown, allowed(&entry.start)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// Describes the overridden deploy guards. Entries of an older cdflow do not say what overrode
/// them.
fn allowed(start: &Start) -> Option<String> {
    let addresses = plan::shown(&start.allowed_destroy);
    match &start.allowed_by {
        _ if start.allowed_destroy.is_empty() => None,
        Some(by) => Some(format!("allowed to destroy {addresses} by {by}")),
        None => Some(format!("allowed to destroy {addresses}")),
    }
}
