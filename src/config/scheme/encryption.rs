//! How S3 encrypts what is written to each bucket of the account scheme.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::location::rejected;

/// The account scheme's `encryption`, after its checks.
#[derive(Clone, Debug)]
pub(crate) struct BucketEncryption {
    default: Encryption,
    /// For the buckets that have a key of their own.
    by_bucket: BTreeMap<String, Encryption>,
}

/// The encryption that each write to a bucket asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    Aes256,
    Kms {
        /// The ARN of the key: an id means nothing to a role of another account.
        key: String,
    },
}

impl BucketEncryption {
    pub(super) fn of(&self, bucket: &str) -> Encryption {
        self.by_bucket.get(bucket).unwrap_or(&self.default).clone()
    }
}

/// `encryption`, before its parts are checked against each other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileEncryption {
    #[serde(rename = "type")]
    kind: EncryptionType,
    key: Option<String>,
    #[serde(default)]
    keys: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum EncryptionType {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    Kms,
}

pub(super) const KEY_RULE: &str = "arn:aws:kms:<region>:<account>:key/<id>";

impl FileEncryption {
    /// Returns the rule that the file breaks as an error. `buckets` are the scheme's; None if the
    /// scheme does not name all of them.
    pub(super) fn check(self, buckets: Option<&[&str]>) -> Result<BucketEncryption, String> {
        let default = match (self.kind, self.key) {
            (EncryptionType::Kms, Some(key)) => kms("key", key)?,
            (EncryptionType::Kms, None) => {
                return Err("`encryption` of type `aws:kms` needs a `key`: the key's ARN".into());
            }
            (EncryptionType::Aes256, None) if self.keys.is_empty() => Encryption::Aes256,
            (EncryptionType::Aes256, _) => {
                return Err("`encryption` of type `AES256` has no key: use `aws:kms`".into());
            }
        };
        let mut by_bucket = BTreeMap::new();
        for (bucket, key) in self.keys {
            if buckets.is_some_and(|buckets| !buckets.contains(&bucket.as_str())) {
                return Err(format!(
                    "`encryption.keys`: `{}` is not a bucket of this account scheme",
                    bucket.escape_debug()
                ));
            }
            by_bucket.insert(bucket, kms("keys", key)?);
        }
        Ok(BucketEncryption { default, by_bucket })
    }
}

fn kms(name: &str, key: String) -> Result<Encryption, String> {
    match is_key(&key) {
        true => Ok(Encryption::Kms { key }),
        false => Err(format!(
            "`encryption.{name}`: {}",
            rejected(&key, "the ARN of a KMS key", KEY_RULE)
        )),
    }
}

/// An alias is not enough: Terraform's backend refuses it.
pub(super) fn is_key(text: &str) -> bool {
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts[..] else { return false };
    is_word(partition)
        && is_word(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && resource.strip_prefix("key/").is_some_and(is_key_id)
}

/// A UUID, or `mrk-` and 32 hexadecimal digits for a key in more than one region.
fn is_key_id(id: &str) -> bool {
    let (id, lengths): (_, &[usize]) = match id.strip_prefix("mrk-") {
        Some(id) => (id, &[32]),
        None => (id, &[8, 4, 4, 4, 12]),
    };
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    id.split('-').map(str::len).eq(lengths.iter().copied())
        && id.bytes().all(|b| b == b'-' || is_hex(b))
}
