//! preview reap: destroys expired previews, including those whose `closed` event was lost.

use std::{sync::Arc, time::Instant};

use futures_util::{StreamExt, stream};

use super::{
    down,
    reap_outcome::{self, Kept, ReapOutcome},
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        table::{Cell, fitted},
    },
    cli::args::{PlanInputs, PreviewReapInputs},
    commands::deployed,
    config::names::Environment,
    context::Context,
    deploy::{
        ledger::{self, Ledger, Record, environments},
        preview::{
            expiry::{Expiry, ExpiryCheck, ExpiryReason},
            watch::Watch,
        },
        state::location,
        target::Target,
    },
    report::{
        Commenter, Report,
        pages::{self, Deployed, Reaped},
    },
};

/// How many previews are destroyed at the same time. Each is a Terraform process.
const AT_ONCE: usize = 4;

struct Reaper<'a> {
    context: &'a Context,
    check: Arc<ExpiryCheck>,
    /// None if comments are disabled.
    commenter: Option<Commenter>,
    dry_run: bool,
}

pub(crate) async fn run(
    context: &Context,
    inputs: &PreviewReapInputs,
    report: &mut Report,
) -> Result<()> {
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let check = Arc::new(ExpiryCheck::new(context).await?);
    let known = environments::named(context);
    let listing = Ledger::environments(&context.store, &context.identity, &known);
    let mut previews = interrupt.or_cancel("reading the ledger", listing).await?;
    previews.retain(Environment::is_preview);
    let commenter = Commenter::of(&context.host, &context.reporting);
    let reaper = &Reaper { context, check, commenter, dry_run: inputs.dry_run };
    // A preview does not wait for one that was started before it.
    let ended = stream::iter(previews.iter().enumerate())
        .map(|(at, environment)| async move { (at, environment, reaper.one(environment).await) })
        .buffer_unordered(AT_ONCE);
    let mut ended: Vec<_> = ended.collect().await;
    ended.sort_by_key(|(at, ..)| *at);
    let mut ends: Vec<(Environment, ReapOutcome)> = Vec::new();
    let mut reaped: Vec<Reaped> = Vec::new();
    for (_, environment, (deployed, end)) in ended {
        let Some(end) = end else { continue };
        reaped.push(end.row(deployed));
        ends.push((environment.clone(), end));
    }
    interrupt.check("the rest of the previews")?;
    for (environment, end) in reaper.state_alone(&previews).await {
        reaped.push(end.row(unknown(&environment)));
        ends.push((environment, end));
    }
    let mut shown: Vec<&mut Deployed> = reaped.iter_mut().map(|it| &mut it.preview).collect();
    deployed::add_commits_behind(context, &mut shown).await;
    let component = context.identity.component.as_str();
    report.page = (!reaped.is_empty()).then(|| pages::reap(component, &reaped));
    let rows: Vec<[String; 2]> =
        ends.iter().map(|(environment, end)| [environment.to_string(), end.to_string()]).collect();
    match inputs.json {
        true => log.json(&reap_outcome::document(context, &ends, inputs.dry_run)),
        false => {
            let rows: Vec<[Cell; 2]> = rows.into_iter().map(|row| row.map(Cell::from)).collect();
            fitted(&rows, context.host.screen()).iter().for_each(|line| log.output(line));
        }
    }
    conclude(context, &ends, inputs.dry_run)
}

fn conclude(context: &Context, ends: &[(Environment, ReapOutcome)], dry_run: bool) -> Result<()> {
    let count = |is: fn(&ReapOutcome) -> bool| ends.iter().filter(|(_, end)| is(end)).count();
    let failed: Vec<&str> = ends
        .iter()
        .filter(|(_, end)| matches!(end, ReapOutcome::Failed(_)))
        .map(|(name, _)| name.as_str())
        .collect();
    let destroyed = count(|end| matches!(end, ReapOutcome::Destroyed(_)));
    if !failed.is_empty() {
        return Err(Error::new(
            Exit::ApplyFailed,
            format!("failed to reap {} preview(s): {}", failed.len(), failed.join(", ")),
        )
        .why(format!("{destroyed} other(s) were destroyed; see the errors above"))
        .hint("run it again to retry the failed previews"));
    }
    context.host.log.done(&match dry_run {
        true => format!(
            "Would destroy {} of {} preview(s)",
            count(|end| matches!(end, ReapOutcome::WouldBeDestroyed(_))),
            ends.len()
        ),
        false => format!("Destroyed {destroyed} of {} preview(s)", ends.len()),
    });
    Ok(())
}

/// Returns what is known of a preview whose ledger was not read.
fn unknown(environment: &Environment) -> Deployed {
    Deployed {
        environment: environment.to_string(),
        is_preview: true,
        pull_request: environment.pull_request(),
        ..Deployed::default()
    }
}

impl Reaper<'_> {
    /// Returns what was deployed, and what happened to it; None if nothing is deployed.
    async fn one(&self, environment: &Environment) -> (Deployed, Option<ReapOutcome>) {
        let context = self.context.labelled(environment.as_str());
        let mut deployed = unknown(environment);
        let end = match self.reap(&context, environment, &mut deployed).await {
            Ok(end) => end,
            Err(error) if error.exit() == Exit::Locked => {
                context.host.log.note("skipped, because another run has locked it");
                Some(ReapOutcome::Locked)
            }
            Err(error) => {
                context.host.log.warning(&error.to_string());
                Some(ReapOutcome::Failed(error))
            }
        };
        (deployed, end)
    }

    async fn reap(
        &self,
        context: &Context,
        environment: &Environment,
        found: &mut Deployed,
    ) -> Result<Option<ReapOutcome>> {
        context.host.interrupt.check("reaping more previews")?;
        let record = ledger::record(context, &Ledger::of(context, environment)).await?;
        *found = deployed::of(context, environment, &record);
        Ok(match self.check.of(context, environment, &record).await? {
            Expiry::NotDeployed => None,
            Expiry::Kept(why) => Some(ReapOutcome::Kept(Kept::Because(why))),
            Expiry::Expired(why) if self.dry_run => Some(ReapOutcome::WouldBeDestroyed(why)),
            Expiry::Expired(why) => {
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
        why: ExpiryReason,
    ) -> Result<ReapOutcome> {
        let (started, mut report) = (Instant::now(), Report::of(context.host.run.as_deref()));
        report.command = "preview reap".to_owned();
        report.component = Some(context.identity.component.to_string());
        report.team = Some(context.identity.team.to_string());
        // The deployed commit, which is not the one that is checked out.
        report.commit =
            record.deployed().and_then(|deployed| Some(deployed.preview.as_ref()?.sha.clone()));
        let watch = Some(Watch::Expired(self.check.clone()));
        let plan = PlanInputs::default();
        let done = match Target::resolve(context, environment.clone()) {
            Ok(target) => down::destroy(context, target, record, plan, watch, &mut report).await,
            Err(error) => Err(error),
        };
        if let Ok(Some(why)) = done {
            return Ok(ReapOutcome::Kept(Kept::Changed(why)));
        }
        report.end(done.as_ref().err(), started.elapsed(), &context.host.log.redactor);
        // The run that has the lock reports for itself, and a pull request that does not exist has
        // no comments.
        if done.as_ref().err().map(Error::exit) != Some(Exit::Locked)
            && why != ExpiryReason::NotFound
            && let (Some(commenter), Some(number)) = (&self.commenter, environment.pull_request())
        {
            commenter.write(number, report).await;
        }
        done.map(|_| ReapOutcome::Destroyed(why))
    }

    /// Lists previews that have a state but no ledger. Their pull request and their release are
    /// unknown, so they are kept.
    async fn state_alone(&self, known: &[Environment]) -> Vec<(Environment, ReapOutcome)> {
        let log = &self.context.host.log;
        let found = match location::previews(self.context).await {
            Ok(found) => found,
            Err(error) => {
                log.warning(&format!("cannot list previews that have only a state: {error}"));
                Vec::new()
            }
        };
        let unknown = found.into_iter().filter(|environment| !known.contains(environment));
        unknown
            .map(|environment| {
                let why = Kept::WithoutLedger(environment.clone());
                (environment, ReapOutcome::Kept(why))
            })
            .collect()
    }
}
