//! The release store in an S3 bucket: the client, and every call that fits in one request.

use std::{collections::HashMap, error::Error as StdError, path::Path, sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{Builder, Config, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::{ByteStream, DateTime},
    types::BucketVersioningStatus,
};
use bytes::Bytes;

use super::{
    download,
    upload::{self, Source, base64_crc},
};
use crate::{
    base::error::{Error, Exit, Result, chain},
    services::{
        aws::failure::Failure,
        store::{
            Content, Found, Listed, Metadata, Progress, Put, background::Background, check_key,
            missing, too_large, too_short,
        },
    },
};

/// Up to this size an object goes in one request; beyond, in parts.
pub(crate) const SINGLE: u64 = 8 << 20;
/// Attempts of the SDK at one request, and ours at a body that is cut.
const ATTEMPTS: u32 = 5;
/// S3 gives at most this many keys a page.
const PAGE: usize = 1000;
/// Times that a write which met another write in flight (409) is begun again.
pub(crate) const CONFLICTS: u32 = 5;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct S3Store {
    pub(crate) client: Client,
    pub(crate) place: Arc<Place>,
    pub(crate) background: Background,
}

pub(crate) struct Place {
    pub(crate) bucket: String,
    region: String,
    /// The account that the bucket must belong to.
    pub(crate) owner: Option<String>,
    /// Over TLS the CRC and the transport guard the body; hashing it once more for the signature would double the work.
    pub(crate) unsigned: bool,
}

impl S3Store {
    /// `owner` is the account id that the bucket must belong to: any call to a bucket of somebody else is refused.
    pub(crate) fn new(
        config: &aws_config::SdkConfig,
        bucket: String,
        region: String,
        owner: Option<String>,
    ) -> Self {
        let unsigned = config.endpoint_url().is_none_or(|url| !url.starts_with("http:"));
        let settings = Builder::from(config)
            .region(Region::new(region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts(Duration::from_secs(60)))
            .build();
        Self {
            client: Client::from_conf(settings),
            place: Arc::new(Place { bucket, region, owner, unsigned }),
            background: Background::default(),
        }
    }

    pub(crate) async fn put_new(
        &self,
        key: &str,
        content: Content<'_>,
        metadata: &Metadata,
        progress: Progress<'_>,
    ) -> Result<Put> {
        check_key(key)?;
        let source = Source::of(content).await?;
        if source.size() <= SINGLE {
            return self.put_small(key, source.all().await?, metadata, progress).await;
        }
        let (store, key, metadata) = (self.clone(), key.to_owned(), metadata.clone());
        self.background
            .run(progress, |caller| async move {
                upload::upload(&store, &key, &source, &metadata, &caller).await
            })
            .await
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Found>> {
        // A HEAD is refused without words: no bucket, no object, no permission and expired credentials look alike. So
        // the question is put once more as a GET of one byte, whose answer has a body.
        for _ in 0..ATTEMPTS {
            match self.head_once(key).await {
                Ok(answer) => return Ok(Some(found(&answer))),
                Err(failure) if failure.code().is_some_and(|code| code != "NotFound") => {
                    return Err(self.failed(reading(self, key), failure).await);
                }
                Err(_) => {}
            }
            match self.open(key, Some("bytes=0-0".to_owned()), None).await {
                Err(failure) if failure.code() == Some("NoSuchKey") => return Ok(None),
                // An empty object has no first byte. It is there, so the HEAD will find it now; likewise below.
                Err(failure) if failure.code() == Some("InvalidRange") => {}
                Err(failure) => return Err(self.failed(reading(self, key), failure).await),
                Ok(_) => {}
            }
        }
        Err(Error::new(Exit::Unavailable, reading(self, key))
            .why("S3 says in turn that it exists and that it does not"))
    }

    pub(crate) async fn get(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.get_tagged(key, limit).await?.map(|(bytes, _)| bytes))
    }

    /// Likewise, with the ETag of what was read.
    pub(crate) async fn get_tagged(
        &self,
        key: &str,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, String)>> {
        let mut cut = String::new();
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let answer = match self.open(key, None, None).await {
                Ok(answer) => answer,
                Err(failure) if failure.code() == Some("NoSuchKey") => return Ok(None),
                Err(failure) => return Err(self.failed(reading(self, key), failure).await),
            };
            let size = length(&answer);
            if size > limit {
                return Err(too_large(&self.describe(key), size, limit));
            }
            let etag = answer.e_tag().unwrap_or_default().to_owned();
            match body(answer, size).await {
                Ok(bytes) => return Ok(Some((bytes, etag))),
                Err(why) => cut = why,
            }
        }
        Err(self.cut(key, cut))
    }

    pub(crate) async fn get_range(&self, key: &str, start: u64, len: u64) -> Result<Vec<u8>> {
        let Some(last) = len.checked_sub(1).map(|more| start.saturating_add(more)) else {
            return Ok(Vec::new());
        };
        let mut cut = String::new();
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let answer = match self.open(key, Some(format!("bytes={start}-{last}")), None).await {
                Ok(answer) => answer,
                Err(failure) => return Err(self.no_range(key, start, len, failure).await),
            };
            let size = length(&answer);
            if size != len {
                return Err(Error::integrity(too_short(&self.describe(key), size, len))
                    .why(format!("from byte {start} on")));
            }
            match body(answer, len).await {
                Ok(bytes) => return Ok(bytes),
                Err(why) => cut = why,
            }
        }
        Err(self.cut(key, cut))
    }

    pub(crate) async fn fetch(
        &self,
        key: &str,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<Option<Found>> {
        match self.head(key).await? {
            Some(found) => {
                download::whole(self, key, &found, to, progress).await.map(|()| Some(found))
            }
            None => Ok(None),
        }
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut more = None;
        while listed.len() < max {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.place.bucket)
                .set_expected_bucket_owner(self.place.owner.clone())
                .prefix(prefix)
                .set_start_after(after.map(str::to_owned))
                .max_keys(i32::try_from(PAGE.min(max - listed.len())).unwrap_or(i32::MAX))
                .set_continuation_token(more.take())
                .send()
                .await;
            let page = self.answered(page, || listing(self, prefix)).await?;
            listed.extend(page.contents().iter().filter_map(line));
            more = page.next_continuation_token;
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
        let mut more = None;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.place.bucket)
                .set_expected_bucket_owner(self.place.owner.clone())
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
            more = page.next_continuation_token;
            if more.is_none() {
                return Ok(names);
            }
        }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let call = self.client.delete_object().bucket(&self.place.bucket).key(key);
        let answer = call.set_expected_bucket_owner(self.place.owner.clone()).send().await;
        self.answered(answer, || format!("`{}` can't be deleted", self.describe(key)))
            .await
            .map(drop)
    }

    /// Removes an object that still has this ETag; false when it has another. One that is gone is removed already.
    pub(crate) async fn delete_unchanged(&self, key: &str, etag: &str) -> Result<bool> {
        // Also looked at beforehand, because not every S3 minds the condition.
        match self.head(key).await? {
            None => return Ok(true),
            Some(found) if found.etag.as_deref() != Some(etag) => return Ok(false),
            Some(_) => {}
        }
        let call = self.client.delete_object().bucket(&self.place.bucket).key(key).if_match(etag);
        let answer = call.set_expected_bucket_owner(self.place.owner.clone()).send().await;
        match answer.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(true),
            Err(failure)
                if failure.status() == Some(404) && failure.code() != Some("NoSuchBucket") =>
            {
                Ok(true)
            }
            Err(failure) if failure.status() == Some(412) => Ok(false),
            // This S3 knows no such condition.
            Err(failure) if failure.status() == Some(501) => self.delete(key).await.map(|()| true),
            Err(failure) => Err(self
                .failed(format!("`{}` can't be deleted", self.describe(key)), failure)
                .await),
        }
    }

    /// Where the bucket really is: S3 tells, whichever region is asked, and also who may not read it.
    pub(crate) async fn real_region(&self) -> Option<String> {
        match self.client.head_bucket().bucket(&self.place.bucket).send().await {
            Ok(answer) => answer.bucket_region().map(str::to_owned),
            Err(error) => {
                error.raw_response()?.headers().get("x-amz-bucket-region").map(str::to_owned)
            }
        }
    }

    /// Whether what is deleted or replaced can be brought back.
    pub(crate) async fn is_versioned(&self) -> Result<bool> {
        let ask = self.client.get_bucket_versioning().bucket(&self.place.bucket);
        let answer = ask.set_expected_bucket_owner(self.place.owner.clone()).send().await;
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

    pub(crate) fn describe(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.place.bucket)
    }

    async fn put_small(
        &self,
        key: &str,
        bytes: Bytes,
        metadata: &Metadata,
        progress: Progress<'_>,
    ) -> Result<Put> {
        let mut tries = 0;
        loop {
            let failure = match self.put_once(key, bytes.clone(), metadata).await {
                Ok(()) => {
                    progress(bytes.len() as u64);
                    return Ok(Put::Created);
                }
                Err(failure) => failure,
            };
            tries += 1;
            match failure.status() {
                Some(412) => return Ok(Put::Exists),
                Some(409) if self.head(key).await?.is_some() => return Ok(Put::Exists),
                Some(409) if tries < CONFLICTS => pause(tries).await,
                _ => return Err(self.failed(writing(self, key), failure).await),
            }
        }
    }

    async fn put_once(&self, key: &str, bytes: Bytes, metadata: &Metadata) -> Result<(), Failure> {
        let size = bytes.len() as u64;
        let call = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .set_expected_bucket_owner(self.place.owner.clone())
            .key(key)
            .if_none_match("*")
            .checksum_crc64_nvme(base64_crc(upload::crc(&bytes)))
            .set_metadata(Some(map(metadata)))
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(patience(size));
        let call = if self.place.unsigned { call.disable_payload_signing() } else { call };
        call.send().await.map(drop).map_err(|error| Failure::of(&error))
    }

    async fn head_once(&self, key: &str) -> Result<HeadObjectOutput, Failure> {
        let call = self.client.head_object().bucket(&self.place.bucket).key(key);
        let answer = call.set_expected_bucket_owner(self.place.owner.clone()).send().await;
        answer.map_err(|error| Failure::of(&error))
    }

    /// Begins to read: the head of the answer is here, the body still comes.
    pub(crate) async fn open(
        &self,
        key: &str,
        range: Option<String>,
        etag: Option<String>,
    ) -> Result<GetObjectOutput, Failure> {
        let call = self.client.get_object().bucket(&self.place.bucket).key(key);
        let call = call
            .set_expected_bucket_owner(self.place.owner.clone())
            .set_range(range)
            .set_if_match(etag);
        call.send().await.map_err(|error| Failure::of(&error))
    }

    async fn no_range(&self, key: &str, start: u64, len: u64, failure: Failure) -> Error {
        match failure.code() {
            Some("NoSuchKey") => missing(&self.describe(key)),
            Some("InvalidRange") => Error::integrity(too_short(&self.describe(key), 0, len))
                .why(format!("from byte {start} on")),
            _ => self.failed(reading(self, key), failure).await,
        }
    }

    /// A body that never came as a whole, whatever we tried.
    pub(crate) fn cut(&self, key: &str, why: String) -> Error {
        Error::new(Exit::Unavailable, reading(self, key))
            .why(format!("{why}, in {ATTEMPTS} attempts"))
            .hint("the connection to S3 breaks off; run again later")
    }

    pub(crate) async fn answered<T, E>(
        &self,
        answer: Result<T, SdkError<E>>,
        what: impl FnOnce() -> String,
    ) -> Result<T>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        // Not kept across the await below: the SDK's errors need not be shareable between threads.
        let failure = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => Failure::of(&error),
        };
        Err(self.failed(what(), failure).await)
    }

    /// Our error for a failed call. A refusal is looked into: is it the bucket's owner?
    pub(crate) async fn failed(&self, what: String, failure: Failure) -> Error {
        let region = &self.place.region;
        let refused = failure.status() == Some(403) && failure.exit(region) == Exit::Credentials;
        match &self.place.owner {
            Some(owner) if refused && self.is_of_another(owner).await => Error::refused(what)
                .why(format!("bucket `{}` does not belong to account {owner}", self.place.bucket))
                .hint("check the account id and the bucket's name in the account scheme"),
            _ => failure.into_error(what, region),
        }
    }

    /// Only with the condition is the bucket refused: that is what S3 says of a bucket of another account.
    async fn is_of_another(&self, owner: &str) -> bool {
        let ask = || self.client.head_bucket().bucket(&self.place.bucket);
        let with = ask().expected_bucket_owner(owner).send().await;
        with.is_err_and(|error| error.raw_response().is_some_and(|r| r.status().as_u16() == 403))
            && ask().send().await.is_ok()
    }

    pub(crate) fn failed_plainly(&self, what: String, failure: Failure) -> Error {
        failure.into_error(what, &self.place.region)
    }
}

pub(crate) fn reading(store: &S3Store, key: &str) -> String {
    format!("`{}` can't be read", store.describe(key))
}

pub(crate) fn writing(store: &S3Store, key: &str) -> String {
    format!("`{}` can't be written", store.describe(key))
}

fn listing(store: &S3Store, prefix: &str) -> String {
    format!("`{}` can't be listed", store.describe(prefix))
}

/// Waits before attempt number `attempt` (0 = the first, at once): 0.2 s doubled each time, half of it at random.
pub(crate) async fn pause(attempt: u32) {
    if attempt > 0 {
        let longest = 100_u64 << attempt.min(6);
        tokio::time::sleep(Duration::from_millis(longest / 2 + random() % (longest / 2 + 1))).await;
    }
}

/// Good enough to keep two runners from retrying in step.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(attempt)
        .build()
}

/// The time of one attempt at sending `size` bytes: five minutes, more where that would ask for over 32 KiB/s.
pub(crate) fn patience(size: u64) -> Builder {
    Config::builder().timeout_config(timeouts(Duration::from_secs((size >> 15).max(300))))
}

pub(crate) fn map(metadata: &Metadata) -> HashMap<String, String> {
    metadata.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn found(answer: &HeadObjectOutput) -> Found {
    let metadata = answer.metadata().into_iter().flatten();
    Found {
        size: unsigned(answer.content_length()),
        metadata: Metadata(metadata.map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect()),
        modified: answer.last_modified().and_then(time),
        etag: answer.e_tag().map(str::to_owned),
    }
}

fn line(object: &aws_sdk_s3::types::Object) -> Option<Listed> {
    let modified = object.last_modified().and_then(time);
    Some(Listed { key: object.key()?.to_owned(), size: unsigned(object.size()), modified })
}

fn time(time: &DateTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

pub(crate) fn length(answer: &GetObjectOutput) -> u64 {
    unsigned(answer.content_length())
}

fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

/// The whole body, of the length that its head promised; else why not. A checksum that does not fit ends it, too.
async fn body(mut answer: GetObjectOutput, size: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        match answer.body.next().await {
            Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            Some(Err(error)) => {
                return Err(format!("got {} of {size} bytes: {}", bytes.len(), chain(&error)));
            }
            None if bytes.len() as u64 == size => return Ok(bytes),
            None => return Err(format!("got {} of {size} bytes", bytes.len())),
        }
        if bytes.len() as u64 > size {
            return Err(format!("got more than the {size} bytes that were announced"));
        }
    }
}
