//! Upload in parts: a few in flight, one checksum over the whole object, and nothing left behind
//! when it ends early.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    body::{UploadBody, base64_crc},
    client::{RETRY, S3Store, map, patience, writing},
    copy::{CopiedPart, PartError, copy_part, gather},
    part::{Part, whole},
    pieces::{Piece, Slice, of_content, of_stretches},
};
use crate::{
    base::{
        blocking::blocking,
        crc64::Crc64,
        error::{Error, Exit, Result},
        retry::Retry,
    },
    services::{
        aws::failure::Failure,
        store::{
            Metadata, Put,
            background::Caller,
            composed::{Composed, ComposedPut},
        },
    },
};

/// Parts that are sent or copied at once.
const IN_FLIGHT: usize = 4;
/// Aborts of one upload, at most.
const ABORTS: u32 = 3;
/// The age of an upload that no run continues, in seconds. The lifecycle rule of docs/aws.md has
/// the same.
const ABANDONED: i64 = 24 * 60 * 60;
/// Abandoned uploads of other keys that one run aborts, at most.
const MOST_ABANDONED: usize = 20;

/// The bytes of an object, and how they become parts.
pub(crate) struct UploadSource {
    content: UploadBody,
    pieces: Vec<Piece>,
    /// Of the whole object; known before the upload only if bytes are copied.
    checksum: Option<Crc64>,
}

impl UploadSource {
    pub(crate) fn content(content: UploadBody) -> Self {
        let pieces = of_content(content.size());
        Self { content, pieces, checksum: None }
    }

    pub(crate) fn composed(content: UploadBody, composed: &Composed) -> Self {
        let pieces = of_stretches(composed.size(), composed.stretches());
        Self { content, pieces, checksum: Some(composed.checksum) }
    }
}

/// The result of one upload without an error.
enum UploadOutcome {
    Put(ComposedPut),
    /// Another write of the same key was in progress: start again.
    Conflict(Failure),
}

/// One open upload.
struct Upload<'a> {
    store: &'a S3Store,
    key: &'a str,
    id: String,
}

/// Uploads `source` unless the key exists. After any failure, and if the caller is dropped, the
/// upload is aborted before this returns. One exception: if the answer with the upload's id was
/// lost, only the bucket's lifecycle rule can remove the upload.
pub(crate) async fn upload(
    store: &S3Store,
    key: &str,
    source: &UploadSource,
    metadata: &Metadata,
    caller: &Caller,
) -> Result<ComposedPut> {
    let mut attempts = RETRY.start();
    loop {
        let failure = match once(store, key, source, metadata, caller).await? {
            UploadOutcome::Put(put) => return Ok(put),
            UploadOutcome::Conflict(failure) => failure,
        };
        if store.head(key).await?.is_some() {
            return Ok(ComposedPut::Put(Put::Exists));
        }
        if caller.is_dropped() || !attempts.again().await {
            return Err(store.failed(writing(store, key), failure).await);
        }
    }
}

async fn once(
    store: &S3Store,
    key: &str,
    source: &UploadSource,
    metadata: &Metadata,
    caller: &Caller,
) -> Result<UploadOutcome> {
    // Not interrupted: an upload whose id is unknown could not be aborted.
    let upload = Upload::open(store, key, metadata).await?;
    let parts = tokio::select! {
        biased;
        () = caller.dropped() => Err(stopped(store, key).into()),
        parts = upload.send(source, caller) => parts,
    };
    let outcome = match parts {
        // Not interrupted either: the result must be known.
        Ok(parts) => upload.complete(parts, source.checksum).await,
        // Another run has written the key, and aborted what could only fail.
        Err(PartError::Failed(error))
            if error.exit() == Exit::Input && is_there(store, key).await =>
        {
            Ok(UploadOutcome::Put(ComposedPut::Put(Put::Exists)))
        }
        Err(PartError::NotCopied(_)) if is_there(store, key).await => {
            Ok(UploadOutcome::Put(ComposedPut::Put(Put::Exists)))
        }
        Err(PartError::Failed(error)) => Err(error),
        Err(PartError::NotCopied(why)) => Ok(UploadOutcome::Put(ComposedPut::NotCopied(why))),
    };
    match outcome {
        Ok(UploadOutcome::Put(ComposedPut::Put(Put::Created))) => outcome,
        other => upload.discard(other, caller).await,
    }
}

impl<'a> Upload<'a> {
    async fn open(store: &'a S3Store, key: &'a str, metadata: &Metadata) -> Result<Self> {
        let (encryption, encryption_key) = store.encryption();
        let answer = store
            .client
            .create_multipart_upload()
            .bucket(&store.bucket.name)
            .set_expected_bucket_owner(store.bucket.owner.clone())
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .set_metadata(Some(map(metadata)))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .send()
            .await;
        let answer = store.answered(answer, || writing(store, key)).await?;
        let id = answer
            .upload_id
            .ok_or_else(|| Error::internal(writing(store, key)).why("S3 gave no upload id"))?;
        Ok(Self { store, key, id })
    }

    /// All parts, in order.
    async fn send(&self, source: &UploadSource, caller: &Caller) -> Result<Vec<Part>, PartError> {
        let numbered = (1..).zip(source.pieces.clone());
        let sending =
            numbered.map(|(number, piece)| self.part(&source.content, number, piece, caller));
        let mut parts: Vec<Part> =
            stream::iter(sending).buffer_unordered(IN_FLIGHT).try_collect().await?;
        parts.sort_unstable_by_key(|part| part.number);
        Ok(parts)
    }

    async fn part(
        &self,
        content: &UploadBody,
        number: i32,
        piece: Piece,
        caller: &Caller,
    ) -> Result<Part, PartError> {
        match piece {
            Piece::Sent(slices) => self.sent(content, number, &slices, caller).await,
            Piece::Copied(range) => {
                let CopiedPart { etag, crc } =
                    copy_part(self.store, self.key, &self.id, number, &range).await?;
                Ok(Part { number, etag: Some(etag), crc, len: range.len })
            }
        }
    }

    async fn sent(
        &self,
        content: &UploadBody,
        number: i32,
        slices: &[Slice],
        caller: &Caller,
    ) -> Result<Part, PartError> {
        let (body, start) = match slices {
            [Slice::Own { at, .. }] => (content.clone(), *at),
            _ => (gather(self.store, content, slices).await?, 0),
        };
        let len = slices.iter().map(Slice::len).sum();
        let reader = body.clone();
        let crc = blocking(move || reader.crc(start, len)).await?.sum;
        let etag = self.send_part(number, body.stream(start, len).await?, len, crc).await?;
        caller.progress(len);
        Ok(Part { number, etag, crc: Some(crc), len })
    }

    async fn send_part(
        &self,
        number: i32,
        body: ByteStream,
        len: u64,
        crc: u64,
    ) -> Result<Option<String>> {
        let bucket = &self.store.bucket;
        let call = self
            .store
            .client
            .upload_part()
            .bucket(&bucket.name)
            .set_expected_bucket_owner(bucket.owner.clone())
            .key(self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_crc64_nvme(base64_crc(crc))
            .body(body)
            .customize()
            .config_override(patience(len));
        let call = if bucket.unsigned { call.disable_payload_signing() } else { call };
        let what = || format!("part {number} of {}", writing(self.store, self.key).what);
        Ok(self.store.answered(call.send().await, what).await?.e_tag)
    }

    /// Combines the parts into an object, unless the key exists. `expected` is the checksum of an
    /// object with copied parts.
    async fn complete(&self, parts: Vec<Part>, expected: Option<Crc64>) -> Result<UploadOutcome> {
        let bucket = &self.store.bucket;
        let whole = match (whole(&parts), expected) {
            (Some(whole), Some(expected)) if whole != expected => {
                return Ok(not_copied("their checksum does not match the recorded one"));
            }
            (_, Some(expected)) => expected,
            (Some(whole), None) => whole,
            (None, None) => return Err(Error::internal(writing(self.store, self.key))),
        };
        let parts = parts.into_iter().map(Part::completed).collect();
        let answer = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&bucket.name)
            .set_expected_bucket_owner(bucket.owner.clone())
            .key(self.key)
            .upload_id(&self.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .checksum_crc64_nvme(base64_crc(whole.sum))
            .checksum_type(ChecksumType::FullObject)
            .mpu_object_size(i64::try_from(whole.len).unwrap_or(i64::MAX))
            .if_none_match("*")
            .customize()
            // S3 can take minutes to combine many parts.
            .config_override(patience(0))
            .send()
            .await;
        let failure = match answer {
            Ok(_) => return Ok(UploadOutcome::Put(ComposedPut::Put(Put::Created))),
            Err(error) => Failure::of(&error),
        };
        match (failure.status(), failure.code()) {
            (Some(412), _) | (_, Some("PreconditionFailed")) => {
                Ok(UploadOutcome::Put(ComposedPut::Put(Put::Exists)))
            }
            (Some(409), _) | (_, Some("ConditionalRequestConflict")) => {
                Ok(UploadOutcome::Conflict(failure))
            }
            // A first attempt did it and its answer was lost; or another process aborted our
            // upload.
            (_, Some("NoSuchUpload")) if self.store.head(self.key).await?.is_some() => {
                Ok(UploadOutcome::Put(ComposedPut::Put(Put::Exists)))
            }
            // The bytes of a source were damaged, or this S3 does not combine such parts.
            (Some(400 | 501), _) if expected.is_some() => {
                let what = writing(self.store, self.key);
                let error = self.store.failed_plainly(what.into(), failure).to_string();
                Ok(not_copied(error.lines().next().unwrap_or_default()))
            }
            _ => Err(self.store.failed(writing(self.store, self.key), failure).await),
        }
    }

    /// Aborts the upload and returns `outcome`. If the abort fails, the error says so; for a
    /// dropped caller, `settle` does.
    async fn discard(
        &self,
        outcome: Result<UploadOutcome>,
        caller: &Caller,
    ) -> Result<UploadOutcome> {
        let Err(failure) = self.abort().await else { return outcome };
        let left = self.left_behind(failure);
        match outcome {
            Err(error) if !caller.is_dropped() => Err(error.hint(left)),
            other => {
                self.store.background.leave(left);
                other
            }
        }
    }

    /// Aborts, again if a part that was in transit arrived after the abort.
    async fn abort(&self) -> Result<(), Failure> {
        let mut attempts = Retry { attempts: ABORTS, ..RETRY }.start();
        loop {
            let bucket = &self.store.bucket;
            let call = self
                .store
                .client
                .abort_multipart_upload()
                .bucket(&bucket.name)
                .key(self.key)
                .upload_id(&self.id);
            let answer = call.set_expected_bucket_owner(bucket.owner.clone()).send().await;
            match answer.map_err(|error| Failure::of(&error)) {
                Err(failure) if failure.code() != Some("NoSuchUpload") => return Err(failure),
                _ => {}
            }
            if self.is_aborted().await || !attempts.again().await {
                return Ok(());
            }
        }
    }

    /// An error counts as aborted: S3 accepted the abort, and the permission to list parts might be
    /// missing.
    async fn is_aborted(&self) -> bool {
        let bucket = &self.store.bucket;
        let call = self
            .store
            .client
            .list_parts()
            .bucket(&bucket.name)
            .key(self.key)
            .upload_id(&self.id)
            .max_parts(1);
        call.set_expected_bucket_owner(bucket.owner.clone()).send().await.is_err()
    }

    fn left_behind(&self, failure: Failure) -> String {
        let bucket = &self.store.bucket.name;
        let error = self.store.failed_plainly(
            format!("upload `{}` of `{}` is still open", self.id, self.key),
            failure,
        );
        format!(
            "{}; remove it: aws s3api abort-multipart-upload \
             --bucket '{bucket}' --key '{}' --upload-id '{}'",
            error.to_string().lines().next().unwrap_or_default(),
            self.key,
            self.id
        )
    }
}

/// Aborts uploads that a killed run left: every other one of a key that exists, which can only
/// lose, and those of other keys in the same folder that are a day old, so that no run can still
/// send parts of them. A failure changes nothing, because the bucket's lifecycle rule removes them,
/// too.
pub(crate) async fn abort_others(store: &S3Store, key: &str) {
    let bucket = &store.bucket;
    let folder = key.rfind('/').map_or(key, |at| &key[..=at]);
    let call = store.client.list_multipart_uploads().bucket(&bucket.name).prefix(folder);
    let listed = call.set_expected_bucket_owner(bucket.owner.clone()).send().await;
    let uploads = listed.ok().and_then(|listed| listed.uploads).unwrap_or_default();
    // S3 rejects requests of a clock that is wrong by more than 15 minutes.
    let until = Timestamp::now().as_second() - ABANDONED;
    let (same, others): (Vec<_>, Vec<_>) =
        uploads.into_iter().partition(|it| it.key() == Some(key));
    let old = others.into_iter().filter(|it| it.initiated().is_some_and(|at| at.secs() < until));
    for upload in same.into_iter().chain(old.take(MOST_ABANDONED)) {
        if let (Some(key), Some(id)) = (&upload.key, upload.upload_id) {
            let _ = Upload { store, key, id }.abort().await;
        }
    }
}

async fn is_there(store: &S3Store, key: &str) -> bool {
    store.head(key).await.is_ok_and(|found| found.is_some())
}

fn not_copied(why: &str) -> UploadOutcome {
    UploadOutcome::Put(ComposedPut::NotCopied(format!("the parts cannot be combined: {why}")))
}

fn stopped(store: &S3Store, key: &str) -> Error {
    Error::new(Exit::Interrupted, writing(store, key)).why("cancelled")
}
