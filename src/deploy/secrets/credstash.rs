//! Reads credstash: a DynamoDB table of values, each encrypted with its own data key from KMS.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, TryStreamExt};

use super::{
    cipher::{self, HmacDigest, UnsealError},
    request::{Secrets, SecretsRequest},
};
use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
    },
    services::aws::failure::Failure,
};

/// Concurrent calls of KMS.
const CONCURRENCY: usize = 8;

/// The attributes of an item in the table.
pub(crate) type TableRow = HashMap<String, AttributeValue>;

/// One version of a secret, still encrypted.
#[derive(Debug)]
pub(crate) struct SealedSecret {
    /// The full name, such as `deploy.live.checkout.password`.
    name: String,
    version: String,
    /// The data key, encrypted by KMS.
    key: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) mac: Vec<u8>,
    pub(crate) digest: HmacDigest,
}

pub(crate) async fn read(request: &SecretsRequest<'_>, may_be_missing: bool) -> Result<Secrets> {
    let (table, prefix) = place(request);
    let Some(rows) = rows(request, &table, &prefix).await? else {
        return match may_be_missing {
            true => Ok(Secrets::new()),
            false => Err(missing_table(request, &table)),
        };
    };
    let kms = aws_sdk_kms::Client::new(&request.session.config);
    let decrypted = newest(rows, &prefix, &table)?.into_iter().map(|(name, item)| {
        let kms = &kms;
        async move { Ok((name, unseal(request, kms, &describe(&item), &item).await?)) }
    });
    // Boxed, so that the compiler need not prove the closure general over lifetimes.
    futures_util::stream::iter(decrypted.map(Box::pin).collect::<Vec<_>>())
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// Returns the names alone: nothing is decrypted. A table that does not exist has none.
pub(super) async fn names(request: &SecretsRequest<'_>) -> Result<Vec<String>> {
    let (table, prefix) = place(request);
    let rows = rows(request, &table, &prefix).await?.unwrap_or_default();
    Ok(newest(rows, &prefix, &table)?.into_keys().collect())
}

/// Returns the table, and how the names of the environment begin.
fn place(request: &SecretsRequest<'_>) -> (String, String) {
    let table = request.credstash.table.clone();
    let table = table.unwrap_or_else(|| format!("credstash-{}", request.identity.team));
    let component = &request.identity.component;
    (table, format!("deploy.{}.{component}.", request.environment_name()))
}

fn missing_table(request: &SecretsRequest<'_>, table: &str) -> Error {
    let account = request.session.account_id.as_deref().unwrap_or("(unknown)");
    Error::input(format!("credstash table not found: `{table}`"))
        .why(format!("cdflow looked in {} of account {account}", request.region()))
        .hint("create the table")
        .hint(
            "if the secrets are elsewhere, set it in cdflow.yml: `secrets: [ssm]`, \
             `secrets: [secrets-manager]`, `secrets: none`",
        )
}

fn describe(item: &SealedSecret) -> String {
    format!("the secret `{}` (version {}) of credstash", item.name, item.version)
}

/// Returns every version of every secret under `prefix`, or `None` if the table does not exist.
async fn rows(
    request: &SecretsRequest<'_>,
    table: &str,
    prefix: &str,
) -> Result<Option<Vec<TableRow>>> {
    let client = aws_sdk_dynamodb::Client::new(&request.session.config);
    let pages = client
        .scan()
        .table_name(table)
        .consistent_read(true)
        .filter_expression("begins_with(#name, :prefix)")
        .expression_attribute_names("#name", "name")
        .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<TableRow>, _>>()
        .await;
    match pages {
        Ok(rows) => Ok(Some(rows)),
        Err(error) => match Failure::of(&error) {
            failure if failure.code() == Some("ResourceNotFoundException") => Ok(None),
            failure => Err(failure.into_error(
                format!("cannot read the credstash table `{table}`"),
                request.region(),
            )),
        },
    }
}

/// Returns the newest version of each secret, by its name without the prefix. A name with another
/// dot belongs to a component whose name begins with this one's.
pub(crate) fn newest(
    rows: Vec<TableRow>,
    prefix: &str,
    table: &str,
) -> Result<BTreeMap<String, SealedSecret>> {
    let mut newest: BTreeMap<String, (String, TableRow)> = BTreeMap::new();
    for row in rows {
        let text = |key: &str| {
            row.get(key).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()
        };
        let (name, version) = (text("name"), text("version"));
        let Some(short) = name.strip_prefix(prefix).filter(|short| !short.contains('.')) else {
            continue;
        };
        let is_newer = newest.get(short).is_none_or(|(other, _)| order(other) < order(&version));
        if is_newer {
            newest.insert(short.to_owned(), (version, row));
        }
    }
    newest.into_iter().map(|(short, (_, row))| Ok((short, parse(&row, table)?))).collect()
}

/// Returns a key that sorts versions as numbers: only newer releases of credstash pad with zeros.
fn order(version: &str) -> (usize, &str) {
    let digits = version.trim_start_matches('0');
    (digits.len(), digits)
}

fn parse(row: &TableRow, table: &str) -> Result<SealedSecret> {
    let text = |key: &str| row.get(key).and_then(|value| value.as_s().ok()).map(String::as_str);
    let name = text("name").unwrap_or_default().to_owned();
    let invalid = |what: &str| {
        Error::integrity(format!(
            "the secret `{}` in `{table}` is not in credstash's format",
            name.escape_debug()
        ))
        .why(what)
    };
    let decoded = |key: &str| {
        text(key)
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| invalid(&format!("`{key}` is not base64")))
    };
    // ASCII hex: stored as bytes, or by old versions of credstash as a string.
    let mac = match row.get("hmac") {
        Some(AttributeValue::B(bytes)) => from_hex(bytes.as_ref()),
        Some(AttributeValue::S(text)) => from_hex(text.as_bytes()),
        _ => None,
    };
    Ok(SealedSecret {
        version: text("version").unwrap_or_default().to_owned(),
        key: decoded("key")?,
        ciphertext: decoded("contents")?,
        mac: mac.ok_or_else(|| invalid("`hmac` is not hex"))?,
        digest: HmacDigest::parse(text("digest")).ok_or_else(|| invalid("`digest` is unknown"))?,
        name,
    })
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.chunks_exact(2);
    pairs.remainder().is_empty().then_some(())?;
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

async fn unseal(
    request: &SecretsRequest<'_>,
    kms: &aws_sdk_kms::Client,
    who: &str,
    item: &SealedSecret,
) -> Result<Secret> {
    let context = request.credstash.context.clone().unwrap_or_default();
    let call = kms
        .decrypt()
        .ciphertext_blob(item.key.clone().into())
        .set_encryption_context((!context.is_empty()).then(|| context.into_iter().collect()));
    let answer = call.send().await.map_err(|error| {
        let failure = Failure::of(&error);
        let is_context = failure.code() == Some("InvalidCiphertextException");
        let error =
            failure.into_error(format!("cannot decrypt {who} (kms:Decrypt)"), request.region());
        match is_context {
            true => error.hint(
                "if the secret has an encryption context, add it to cdflow.yml: \
                 `credstash: {context: {key: value}}`",
            ),
            false => error,
        }
    })?;
    let data_key = answer.plaintext().map(|blob| blob.as_ref()).unwrap_or_default();
    cipher::open(data_key, item.digest, &item.ciphertext, &item.mac).map(Secret::new).map_err(
        |failed| {
            let error = Error::integrity(format!("integrity check failed for {who}"));
            match failed {
                UnsealError::Key => error.why("the data key from KMS does not have 64 bytes"),
                UnsealError::Hmac => error
                    .why("its HMAC does not match: it was changed, or encrypted with another key")
                    .hint("put it again with credstash"),
                UnsealError::Text => error.why("it is not UTF-8").hint("put it again, as text"),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Items written by credstash 1.17.1, with their data keys from KMS.
    const VECTORS: &str = include_str!("../../../tests/fixtures/credstash.json");

    fn row(item: &Value) -> TableRow {
        let value = |value: &Value| match (value["S"].as_str(), value["B"].as_str()) {
            (Some(text), _) => AttributeValue::S(text.to_owned()),
            (_, Some(text)) => AttributeValue::B(STANDARD.decode(text).unwrap().into()),
            _ => AttributeValue::Null(true),
        };
        item.as_object().unwrap().iter().map(|(key, found)| (key.clone(), value(found))).collect()
    }

    fn vectors() -> Vec<(TableRow, Vec<u8>, String)> {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
        let hex = |text: &Value| from_hex(text.as_str().unwrap().as_bytes()).unwrap();
        let text = |text: &Value| text.as_str().unwrap().to_owned();
        vectors
            .iter()
            .map(|vector| {
                (row(&vector["item"]), hex(&vector["data_key_hex"]), text(&vector["plaintext"]))
            })
            .collect()
    }

    #[test]
    fn items_of_credstash_itself_are_decrypted() {
        let mut digests = Vec::new();
        for (row, key, plaintext) in vectors() {
            let item = parse(&row, "t").unwrap();
            assert_eq!(
                cipher::open(&key, item.digest, &item.ciphertext, &item.mac),
                Ok(plaintext),
                "{}",
                item.name
            );
            digests.push(item.digest);
        }
        assert!(
            digests.contains(&HmacDigest::Md5)
                && digests.contains(&HmacDigest::Sha512)
                && digests.len() >= 6,
            "{digests:?}"
        );
    }

    #[test]
    fn a_changed_item_is_rejected_before_decryption() {
        for (row, key, _) in vectors() {
            let item = parse(&row, "t").unwrap();
            for at in 0..item.ciphertext.len() {
                let mut changed = item.ciphertext.clone();
                changed[at] ^= 1;
                assert_eq!(
                    cipher::open(&key, item.digest, &changed, &item.mac),
                    Err(UnsealError::Hmac)
                );
            }
            let mut changed = item.mac.clone();
            changed[0] ^= 1;
            assert_eq!(
                cipher::open(&key, item.digest, &item.ciphertext, &changed),
                Err(UnsealError::Hmac)
            );
            assert_eq!(
                cipher::open(&key, item.digest, &item.ciphertext, &item.mac[..4]),
                Err(UnsealError::Hmac)
            );
            assert_eq!(
                cipher::open(&key[..63], item.digest, &item.ciphertext, &item.mac),
                Err(UnsealError::Key)
            );
        }
    }

    #[test]
    fn only_the_newest_versions_of_this_component_are_read() {
        let (template, ..) = vectors().remove(0);
        let made = |name: &str, version: &str| {
            let mut row = template.clone();
            row.insert("name".into(), AttributeValue::S(name.into()));
            row.insert("version".into(), AttributeValue::S(version.into()));
            row
        };
        let rows = vec![
            made("deploy.live.app.a", "0000000000000000009"),
            made("deploy.live.app.a", "0000000000000000010"),
            made("deploy.live.app.a", "2"),
            made("deploy.live.app.v2.a", "0000000000000000001"),
            made("deploy.live.app.b", "3"),
        ];
        let newest = newest(rows, "deploy.live.app.", "t").unwrap();
        let found: Vec<(&str, &str)> =
            newest.iter().map(|(name, item)| (name.as_str(), item.version.as_str())).collect();
        assert_eq!(found, [("a", "0000000000000000010"), ("b", "3")]);
    }

    #[test]
    fn an_error_names_the_invalid_item() {
        for (key, value) in [("contents", "no base64!"), ("digest", "SHA3"), ("hmac", "xyz")] {
            let (mut row, ..) = vectors().remove(0);
            row.insert(key.into(), AttributeValue::S(value.into()));
            let error = parse(&row, "table").unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("deploy.live.mycomponent."), "{error}");
        }
    }
}
