//! Download of parts of objects: ranges side by side, one writer, and a file that appears only when
//! it is complete.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::client::{RETRY, S3Store, length, reading};
use crate::{
    base::{
        error::{Error, Result, chain},
        limits::Limit,
    },
    services::store::{ObjectPart, ProgressFn, partial_file},
};

const RANGE: u64 = 8 << 20;
const IN_FLIGHT: usize = 8;
/// Pieces (at most some 400 KiB each) that wait for the disk; beyond that the network waits.
const QUEUE: usize = 16;

type Piece = (u64, Bytes);

/// Writes these parts to the new file `to` of `size` bytes. Fails if `to` exists.
pub(crate) async fn parts(
    store: &S3Store,
    wanted: &[ObjectPart<'_>],
    size: u64,
    to: &Path,
    progress: ProgressFn<'_>,
) -> Result<()> {
    let partial = partial_file::create(to, size).await?;
    let file = partial.reopen().map_err(|error| Error::io("can't write", to, &error))?;
    let (sink, pieces) = mpsc::channel(QUEUE);
    // One writer: two threads in one file would only wait for each other's lock.
    let writer = tokio::task::spawn_blocking(move || write(&file, pieces));
    let received = receive(store, wanted, sink, progress).await;
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
    wanted: &[ObjectPart<'_>],
    sink: mpsc::Sender<Piece>,
    progress: ProgressFn<'_>,
) -> Result<()> {
    let requests = wanted.iter().flat_map(|part| {
        let range = &part.range;
        let count = range.end.saturating_sub(range.start).div_ceil(RANGE);
        let starts = (0..count).map(|n| range.start + n * RANGE);
        starts.map(|start| ObjectPart {
            range: start..range.end.min(start + RANGE),
            at: part.at + (start - range.start),
            ..*part
        })
    });
    let receiving = requests.map(|part| receive_part(store, part, &sink, progress));
    stream::iter(receiving).buffer_unordered(IN_FLIGHT).try_collect().await
}

async fn receive_part(
    store: &S3Store,
    part: ObjectPart<'_>,
    sink: &mpsc::Sender<Piece>,
    progress: ProgressFn<'_>,
) -> Result<()> {
    let ObjectPart { key, range, .. } = &part;
    let mut at = range.start;
    let mut attempts = RETRY.within(Limit::AwsPatience.time());
    let cut = loop {
        match receive_once(store, &part, &mut at, sink, progress).await? {
            None => return Ok(()),
            Some(why) if !attempts.again().await => break why,
            // The next attempt goes on where this one was cut.
            Some(_) => {}
        }
    };
    let (got, wanted, start) = (at - range.start, range.end - range.start, range.start);
    Err(store.cut(key, format!("got {got} of {wanted} bytes from byte {start} on{cut}"), &attempts))
}

/// Moves `at`, an offset in the object, on by what arrives. Some(why) when the body ends before the
/// part.
async fn receive_once(
    store: &S3Store,
    part: &ObjectPart<'_>,
    at: &mut u64,
    sink: &mpsc::Sender<Piece>,
    progress: ProgressFn<'_>,
) -> Result<Option<String>> {
    let ObjectPart { key, found, range, at: to } = part;
    let end = range.end;
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
        if sink.send((to + (*at - range.start), bytes)).await.is_err() {
            // The writer stopped, and `parts` will report why; its words must not be drowned by
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
