//! Reading the ledger: from the newest run back, and no more than a reader needs.

use std::collections::BTreeSet;

use futures_util::{
    Stream, StreamExt, TryStreamExt, future,
    stream::{self, BoxStream},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Action, COUNT_FROM, End, Entry, HOLDS, LISTS, Ledger, Outcome, Record, Start, entry, lacks,
    size::ENTRY_LIMIT,
};
use crate::base::{
    error::{Error, Exit, Result},
    printable,
};

/// Objects listed at a time.
const PAGE: usize = 40;
/// The fix for an entry that is missing or was changed.
const RESTORE: &str = "restore it from a backup or an older version of the object";
/// Runs that are read at once, once the newest one was not enough.
const AT_ONCE: usize = 8;

/// The entries of a run that a list has.
#[derive(Clone, Copy)]
struct Listed {
    number: u64,
    has_start: bool,
    has_end: bool,
}

/// Runs, newest first, and the key after which the next page begins; `None` at the end of the
/// ledger.
struct Page {
    runs: Vec<Listed>,
    next: Option<String>,
}

impl Ledger<'_> {
    /// Returns `start` as it is in the ledger, if it is among the newest entries.
    pub(crate) async fn written(&self, start: &Start) -> Result<Option<Start>> {
        let mut runs = self.runs().take(PAGE);
        while let Some(run) = runs.try_next().await? {
            if run.start.token == start.token {
                return Ok(Some(run.start));
            }
        }
        Ok(None)
    }

    /// Reads back to the newest successful deploy or destroy.
    pub(crate) async fn record(&self) -> Result<Record> {
        let mut runs = self.runs();
        let mut unsettled = Vec::new();
        while let Some(run) = runs.try_next().await? {
            let succeeded = run.end.as_ref().is_some_and(|end| end.outcome == Outcome::Succeeded);
            match run.start.action {
                Action::Deploy | Action::Destroy if succeeded => {
                    return Ok(Record { settled: Some(run), unsettled });
                }
                _ if succeeded => {}
                _ => unsettled.push(run),
            }
        }
        Ok(Record { settled: None, unsettled })
    }

    /// Returns at most `at_most` entries, newest first, and whether there are older ones.
    pub(crate) async fn newest(&self, at_most: usize) -> Result<(Vec<Entry>, bool)> {
        let mut runs = self.runs();
        let mut found = Vec::new();
        while let Some(run) = runs.try_next().await? {
            if found.len() == at_most {
                return Ok((found, true));
            }
            found.push(run);
        }
        Ok((found, false))
    }

    /// Returns the newest entry for which `is_wanted` is true. Reads back to it.
    pub(crate) async fn find(&self, is_wanted: impl Fn(&Entry) -> bool) -> Result<Option<Entry>> {
        let mut runs = self.runs();
        while let Some(run) = runs.try_next().await? {
            if is_wanted(&run) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Returns the newest of the last `at_most` entries for which `is_wanted` is true. Reads one
    /// page of names.
    pub(crate) async fn find_recent(
        &self,
        at_most: usize,
        is_wanted: impl Fn(&Start) -> bool,
    ) -> Result<Option<Entry>> {
        let mut recent = self.page(None).await?.runs;
        recent.truncate(at_most);
        let read = |of| async move { self.start_of(of).await.map(|start| (of, start)) };
        let mut starts = newest_first(recent, read).boxed();
        while let Some((of, start)) = starts.try_next().await? {
            if is_wanted(&start) {
                return Ok(Some(Entry { start, end: self.end_of(of).await? }));
            }
        }
        Ok(None)
    }

    /// Returns the runs of the ledger, newest first.
    fn runs(&self) -> BoxStream<'_, Result<Entry>> {
        let pages = stream::try_unfold(Some(None::<String>), async |from| {
            let Some(after) = from else { return Ok::<_, Error>(None) };
            let page = self.page(after.as_deref()).await?;
            Ok(Some((page.runs, page.next.map(Some))))
        });
        pages.map_ok(|runs| newest_first(runs, |of| self.entry(of))).try_flatten().boxed()
    }

    async fn entry(&self, of: Listed) -> Result<Entry> {
        let (start, end) = future::try_join(self.start_of(of), self.end_of(of)).await?;
        Ok(Entry { start, end })
    }

    async fn start_of(&self, of: Listed) -> Result<Start> {
        match of.has_start {
            true => self.start_at(of.number).await,
            false => self.start_of_end(of.number).await,
        }
    }

    async fn end_of(&self, of: Listed) -> Result<Option<End>> {
        match of.has_end {
            true => self.end_at(of.number).await.map(Some),
            false => Ok(None),
        }
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
            let mut keys: Vec<String> = listed.into_iter().map(|listed| listed.key).collect();
            // They come after the last entry, so that the page is the last one.
            keys.retain(|key| {
                !key.strip_prefix(&self.prefix).is_some_and(|it| it.starts_with(HOLDS))
            });
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
                is_complete &= !self.exists(&self.key(number, "start")).await?;
            }
            if is_complete {
                return Ok(keys);
            }
        }
        let what = format!("the ledger of `{}` lacks entries", self.environment);
        Err(lacks(&what, &self.store.describe(&self.prefix)))
    }

    /// Whether an entry exists. In S3, one request if it does not.
    pub(super) async fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.store.get(key, ENTRY_LIMIT).await?.is_some())
    }

    async fn page(&self, after: Option<&str>) -> Result<Page> {
        let mut keys = self.names(after).await?;
        let is_last = keys.len() < PAGE;
        // `end` sorts before `start`. An end whose start is on the next page is left to that page,
        // because there the run would look unfinished without it.
        if !is_last && keys.last().is_some_and(|key| key.ends_with(".end.json")) {
            keys.pop();
        }
        let mut runs: Vec<Listed> = Vec::new();
        for (number, kind) in keys.iter().filter_map(|key| self.number_and_kind(key)) {
            let run = match runs.pop() {
                Some(run) if run.number == number => run,
                other => {
                    runs.extend(other);
                    Listed { number, has_start: false, has_end: false }
                }
            };
            runs.push(match kind {
                "end" => Listed { has_end: true, ..run },
                _ => Listed { has_start: true, ..run },
            });
        }
        Ok(Page { runs, next: keys.pop().filter(|_| !is_last) })
    }

    /// Parses a key. Returns `None` for an object that is not an entry.
    pub(super) fn number_and_kind<'k>(&self, key: &'k str) -> Option<(u64, &'k str)> {
        let (countdown, rest) = key.strip_prefix(&self.prefix)?.split_once('.')?;
        let kind = rest.strip_suffix(".json").filter(|kind| ["start", "end"].contains(kind))?;
        Some((COUNT_FROM.checked_sub(countdown.parse().ok()?)?, kind))
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

    pub(super) fn check_number(&self, key: &str, found: u64, expected: u64) -> Result<()> {
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

    pub(super) async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let place = self.store.describe(key);
        let bytes = self.store.get(key, ENTRY_LIMIT).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::integrity(format!("ledger entry not found: `{place}`"))
                .why("it was deleted, but the ledger is append-only")
                .hint(RESTORE)
        })?;
        parse(&place, &bytes)
    }
}

/// Parses an entry. `place` is where it is.
pub(crate) fn parse<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    let damaged = |error| {
        Error::integrity(format!("invalid ledger entry `{place}`")).why(error).hint(RESTORE)
    };
    let head: FormatOnly = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.format > entry::FORMAT {
        return Err(Error::input(format!(
            "the ledger entry `{place}` has format {}, but this cdflow supports only {}",
            head.format,
            entry::FORMAT
        ))
        .hint("update cdflow: a newer version has deployed to this environment"));
    }
    let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
    // Others write into the ledger too, and what it says is printed.
    printable::document(&mut value);
    serde_json::from_value(value).map_err(damaged)
}

/// Reads the newest run first, and then older ones, several at once.
fn newest_first<T, F: Future<Output = Result<T>>>(
    mut runs: Vec<Listed>,
    read: impl Fn(Listed) -> F + Clone,
) -> impl Stream<Item = Result<T>> {
    let older = runs.split_off(runs.len().min(1));
    stream::iter(runs).then(read.clone()).chain(stream::iter(older).map(read).buffered(AT_ONCE))
}
