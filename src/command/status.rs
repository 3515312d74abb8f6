//! status: which version is deployed where, by the ledger.

use serde_json::{Value, json};

use super::context::Context;
use crate::{
    error::Result,
    inputs::StatusInputs,
    ledger::{Action, Entry, Ledger, Outcome, Record},
    names::Environment,
};

pub(crate) async fn run(context: &Context, inputs: &StatusInputs) -> Result<()> {
    let mut rows = Vec::new();
    for environment in Ledger::environments(&context.store, &context.identity).await? {
        let record = Ledger::new(&context.store, &context.identity, &environment).record().await?;
        rows.push((environment, record));
    }
    let log = &context.host.log;
    if inputs.json {
        let environments: Vec<Value> = rows.iter().map(|(environment, record)| as_json(environment, record)).collect();
        let document = json!({"team": context.identity.team, "component": context.identity.component, "environments": environments});
        log.json(&document);
    } else if rows.is_empty() {
        log.output(&format!("{} was never deployed", context.identity.component));
    } else {
        table(&rows).iter().for_each(|line| log.output(line));
    }
    Ok(())
}

fn as_json(environment: &Environment, record: &Record) -> Value {
    let entry = |entry: &Entry| {
        json!({
            "number": entry.start.number, "action": entry.start.action, "version": entry.start.version, "targets": entry.start.targets,
            "bundle_digest": entry.start.bundle_digest, "actor": entry.start.actor, "run_url": entry.start.run_url,
            "started": entry.start.started, "plan": entry.start.plan,
            "outcome": entry.end.as_ref().map(|end| end.outcome), "finished": entry.end.as_ref().map(|end| end.finished),
        })
    };
    let deployed = record.settled.as_ref().filter(|_| record.is_deployed());
    json!({
        "environment": environment,
        "version": deployed.map(|entry| &entry.start.version),
        "settled": record.settled.as_ref().map(entry),
        "since": record.unsettled.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn table(rows: &[(Environment, Record)]) -> Vec<String> {
    let mut cells = vec![["ENVIRONMENT", "VERSION", "DEPLOYED", "BY", "LAST TRY"].map(str::to_owned)];
    cells.extend(rows.iter().map(|(environment, record)| {
        let (version, since, by) = match &record.settled {
            Some(entry) if record.is_deployed() => (version(entry), when(entry), by(entry)),
            Some(entry) => ("(destroyed)".to_owned(), when(entry), by(entry)),
            None => ("-".to_owned(), String::new(), String::new()),
        };
        [environment.to_string(), version, since, by, record.unsettled.first().map(since_then).unwrap_or_default()]
    }));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let line = |row: &[String; 5]| {
        let [environment, version, since, by, then] = row;
        let [a, b, c, d] = widths;
        format!("{environment:<a$}  {version:<b$}  {since:<c$}  {by:<d$}  {then}").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

fn version(entry: &Entry) -> String {
    let partly = if entry.start.targets.is_empty() { "" } else { " (in part)" };
    format!("{}{partly}", entry.start.version)
}

fn when(entry: &Entry) -> String {
    let time = entry.end.as_ref().map_or(entry.start.started, |end| end.finished);
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}

fn by(entry: &Entry) -> String {
    match (&entry.start.actor, &entry.start.run_url) {
        (Some(actor), Some(url)) => format!("{actor} {url}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    }
}

/// The newest run that changed nothing for good.
fn since_then(entry: &Entry) -> String {
    let action = match entry.start.action {
        Action::Deploy => format!("deploy of {}", entry.start.version),
        Action::Destroy => "destroy".to_owned(),
        Action::Refresh => "refresh".to_owned(),
        Action::Other => "a run of a newer cdflow".to_owned(),
    };
    match entry.end.as_ref().map(|end| end.outcome) {
        Some(Outcome::Failed) => format!("{action} failed"),
        Some(Outcome::Interrupted) => format!("{action} was interrupted"),
        Some(Outcome::Succeeded) => String::new(),
        None => format!("{action} unfinished (running, or died)"),
    }
}
