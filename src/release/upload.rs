//! Uploads a file to a store. A signal cancels the upload and leaves no partial object behind; then
//! the store is asked whether the object exists.

use std::{path::Path, time::Duration};

use tokio::time::timeout;

use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
    },
    services::{
        ci::host::Host,
        store::{
            Content, Metadata, ObjectInfo, Put, ReleaseStore,
            composed::{Composed, ComposedPut},
        },
    },
};

/// How the last request of an upload ended.
enum Last {
    /// The store answered it, or it was never sent.
    Answered,
    /// It might still be carried out.
    Open,
}

/// Whether the object is in the store.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is there, with the metadata of our own.
    Written,
    /// Another run has written it.
    Theirs,
    Absent,
    /// It cannot be known, for this reason.
    Unknown(String),
}

/// Creates the object `key`; an existing one is left as it is. `size` is in bytes.
///
/// After a signal, or if an answer was lost, this succeeds if the object was written. Otherwise the
/// error says that it was not, or that this is unknown.
pub(crate) async fn upload(
    host: &Host,
    store: &ReleaseStore,
    key: &str,
    file: &Path,
    size: u64,
    metadata: &Metadata,
) -> Result<Put> {
    let progress = host.log.progress("uploading", size);
    let advance = |bytes| progress.advance(bytes);
    let content = Content::File(file);
    let putting = async {
        let put = store.put_until(key, content, metadata, &advance, &host.interrupt).await?;
        Ok(ComposedPut::Put(put))
    };
    match finish(host, store, key, metadata, putting).await? {
        ComposedPut::Put(put) => Ok(put),
        ComposedPut::NotCopied(why) => Err(Error::internal(why)),
    }
}

/// Like [`upload`], for an object of which other objects have some bytes.
pub(crate) async fn upload_composed(
    host: &Host,
    store: &ReleaseStore,
    key: &str,
    content: Composed,
    metadata: &Metadata,
) -> Result<ComposedPut> {
    if content.copies.is_empty() {
        let put = upload(host, store, key, &content.file, content.size(), metadata).await?;
        return Ok(ComposedPut::Put(put));
    }
    let progress = host.log.progress("uploading", content.size() - content.copied());
    let advance = |bytes| progress.advance(bytes);
    let putting = store.put_composed(key, content, metadata, &advance, &host.interrupt);
    finish(host, store, key, metadata, putting).await
}

/// Waits for an upload, or for the end of a cancelled one.
async fn finish(
    host: &Host,
    store: &ReleaseStore,
    key: &str,
    metadata: &Metadata,
    putting: impl Future<Output = Result<ComposedPut>>,
) -> Result<ComposedPut> {
    let interrupt = &host.interrupt;
    let ended = tokio::select! {
        put = putting => Some(put),
        _ = interrupt.last_answer() => None,
    };
    let cancelled = interrupt.requested();
    let last = match &ended {
        Some(Ok(created @ ComposedPut::Put(Put::Created))) => return Ok(created.clone()),
        Some(Ok(put)) if cancelled.is_none() => return Ok(put.clone()),
        Some(Err(error)) if error.exit() == Exit::Unavailable => Last::Open,
        Some(_) => Last::Answered,
        None => Last::Open,
    };
    if ended.is_some() && cancelled.is_some() {
        // At once: nothing of this store is running any more.
        if let Err(partial) = store.settle().await {
            host.log.warning(&partial.to_string());
        }
    }
    let error = match (ended.and_then(Result::err), cancelled) {
        (Some(error), None) if matches!(last, Last::Answered) => return Err(error),
        (error, _) => error,
    };
    let patience = interrupt.at_most(Limit::End);
    match (ask(store, key, metadata, &last, patience).await, cancelled) {
        (Fate::Written, _) => Ok(ComposedPut::Put(Put::Created)),
        (Fate::Theirs, None) => Ok(ComposedPut::Put(Put::Exists)),
        (fate, Some(exit)) => Err(stopped(&store.describe(key), fate, exit)),
        (fate, None) => Err(lost(&store.describe(key), &fate, error)),
    }
}

/// Asks the store, which has little time to answer.
async fn ask(
    store: &ReleaseStore,
    key: &str,
    metadata: &Metadata,
    last: &Last,
    (time, limit): (Duration, Limit),
) -> Fate {
    let unanswered = || Fate::Unknown(limit.passed("the store does not answer"));
    match (timeout(time, store.head(key)).await, last) {
        (Ok(Ok(Some(found))), _) => match is_ours(&found, metadata) {
            Some(true) => Fate::Written,
            Some(false) => Fate::Theirs,
            None => Fate::Unknown("an object exists, but it has no metadata to compare".to_owned()),
        },
        (_, Last::Answered) => Fate::Absent,
        (Ok(Ok(None)), Last::Open) => Fate::Unknown(
            "the store did not answer the last request, and had no such object afterwards"
                .to_owned(),
        ),
        (Ok(Err(error)), Last::Open) => Fate::Unknown(error.story()),
        (Err(_), Last::Open) => unanswered(),
    }
}

/// None if the store keeps no metadata.
fn is_ours(found: &ObjectInfo, metadata: &Metadata) -> Option<bool> {
    let has_metadata = !found.metadata.0.is_empty() || found.etag.is_some();
    has_metadata
        .then(|| metadata.0.iter().all(|(key, value)| found.metadata.0.get(key) == Some(value)))
}

fn stopped(object: &str, fate: Fate, exit: Exit) -> Error {
    match fate {
        Fate::Unknown(why) => Error::new(
            exit,
            format!("upload of {object} cancelled: whether it is published is unknown"),
        )
        .why(why)
        .hint(AGAIN),
        _ => Error::new(exit, format!("upload of {object} cancelled: it is not published")),
    }
}

fn lost(object: &str, fate: &Fate, error: Option<Error>) -> Error {
    let error = error
        .unwrap_or_else(|| Error::new(Exit::Unavailable, format!("{object} can't be written")));
    match fate {
        Fate::Unknown(why) => {
            error.hint(format!("do not assume that {object} is not published: {why}")).hint(AGAIN)
        }
        _ => error,
    }
}

const AGAIN: &str =
    "run the release again: it publishes the version, or finds it published from the same sources";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        services::store::testing::{Fault, bucket, proxy, store},
    };

    fn patience() -> (Duration, Limit) {
        Interrupt::never().at_most(Limit::End)
    }

    fn metadata(digest: &str) -> Metadata {
        Metadata([("cdflow-bundle-digest".to_owned(), digest.to_owned())].into())
    }

    #[tokio::test]
    async fn the_fate_of_an_object() {
        let own = bucket().await;
        let direct = ReleaseStore::S3(own.clone());
        let content = Content::Bytes(b"one".to_vec());
        direct.put_new("a", content, &metadata("1"), &|_| {}).await.unwrap();
        assert_eq!(ask(&direct, "a", &metadata("1"), &Last::Open, patience()).await, Fate::Written);
        assert_eq!(ask(&direct, "a", &metadata("2"), &Last::Open, patience()).await, Fate::Theirs);
        assert_eq!(
            ask(&direct, "b", &metadata("1"), &Last::Answered, patience()).await,
            Fate::Absent
        );
        let unknown = ask(&direct, "b", &metadata("1"), &Last::Open, patience()).await;
        assert!(matches!(&unknown, Fate::Unknown(why) if why.contains("had no such object")));
        // A store that never answers.
        let silent = proxy(|_| Fault::Hang).await;
        let silent = ReleaseStore::S3(store(&silent, &own.bucket.name, None));
        let began = std::time::Instant::now();
        let unknown = ask(&silent, "a", &metadata("1"), &Last::Open, patience()).await;
        let text = stopped("s3://b/a", unknown, Exit::Interrupted).to_string();
        assert!(text.contains("whether it is published is unknown: the store does not"), "{text}");
        assert!(text.contains("(the limit `end`)"), "{text}");
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
        assert_eq!(
            ask(&silent, "a", &metadata("1"), &Last::Answered, patience()).await,
            Fate::Absent
        );
    }
}
