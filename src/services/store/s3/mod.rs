//! A release store in an S3 bucket: its operations. S3 rejects a write over an existing object
//! itself (`If-None-Match: *`).

mod body;
pub(crate) mod client;
#[cfg(test)]
mod composed_tests;
mod copy;
mod download;
mod part;
mod pieces;
mod read;
#[cfg(test)]
mod tests;
mod upload;

use std::path::Path;

use aws_sdk_s3::{
    operation::list_objects_v2::ListObjectsV2Output, primitives::ByteStream,
    types::BucketVersioningStatus,
};
use bytes::Bytes;

use self::{
    body::{UploadBody, base64_crc},
    client::{Access, RETRY, S3Store, SINGLE, listing, map, patience, time, unsigned, writing},
    upload::UploadSource,
};
use crate::{
    base::{
        crc64::Crc64,
        error::{Error, Exit, Result},
        interrupt::Interrupt,
    },
    services::{
        aws::{failure::Failure, pages::Pages},
        store::{
            Content, ListedObject, Metadata, ObjectInfo, ObjectPart, ProgressFn, Put,
            background::Caller,
            check_key,
            composed::{Composed, ComposedPut},
        },
    },
};

/// S3 gives at most this many keys a page.
const PAGE: usize = 1000;

impl S3Store {
    pub(crate) async fn put_new(
        &self,
        key: &str,
        content: Content<'_>,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
    ) -> Result<Put> {
        self.put_until(key, content, metadata, progress, &Interrupt::never()).await
    }

    pub(crate) async fn put_until(
        &self,
        key: &str,
        content: Content<'_>,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
    ) -> Result<Put> {
        check_key(key)?;
        let source = UploadBody::of(content).await?;
        let (store, key, metadata) = (self.clone(), key.to_owned(), metadata.clone());
        self.background
            .run(progress, interrupt, |caller| async move {
                if source.size() <= SINGLE {
                    return store.put_small(&key, source.all().await?, &metadata, &caller).await;
                }
                let source = UploadSource::content(source);
                match upload::upload(&store, &key, &source, &metadata, &caller).await? {
                    ComposedPut::Put(put) => {
                        upload::abort_others(&store, &key).await;
                        Ok(put)
                    }
                    ComposedPut::NotCopied(why) => {
                        Err(Error::internal(writing(&store, &key)).why(why))
                    }
                }
            })
            .await
    }

    pub(crate) async fn put_composed(
        &self,
        key: &str,
        composed: Composed,
        metadata: &Metadata,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
    ) -> Result<ComposedPut> {
        check_key(key)?;
        let content = UploadBody::of(Content::File(&composed.file)).await?;
        let source = UploadSource::composed(content, &composed);
        let (store, key, metadata) = (self.clone(), key.to_owned(), metadata.clone());
        self.background
            .run(progress, interrupt, |caller| async move {
                let put = upload::upload(&store, &key, &source, &metadata, &caller).await?;
                if let ComposedPut::Put(_) = put {
                    upload::abort_others(&store, &key).await;
                }
                Ok(put)
            })
            .await
    }

    pub(crate) async fn fetch(
        &self,
        key: &str,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<Option<ObjectInfo>> {
        match self.head(key).await? {
            Some(found) => {
                let whole = ObjectPart { key, found: &found, range: 0..found.size, at: 0 };
                download::parts(self, &[whole], found.size, to, progress).await?;
                Ok(Some(found))
            }
            None => Ok(None),
        }
    }

    pub(crate) async fn fetch_parts(
        &self,
        parts: &[ObjectPart<'_>],
        size: u64,
        to: &Path,
        progress: ProgressFn<'_>,
    ) -> Result<()> {
        parts.iter().try_for_each(|part| check_key(part.key))?;
        download::parts(self, parts, size, to, progress).await
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<ListedObject>> {
        let mut listed = Vec::new();
        let (mut more, mut pages) = (None, Pages::default());
        while listed.len() < max {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket.name)
                .set_expected_bucket_owner(self.bucket.owner.clone())
                .prefix(prefix)
                .set_start_after(after.map(str::to_owned))
                .max_keys(i32::try_from(PAGE.min(max - listed.len())).unwrap_or(i32::MAX))
                .set_continuation_token(more.take())
                .send()
                .await;
            let page = self.answered(page, || listing(self, prefix)).await?;
            listed.extend(page.contents().iter().filter_map(line));
            more = next(&mut pages, page, || listing(self, prefix))?;
            if more.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = if prefix.is_empty() || prefix.ends_with('/') {
            prefix.to_owned()
        } else {
            format!("{prefix}/")
        };
        let mut names = Vec::new();
        let (mut more, mut pages) = (None, Pages::default());
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket.name)
                .set_expected_bucket_owner(self.bucket.owner.clone())
                .prefix(&prefix)
                .delimiter("/")
                .set_continuation_token(more.take())
                .send()
                .await;
            let page = self.answered(page, || listing(self, &prefix)).await?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            names.extend(
                folders
                    .filter_map(|f| Some(f.strip_prefix(&prefix)?.strip_suffix('/')?.to_owned())),
            );
            more = next(&mut pages, page, || listing(self, &prefix))?;
            if more.is_none() {
                return Ok(names);
            }
        }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let call = self.client.delete_object().bucket(&self.bucket.name).key(key);
        let answer = call.set_expected_bucket_owner(self.bucket.owner.clone()).send().await;
        self.answered(answer, || format!("`{}` can't be deleted", self.describe(key)))
            .await
            .map(drop)
    }

    /// Deletes an object that still has this ETag; false if it has another. A missing object is not
    /// an error.
    pub(crate) async fn delete_unchanged(&self, key: &str, etag: &str) -> Result<bool> {
        // Checked first, because not every S3 supports the condition.
        match self.head(key).await? {
            None => return Ok(true),
            Some(found) if found.etag.as_deref() != Some(etag) => return Ok(false),
            Some(_) => {}
        }
        let call = self.client.delete_object().bucket(&self.bucket.name).key(key).if_match(etag);
        let answer = call.set_expected_bucket_owner(self.bucket.owner.clone()).send().await;
        match answer.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(true),
            Err(failure)
                if failure.status() == Some(404) && failure.code() != Some("NoSuchBucket") =>
            {
                Ok(true)
            }
            Err(failure) if failure.status() == Some(412) => Ok(false),
            // This S3 does not support the condition.
            Err(failure) if failure.status() == Some(501) => self.delete(key).await.map(|()| true),
            Err(failure) => Err(self
                .failed(format!("`{}` can't be deleted", self.describe(key)), failure)
                .await),
        }
    }

    /// Returns the bucket's region. S3 names it to any caller, through any region's endpoint.
    pub(crate) async fn real_region(&self) -> Option<String> {
        match self.client.head_bucket().bucket(&self.bucket.name).send().await {
            Ok(answer) => answer.bucket_region().map(str::to_owned),
            Err(error) => {
                error.raw_response()?.headers().get("x-amz-bucket-region").map(str::to_owned)
            }
        }
    }

    /// Returns whether deleted and replaced objects can be restored.
    pub(crate) async fn is_versioned(&self) -> Result<bool> {
        let ask = self.client.get_bucket_versioning().bucket(&self.bucket.name);
        let answer = ask.set_expected_bucket_owner(self.bucket.owner.clone()).send().await;
        match answer {
            Ok(answer) => Ok(answer.status() == Some(&BucketVersioningStatus::Enabled)),
            Err(error) => {
                let what = format!("the versioning of `{}` can't be read", self.describe(""));
                Err(self.failed(what, Failure::of(&error)).await)
            }
        }
    }

    pub(crate) async fn settle(&self) -> Result<()> {
        self.background.settle().await
    }

    async fn put_small(
        &self,
        key: &str,
        bytes: Bytes,
        metadata: &Metadata,
        caller: &Caller,
    ) -> Result<Put> {
        let mut attempts = RETRY.start();
        loop {
            // Not interrupted: whether it was written must be known.
            let failure = match self.put_once(key, bytes.clone(), metadata).await {
                Ok(()) => {
                    caller.progress(bytes.len() as u64);
                    return Ok(Put::Created);
                }
                Err(failure) => failure,
            };
            match failure.status() {
                Some(412) => return Ok(Put::Exists),
                Some(409) if self.head(key).await?.is_some() => return Ok(Put::Exists),
                Some(409) if !caller.is_dropped() && attempts.again().await => {}
                _ => return Err(self.failed(writing(self, key), failure).await),
            }
        }
    }

    async fn put_once(&self, key: &str, bytes: Bytes, metadata: &Metadata) -> Result<(), Failure> {
        let size = bytes.len() as u64;
        let (encryption, encryption_key) = self.encryption();
        let call = self
            .client
            .put_object()
            .bucket(&self.bucket.name)
            .set_expected_bucket_owner(self.bucket.owner.clone())
            .key(key)
            .if_none_match("*")
            .checksum_crc64_nvme(base64_crc(Crc64::of(&bytes).sum))
            .set_metadata(Some(map(metadata)))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(patience(size));
        let call = if self.bucket.unsigned { call.disable_payload_signing() } else { call };
        call.send().await.map(drop).map_err(|error| Failure::of(&error))
    }
}

/// Returns the token of the page after this one. A page that can't be whole is an error: what is
/// missing from a ledger would look as if it had never been.
fn next(
    pages: &mut Pages,
    page: ListObjectsV2Output,
    what: impl Fn() -> Access,
) -> Result<Option<String>> {
    let failed = |why: String| {
        Error::new(Exit::Unavailable, what())
            .why(why)
            .hint("run again later, or check the endpoint")
    };
    let there = page.contents().len() + page.common_prefixes().len();
    if page.key_count.is_some_and(|count| usize::try_from(count) != Ok(there)) {
        let counted = page.key_count.unwrap_or_default();
        return Err(failed(format!("the answer is incomplete: it has {there} of {counted} names")));
    }
    let is_truncated = page.is_truncated.ok_or_else(|| {
        failed("the answer is incomplete: it does not say whether there is more".to_owned())
    })?;
    pages.next(page.next_continuation_token, is_truncated).map_err(failed)
}

fn line(object: &aws_sdk_s3::types::Object) -> Option<ListedObject> {
    let modified = object.last_modified().and_then(time);
    Some(ListedObject { key: object.key()?.to_owned(), size: unsigned(object.size()), modified })
}
