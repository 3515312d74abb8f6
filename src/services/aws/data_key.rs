//! Data keys of KMS. KMS makes and encrypts one for a purpose, and decrypts it only for the same
//! purpose.

use std::collections::HashMap;

use aws_sdk_kms::{
    config::{Builder, Region},
    primitives::Blob,
    types::DataKeySpec,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{failure::Failure, session::Session};
use crate::base::error::{Error, Result};

/// What a data key is for: KMS calls it the encryption context. IAM can limit a role to it.
pub(crate) type Purpose = HashMap<String, String>;

/// An encrypted data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataKey {
    /// The ARN of the key that encrypts it.
    pub(crate) key: String,
    /// Base64.
    pub(crate) encrypted: String,
}

/// Returns a new data key of 32 bytes, and the same one encrypted. Needs kms:GenerateDataKey.
pub(crate) async fn generate(
    session: &Session,
    key: &str,
    purpose: &Purpose,
) -> Result<([u8; 32], DataKey)> {
    let (client, region) = client(session, key);
    let asked = client.generate_data_key().key_id(key).key_spec(DataKeySpec::Aes256);
    let made = asked.set_encryption_context(Some(purpose.clone())).send().await;
    let made = made.map_err(|error| {
        let what = format!("cannot make a key for the plan with `{key}` (kms:GenerateDataKey)");
        Failure::of(&error).into_error(what, &region)
    })?;
    let plain = made.plaintext().and_then(bytes).ok_or_else(invalid)?;
    let encrypted = made.ciphertext_blob().map(|blob| STANDARD.encode(blob)).ok_or_else(invalid)?;
    Ok((plain, DataKey { key: key.to_owned(), encrypted }))
}

/// Returns the decrypted key. Needs kms:Decrypt.
pub(crate) async fn decrypt(
    session: &Session,
    data: &DataKey,
    purpose: &Purpose,
) -> Result<[u8; 32]> {
    let (client, region) = client(session, &data.key);
    let blob = STANDARD.decode(&data.encrypted).map_err(|_| invalid())?;
    let asked = client.decrypt().key_id(&data.key).ciphertext_blob(Blob::new(blob));
    let answer = asked.set_encryption_context(Some(purpose.clone())).send().await;
    let answer = answer.map_err(|error| {
        let what = format!("cannot decrypt the key of the plan with `{}` (kms:Decrypt)", data.key);
        Failure::of(&error).into_error(what, &region)
    })?;
    answer.plaintext().and_then(bytes).ok_or_else(invalid)
}

/// Returns the client of the region of `key`.
fn client(session: &Session, key: &str) -> (aws_sdk_kms::Client, String) {
    let region = key.split(':').nth(3).unwrap_or_default().to_owned();
    let config = Builder::from(&session.config).region(Region::new(region.clone())).build();
    (aws_sdk_kms::Client::from_conf(config), region)
}

fn bytes(blob: &Blob) -> Option<[u8; 32]> {
    blob.as_ref().try_into().ok()
}

fn invalid() -> Error {
    Error::integrity("the data key is not valid")
        .why("KMS did not return one of 32 bytes, or the record has no valid one")
}
