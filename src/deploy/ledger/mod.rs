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
mod size;
pub(crate) mod text;

pub(crate) use self::{
    document::RunDocument,
    entry::{
        Action, AppliedPlan, End, Entry, ForPullRequest, LastState, Outcome, Record, Reviewed,
        Start,
    },
};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::size::{ENTRY_LIMIT, cut, encoded};
use crate::{
    base::{
        error::{Error, Exit, Result},
        printable,
    },
    config::{identity::Identity, names::Environment},
    context::Context,
    services::store::{Content, Metadata, Put, ReleaseStore},
};

/// The countdown in the name of an object is this minus the number of the entry.
const COUNT_FROM: u64 = 9_999_999_999;
/// Objects listed at a time.
const PAGE: usize = 40;
/// How often a list is read while it lacks entries: another run might write one in between.
const LISTS: usize = 5;
/// Numbers that are tried for a new entry while other runs take them.
const TRIES: usize = 200;

/// The fix for an entry that is missing or was changed.
const RESTORE: &str = "restore it from a backup or an older version of the object";

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

    /// Returns `start` as it is in the ledger, if it is among the newest entries.
    pub(crate) async fn written(&self, start: &Start) -> Result<Option<Start>> {
        let (entries, _) = self.newest(PAGE).await?;
        let starts = entries.into_iter().map(|entry| entry.start);
        Ok(starts.into_iter().find(|entry| entry.token == start.token))
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

    /// Reads back to the newest successful deploy or destroy.
    pub(crate) async fn record(&self) -> Result<Record> {
        let mut unsettled = Vec::new();
        let mut after = None;
        loop {
            let (entries, last) = self.page(after.as_deref()).await?;
            for entry in entries {
                let succeeded =
                    entry.end.as_ref().is_some_and(|end| end.outcome == Outcome::Succeeded);
                match entry.start.action {
                    Action::Deploy | Action::Destroy if succeeded => {
                        return Ok(Record { settled: Some(entry), unsettled });
                    }
                    _ if succeeded => {}
                    _ => unsettled.push(entry),
                }
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(Record { settled: None, unsettled }),
            }
        }
    }

    /// Returns at most `at_most` entries, newest first, and whether there are older ones. Reads no
    /// more pages than necessary.
    pub(crate) async fn newest(&self, at_most: usize) -> Result<(Vec<Entry>, bool)> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (entries, last) = self.page(after.as_deref()).await?;
            found.extend(entries);
            if found.len() > at_most {
                found.truncate(at_most);
                return Ok((found, true));
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok((found, false)),
            }
        }
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

    /// Returns the newest entry for which `is_wanted` is true. Reads back to it.
    pub(crate) async fn find(&self, is_wanted: impl Fn(&Entry) -> bool) -> Result<Option<Entry>> {
        let mut after = None;
        loop {
            let (entries, last) = self.page(after.as_deref()).await?;
            if let Some(found) = entries.into_iter().find(&is_wanted) {
                return Ok(Some(found));
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(None),
            }
        }
    }

    /// Returns the newest of the last `at_most` entries for which `is_wanted` is true. Reads one
    /// page of names, and no more entries than necessary.
    pub(crate) async fn find_recent(
        &self,
        at_most: usize,
        is_wanted: impl Fn(&Start) -> bool,
    ) -> Result<Option<Entry>> {
        let keys = self.names(None).await?;
        // `end` sorts before `start`.
        let mut ended = None;
        let mut looked_at = 0;
        for key in &keys {
            let Some((number, kind)) = self.number_and_kind(key) else { continue };
            if let Some(lone) = ended.filter(|of| *of != number || kind == "end") {
                self.start_of_end(lone).await?;
            }
            if kind == "end" {
                ended = Some(number);
                continue;
            }
            let has_end = ended.take().is_some();
            let start = self.start_at(number).await?;
            if is_wanted(&start) {
                let end = match has_end {
                    true => Some(self.end_at(number).await?),
                    false => None,
                };
                return Ok(Some(Entry { start, end }));
            }
            looked_at += 1;
            if looked_at == at_most {
                return Ok(None);
            }
        }
        // The start of the last end might be on the next page, which is not wanted.
        if let Some(lone) = ended.filter(|_| keys.len() < PAGE) {
            self.start_of_end(lone).await?;
        }
        Ok(None)
    }

    /// Reads the start of a run whose end exists. Without it, nothing says which version the run
    /// deployed.
    async fn start_of_end(&self, number: u64) -> Result<Start> {
        let end_place = self.store.describe(&self.key(number, "end"));
        self.start_at(number).await.map_err(|error| match error.exit() {
            Exit::Integrity => error.hint(format!(
                "or, if it is lost for good, move `{end_place}` out of the ledger, which then has \
                 no such run"
            )),
            _ => error,
        })
    }

    /// Lists a page of names. A list that lacks entries is read again, and then an error.
    ///
    /// The numbers of entries have no gaps. So an entry next to the newest or the oldest one of the
    /// ledger, or in a gap, must not exist, and no list is needed to look for it.
    async fn names(&self, after: Option<&str>) -> Result<Vec<String>> {
        for _ in 0..LISTS {
            let listed = self.store.list(&self.prefix, after, PAGE).await?;
            let keys: Vec<String> = listed.into_iter().map(|listed| listed.key).collect();
            let number = |key: &str| self.number_and_kind(key).map(|(number, _)| number);
            let listed = keys.iter().map(String::as_str);
            let numbers: Vec<u64> = after.into_iter().chain(listed).filter_map(number).collect();
            let mut outside = Vec::new();
            if after.is_none() {
                outside.push(numbers.first().unwrap_or(&0) + 1);
            }
            if keys.len() < PAGE {
                outside.extend(
                    numbers.last().map(|oldest| oldest.saturating_sub(1)).filter(|it| *it > 0),
                );
            }
            for pair in numbers.windows(2) {
                if let [newer, older] = *pair
                    && newer > older + 1
                {
                    outside.extend(BTreeSet::from([newer - 1, older + 1]));
                }
            }
            let mut is_complete = true;
            for number in outside {
                is_complete &= self.store.head(&self.key(number, "start")).await?.is_none();
            }
            if is_complete {
                return Ok(keys);
            }
        }
        let what = format!("the ledger of `{}` lacks entries", self.environment);
        Err(lacks(&what, &self.store.describe(&self.prefix)))
    }

    /// Returns a page of entries, newest first, and the key after which the next page begins;
    /// `None` at the end of the ledger.
    async fn page(&self, after: Option<&str>) -> Result<(Vec<Entry>, Option<String>)> {
        let mut keys = self.names(after).await?;
        let is_last = keys.len() < PAGE;
        // `end` sorts before `start`. An end whose start is on the next page is left to that page,
        // because there the run would look unfinished without it.
        if !is_last && keys.last().is_some_and(|key| key.ends_with(".end.json")) {
            keys.pop();
        }
        let mut ends = BTreeMap::new();
        let mut entries = Vec::new();
        for key in &keys {
            let Some((number, kind)) = self.number_and_kind(key) else { continue };
            match kind {
                "end" => {
                    ends.insert(number, self.end_at(number).await?);
                }
                _ => entries
                    .push(Entry { start: self.start_at(number).await?, end: ends.remove(&number) }),
            }
        }
        for (number, end) in ends {
            let start = self.start_of_end(number).await?;
            entries.push(Entry { start, end: Some(end) });
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.start.number));
        Ok((entries, keys.pop().filter(|_| !is_last)))
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

    /// Parses a key. Returns `None` for an object that is not an entry.
    fn number_and_kind<'k>(&self, key: &'k str) -> Option<(u64, &'k str)> {
        let (countdown, rest) = key.strip_prefix(&self.prefix)?.split_once('.')?;
        let kind = rest.strip_suffix(".json").filter(|kind| ["start", "end"].contains(kind))?;
        Some((COUNT_FROM.checked_sub(countdown.parse().ok()?)?, kind))
    }

    async fn put(&self, key: &str, entry: &impl Serialize) -> Result<Put> {
        self.store
            .put_new(key, Content::Bytes(encoded(entry)?), &Metadata::default(), &|_| {})
            .await
    }

    /// Reads a start entry, which must be the one of its name.
    async fn start_at(&self, number: u64) -> Result<Start> {
        let key = self.key(number, "start");
        let start: Start = self.get(&key).await?;
        match start.environment.as_ref().filter(|of| **of != self.environment) {
            Some(of) => Err(self.misplaced(&key, format!("it is an entry of `{of}`"))),
            None => self.check_number(&key, start.number, number).map(|()| start),
        }
    }

    async fn end_at(&self, number: u64) -> Result<End> {
        let key = self.key(number, "end");
        let end: End = self.get(&key).await?;
        self.check_number(&key, end.number, number).map(|()| end)
    }

    fn check_number(&self, key: &str, found: u64, expected: u64) -> Result<()> {
        match found == expected {
            true => Ok(()),
            false => Err(self.misplaced(
                key,
                format!("it is entry {found}, and its name is of entry {expected}"),
            )),
        }
    }

    /// The error for an entry that was copied or renamed.
    fn misplaced(&self, key: &str, why: String) -> Error {
        Error::integrity(format!("invalid ledger entry `{}`", self.store.describe(key)))
            .why(why)
            .hint(RESTORE)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let place = self.store.describe(key);
        let bytes = self.store.get(key, ENTRY_LIMIT).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::integrity(format!("ledger entry not found: `{place}`"))
                .why("it was deleted, but the ledger is append-only")
                .hint(RESTORE)
        })?;
        let damaged = |error| {
            Error::integrity(format!("invalid ledger entry `{place}`")).why(error).hint(RESTORE)
        };
        let head: FormatOnly = serde_json::from_slice(&bytes).map_err(damaged)?;
        if head.format > entry::FORMAT {
            return Err(Error::input(format!(
                "the ledger entry `{place}` has format {}, but this cdflow supports only {}",
                head.format,
                entry::FORMAT
            ))
            .hint("update cdflow: a newer version has deployed to this environment"));
        }
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        // Others write into the ledger too, and what it says is printed.
        printable::document(&mut value);
        serde_json::from_value(value).map_err(damaged)
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
