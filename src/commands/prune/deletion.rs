//! Deletes releases, except those whose deploy begins meanwhile.

use std::time::Instant;

use super::{
    images::ReleaseImages,
    segments::Freed,
    stored::{Location, Stored},
};
use crate::{
    base::error::{Error, Exit, Result},
    config::names::{Environment, Version},
    context::Context,
    deploy::ledger::{Ledger, environments},
    release::deletion::{TIME_LIMIT, mark, unmark},
    services::store::ReleaseStore,
};

/// Releases that are marked at a time. The ledgers are read once for each batch.
const BATCH: usize = 50;

pub(super) struct Deletion<'a> {
    pub(super) context: &'a Context,
    pub(super) stores: &'a [&'a ReleaseStore],
    pub(super) images: Option<&'a ReleaseImages>,
    /// The environment whose releases are deleted although it has deployed them.
    pub(super) destroyed: Option<&'a Environment>,
}

const MARKED: &str = "wait an hour before you deploy a release that is still marked";

type Releases = Vec<(Version, Stored)>;

/// What became of the releases.
#[derive(Default)]
pub(super) struct Deleted {
    pub(super) releases: Releases,
    /// The one whose deletion has not been answered.
    pub(super) unanswered: Option<Version>,
    /// Those whose deploy began meanwhile.
    pub(super) kept: Vec<Version>,
    /// How many records of plans.
    pub(super) plans: usize,
    /// How many marks of deletions that were killed.
    pub(super) marks: usize,
    pub(super) segments: Freed,
}

impl Deletion<'_> {
    /// `outcome` has what was done, also after an error.
    pub(super) async fn run(&self, mut releases: Releases, outcome: &mut Deleted) -> Result<()> {
        while !releases.is_empty() {
            self.context.host.interrupt.check("deleting more releases")?;
            let batch = releases.drain(..releases.len().min(BATCH)).collect();
            let mut marked = Vec::new();
            let interrupt = &self.context.host.interrupt;
            let deleting = self.batch(batch, &mut marked, outcome);
            let result = interrupt.or_last_answer("deleting releases", deleting).await;
            let unmarked =
                interrupt.or_last_answer("removing the marks", self.unmark(&marked)).await;
            match (result, unmarked) {
                (result, Ok(())) => result?,
                (Ok(()), Err(left)) => return Err(left.hint(MARKED)),
                (Err(error), Err(left)) => return Err(error.also(&left).hint(MARKED)),
            }
        }
        Ok(())
    }

    async fn unmark(&self, marked: &[Version]) -> Result<()> {
        for version in marked {
            unmark(&self.context.store, &self.context.release(version.clone())).await?;
        }
        Ok(())
    }

    /// Adds to `marked` what must be unmarked, also after an error.
    async fn batch(
        &self,
        batch: Releases,
        marked: &mut Vec<Version>,
        outcome: &mut Deleted,
    ) -> Result<()> {
        let Self { context, destroyed, .. } = *self;
        let run_url = context.host.run.as_deref().and_then(|run| run.url.as_deref());
        let began = Instant::now();
        let by = run_url.unwrap_or("a run outside of CI");
        let mut ours = Releases::new();
        for (version, stored) in batch {
            marked.push(version.clone());
            match mark(&context.store, &context.release(version.clone()), by).await? {
                true => ours.push((version, stored)),
                false => {
                    marked.pop();
                    context.host.log.note(&format!("release {version}: another run deletes it"));
                }
            }
        }
        let batch = ours;
        let mut known = environments::named(context);
        known.extend(batch.iter().filter_map(|(version, _)| environments::preview_of(version)));
        let (store, identity) = (&context.store, &context.identity);
        let needed = Ledger::versions(store, identity, &known, destroyed).await?;
        for (version, stored) in batch {
            if needed.contains(&version) {
                context.host.log.note(&format!("keeping release {version}: its deploy has begun"));
                outcome.kept.push(version);
                continue;
            }
            context.host.interrupt.check("deleting more releases")?;
            if began.elapsed() > TIME_LIMIT {
                return Err(Error::new(Exit::Unavailable, "the deletion takes too long")
                    .why(format!("{version} was marked more than {} s ago", TIME_LIMIT.as_secs()))
                    .hint("run it again: it continues with the releases that are left"));
            }
            outcome.unanswered = Some(version.clone());
            self.delete(&version, &stored).await?;
            outcome.unanswered = None;
            outcome.releases.push((version, stored));
        }
        Ok(())
    }

    /// The bundle goes first, so that no release is ever without its artifacts.
    async fn delete(&self, version: &Version, stored: &Stored) -> Result<()> {
        for object in &stored.objects {
            match (&object.at, self.images) {
                (Location::Store { number, key }, _) => self.stores[*number].delete(key).await?,
                (Location::Image, Some(images)) => images.delete(version).await?,
                (Location::Image, None) => {}
            }
        }
        Ok(())
    }
}
