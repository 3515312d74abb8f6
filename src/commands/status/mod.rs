//! status: shows the deployed version of each environment, according to the ledger.

use std::collections::BTreeMap;

use futures_util::future;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::{
        error::Result,
        table::{Cell, Screen, fitted},
    },
    cli::args::StatusInputs,
    commands::deployed::{self, last_try},
    config::{
        names::{Component, Environment, Team, Version},
        preview::PreviewOf,
    },
    context::{Context, SchemeUpgrade},
    deploy::{
        guards::hold,
        ledger::{Hold, HoldDocument, Record, RunDocument, environments, holds, text},
    },
    report::{
        Report,
        pages::{self, Deployed},
    },
};

mod drift;

use drift::Behind;

/// What is deployed where.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow status --json")]
pub(super) struct StatusDocument<'a> {
    /// The team.
    team: &'a Team,
    /// The component.
    component: &'a Component,
    /// The environments that have a ledger.
    environments: Vec<EnvironmentDocument<'a>>,
}

/// An environment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "environment")]
struct EnvironmentDocument<'a> {
    /// Its name.
    environment: &'a Environment,
    /// The deployed version. Null: nothing is deployed.
    version: Option<&'a Version>,
    /// The pull request of a preview. Null: the environment is not a preview.
    preview: Option<&'a PreviewOf>,
    /// The newest successful run. Null: there is none.
    settled: Option<RunDocument<'a>>,
    /// The later runs that failed, were interrupted or are unfinished, newest first.
    since: Vec<RunDocument<'a>>,
    /// The environments with a release that was published later. Null: there are none.
    behind: Option<&'a Vec<String>>,
    /// The pull request that holds the environment. Null: none.
    held: Option<HoldDocument<'a>>,
}

pub(crate) async fn run(
    context: &Context,
    inputs: &StatusInputs,
    report: &mut Report,
) -> Result<()> {
    let found = environments::with_ledger(context).await?;
    let reading = environments::records(context, &found);
    let (rows, holds) = future::try_join(reading, holds(context, &found)).await?;
    let log = &context.host.log;
    let behind = drift::of(context, &rows).await?;
    if !rows.is_empty() {
        report.page = Some(page(context, &rows, &behind, &holds).await);
    }
    if inputs.json {
        let environments = rows.iter().map(|(environment, record)| {
            let (behind, held) = (behind.get(environment), holds.get(environment));
            EnvironmentDocument::of(environment, record, behind, held)
        });
        log.json(&StatusDocument {
            team: &context.identity.team,
            component: &context.identity.component,
            environments: environments.collect(),
        });
    } else if rows.is_empty() {
        log.output(&format!("{} was never deployed", context.identity.component));
    } else {
        table(&rows, context.host.screen()).iter().for_each(|line| log.output(line));
        for (environment, newer) in &behind {
            log.note(&format!("{environment} is behind {}", newer.join(", ")));
        }
        for (environment, held) in &holds {
            log.note(&format!("{environment} is {}", hold::describe(held)));
        }
    }
    if let SchemeUpgrade::From(_) = context.upgrade {
        log.note("to see deploys of the old account scheme: cdflow status --old-account-scheme");
    }
    Ok(())
}

/// Returns the page for the job summary.
async fn page(
    context: &Context,
    rows: &[(Environment, Record)],
    behind: &Behind,
    holds: &BTreeMap<Environment, Hold>,
) -> String {
    let rows = rows.iter().filter(|(_, record)| record.is_deployed());
    let mut all: Vec<Deployed> = rows
        .map(|(environment, record)| Deployed {
            behind: behind.get(environment).cloned().unwrap_or_default(),
            held: holds.get(environment).map(hold::describe),
            ..deployed::of(context, environment, record)
        })
        .collect();
    deployed::add_commits_behind(context, &mut all.iter_mut().collect::<Vec<_>>()).await;
    pages::status(context.identity.component.as_str(), &all)
}

impl<'a> EnvironmentDocument<'a> {
    fn of(
        environment: &'a Environment,
        record: &'a Record,
        behind: Option<&'a Vec<String>>,
        held: Option<&'a Hold>,
    ) -> Self {
        let deployed = record.settled.as_ref().filter(|_| record.is_deployed());
        Self {
            environment,
            version: deployed.map(|entry| &entry.start.version),
            preview: deployed.and_then(|entry| entry.start.preview.as_ref()),
            settled: record.settled.as_ref().map(RunDocument::of),
            since: record.unsettled.iter().map(RunDocument::of).collect(),
            behind,
            held: held.map(HoldDocument::of),
        }
    }
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
