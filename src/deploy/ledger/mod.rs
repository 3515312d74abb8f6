//! What was deployed where. Append-only: each run writes one object when it starts to change an environment and one when it
//! ends, both conditionally, so that no two runs can overwrite each other.
//!
//! Format 1. The objects of an environment lie under `<team>/<component>/ledger/<environment>/` and are called
//! `<countdown>.start.json` and `<countdown>.end.json`, where the countdown is 9999999999 minus the entry's number, in ten
//! digits: a store lists by name, so the newest come first and nobody has to read the whole past.
//! A start without an end is a run that is still going on, or died.

pub(crate) mod text;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    config::{
        identity::Identity,
        names::{Environment, Version},
        preview::PreviewOf,
    },
    context::Context,
    services::store::{Content, Metadata, Put, ReleaseStore},
    terraform::output::changes::Counts,
};

const FORMAT: u32 = 1;
const COUNT_FROM: u64 = 9_999_999_999;
/// An entry is some hundred bytes.
const ENTRY_LIMIT: u64 = 64 * 1024;
/// Of the reason why a run failed: also with each character escaped it leaves room for the rest of an entry.
const REASON_LIMIT: usize = 8 * 1024;
/// Objects read at a time.
const PAGE: usize = 40;
/// So many others may get ahead of us with their entries before we give up.
const TRIES: usize = 200;

/// A run begins to change an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) format: u32,
    /// 1, 2, 3, … within the environment.
    pub(crate) number: u64,
    pub(crate) action: Action,
    /// What the run was limited to; empty: it was for all of the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<String>,
    /// What was destroyed although it is protected or beyond the limit, because somebody allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed_destroy: Vec<String>,
    /// By what: `--allow-destroy`, the label of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_by: Option<String>,
    pub(crate) version: Version,
    /// Of which pull request the environment is a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preview: Option<PreviewOf>,
    /// For which pull request the run was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request: Option<ForPullRequest>,
    /// None for a bundle of the reference program.
    pub(crate) bundle_digest: Option<Sha256>,
    pub(crate) account: Option<String>,
    pub(crate) region: String,
    pub(crate) plan: Counts,
    pub(crate) terraform: String,
    pub(crate) cdflow: String,
    pub(crate) actor: Option<String>,
    pub(crate) run_url: Option<String>,
    pub(crate) started: Timestamp,
}

/// A run for a pull request of GitHub's, whose comment shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForPullRequest {
    /// GitHub's number of the repository; a name can be given to another one.
    pub(crate) repository: u64,
    pub(crate) number: u64,
    /// Of two runs the one with the higher number is the newer; of one run the later attempt.
    pub(crate) run: u64,
    pub(crate) attempt: u64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) format: u32,
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    pub(crate) state_serial: Option<u64>,
    pub(crate) state_lineage: Option<String>,
    /// Why, if it did not succeed. Masked.
    pub(crate) reason: Option<String>,
    pub(crate) finished: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Deploy,
    Destroy,
    /// The state was brought up to date; what is deployed stayed the same.
    Refresh,
    /// Of a newer cdflow.
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Interrupted,
}

/// A run, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: Start,
    pub(crate) end: Option<End>,
}

/// The recent past of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The newest deploy or destroy that succeeded.
    pub(crate) settled: Option<Entry>,
    /// The runs after it, newest first: failed, interrupted, unfinished.
    pub(crate) unsettled: Vec<Entry>,
}

/// Reads the recent runs that changed `environment`. A cancelled run stops waiting.
pub(crate) async fn record(context: &Context, environment: &Environment) -> Result<Record> {
    let reading = Ledger::of(context, environment);
    context.host.interrupt.or_cancel("reading the ledger", reading.record()).await
}

/// One environment's ledger.
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

    /// The environments that have a ledger.
    pub(crate) async fn environments(
        store: &ReleaseStore,
        identity: &Identity,
    ) -> Result<Vec<Environment>> {
        let names = store.folders(&identity.ledgers_prefix()).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Every version that any environment's ledger tells of, whether its deploy succeeded or not. Reads the whole past of all
    /// but one.
    pub(crate) async fn versions(
        store: &ReleaseStore,
        identity: &Identity,
        except: Option<&Environment>,
    ) -> Result<BTreeSet<Version>> {
        let mut versions = BTreeSet::new();
        for name in store.folders(&identity.ledgers_prefix()).await? {
            // Here a ledger must not be passed over.
            let environment: Environment = name.parse().map_err(|refused| {
                let place = store.describe(&identity.ledgers_prefix());
                Error::integrity(format!(
                    "the folder `{}` in {place} is no environment's ledger",
                    name.escape_debug()
                ))
                .why(refused)
                .hint("find out what it is, and move it away")
            })?;
            if except == Some(&environment) {
                continue;
            }
            let (entries, _) =
                Ledger::new(store, identity, &environment).newest(usize::MAX).await?;
            versions.extend(entries.into_iter().map(|entry| entry.start.version));
        }
        Ok(versions)
    }

    /// Writes the start entry, numbered after the newest there is. Nothing may be changed before this has succeeded.
    pub(crate) async fn start(&self, mut start: Start) -> Result<Start> {
        let failed = |error: Error| {
            let exit = if error.exit() == Exit::Credentials {
                Exit::Credentials
            } else {
                Exit::Unavailable
            };
            Error::new(
                exit,
                format!(
                    "the ledger of `{}` can't be written, so nothing was applied",
                    self.environment
                ),
            )
            .why(error)
        };
        encoded(&start)?;
        start.number = self.newest_number().await.map_err(failed)? + 1;
        for _ in 0..TRIES {
            let key = self.key(start.number, "start");
            match self.put(&key, &start).await.map_err(failed)? {
                Put::Created => return Ok(start),
                Put::Exists => start.number += 1,
            }
        }
        Err(failed(Error::new(
            Exit::Unavailable,
            format!("{TRIES} other runs got ahead of this one"),
        )))
    }

    /// Writes the end entry of `start`. The first end counts; a second is not written. Of a long reason the beginning is kept.
    pub(crate) async fn end(&self, end: &End) -> Result<()> {
        let mut end = end.clone();
        if let Some(reason) = &mut end.reason {
            reason.truncate(reason.floor_char_boundary(REASON_LIMIT));
        }
        self.put(&self.key(end.number, "end"), &end).await.map(drop)
    }

    /// Reads back to the newest deploy or destroy that succeeded.
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

    /// The newest entries, newest first, at most so many; and whether there are older ones. Reads no page more than it needs.
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

    /// The newest run of which that is true. Reads back to it.
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

    /// The newest of so many runs of which that is true. Reads no entry more than it needs, and one page of names.
    pub(crate) async fn find_recent(
        &self,
        at_most: usize,
        is_wanted: impl Fn(&Start) -> bool,
    ) -> Result<Option<Entry>> {
        let listed = self.store.list(&self.prefix, None, PAGE).await?;
        let named =
            listed.iter().filter_map(|it| Some((it.key.as_str(), self.number_and_kind(&it.key)?)));
        // `end` sorts before `start`.
        let mut ended = None;
        let mut looked_at = 0;
        for (key, (number, kind)) in named {
            if kind == "end" {
                ended = Some((number, key));
                continue;
            }
            let start = self.get::<Start>(key).await?;
            if is_wanted(&start) {
                let end = match ended.filter(|(of, _)| *of == number) {
                    Some((_, key)) => Some(self.get::<End>(key).await?),
                    None => None,
                };
                return Ok(Some(Entry { start, end }));
            }
            looked_at += 1;
            if looked_at == at_most {
                break;
            }
        }
        Ok(None)
    }

    /// A page of entries, newest first, and the key to go on after; None at the end of the ledger.
    async fn page(&self, after: Option<&str>) -> Result<(Vec<Entry>, Option<String>)> {
        let listed = self.store.list(&self.prefix, after, PAGE).await?;
        let mut keys: Vec<String> = listed.into_iter().map(|listed| listed.key).collect();
        let is_last = keys.len() < PAGE;
        // `end` sorts before `start`: a page that stops between the two would show a finished run as unfinished.
        if !is_last && keys.last().is_some_and(|key| key.ends_with(".end.json")) {
            keys.pop();
        }
        let mut ends = BTreeMap::new();
        let mut entries = Vec::new();
        for key in &keys {
            let Some((number, kind)) = self.number_and_kind(key) else { continue };
            match kind {
                "end" => {
                    ends.insert(number, self.get::<End>(key).await?);
                }
                _ => entries.push(Entry {
                    start: self.get::<Start>(key).await?,
                    end: ends.remove(&number),
                }),
            }
        }
        Ok((entries, keys.pop().filter(|_| !is_last)))
    }

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

    async fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let place = self.store.describe(key);
        let bytes = self.store.get(key, ENTRY_LIMIT).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::integrity(format!("the ledger entry `{place}` is gone"))
                .hint("the ledger is append-only: restore it")
        })?;
        let damaged = |error| {
            Error::integrity(format!("the ledger entry `{place}` can't be read"))
                .why(error)
                .hint("restore it from a backup or an older version of the object")
        };
        let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
        if head.format > FORMAT {
            return Err(Error::input(format!(
                "the ledger entry `{place}` has format {}, this cdflow knows {FORMAT}",
                head.format
            ))
            .hint("update cdflow: a newer one has deployed here"));
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }
}

/// An entry that is too large could not be read again, and with it the environment's whole past.
fn encoded(entry: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec_pretty(entry)
        .map_err(|error| Error::internal("a ledger entry can't be made").why(error))?;
    match bytes.len() as u64 > ENTRY_LIMIT {
        true => Err(Error::input("the ledger's entry of this run would be too large")
            .why(format!("it has {} bytes, and {ENTRY_LIMIT} are the limit", bytes.len()))
            .hint("give fewer addresses (`target`, `allow-destroy`)")
            .hint("if a label allows so many: deploy in parts, by `target`")),
        false => Ok(bytes),
    }
}

impl Start {
    /// Everything but the number, which the ledger gives.
    pub(crate) const UNNUMBERED: u64 = 0;
    pub(crate) const FORMAT: u32 = FORMAT;
}

impl Record {
    /// The release that stands there: the last that was deployed with success and not destroyed since; if there is none, the
    /// last whose deploy was tried, because it may have made resources.
    pub(crate) fn deployed(&self) -> Option<&Start> {
        match &self.settled {
            Some(entry) if entry.start.action == Action::Deploy => Some(&entry.start),
            _ => self
                .unsettled
                .iter()
                .map(|entry| &entry.start)
                .find(|start| start.action == Action::Deploy),
        }
    }

    /// What runs since the last one that succeeded, and that one, were allowed to destroy.
    pub(crate) fn allowed_before(&self) -> impl Iterator<Item = &String> {
        self.unsettled.iter().chain(&self.settled).flat_map(|entry| &entry.start.allowed_destroy)
    }

    /// The number of the newest deploy or destroy; 0 where there was none.
    pub(crate) fn newest(&self) -> u64 {
        self.unsettled
            .iter()
            .chain(&self.settled)
            .map(|entry| entry.start.number)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn is_destroyed(&self) -> bool {
        self.settled.as_ref().is_some_and(|entry| entry.start.action == Action::Destroy)
    }

    /// Whether the newest run that succeeded left something there.
    pub(crate) fn is_deployed(&self) -> bool {
        self.settled.as_ref().is_some_and(|entry| entry.start.action == Action::Deploy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::Layout;
    use crate::services::store::DirectoryStore;

    fn store(folder: &tempfile::TempDir) -> ReleaseStore {
        ReleaseStore::Directory(DirectoryStore::new(folder.path().to_owned()))
    }

    fn identity() -> Identity {
        Identity {
            team: "t".parse().unwrap(),
            component: "c".parse().unwrap(),
            layout: Layout::ByTeam,
        }
    }

    fn start(action: Action, version: &str) -> Start {
        Start {
            format: FORMAT,
            number: Start::UNNUMBERED,
            action,
            targets: Vec::new(),
            allowed_destroy: Vec::new(),
            allowed_by: None,
            version: version.parse().unwrap(),
            preview: None,
            pull_request: None,
            bundle_digest: Some(Sha256::of(b"x")),
            account: None,
            region: "local".into(),
            plan: Counts::default(),
            terraform: "terraform 1.11.4".into(),
            cdflow: "0.1.0".into(),
            actor: None,
            run_url: None,
            started: Timestamp::UNIX_EPOCH,
        }
    }

    fn end(number: u64, outcome: Outcome) -> End {
        End {
            format: FORMAT,
            number,
            outcome,
            state_serial: None,
            state_lineage: None,
            reason: None,
            finished: Timestamp::UNIX_EPOCH,
        }
    }

    async fn run(ledger: &Ledger<'_>, action: Action, version: &str, outcome: Option<Outcome>) {
        let started = ledger.start(start(action, version)).await.unwrap();
        if let Some(outcome) = outcome {
            ledger.end(&end(started.number, outcome)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_past_is_read_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
        assert_eq!(ledger.record().await.unwrap(), Record { settled: None, unsettled: vec![] });
        run(&ledger, Action::Deploy, "1", Some(Outcome::Succeeded)).await;
        for _ in 0..60 {
            run(&ledger, Action::Deploy, "2", Some(Outcome::Failed)).await;
        }
        run(&ledger, Action::Refresh, "2", Some(Outcome::Succeeded)).await;
        run(&ledger, Action::Deploy, "3", None).await;
        let record = ledger.record().await.unwrap();
        assert_eq!(record.settled.as_ref().unwrap().start.number, 1);
        assert_eq!((record.unsettled.len(), record.unsettled[0].start.number), (61, 63));
        assert!(
            record.unsettled[0].end.is_none()
                && record.unsettled[1..].iter().all(|entry| entry.end.is_some())
        );
        assert_eq!(record.deployed().unwrap().version.as_str(), "1");
        run(&ledger, Action::Destroy, "1", Some(Outcome::Succeeded)).await;
        let record = ledger.record().await.unwrap();
        assert!(record.deployed().is_none() && !record.is_deployed());
        run(&ledger, Action::Deploy, "4", Some(Outcome::Failed)).await;
        assert_eq!(ledger.record().await.unwrap().deployed().unwrap().version.as_str(), "4");
        let names = Ledger::environments(&store, &identity()).await.unwrap();
        assert_eq!(names, ["live".parse().unwrap()]);
    }

    #[tokio::test]
    async fn the_newest_are_read_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
        assert_eq!(ledger.newest(20).await.unwrap(), (vec![], false));
        for number in 1..=50 {
            let outcome = (number % 7 != 0).then_some(Outcome::Succeeded);
            run(&ledger, Action::Deploy, &number.to_string(), outcome).await;
        }
        let numbers = async |at_most| {
            let (entries, more) = ledger.newest(at_most).await.unwrap();
            assert!(
                entries.iter().all(|entry| entry.end.is_some() == (entry.start.number % 7 != 0))
            );
            (entries.iter().map(|entry| entry.start.number).collect::<Vec<_>>(), more)
        };
        assert_eq!(numbers(20).await, ((31..=50).rev().collect(), true));
        assert_eq!(numbers(49).await, ((2..=50).rev().collect(), true));
        assert_eq!(numbers(50).await, ((1..=50).rev().collect(), false));
        assert_eq!(numbers(usize::MAX).await, ((1..=50).rev().collect(), false));
        // What is older than the page is not even looked at.
        std::fs::write(folder.path().join("t/c/ledger/live/9999999998.start.json"), "damaged")
            .unwrap();
        assert!(numbers(20).await.1);
        ledger.newest(50).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_recent_run_is_found_among_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
        assert_eq!(ledger.find_recent(5, |_| true).await.unwrap(), None);
        for number in 1..=30 {
            let pull_request =
                Some(ForPullRequest { repository: 1, number: number % 3, run: number, attempt: 1 });
            let started =
                ledger.start(Start { pull_request, ..start(Action::Deploy, "1") }).await.unwrap();
            if number != 29 {
                ledger.end(&end(started.number, Outcome::Failed)).await.unwrap();
            }
        }
        let found = async |at_most, of| {
            let is_wanted =
                |start: &Start| start.pull_request.as_ref().is_some_and(|it| it.number == of);
            ledger
                .find_recent(at_most, is_wanted)
                .await
                .unwrap()
                .map(|entry| (entry.start.number, entry.end.is_some()))
        };
        assert_eq!(found(5, 0).await, Some((30, true)));
        assert_eq!(found(5, 2).await, Some((29, false)));
        assert_eq!(found(5, 1).await, Some((28, true)));
        assert_eq!(found(2, 1).await, None);
        assert_eq!(found(usize::MAX, 4).await, None);
        // What an older cdflow wrote.
        let file = folder.path().join("t/c/ledger/live/9999999969.start.json");
        let mut entry: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        entry.as_object_mut().unwrap().remove("pull_request");
        std::fs::write(&file, entry.to_string()).unwrap();
        assert_eq!(found(5, 0).await, Some((27, true)));
    }

    #[tokio::test]
    async fn no_entry_is_too_large_to_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
        let many = Start { targets: vec!["\"".repeat(100); 1000], ..start(Action::Deploy, "1") };
        let refused = ledger.start(many).await.unwrap_err();
        assert!(
            refused.exit() == Exit::Input && refused.to_string().contains("fewer addresses"),
            "{refused}"
        );
        let started = ledger.start(start(Action::Deploy, "1")).await.unwrap();
        for long in ["\u{1b}".repeat(1 << 20), "ä".repeat(1 << 20)] {
            let number = started.number;
            ledger.end(&End { reason: Some(long), ..end(number, Outcome::Failed) }).await.unwrap();
        }
        let record = ledger.record().await.unwrap();
        assert!(record.unsettled[0].end.as_ref().unwrap().reason.as_ref().unwrap().len() > 1000);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn fifty_writers_leave_fifty_entries() {
        let folder = tempfile::tempdir().unwrap();
        let store = std::sync::Arc::new(store(&folder));
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let store = store.clone();
            writers.spawn(async move {
                let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
                ledger.start(start(Action::Deploy, "1")).await.unwrap().number
            });
        }
        let mut numbers = writers.join_all().await;
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn damaged_and_newer_entries_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
        run(&ledger, Action::Deploy, "1", None).await;
        let file = folder.path().join("t/c/ledger/live/9999999998.start.json");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, &text[..40]).unwrap();
        let error = ledger.record().await.unwrap_err();
        assert!(
            error.exit() == Exit::Integrity && error.to_string().contains("9999999998.start.json"),
            "{error}"
        );
        std::fs::write(&file, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
        assert!(ledger.record().await.unwrap_err().to_string().contains("update cdflow"));
    }
}
