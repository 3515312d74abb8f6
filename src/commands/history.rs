//! history: lists the runs that changed an environment or tried to, newest first.

use serde_json::{Value, json};

use crate::{
    base::{
        error::Result,
        table::{Cell, Screen, fitted},
    },
    cli::args::HistoryInputs,
    context::Context,
    deploy::{
        guards::plan,
        ledger::{Entry, Ledger, Outcome, Start, environments, text},
    },
};

/// The number of runs without `--all`.
const SHOWN: usize = 20;

pub(crate) async fn run(context: &Context, inputs: &HistoryInputs) -> Result<()> {
    let environment = &inputs.environment;
    let at_most = if inputs.all { usize::MAX } else { SHOWN };
    let ledger = Ledger::of(context, environment);
    let (entries, is_cut) = ledger.newest(at_most).await?;
    let log = &context.host.log;
    if inputs.json {
        let runs: Vec<Value> = entries.iter().map(as_json).collect();
        let document = json!({
            "team": context.identity.team,
            "component": context.identity.component,
            "environment": environment,
            "runs": runs,
            "more": is_cut,
        });
        log.json(&document);
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

/// Returns a run as in `status --json`, with the overridden deploy guards and the reason for a
/// failure.
fn as_json(entry: &Entry) -> Value {
    let mut run = text::as_json(entry);
    run["allowed_destroy"] = json!(entry.start.allowed_destroy);
    run["allowed_by"] = json!(entry.start.allowed_by);
    run["reason"] = json!(entry.end.as_ref().and_then(|end| end.reason.as_ref()));
    run
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
