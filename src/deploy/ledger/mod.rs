//! The ledger: the record of every deploy to an environment. It is append-only. Each run writes one
//! object when it starts to change an environment and one when it ends. Both writes are
//! conditional, so that no run can overwrite an entry of another.
//!
//! Format 1: the objects of an environment are under `<team>/<component>/ledger/<environment>/`.
//! Their names are `<countdown>.start.json` and `<countdown>.end.json`. The countdown is 9999999999
//! minus the number of the entry, in ten digits. A store lists by name, so the newest entries come
//! first. A start without an end is a run that is in progress or died.

mod document;
mod entry;
pub(crate) mod environments;
mod hold;
mod reading;
mod size;
pub(crate) mod text;

pub(crate) use self::{
    document::RunDocument,
    entry::{
        Action, AppliedPlan, End, Entry, ForPullRequest, LastState, Outcome, Record, Reviewed,
        Start,
    },
    hold::{Hold, HoldAction, HoldDocument, holds},
};

#[cfg(fuzzing)]
pub(crate) use self::reading::parse as parse_entry;

use serde::Serialize;

use self::size::{ENTRY_LIMIT, cut, encoded};
use crate::{
    base::error::{Error, Exit, Result},
    config::{identity::Identity, names::Environment},
    context::Context,
    services::store::{Content, Metadata, Put, ReleaseStore},
};

/// The countdown in the name of an object is this minus the number of the entry.
const COUNT_FROM: u64 = 9_999_999_999;
/// Below the prefix of the entries. Sorts after their digits, so that a list has the entries first.
const HOLDS: &str = "hold/";
/// How often a list is read while it lacks entries: another run might write one in between.
const LISTS: usize = 5;
/// Numbers that are tried for a new entry while other runs take them.
const TRIES: usize = 200;

/// Reads the recent runs that changed the environment of `ledger`. A cancelled run stops waiting.
pub(crate) async fn record(context: &Context, ledger: &Ledger<'_>) -> Result<Record> {
    context.host.interrupt.or_cancel("reading the ledger", ledger.record()).await
}

/// The ledger of one environment.
pub(crate) struct Ledger<'a> {
    store: &'a ReleaseStore,
    prefix: String,
    environment: Environment,
}

impl<'a> Ledger<'a> {
    /// Returns the ledger of `environment`, whether or not the account scheme knows it.
    pub(crate) fn of(context: &'a Context, environment: &Environment) -> Self {
        Self::new(&context.store, &context.identity, environment)
    }

    pub(crate) fn new(
        store: &'a ReleaseStore,
        identity: &Identity,
        environment: &Environment,
    ) -> Self {
        Self {
            store,
            prefix: identity.ledger_prefix(environment),
            environment: environment.clone(),
        }
    }

    /// Writes the start entry with the next free number, and returns it. Nothing may be changed
    /// before this has succeeded.
    ///
    /// Its token distinguishes it from the entries of other runs.
    pub(crate) async fn start(&self, mut start: Start) -> Result<Start> {
        let failed = |error: Error| {
            let exit = match error.exit() {
                exit @ (Exit::Credentials | Exit::Integrity) => exit,
                _ => Exit::Unavailable,
            };
            Error::new(
                exit,
                format!(
                    "failed to write the ledger of `{}`, so nothing was applied",
                    self.environment
                ),
            )
            .why(error)
        };
        encoded(&start)?;
        start.number = self.newest_number().await.map_err(failed)? + 1;
        for _ in 0..TRIES {
            let key = self.key(start.number, "start");
            match self.put(&key, &start).await {
                Ok(Put::Created) => return Ok(start),
                // If the answer to an earlier request was lost, the entry that exists is ours.
                Ok(Put::Exists) if self.is_ours(&key, &start).await.map_err(failed)? => {
                    return Ok(start);
                }
                Ok(Put::Exists) => start.number += 1,
                Err(_) if self.is_ours(&key, &start).await.unwrap_or(false) => return Ok(start),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(Error::new(
            Exit::Unavailable,
            format!("{TRIES} numbers in a row were taken by other runs"),
        )))
    }

    async fn is_ours(&self, key: &str, start: &Start) -> Result<bool> {
        Ok(self.store.head(key).await?.is_some()
            && self.get::<Start>(key).await?.token == start.token)
    }

    pub(crate) fn start_key(&self, start: &Start) -> String {
        self.key(start.number, "start")
    }

    /// Writes the end entry of a run, unless it has one. What makes it too large is cut. Returns
    /// the number of unknown changes that are left out.
    pub(crate) async fn end(&self, end: &End) -> Result<usize> {
        let end = cut(end.clone());
        self.put(&self.key(end.number, "end"), &end).await?;
        Ok(end.unknown_changes_left_out)
    }

    /// Writes an existing entry again, which the store rejects because it exists: this shows that
    /// the store permits writes, and changes nothing. False if the ledger is empty.
    pub(crate) async fn may_be_written(&self) -> Result<bool> {
        let listed = self.store.list(&self.prefix, None, 1).await?;
        let Some(listed) = listed.first() else { return Ok(false) };
        let Some(bytes) = self.store.get(&listed.key, ENTRY_LIMIT).await? else {
            return Ok(false);
        };
        let content = Content::Bytes(bytes);
        self.store.put_new(&listed.key, content, &Metadata::default(), &|_| {}).await?;
        Ok(true)
    }

    /// Returns 0 for an empty ledger.
    async fn newest_number(&self) -> Result<u64> {
        let newest = self.store.list(&self.prefix, None, 1).await?;
        Ok(newest
            .first()
            .and_then(|listed| self.number_and_kind(&listed.key))
            .map_or(0, |(number, _)| number))
    }

    fn key(&self, number: u64, kind: &str) -> String {
        format!("{}{:010}.{kind}.json", self.prefix, COUNT_FROM.saturating_sub(number))
    }

    async fn put(&self, key: &str, entry: &impl Serialize) -> Result<Put> {
        self.store
            .put_new(key, Content::Bytes(encoded(entry)?), &Metadata::default(), &|_| {})
            .await
    }
}

/// The error for a list of the store without an object that exists. `what` is the rest of "the
/// store's list of …".
fn lacks(what: &str, place: &str) -> Error {
    Error::new(Exit::Unavailable, format!("the store's list of {what}"))
        .why(format!("an object exists that `{place}` does not list"))
        .hint("run again; if it stays so, check the proxy or the service that serves the store")
}

#[cfg(test)]
mod tests;
