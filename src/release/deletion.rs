//! The mark of a release that is about to be deleted.
//!
//! A deletion and a deploy of the same release can run at the same time. Neither may end with a
//! deployed release without a bundle. So both announce first and look second: the deletion
//! writes a mark and then reads the ledgers; the deploy writes its start entry and then looks for
//! the mark. The store shows every write to every later read, so at least one of them sees the
//! other: a deletion that sees the start keeps the release, and a deploy that sees the mark, or no
//! bundle, stops before the apply.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    base::error::{Error, Result},
    config::identity::Release,
    services::store::{Content, Metadata, ReleaseStore},
};

/// How long after its mark a release may be deleted.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The age at which a mark is the rest of a run that died. Twice the limit, because the two times
/// are of different moments.
const DEAD_AFTER: SignedDuration = SignedDuration::from_mins(60);

/// Marks `release`. The mark of another run is as good: both read the ledgers after it.
pub(crate) async fn mark(store: &ReleaseStore, release: &Release, by: &str) -> Result<()> {
    let content = Content::Bytes(format!("{by}\n").into_bytes());
    store.put_new(&release.deletion_key(), content, &Metadata::default(), &|_| {}).await.map(drop)
}

pub(crate) async fn unmark(store: &ReleaseStore, release: &Release) -> Result<()> {
    store.delete(&release.deletion_key()).await
}

/// Fails if `release` was deleted or is marked. `start` is the key of the deploy's start entry, by
/// which the age of the mark is judged.
pub(crate) async fn check_kept(store: &ReleaseStore, release: &Release, start: &str) -> Result<()> {
    let (key, mark_key) = (release.key(), release.deletion_key());
    let (bundle, mark) = tokio::try_join!(store.head(&key), store.head(&mark_key))?;
    if bundle.is_none() {
        return Err(Error::input(format!(
            "release {} was deleted while this deploy prepared it",
            release.version
        ))
        .why(format!("{} is missing, so nothing was applied", store.describe(&key)))
        .hint("release this source again, and deploy that version"));
    }
    let Some(mark) = mark else { return Ok(()) };
    let started = store.head(start).await?.and_then(|found| found.modified);
    let age = started.zip(mark.modified).map(|(started, marked)| started.duration_since(marked));
    if age.is_some_and(|age| age > DEAD_AFTER) {
        return Ok(());
    }
    Err(Error::input(format!(
        "release {} is being deleted, so nothing was applied",
        release.version
    ))
    .why(format!("{} says so", store.describe(&mark_key)))
    .hint("wait until the deletion is over; if it has kept the release, deploy again"))
}
