//! Download of an object, or of parts of it: ranges side by side, one writer, and a file that
//! appears only when it is complete.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::client::{RETRY, S3Store, length, reading};
use crate::{
    base::{
        error::{Error, Result, chain},
        limits::Limit,
    },
    services::store::{ObjectInfo, ProgressFn, partial_file},
};

const RANGE: u64 = 8 << 20;
const IN_FLIGHT: usize = 8;
/// Pieces (at most some 400 KiB each) that wait for the disk; beyond that the network waits.
const QUEUE: usize = 16;

type Piece = (u64, Bytes);

/// These ranges of `found` in a new file `to` of its size. Where there is one already, nothing is
/// replaced and it is an error.
pub(crate) async fn ranges(
    store: &S3Store,
    key: &str,
    found: &ObjectInfo,
    wanted: &[Range<u64>],
    to: &Path,
    progress: ProgressFn<'_>,
) -> Result<()> {
    let partial = partial_file::create(to, found.size).await?;
    let file = partial.reopen().map_err(|error| Error::io("can't write", to, &error))?;
    let (sink, pieces) = mpsc::channel(QUEUE);
    // One writer: two threads in one file would only wait for each other's lock.
    let writer = tokio::task::spawn_blocking(move || write(&file, pieces));
    let received = receive(store, key, found, wanted, sink, progress).await;
    let written = writer.await.map_err(|error| Error::internal("a file task failed").why(error))?;
    written.map_err(|error| Error::io("can't write", to, &error))?;
    received?;
    partial_file::keep(partial, to).await
}

fn write(file: &File, mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
    while let Some((at, bytes)) = pieces.blocking_recv() {
        file.write_all_at(&bytes, at)?;
    }
    Ok(())
}

async fn receive(
    store: &S3Store,
    key: &str,
    found: &ObjectInfo,
    wanted: &[Range<u64>],
    sink: mpsc::Sender<Piece>,
    progress: ProgressFn<'_>,
) -> Result<()> {
    let requests = wanted.iter().flat_map(|range| {
        let count = range.end.saturating_sub(range.start).div_ceil(RANGE);
        let starts = (0..count).map(|n| range.start + n * RANGE);
        starts.map(|start| start..range.end.min(start + RANGE))
    });
    let receiving = requests.map(|range| receive_range(store, key, found, range, &sink, progress));
    stream::iter(receiving).buffer_unordered(IN_FLIGHT).try_collect().await
}

async fn receive_range(
    store: &S3Store,
    key: &str,
    found: &ObjectInfo,
    range: Range<u64>,
    sink: &mpsc::Sender<Piece>,
    progress: ProgressFn<'_>,
) -> Result<()> {
    let mut at = range.start;
    let mut attempts = RETRY.within(Limit::AwsPatience.time());
    let cut = loop {
        match receive_once(store, key, found, &mut at, range.end, sink, progress).await? {
            None => return Ok(()),
            Some(why) if !attempts.again().await => break why,
            // The next attempt goes on where this one was cut.
            Some(_) => {}
        }
    };
    let (got, wanted, start) = (at - range.start, range.end - range.start, range.start);
    Err(store.cut(key, format!("got {got} of {wanted} bytes from byte {start} on{cut}"), &attempts))
}

/// Moves `at` on by what arrives. Some(why) when the body ends before `end`.
async fn receive_once(
    store: &S3Store,
    key: &str,
    found: &ObjectInfo,
    at: &mut u64,
    end: u64,
    sink: &mpsc::Sender<Piece>,
    progress: ProgressFn<'_>,
) -> Result<Option<String>> {
    let mut answer =
        match store.open(key, Some(format!("bytes={at}-{}", end - 1)), found.etag.clone()).await {
            Ok(answer) => answer,
            Err(failure) => match failure.code() {
                Some("PreconditionFailed" | "NoSuchKey" | "InvalidRange") => {
                    return Err(changed(store, key));
                }
                _ => return Err(store.failed(reading(store, key), failure).await),
            },
        };
    if length(&answer) != end - *at {
        return Err(changed(store, key));
    }
    while *at < end {
        let bytes = match answer.body.next().await {
            Some(Ok(bytes)) if bytes.len() as u64 <= end - *at => bytes,
            Some(Ok(_)) => return Err(changed(store, key)),
            Some(Err(error)) => return Ok(Some(format!(": {}", chain(&error)))),
            None => return Ok(Some(String::new())),
        };
        let len = bytes.len() as u64;
        if sink.send((*at, bytes)).await.is_err() {
            // The writer stopped, and `ranges` will report why; its words must not be drowned by
            // ours.
            return Err(Error::internal(reading(store, key)).why("the file can't be written"));
        }
        *at += len;
        progress(len);
    }
    Ok(None)
}

fn changed(store: &S3Store, key: &str) -> Error {
    super::super::changed(&store.describe(key))
}
