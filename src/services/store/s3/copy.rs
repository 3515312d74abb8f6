//! Parts of an upload that come from other objects of the bucket: copied by S3, or read to complete
//! a part that is sent.

use std::fmt::Write as _;

use aws_sdk_s3::types::CopyPartResult;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    body::UploadBody,
    client::{S3Store, patience},
    pieces::Slice,
};
use crate::{
    base::error::{Error, Result},
    services::{aws::failure::Failure, store::composed::CopiedRange},
};

/// Why a part is missing.
pub(crate) enum PartError {
    /// Its bytes cannot be taken from another object.
    NotCopied(String),
    Failed(Error),
}

impl From<Error> for PartError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A part that S3 copied.
pub(crate) struct CopiedPart {
    pub(crate) etag: String,
    /// The CRC-64/NVME of the part, if S3 computed it.
    pub(crate) crc: Option<u64>,
}

/// Lets S3 copy a part of the upload `id` of `key`. Fails only with [`PartError::NotCopied`].
pub(crate) async fn copy_part(
    store: &S3Store,
    key: &str,
    id: &str,
    number: i32,
    range: &CopiedRange,
) -> Result<CopiedPart, PartError> {
    let bucket = &store.bucket;
    let call = store
        .client
        .upload_part_copy()
        .bucket(&bucket.name)
        .set_expected_bucket_owner(bucket.owner.clone())
        .set_expected_source_bucket_owner(bucket.owner.clone())
        .key(key)
        .upload_id(id)
        .part_number(number)
        .copy_source(encoded(&format!("{}/{}", bucket.name, range.from.key)))
        .set_copy_source_if_match(range.from.etag.clone())
        .copy_source_range(format!("bytes={}-{}", range.start, range.start + range.len - 1))
        .customize()
        .config_override(patience(range.len));
    let what = || format!("`{}` cannot be copied from", store.describe(&range.from.key));
    let answer = match call.send().await {
        Ok(answer) => answer.copy_part_result,
        Err(error) => {
            let error = store.failed(what(), Failure::of(&error)).await;
            return Err(PartError::NotCopied(first_line(&error)));
        }
    };
    answer
        .and_then(copied)
        .ok_or_else(|| PartError::NotCopied(format!("{}: S3 gave no ETag", what())))
}

/// Returns the bytes of slices, of which one at least is in another object.
pub(crate) async fn gather(
    store: &S3Store,
    content: &UploadBody,
    slices: &[Slice],
) -> Result<UploadBody, PartError> {
    let mut bytes = Vec::new();
    for slice in slices {
        match slice {
            Slice::Own { at, len } => bytes.extend_from_slice(&content.part(*at, *len).await?),
            Slice::Read(range) => {
                let read = store.get_range(&range.from.key, range.start, range.len).await;
                let read = read.map_err(|error| PartError::NotCopied(first_line(&error)))?;
                bytes.extend_from_slice(&read);
            }
        }
    }
    Ok(UploadBody::Memory(Bytes::from(bytes)))
}

fn copied(result: CopyPartResult) -> Option<CopiedPart> {
    let sum = result.checksum_crc64_nvme.and_then(|text| STANDARD.decode(text).ok());
    let crc = sum.and_then(|sum| sum.try_into().ok()).map(u64::from_be_bytes);
    Some(CopiedPart { etag: result.e_tag?, crc })
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Escapes what a header with a path must not contain.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        match byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            true => text.push(byte.into()),
            // Writing to a string cannot fail.
            false => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded() {
        assert_eq!(encoded("b/t/c/c-1.0_a~.zip"), "b/t/c/c-1.0_a~.zip");
        assert_eq!(encoded("b/ü +"), "b/%C3%BC%20%2B");
    }
}
