//! Reads of objects in a bucket: what is known of one, and its content in one request.

use aws_sdk_s3::operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput};

use super::client::{RETRY, S3Store, length, reading, time, unsigned};
use crate::{
    base::{
        error::{Error, Exit, Result, chain},
        limits::Limit,
    },
    services::{
        aws::failure::Failure,
        store::{Metadata, ObjectInfo, missing, too_large, too_short},
    },
};

impl S3Store {
    pub(crate) async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        // The answer to a rejected HEAD has no body: a missing bucket, a missing object, a missing
        // permission and expired credentials look alike. So a GET of one byte follows, whose answer
        // has one.
        for _ in 0..RETRY.attempts {
            match self.head_once(key).await {
                Ok(answer) => return Ok(Some(found(&answer))),
                Err(failure) if failure.code().is_some_and(|code| code != "NotFound") => {
                    return Err(self.failed(reading(self, key), failure).await);
                }
                Err(_) => {}
            }
            match self.open(key, Some("bytes=0-0".to_owned()), None).await {
                Err(failure) if failure.code() == Some("NoSuchKey") => return Ok(None),
                // An empty object has no first byte. It exists, so the next HEAD finds it; the same
                // applies below.
                Err(failure) if failure.code() == Some("InvalidRange") => {}
                Err(failure) => return Err(self.failed(reading(self, key), failure).await),
                Ok(_) => {}
            }
        }
        Err(Error::new(Exit::Unavailable, reading(self, key))
            .why("S3 reports in turn that it exists and that it does not"))
    }

    pub(crate) async fn get(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.get_tagged(key, limit).await?.map(|(bytes, _)| bytes))
    }

    /// Like [`Self::get`], with the ETag of the content.
    pub(crate) async fn get_tagged(
        &self,
        key: &str,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, String)>> {
        let mut attempts = RETRY.within(Limit::AwsPatience.time());
        loop {
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
                Err(why) if !attempts.again().await => return Err(self.cut(key, why, &attempts)),
                Err(_) => {}
            }
        }
    }

    pub(crate) async fn get_range(&self, key: &str, start: u64, len: u64) -> Result<Vec<u8>> {
        let Some(last) = len.checked_sub(1).map(|more| start.saturating_add(more)) else {
            return Ok(Vec::new());
        };
        let mut attempts = RETRY.within(Limit::AwsPatience.time());
        loop {
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
                Err(why) if !attempts.again().await => return Err(self.cut(key, why, &attempts)),
                Err(_) => {}
            }
        }
    }

    async fn head_once(&self, key: &str) -> Result<HeadObjectOutput, Failure> {
        let call = self.client.head_object().bucket(&self.bucket.name).key(key);
        let answer = call.set_expected_bucket_owner(self.bucket.owner.clone()).send().await;
        answer.map_err(|error| Failure::of(&error))
    }

    async fn no_range(&self, key: &str, start: u64, len: u64, failure: Failure) -> Error {
        match failure.code() {
            Some("NoSuchKey") => missing(&self.describe(key)),
            Some("InvalidRange") => Error::integrity(too_short(&self.describe(key), 0, len))
                .why(format!("from byte {start} on")),
            _ => self.failed(reading(self, key), failure).await,
        }
    }
}

fn found(answer: &HeadObjectOutput) -> ObjectInfo {
    let metadata = answer.metadata().into_iter().flatten();
    ObjectInfo {
        size: unsigned(answer.content_length()),
        metadata: Metadata(metadata.map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect()),
        modified: answer.last_modified().and_then(time),
        etag: answer.e_tag().map(str::to_owned),
    }
}

/// Returns the entire body, or why it is incomplete. A wrong checksum is an error, too.
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
            return Err(format!("got more than the {size} bytes in its header"));
        }
    }
}
