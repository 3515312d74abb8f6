//! preview reap: the previews that nobody needs any more are destroyed, also those whose `closed` event never came.

use std::fmt;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::{down, pull_request::PullRequest};
use crate::{
    command::{context::Context, rollout, runs, state_home},
    error::{Error, Exit, Result},
    github::{Api, Kind, Trouble},
    inputs::{PlanInputs, PreviewReapInputs},
    ledger::{Action, Ledger, Record},
    log::duration_text,
    names::Environment,
    report::Report,
};

/// Each is a Terraform.
const AT_ONCE: usize = 4;

/// What is to become of a preview, and why.
enum Fate {
    /// Nothing is there.
    Gone,
    Stays(String),
    Due(String),
}

/// What became of it.
enum End {
    Left(String),
    WouldGo(String),
    Destroyed(String),
    /// Another run has its state.
    Locked,
    Failed(Error),
}

struct Reaper<'a> {
    context: &'a Context,
    api: Api,
    /// Ours, by GitHub's number.
    repository: u64,
    dry_run: bool,
}

pub(super) async fn run(context: &Context, inputs: &PreviewReapInputs, report: &mut Report) -> Result<()> {
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let api = Api::of(&context.host, context.github_token.as_ref()).map_err(Trouble::into_error)?;
    let asking = async { api.repository_id().await.map_err(Trouble::into_error) };
    let repository = interrupt.or_cancel("asking GitHub", asking).await?;
    let listing = Ledger::environments(&context.store, &context.identity);
    let mut previews = interrupt.or_cancel("reading the ledger", listing).await?;
    previews.retain(Environment::is_preview);
    let reaper = Reaper { context, api, repository, dry_run: inputs.dry_run };
    let mut ends: Vec<(Environment, End)> = stream::iter(&previews)
        .map(|environment| async { Some((environment.clone(), reaper.one(environment).await?)) })
        .buffered(AT_ONCE)
        .filter_map(async |end| end)
        .collect()
        .await;
    interrupt.check("the rest of the previews")?;
    ends.extend(reaper.state_alone(&previews).await);
    let rows: Vec<[String; 2]> =
        ends.iter().map(|(environment, end)| [environment.to_string(), end.to_string()]).collect();
    report.page = (!rows.is_empty()).then(|| page(&rows));
    runs::columns(&rows).iter().for_each(|line| log.output(line));
    conclude(context, &ends, inputs.dry_run)
}

fn conclude(context: &Context, ends: &[(Environment, End)], dry_run: bool) -> Result<()> {
    let count = |is: fn(&End) -> bool| ends.iter().filter(|(_, end)| is(end)).count();
    let failed: Vec<&str> =
        ends.iter().filter(|(_, end)| matches!(end, End::Failed(_))).map(|(name, _)| name.as_str()).collect();
    let destroyed = count(|end| matches!(end, End::Destroyed(_)));
    if !failed.is_empty() {
        return Err(Error::new(
            Exit::ApplyFailed,
            format!("{} preview(s) could not be reaped: {}", failed.len(), failed.join(", ")),
        )
        .why(format!("{destroyed} other(s) were destroyed; the reasons are above"))
        .hint("run it again: what is gone is gone, and the rest is tried once more"));
    }
    context.host.log.done(&match dry_run {
        true => format!("Would destroy {} of {} preview(s)", count(|end| matches!(end, End::WouldGo(_))), ends.len()),
        false => format!("Destroyed {destroyed} of {} preview(s)", ends.len()),
    });
    Ok(())
}

fn page(rows: &[[String; 2]]) -> String {
    let plain = |text: &str| text.lines().next().unwrap_or_default().replace('|', "\\|");
    let lines: Vec<String> =
        rows.iter().map(|[environment, end]| format!("| `{environment}` | {} |", plain(end))).collect();
    format!("| preview | |\n|---|---|\n{}", lines.join("\n"))
}

impl Reaper<'_> {
    /// None where nothing is.
    async fn one(&self, environment: &Environment) -> Option<End> {
        let context = self.context.labelled(environment.as_str());
        match self.reap(&context, environment).await {
            Ok(end) => end,
            Err(error) if error.exit() == Exit::Locked => {
                context.host.log.note("locked by another run: left to it");
                Some(End::Locked)
            }
            Err(error) => {
                context.host.log.warning(&error.to_string());
                Some(End::Failed(error))
            }
        }
    }

    async fn reap(&self, context: &Context, environment: &Environment) -> Result<Option<End>> {
        context.host.interrupt.check("reaping more previews")?;
        let record = rollout::record(context, environment).await?;
        let deciding = self.fate(environment, &record);
        Ok(match context.host.interrupt.or_cancel("asking GitHub", deciding).await? {
            Fate::Gone => None,
            Fate::Stays(why) => Some(End::Left(why)),
            Fate::Due(why) if self.dry_run => Some(End::WouldGo(why)),
            Fate::Due(why) => {
                context.host.log.note(&why);
                let plan = PlanInputs::default();
                down::destroy(context, environment, record, plan, &mut Report::default()).await?;
                Some(End::Destroyed(why))
            }
        })
    }

    async fn fate(&self, environment: &Environment, record: &Record) -> Result<Fate> {
        let Some(deployed) = record.deployed() else { return Ok(Fate::Gone) };
        let stays = |why: &str| Ok(Fate::Stays(why.to_owned()));
        let Some(of) = deployed.preview.as_ref().filter(|of| environment.pull_request() == Some(of.number)) else {
            return stays("`preview up` has not made it");
        };
        match of.repository {
            Some(id) if id == self.repository => {}
            Some(_) => return stays("it belongs to another repository"),
            None => return stays("to which repository it belongs is not known"),
        }
        match self.api.pull_request(of.number).await {
            Ok(found) if found.merged => Ok(Fate::Due("its pull request is merged".to_owned())),
            Ok(found) if found.state != "open" => Ok(Fate::Due("its pull request is closed".to_owned())),
            Ok(found) => Ok(self.of_open(&PullRequest::of(found), record, Timestamp::now())),
            Err(trouble) if trouble.kind == Kind::NotFound => self.of_missing(trouble).await,
            Err(trouble) => Err(trouble.into_error()),
        }
    }

    /// Who has lost the permission to see the repository is told the same: only the repository's own answer makes it true.
    async fn of_missing(&self, trouble: Trouble) -> Result<Fate> {
        match self.api.repository_id().await {
            Ok(id) if id == self.repository => Ok(Fate::Due("its pull request is gone".to_owned())),
            _ => Err(trouble.into_error()),
        }
    }

    fn of_open(&self, change: &PullRequest, record: &Record, now: Timestamp) -> Fate {
        let preview = &self.context.manifest.preview;
        let Some(ttl) = preview.ttl else { return Fate::Stays("its pull request is open".to_owned()) };
        let deploys = record.unsettled.iter().chain(&record.settled).map(|entry| &entry.start);
        let newest = deploys.filter(|start| start.action == Action::Deploy).map(|start| start.started).max();
        let is_old = newest
            .is_some_and(|newest| SignedDuration::try_from(ttl.0).is_ok_and(|ttl| now.duration_since(newest) >= ttl));
        match (is_old, change.has_label(preview.keep_label())) {
            (false, _) => Fate::Stays("its pull request is open".to_owned()),
            (true, true) => Fate::Stays(format!("the label `{}` keeps it", preview.keep_label().escape_debug())),
            (true, false) => Fate::Due(format!("it was not deployed to for {}", duration_text(ttl.0))),
        }
    }

    /// Whose they are, and which release they are to be destroyed with, nobody knows: so they are only told.
    async fn state_alone(&self, known: &[Environment]) -> Vec<(Environment, End)> {
        let log = &self.context.host.log;
        let found = match state_home::previews(self.context).await {
            Ok(found) => found,
            Err(error) => {
                log.warning(&format!("previews that only their state tells of are not listed: {error}"));
                Vec::new()
            }
        };
        let unknown = found.into_iter().filter(|environment| !known.contains(environment));
        unknown
            .map(|environment| {
                let why = format!("only its state tells of it: cdflow destroy {environment} VERSION");
                (environment, End::Left(why))
            })
            .collect()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left(why) => write!(f, "left: {why}"),
            Self::WouldGo(why) => write!(f, "would be destroyed: {why}"),
            Self::Destroyed(why) => write!(f, "destroyed: {why}"),
            Self::Locked => f.write_str("skipped: locked by another run"),
            Self::Failed(error) => write!(f, "failed: {}", error.story()),
        }
    }
}
