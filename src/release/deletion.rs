//! The mark of a release that is about to be deleted.
//!
//! A deletion and a deploy of the same release can run at the same time. Neither may end with a
//! deployed release without a bundle. So both announce first and look second: the deletion
//! writes a mark and then reads the ledgers; the deploy writes its start entry and then looks for
//! the mark. The store shows every write to every later read, so at least one of them sees the
//! other: a deletion that sees the start keeps the release, and a deploy that sees the mark, or no
//! bundle, stops before the apply.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    base::{
        error::{Error, Result},
        printable,
        redact::Secret,
    },
    config::identity::Release,
    services::store::{Content, Metadata, Put, ReleaseStore},
};

/// How long after its mark a release may be deleted.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The age at which a mark is the rest of a run that died. Twice the limit, because the two times
/// are of different moments.
const DEAD_AFTER: SignedDuration = SignedDuration::from_mins(60);

/// In bytes: a mark is one line.
const MARK_LIMIT: u64 = 4096;

/// A mark that counts.
struct Mark {
    /// The run that made it.
    by: String,
    since: Timestamp,
}

/// Marks `release`. False: another run is deleting it. The mark of a run that died is replaced.
pub(crate) async fn mark(store: &ReleaseStore, release: &Release, by: &str) -> Result<bool> {
    let token = Secret::random()
        .map_err(|error| Error::internal("cannot get random bytes from the system").why(error))?;
    let ours = format!("{by}\n{}\n", token.expose()).into_bytes();
    let key = release.deletion_key();
    let create = || async {
        let content = Content::Bytes(ours.clone());
        match store.put_new(&key, content, &Metadata::default(), &|_| {}).await? {
            Put::Created => Ok::<bool, Error>(true),
            // It is ours if the answer to the first attempt was lost.
            Put::Exists => Ok(store.get(&key, MARK_LIMIT).await?.is_some_and(|it| it == ours)),
        }
    };
    if create().await? {
        return Ok(true);
    }
    let marked = store.head(&key).await?.and_then(|found| found.modified);
    match marked {
        Some(marked) if counts(marked, Timestamp::now()) => Ok(false),
        _ => {
            store.delete(&key).await?;
            create().await
        }
    }
}

pub(crate) async fn unmark(store: &ReleaseStore, release: &Release) -> Result<()> {
    store.delete(&release.deletion_key()).await
}

/// Fails if `release` was deleted or is marked. `start` is the key of the deploy's start entry, by
/// which the age of the mark is judged.
pub(crate) async fn check_kept(store: &ReleaseStore, release: &Release, start: &str) -> Result<()> {
    let (key, mark_key) = (release.key(), release.deletion_key());
    // The bundle last: a deletion removes its mark after the bundle.
    if let Some(marked) = store.head(&mark_key).await?.and_then(|found| found.modified) {
        let started = store.head(start).await?.and_then(|found| found.modified);
        if let Some(mark) = read(store, &mark_key, marked, started.unwrap_or(marked)).await? {
            return Err(Error::input(format!(
                "release {} is being deleted, so nothing was applied",
                release.version
            ))
            .why(format!("found the mark {}: {}", store.describe(&mark_key), mark.text()))
            .hint("wait until the deletion is over; if it has kept the release, deploy again")
            .hint(format!("if that run was killed, deploy again after {}", mark.until())));
        }
    }
    if store.head(&key).await?.is_none() {
        return Err(Error::input(format!(
            "release {} was deleted while this deploy prepared it",
            release.version
        ))
        .why(format!("{} is missing, so nothing was applied", store.describe(&key)))
        .hint("release this source again, and deploy that version"));
    }
    Ok(())
}

/// Returns a warning if deploys of `release` are refused because of a mark.
pub(crate) async fn warning(store: &ReleaseStore, release: &Release) -> Result<Option<String>> {
    let key = release.deletion_key();
    let Some(marked) = store.head(&key).await?.and_then(|found| found.modified) else {
        return Ok(None);
    };
    let mark = read(store, &key, marked, Timestamp::now()).await?;
    Ok(mark.map(|mark| {
        format!(
            "release {} is marked for deletion: {}; deploys of it are refused until {}, or until \
             that run ends",
            release.version,
            mark.text(),
            mark.until()
        )
    }))
}

/// None if the mark does not count at `now`: a run that died has left it, or its time is wrong.
async fn read(
    store: &ReleaseStore,
    key: &str,
    marked: Timestamp,
    now: Timestamp,
) -> Result<Option<Mark>> {
    if !counts(marked, now) {
        return Ok(None);
    }
    // None: the deletion is over meanwhile.
    let Some(bytes) = store.get(key, MARK_LIMIT).await? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let by = printable::line(text.lines().next().unwrap_or_default());
    Ok(Some(Mark { by, since: marked }))
}

pub(crate) fn counts(marked: Timestamp, now: Timestamp) -> bool {
    now.duration_since(marked).abs() <= DEAD_AFTER
}

/// Whether the run that made a mark at `marked` has died.
pub(crate) fn is_dead(marked: Timestamp, now: Timestamp) -> bool {
    !counts(marked, now)
}

impl Mark {
    fn text(&self) -> String {
        format!("{} marked it at {}", self.by, shown(self.since))
    }

    fn until(&self) -> String {
        shown(self.since.saturating_add(DEAD_AFTER).unwrap_or(Timestamp::MAX))
    }
}

fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
