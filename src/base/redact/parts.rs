//! The values inside a secret: the leaves of JSON, the lines of a text, the password of a URL; and
//! how each is encoded.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{canonical::Canonical, words};

/// Shorter values would mask ordinary text.
pub(super) const SHORTEST: usize = 4;
/// A longer value is masked inside of words as well.
const LONGEST_WORD: usize = 12;
/// A shorter number is masked only if no other digit or letter is next to it.
const SHORTEST_NUMBER: usize = 6;
/// An encoded form must be longer, because it is a guess.
const SHORTEST_ENCODED: usize = 8;
/// A longer value is looked for piece by piece, so that the buffer of a stream has a bound.
pub(super) const PIECE: usize = 128;
/// JSON inside JSON inside JSON.
const DEPTH: usize = 4;

/// A text that is masked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    /// Without whitespace.
    pub(super) text: Vec<u8>,
    /// It could be a word: only as a whole word.
    pub(super) is_word: bool,
    /// A word in which no whitespace may be.
    pub(super) is_solid: bool,
}

/// Returns what is masked of a secret. Empty if it is too short, or an ordinary word.
pub(super) fn patterns(value: &str) -> Vec<Pattern> {
    let mut found = Vec::new();
    let trimmed = value.trim();
    if trimmed.len() >= SHORTEST && !words::is_ordinary(value) {
        let is_number =
            trimmed.len() < SHORTEST_NUMBER && trimmed.bytes().all(|b| b.is_ascii_digit());
        let is_one_word = trimmed.len() < LONGEST_WORD && trimmed.chars().all(char::is_alphabetic);
        // Without its whitespace, `a b c` is shorter than what is masked anywhere.
        let is_tiny = Canonical::of_value(value).len() < SHORTEST;
        let is_word = is_number || is_tiny || is_one_word && !words::is_distinctive(value);
        add_as(value, is_word, &mut found);
    }
    inner(value, DEPTH, &mut found);
    found
}

/// Returns what is masked of a value that is perhaps a secret: only what cannot be a word.
pub(super) fn guessed(value: &str) -> Vec<Pattern> {
    let mut found = Vec::new();
    leaf("", value, DEPTH, &mut found);
    found
}

fn inner(value: &str, depth: usize, found: &mut Vec<Pattern>) {
    if depth == 0 {
        return;
    }
    if let Ok(document @ (Value::Object(_) | Value::Array(_) | Value::String(_))) =
        serde_json::from_str::<Value>(value.trim())
    {
        return leaves("", &document, depth - 1, found);
    }
    if let Some((_, rest)) = value.split_once("://")
        && let Some((login, _)) = rest.rsplit_once('@')
        && let Some((_, password)) = login.split_once(':')
    {
        leaf("password", password, depth - 1, found);
    }
    let lines: Vec<&str> = value.split(['\n', '\r']).map(str::trim).collect();
    for line in &lines {
        if lines.len() > 1 && words::is_distinctive(line) {
            add(line, found);
        }
        if let Some((name, value)) = line.split_once('=').or_else(|| line.split_once(": ")) {
            leaf(name, value.trim().trim_matches(['"', '\'']), depth - 1, found);
        }
    }
}

fn leaves(name: &str, value: &Value, depth: usize, found: &mut Vec<Pattern>) {
    match value {
        Value::String(text) => leaf(name, text, depth, found),
        Value::Array(items) => items.iter().for_each(|item| leaves(name, item, depth, found)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| leaves(name, field, depth, found));
        }
        Value::Number(number) => leaf(name, &number.to_string(), depth, found),
        Value::Bool(_) | Value::Null => {}
    }
}

fn leaf(name: &str, text: &str, depth: usize, found: &mut Vec<Pattern>) {
    let is_named = words::names_a_secret(name) && text.len() >= 6 && !words::is_ordinary(text);
    if is_named || words::is_distinctive(text) {
        add(text, found);
    }
    inner(text, depth, found);
}

fn add(text: &str, found: &mut Vec<Pattern>) {
    add_as(text, !words::is_distinctive(text), found);
}

fn add_as(text: &str, is_word: bool, found: &mut Vec<Pattern>) {
    let is_solid = is_word && !text.trim().contains(char::is_whitespace);
    let mut push = |form: Vec<u8>, is_word: bool| {
        let pieces = form.chunks(PIECE).filter(|piece| is_word || piece.len() >= SHORTEST);
        let last = (form.len() > PIECE).then(|| &form[form.len() - PIECE..]);
        found.extend(pieces.chain(last).map(|piece| Pattern {
            text: piece.to_vec(),
            is_word,
            is_solid: is_solid && is_word,
        }));
    };
    push(Canonical::of_value(text), is_word);
    if let Some(form) = Canonical::of_escaped_value(text).filter(|it| it.len() >= SHORTEST) {
        let is_word = is_word || form.len() < SHORTEST_ENCODED;
        push(form, is_word);
    }
    let encoded = spellings(text).into_iter().flat_map(|text| {
        let trimmed = text.trim().to_owned();
        [text, trimmed]
    });
    for text in encoded.filter(|text| text.len() >= SHORTEST_ENCODED).collect::<BTreeSet<_>>() {
        for encoded in (0..3).map(|offset| base64_at(&text, offset)) {
            let url_safe = encoded.replace('+', "-").replace('/', "_");
            for form in [encoded, url_safe] {
                if form.len() >= SHORTEST_ENCODED {
                    push(form.into_bytes(), false);
                }
            }
        }
        for separator in ["", ":"] {
            let bytes: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            let hex = bytes.join(separator);
            push(hex.to_uppercase().into_bytes(), false);
            push(hex.into_bytes(), false);
        }
    }
}

/// Returns a value as programs write it into a document that they encode as a whole: as it is, as
/// JSON (also with `<`, `>` and `&` as Terraform's `jsonencode` writes them), and as a part of a
/// URL.
fn spellings(text: &str) -> Vec<String> {
    let quoted = Value::from(text).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    let go = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let url = |space: &str| -> String {
        let byte = |byte: u8| match byte {
            b' ' => space.to_owned(),
            byte if is_plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    vec![text.to_owned(), json, go, url("+"), url("%20")]
}

/// Returns the base64 of the value at `offset` bytes after a multiple of three in a longer text
/// (`user:password`), without the characters that also encode neighbouring bytes. Offset 0 also
/// covers a text that ends with the value: the rest is too short to reveal it.
fn base64_at(text: &str, offset: usize) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(text.as_bytes());
    let encoded = STANDARD.encode(&bytes);
    let (start, end) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
    encoded.get(start..end).unwrap_or_default().to_owned()
}
