//! preview reap: the previews that nobody needs any more are destroyed, also those whose `closed` event never came.

use std::{fmt, sync::Arc, time::Instant};

use futures_util::{StreamExt, stream};

use super::down;
use crate::{
    base::{
        error::{Error, Exit, Result},
        table::columns,
    },
    cli::args::{PlanInputs, PreviewReapInputs},
    config::names::Environment,
    context::Context,
    deploy::{
        ledger::{self, Ledger, Record},
        preview::{
            expiry::{Fate, Judge, Reason},
            watch::Watch,
        },
        state::location,
        target::Target,
    },
    report::{Commenter, Report},
};

/// Each is a Terraform.
const AT_ONCE: usize = 4;

/// What became of a preview.
enum End {
    Left(String),
    WouldGo(Reason),
    Destroyed(Reason),
    /// Another run has its state.
    Locked,
    Failed(Error),
}

struct Reaper<'a> {
    context: &'a Context,
    judge: Arc<Judge>,
    /// None where no comments are wanted.
    commenter: Option<Commenter>,
    dry_run: bool,
}

pub(crate) async fn run(
    context: &Context,
    inputs: &PreviewReapInputs,
    report: &mut Report,
) -> Result<()> {
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let judge = Arc::new(Judge::new(context).await?);
    let listing = Ledger::environments(&context.store, &context.identity);
    let mut previews = interrupt.or_cancel("reading the ledger", listing).await?;
    previews.retain(Environment::is_preview);
    let commenter = Commenter::of(&context.host, &context.reporting);
    let reaper = &Reaper { context, judge, commenter, dry_run: inputs.dry_run };
    // None waits for one that was begun before it.
    let ended = stream::iter(previews.iter().enumerate())
        .map(|(at, environment)| async move { (at, environment, reaper.one(environment).await) })
        .buffer_unordered(AT_ONCE);
    let mut ended: Vec<_> = ended.collect().await;
    ended.sort_by_key(|(at, ..)| *at);
    let mut ends: Vec<(Environment, End)> = ended
        .into_iter()
        .filter_map(|(_, environment, end)| Some((environment.clone(), end?)))
        .collect();
    interrupt.check("the rest of the previews")?;
    ends.extend(reaper.state_alone(&previews).await);
    let rows: Vec<[String; 2]> =
        ends.iter().map(|(environment, end)| [environment.to_string(), end.to_string()]).collect();
    report.page = (!rows.is_empty()).then(|| page(&rows));
    columns(&rows).iter().for_each(|line| log.output(line));
    conclude(context, &ends, inputs.dry_run)
}

fn conclude(context: &Context, ends: &[(Environment, End)], dry_run: bool) -> Result<()> {
    let count = |is: fn(&End) -> bool| ends.iter().filter(|(_, end)| is(end)).count();
    let failed: Vec<&str> = ends
        .iter()
        .filter(|(_, end)| matches!(end, End::Failed(_)))
        .map(|(name, _)| name.as_str())
        .collect();
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
        true => format!(
            "Would destroy {} of {} preview(s)",
            count(|end| matches!(end, End::WouldGo(_))),
            ends.len()
        ),
        false => format!("Destroyed {destroyed} of {} preview(s)", ends.len()),
    });
    Ok(())
}

fn page(rows: &[[String; 2]]) -> String {
    let plain = |text: &str| text.lines().next().unwrap_or_default().replace('|', "\\|");
    let lines: Vec<String> = rows
        .iter()
        .map(|[environment, end]| format!("| `{environment}` | {} |", plain(end)))
        .collect();
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
        let record = ledger::record(context, environment).await?;
        Ok(match self.judge.fate(context, environment, &record).await? {
            Fate::Gone => None,
            Fate::Stays(why) => Some(End::Left(why)),
            Fate::Due(why) if self.dry_run => Some(End::WouldGo(why)),
            Fate::Due(why) => {
                context.host.log.note(&why.to_string());
                Some(self.destroy(context, environment, record, why).await?)
            }
        })
    }

    async fn destroy(
        &self,
        context: &Context,
        environment: &Environment,
        record: Record,
        why: Reason,
    ) -> Result<End> {
        let (started, mut report) = (Instant::now(), Report::of(context.host.run.as_deref()));
        report.command = "preview reap".to_owned();
        report.component = Some(context.identity.component.to_string());
        report.team = Some(context.identity.team.to_string());
        // What is checked out is not what was deployed.
        report.commit =
            record.deployed().and_then(|deployed| Some(deployed.preview.as_ref()?.sha.clone()));
        let watch = Some(Watch::Due(self.judge.clone()));
        let plan = PlanInputs::default();
        let done = match Target::resolve(context, environment.clone()) {
            Ok(target) => down::destroy(context, target, record, plan, watch, &mut report).await,
            Err(error) => Err(error),
        };
        if let Ok(Some(left)) = done {
            return Ok(End::Left(left));
        }
        report.end(done.as_ref().err(), started.elapsed(), &context.host.log.redactor);
        // What somebody else is at is theirs to tell; and where the pull request is gone, nobody would read it.
        if done.as_ref().err().map(Error::exit) != Some(Exit::Locked)
            && why != Reason::Unknown
            && let (Some(commenter), Some(number)) = (&self.commenter, environment.pull_request())
        {
            commenter.write(number, report).await;
        }
        done.map(|_| End::Destroyed(why))
    }

    /// Whose they are, and which release they are to be destroyed with, nobody knows: so they are only told.
    async fn state_alone(&self, known: &[Environment]) -> Vec<(Environment, End)> {
        let log = &self.context.host.log;
        let found = match location::previews(self.context).await {
            Ok(found) => found,
            Err(error) => {
                log.warning(&format!(
                    "previews that only their state tells of are not listed: {error}"
                ));
                Vec::new()
            }
        };
        let unknown = found.into_iter().filter(|environment| !known.contains(environment));
        unknown
            .map(|environment| {
                let why =
                    format!("only its state tells of it: cdflow destroy {environment} VERSION");
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
