//! releases: lists the published releases, newest first, and where each is deployed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    base::{
        at_once::at_once,
        digest::Sha256,
        error::{Error, Exit, Result},
        table::{Cell, Screen, fitted},
        units::{bytes_text, whole_second},
    },
    cli::args::ReleasesInputs,
    config::names::{Component, Environment, Team, Version},
    context::Context,
    deploy::ledger::environments,
    release::{
        listing::{self, Listed},
        published::Published,
    },
    report::Report,
    services::ci::short,
};

/// The number of releases without `--all`.
const SHOWN: usize = 20;
/// Digits of a bundle digest in a table.
const DIGEST_SHOWN: usize = 12;
/// Environments that a row of the table names.
const NAMED: usize = 4;

/// A release, with what its bundle says about itself.
struct Row {
    listed: Listed,
    /// In full; None if the bundle has none.
    commit: Option<String>,
    /// None for a bundle without a manifest.
    bundle_digest: Option<Sha256>,
    /// The bundle could not be read.
    is_damaged: bool,
    deployed: Vec<Environment>,
}

/// The published releases of a component.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow releases --json")]
pub(super) struct ReleasesDocument<'a> {
    /// The team.
    team: &'a Team,
    /// The component.
    component: &'a Component,
    /// The releases, newest first.
    releases: Vec<ReleaseDocument<'a>>,
    /// The number of older releases that are not shown.
    more: usize,
}

/// A release.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "release")]
struct ReleaseDocument<'a> {
    /// The version.
    version: &'a Version,
    /// The commit in full. Null: the release has none.
    commit: Option<&'a str>,
    /// The time of publication, in UTC. Null: the store does not have it.
    published: Option<Timestamp>,
    /// The size of its object in bytes, without shared segments.
    size: u64,
    /// The bundle digest. Null: the bundle has no manifest or is damaged.
    bundle_digest: Option<Sha256>,
    /// Whether the bundle could not be read.
    damaged: bool,
    /// The environments in which the version is deployed.
    deployed: &'a [Environment],
}

pub(crate) async fn run(
    context: &Context,
    inputs: &ReleasesInputs,
    report: &mut Report,
) -> Result<()> {
    let component = &context.identity.component;
    let mut listed = listing::list(&context.store, &context.identity).await?;
    let shown = if inputs.all { listed.len() } else { listed.len().min(SHOWN) };
    let more = listed.split_off(shown).len();
    let mut deployed = deployed(context).await?;
    let reading = listed.into_iter().map(|listed| {
        let deployed = deployed.remove(&listed.version).unwrap_or_default();
        read(context, listed, deployed)
    });
    let rows: Vec<Row> = at_once(reading).await?;
    report.page = (!rows.is_empty()).then(|| page(component, &rows, more));
    let log = &context.host.log;
    if inputs.json {
        log.json(&ReleasesDocument {
            team: &context.identity.team,
            component,
            releases: rows.iter().map(ReleaseDocument::of).collect(),
            more,
        });
    } else if rows.is_empty() {
        log.output(&format!("{component} was never released"));
    } else {
        table(&rows, context.host.screen()).iter().for_each(|line| log.output(line));
        if more > 0 {
            log.note(&format!("{more} older; to list all: cdflow releases --all"));
        }
    }
    Ok(())
}

/// Returns the environments of each deployed version, according to the ledger.
async fn deployed(context: &Context) -> Result<BTreeMap<Version, Vec<Environment>>> {
    let mut found: BTreeMap<Version, Vec<Environment>> = BTreeMap::new();
    let environments = environments::with_ledger(context).await?;
    for (environment, record) in environments::records(context, &environments).await? {
        if let Some(start) = record.deployed() {
            found.entry(start.version.clone()).or_default().push(environment);
        }
    }
    Ok(found)
}

/// Reads the end of a bundle. A damaged one is a warning, because it must not hide the others.
async fn read(context: &Context, listed: Listed, deployed: Vec<Environment>) -> Result<Row> {
    let release = context.release(listed.version.clone());
    let reading = async {
        let published = Published::open_listed(&context.store, &release, &listed).await?;
        let facts = published.facts().await?;
        let is_plain = |commit: &&str| commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = facts.commit().filter(is_plain).map(str::to_owned);
        Ok::<_, Error>((commit, published.manifest.as_ref().map(|(digest, _)| *digest)))
    };
    let (read, is_damaged) = match reading.await {
        Ok(read) => (read, false),
        Err(error) if matches!(error.exit(), Exit::Integrity | Exit::Input) => {
            context.host.log.warning(&format!("cannot read release {}: {error}", listed.version));
            ((None, None), true)
        }
        Err(error) => return Err(error),
    };
    let (commit, bundle_digest) = read;
    Ok(Row { listed, commit, bundle_digest, is_damaged, deployed })
}

impl<'a> ReleaseDocument<'a> {
    fn of(row: &'a Row) -> Self {
        let Row { listed: Listed { version, size, published }, .. } = row;
        Self {
            version,
            commit: row.commit.as_deref(),
            published: published.map(whole_second),
            size: *size,
            bundle_digest: row.bundle_digest,
            damaged: row.is_damaged,
            deployed: &row.deployed,
        }
    }
}

fn table(rows: &[Row], screen: Screen) -> Vec<String> {
    let head = ["VERSION", "COMMIT", "PUBLISHED", "SIZE", "DIGEST", "DEPLOYED"].map(str::to_owned);
    let rows = rows.iter().map(|row| cells(row, &row.deployed));
    let rows = std::iter::once(head).chain(rows).map(|row| row.map(Cell::from));
    fitted(&rows.collect::<Vec<_>>(), screen)
}

/// Returns the page for the job summary. It needs no escaping: names, versions and digests have no
/// character with a meaning in Markdown.
fn page(component: &Component, rows: &[Row], more: usize) -> String {
    let mut page = format!(
        "## {component}: releases\n\n\
         | Version | Commit | Published | Size | Digest | Deployed |\n\
         |:--|:--|:--|--:|:--|:--|\n"
    );
    for row in rows {
        let [version, commit, published, size, digest, deployed] = cells(row, &row.deployed);
        page.push_str(&format!(
            "| **{version}** | `{commit}` | {published} | {size} | `{digest}` | {deployed} |\n"
        ));
    }
    if more > 0 {
        page.push_str(&format!("\n{more} older releases are not shown.\n"));
    }
    page
}

fn cells(row: &Row, deployed: &[Environment]) -> [String; 6] {
    let Listed { version, size, published } = &row.listed;
    let unknown = if row.is_damaged { "(damaged)" } else { "-" }.to_owned();
    let digest = row.bundle_digest.map(|digest| digest.to_string());
    let digest = digest.map(|digest| digest.chars().take(DIGEST_SHOWN).collect());
    let published = published.map(|time| time.strftime("%Y-%m-%d %H:%MZ").to_string());
    let mut named: Vec<&str> = deployed.iter().take(NAMED).map(Environment::as_str).collect();
    let others = format!("{} more", deployed.len().saturating_sub(NAMED));
    if deployed.len() > NAMED {
        named.push(&others);
    }
    [
        version.to_string(),
        row.commit.as_deref().map_or("-", short).to_owned(),
        published.unwrap_or_else(|| "-".to_owned()),
        bytes_text(*size),
        digest.unwrap_or(unknown),
        named.join(", "),
    ]
}
