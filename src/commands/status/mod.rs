//! status: shows the deployed version of each environment, according to the ledger.

use serde_json::{Value, json};

use crate::{
    base::{
        error::Result,
        table::{Cell, Screen, fitted},
    },
    cli::args::StatusInputs,
    commands::deployed::{self, last_try},
    config::names::Environment,
    context::{Context, SchemeUpgrade},
    deploy::ledger::{Ledger, Record, environments, text},
    report::{
        Report,
        pages::{self, Deployed},
    },
};

mod drift;

use drift::Behind;

pub(crate) async fn run(
    context: &Context,
    inputs: &StatusInputs,
    report: &mut Report,
) -> Result<()> {
    let mut rows = Vec::new();
    let known = environments::named(context);
    for environment in Ledger::environments(&context.store, &context.identity, &known).await? {
        let record = Ledger::of(context, &environment).record().await?;
        rows.push((environment, record));
    }
    let log = &context.host.log;
    let behind = drift::of(context, &rows).await?;
    if !rows.is_empty() {
        report.page = Some(page(context, &rows, &behind).await);
    }
    if inputs.json {
        let environments = rows.iter().map(|(environment, record)| {
            let mut document = as_json(environment, record);
            document["behind"] = json!(behind.get(environment));
            document
        });
        let environments: Vec<Value> = environments.collect();
        let document = json!({
            "team": context.identity.team,
            "component": context.identity.component,
            "environments": environments,
        });
        log.json(&document);
    } else if rows.is_empty() {
        log.output(&format!("{} was never deployed", context.identity.component));
    } else {
        table(&rows, context.host.screen()).iter().for_each(|line| log.output(line));
        for (environment, newer) in &behind {
            log.note(&format!("{environment} is behind {}", newer.join(", ")));
        }
    }
    if let SchemeUpgrade::From(_) = context.upgrade {
        log.note("to see deploys of the old account scheme: cdflow status --old-account-scheme");
    }
    Ok(())
}

/// Returns the page for the job summary.
async fn page(context: &Context, rows: &[(Environment, Record)], behind: &Behind) -> String {
    let rows = rows.iter().filter(|(_, record)| record.is_deployed());
    let mut all: Vec<Deployed> = rows
        .map(|(environment, record)| Deployed {
            behind: behind.get(environment).cloned().unwrap_or_default(),
            ..deployed::of(context, environment, record)
        })
        .collect();
    deployed::add_commits_behind(context, &mut all.iter_mut().collect::<Vec<_>>()).await;
    pages::status(context.identity.component.as_str(), &all)
}

fn as_json(environment: &Environment, record: &Record) -> Value {
    let deployed = record.settled.as_ref().filter(|_| record.is_deployed());
    json!({
        "environment": environment,
        "version": deployed.map(|entry| &entry.start.version),
        "preview": deployed.and_then(|entry| entry.start.preview.as_ref()),
        "settled": record.settled.as_ref().map(text::as_json),
        "since": record.unsettled.iter().map(text::as_json).collect::<Vec<_>>(),
    })
}

fn table(rows: &[(Environment, Record)], screen: Screen) -> Vec<String> {
    let head = ["ENVIRONMENT", "VERSION", "DEPLOYED", "BY", "LAST TRY"];
    let mut cells = vec![head.map(|name| Cell::from(name.to_owned()))];
    cells.extend(rows.iter().map(|(environment, record)| {
        let (version, since, by) = match &record.settled {
            Some(entry) if record.is_deployed() => {
                (text::version(entry), text::when(entry), text::by(entry, screen))
            }
            Some(entry) => ("(destroyed)".to_owned(), text::when(entry), text::by(entry, screen)),
            None => ("-".to_owned(), String::new(), Cell::default()),
        };
        [
            environment.to_string().into(),
            version.into(),
            since.into(),
            by,
            record.unsettled.first().map(last_try).unwrap_or_default().into(),
        ]
    }));
    fitted(&cells, screen)
}
