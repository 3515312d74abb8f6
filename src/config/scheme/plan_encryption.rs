//! The key that plans of pull requests are encrypted to.

use serde::Deserialize;

use super::encryption::{KEY_RULE, is_key};
use crate::{base::age::Recipient, config::location::rejected};

/// The account scheme's `plan-encryption`, after its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlanEncryption {
    /// A public key. A secret of the deploying workflow has the private one.
    Age(Recipient),
    /// The ARN of a KMS key.
    Kms(String),
}

/// `plan-encryption`, before its parts are checked against each other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FilePlanEncryption {
    #[serde(rename = "type")]
    kind: KeyType,
    recipient: Option<String>,
    key: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum KeyType {
    #[serde(rename = "age")]
    Age,
    #[serde(rename = "aws:kms")]
    Kms,
}

impl FilePlanEncryption {
    /// Returns the rule that the file breaks as an error.
    pub(super) fn check(self) -> Result<PlanEncryption, String> {
        match (self.kind, self.recipient, self.key) {
            (KeyType::Age, Some(text), None) => recipient(&text),
            (KeyType::Age, ..) => Err("type `age` needs a `recipient`, the public key that \
                                       `age-keygen` prints, and no `key`"
                .into()),
            (KeyType::Kms, None, Some(key)) => match is_key(&key) {
                true => Ok(PlanEncryption::Kms(key)),
                false => Err(rejected(&key, "the ARN of a KMS key", KEY_RULE)),
            },
            (KeyType::Kms, ..) => {
                Err("type `aws:kms` needs a `key`, the key's ARN, and no `recipient`".into())
            }
        }
    }
}

fn recipient(text: &str) -> Result<PlanEncryption, String> {
    if text.to_ascii_uppercase().contains("SECRET-KEY") {
        return Err(
            "`recipient` is a private key, which everybody who reads this file now knows: \
                    make a new one with `age-keygen`, and write its public key, `age1…`"
                .into(),
        );
    }
    Recipient::parse(text)
        .map(PlanEncryption::Age)
        .ok_or_else(|| rejected(text, "a public key of age", "`age1…`, of the type X25519"))
}
