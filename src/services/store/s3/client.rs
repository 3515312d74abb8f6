//! The S3 client of a release store: its settings, its retries, and how a failed call becomes an
//! error.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    config::{
        Builder, Config, Region,
        retry::{RetryPartition, TokenBucket},
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
    primitives::DateTime,
    types::ServerSideEncryption,
};

use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        retry::{Attempts, Retry},
    },
    config::scheme::Encryption,
    services::{
        aws::{failure::Failure, patience::timeouts_of},
        store::{Metadata, background::Background},
    },
};

/// Up to this size an object goes in one request; beyond, in parts.
pub(crate) const SINGLE: u64 = 8 << 20;
/// Attempts at a body that is cut and at a write that meets another one (409). The SDK repeats a
/// request itself.
pub(crate) const RETRY: Retry = Retry {
    attempts: 5,
    first_pause: Duration::from_millis(200),
    longest_pause: Duration::from_secs(2),
};

/// Retries of all stores, without a limit on their number: each request has its own limits, and a
/// release can need hundreds of requests on a bad day.
static RETRIES: LazyLock<RetryPartition> = LazyLock::new(|| {
    RetryPartition::custom("cdflow-s3").token_bucket(TokenBucket::unlimited()).build()
});

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct S3Store {
    pub(crate) client: Client,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) background: Background,
    encryption: Option<Encryption>,
}

pub(crate) struct Bucket {
    pub(crate) name: String,
    region: String,
    /// The account that the bucket must belong to.
    pub(crate) owner: Option<String>,
    /// Over TLS the CRC and the transport protect the body; hashing it again for the signature
    /// would double the work.
    pub(crate) unsigned: bool,
}

impl S3Store {
    /// `owner` is the id of the account that must own the bucket: S3 rejects every call if another
    /// account owns it.
    pub(crate) fn new(
        config: &aws_config::SdkConfig,
        bucket: String,
        region: String,
        owner: Option<String>,
    ) -> Self {
        let unsigned = config.endpoint_url().is_none_or(|url| !url.starts_with("http:"));
        let settings = Builder::from(config)
            .region(Region::new(region.clone()))
            .retry_partition(RETRIES.clone())
            .build();
        Self {
            client: Client::from_conf(settings),
            bucket: Arc::new(Bucket { name: bucket, region, owner, unsigned }),
            background: Background::default(),
            encryption: None,
        }
    }

    /// Every write asks for `encryption`. None: the bucket decides.
    pub(crate) fn encrypted(self, encryption: Option<Encryption>) -> Self {
        Self { encryption, ..self }
    }

    /// Returns the headers of a write that ask for the encryption: its name, and the key.
    pub(crate) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            None => (None, None),
            Some(Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Kms { key }) => {
                (Some(ServerSideEncryption::AwsKms), Some(key.clone()))
            }
        }
    }

    pub(crate) fn describe(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket.name)
    }

    /// Starts a read: returns when the headers have arrived; the body follows.
    pub(crate) async fn open(
        &self,
        key: &str,
        range: Option<String>,
        etag: Option<String>,
    ) -> Result<GetObjectOutput, Failure> {
        let call = self.client.get_object().bucket(&self.bucket.name).key(key);
        let call = call
            .set_expected_bucket_owner(self.bucket.owner.clone())
            .set_range(range)
            .set_if_match(etag);
        let answer = call.send().await.map_err(|error| Failure::of(&error))?;
        // A login page, or the block page of a proxy: S3 has no page in this store.
        match answer.content_type().filter(|kind| kind.starts_with("text/html")) {
            Some(_) => {
                Err(Failure::not_aws("the answer is a web page (text/html), not the object"))
            }
            None => Ok(answer),
        }
    }

    /// The error for a body that was cut, or did not go on, in every attempt.
    pub(crate) fn cut(&self, key: &str, why: String, attempts: &Attempts) -> Error {
        let why = match why.contains("minimum throughput") {
            true => Limit::AwsIdle.passed(&format!("{why}; nothing arrived")),
            false => why,
        };
        Error::new(Exit::Unavailable, reading(self, key))
            .why(format!("{why}, in {} attempts", attempts.made()))
            .hint("check the connection to S3, and run again later")
    }

    pub(crate) async fn answered<T, E, W: Into<Access>>(
        &self,
        answer: Result<T, SdkError<E>>,
        what: impl FnOnce() -> W,
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

    /// Returns the error for a failed call. After a 403 it checks whether another account owns the
    /// bucket.
    pub(crate) async fn failed(&self, access: impl Into<Access>, failure: Failure) -> Error {
        let Access { what, needs } = access.into();
        let region = &self.bucket.region;
        let refused = failure.status() == Some(403) && failure.exit(region) == Exit::Credentials;
        match &self.bucket.owner {
            Some(owner) if refused && self.is_of_another(owner).await => Error::refused(what)
                .why(format!("bucket `{}` does not belong to account {owner}", self.bucket.name))
                .hint("check the account id and the bucket's name in the account scheme"),
            _ if refused && !needs.is_empty() && failure.is_denied() => {
                Error::new(Exit::Credentials, what).why(failure.why(region)).hint(format!(
                    "give the role {needs} on the bucket `{}`, and check the policies of the \
                     bucket and of its key",
                    self.bucket.name
                ))
            }
            _ => failure.into_error(what, region),
        }
    }

    /// S3 rejects a bucket of another account only if the request names the expected owner.
    async fn is_of_another(&self, owner: &str) -> bool {
        let ask = || self.client.head_bucket().bucket(&self.bucket.name);
        let with = ask().expected_bucket_owner(owner).send().await;
        with.is_err_and(|error| error.raw_response().is_some_and(|r| r.status().as_u16() == 403))
            && ask().send().await.is_ok()
    }

    pub(crate) fn failed_plainly(&self, what: String, failure: Failure) -> Error {
        failure.into_error(what, &self.bucket.region)
    }
}

/// What a call does not get access to, and the permissions that it needs.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) what: String,
    /// Empty: unknown.
    needs: &'static str,
}

impl From<String> for Access {
    fn from(what: String) -> Self {
        Self { what, needs: "" }
    }
}

impl From<Access> for String {
    fn from(access: Access) -> Self {
        access.what
    }
}

pub(crate) fn reading(store: &S3Store, key: &str) -> Access {
    let needs = "`s3:GetObject` and `s3:ListBucket` (without the second, S3 also denies access to \
                 objects that do not exist)";
    Access { what: format!("`{}` can't be read", store.describe(key)), needs }
}

pub(crate) fn writing(store: &S3Store, key: &str) -> Access {
    let needs = "`s3:PutObject` and `s3:AbortMultipartUpload`";
    Access { what: format!("`{}` can't be written", store.describe(key)), needs }
}

pub(crate) fn listing(store: &S3Store, prefix: &str) -> Access {
    let what = format!("`{}` can't be listed", store.describe(prefix));
    Access { what, needs: "`s3:ListBucket`" }
}

/// The timeout of one attempt to send `size` bytes: five minutes, or more if that would need over
/// 32 KiB/s.
pub(crate) fn patience(size: u64) -> Builder {
    let attempt = Limit::AwsTransfer.time().max(Duration::from_secs(size >> 15));
    Config::builder().timeout_config(timeouts_of(attempt))
}

pub(crate) fn map(metadata: &Metadata) -> HashMap<String, String> {
    metadata.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(crate) fn length(answer: &GetObjectOutput) -> u64 {
    unsigned(answer.content_length())
}

pub(crate) fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

pub(crate) fn time(time: &DateTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}
