//! The rows of credstash, and the filter of all output.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{SEPARATOR, check_error, text};
use crate::{
    base::redact::{Redactor, Secret},
    deploy::secrets::{cipher, credstash::newest},
};

/// Rows in JSON, as DynamoDB has them. A name is a plain one of the component, and no row passes
/// with a key that did not make it.
pub fn credstash(bytes: &[u8]) {
    let Ok(rows) = serde_json::from_slice::<Vec<HashMap<String, Value>>>(bytes) else { return };
    let value = |value: &Value| match (value["S"].as_str(), value["B"].as_str()) {
        (Some(text), _) => AttributeValue::S(text.to_owned()),
        (_, Some(text)) => AttributeValue::B(STANDARD.decode(text).unwrap_or_default().into()),
        _ => AttributeValue::Null(true),
    };
    let row =
        |row: HashMap<String, Value>| row.iter().map(|(k, v)| (k.clone(), value(v))).collect();
    match newest(rows.into_iter().map(row).collect(), "deploy.live.mycomponent.", "table") {
        Ok(newest) => {
            for (name, item) in newest {
                assert!(!name.contains('.'), "{name}");
                let opened = cipher::open(&[7; 64], item.digest, &item.ciphertext, &item.mac);
                assert!(opened.is_err(), "{name}");
            }
        }
        Err(error) => check_error(&error),
    }
}

/// The last part of the input is a text, the others are secrets. None is in what is shown.
pub fn redact(bytes: &[u8]) {
    let input = text(bytes);
    let mut parts: Vec<&str> = input.split(SEPARATOR).collect();
    let text = parts.pop().unwrap_or_default();
    let redactor = Redactor::default();
    let added: Vec<&str> =
        parts.into_iter().filter(|secret| redactor.add(&Secret::new(*secret))).collect();
    let shown = redactor.apply(text);
    // The mask and what is around it could spell a secret that contains the mask.
    // A short word is masked only as a whole word, and so is what has few visible characters.
    let is_word = |secret: &str| {
        let letters = secret.trim().chars().all(char::is_alphabetic);
        let is_tiny = secret.bytes().filter(u8::is_ascii_graphic).count() < 4;
        let is_short = secret.trim().len() < 12;
        is_tiny || is_short && (letters || secret.trim().chars().all(char::is_numeric))
    };
    let whole = |secret: &&str| !secret.contains('*') && !is_word(secret);
    for secret in added.into_iter().filter(whole) {
        assert!(!shown.contains(secret), "{secret:?} in {shown:?}");
    }
}
