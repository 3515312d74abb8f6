//! Secrets, and the filter that every line passes on its way out.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::url;

/// Shorter values would mask ordinary text.
const SHORTEST: usize = 4;
/// A derived form (base64 and such) must be longer still, because it is a guess.
const SHORTEST_DERIVED: usize = 8;
const MASK: &str = "***";

/// A value that must not be shown. `Debug` doesn't show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// 256 random bits, in hex.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// For the place that needs the value itself: a request, a private file.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Masks every known secret in every form in which it may be printed. Clones share their secrets.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// Longest first, so that a secret that contains another leaves no rest.
    forms: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// From now on `secret` is masked. False when it is too short to be masked.
    pub(crate) fn add(&self, secret: &Secret) -> bool {
        let value = secret.expose();
        if value.trim().len() < SHORTEST {
            return false;
        }
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        forms.extend(spellings(value));
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        true
    }

    pub(crate) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for form in forms.iter() {
            if text.contains(form.as_str()) {
                text = Cow::Owned(text.replace(form.as_str(), MASK));
            }
        }
        text
    }
}

/// Returns the value, the trimmed value and each of its lines; each also as written in JSON, HCL,
/// base64 and URLs.
fn spellings(value: &str) -> Vec<String> {
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST);
    let mut found = Vec::new();
    for text in [value, value.trim()].into_iter().chain(lines) {
        found.push(text.to_owned());
        if text.len() >= SHORTEST_DERIVED {
            found.extend([
                json(text),
                go_json(text),
                hcl(text),
                url::encode(text),
                url::encode(text).replace("%20", "+"),
            ]);
            found.extend(
                (0..3)
                    .map(|offset| base64_at(text, offset))
                    .filter(|form| form.len() >= SHORTEST_DERIVED),
            );
        }
    }
    found
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

/// Without the quotes around it.
fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Go's encoder, and so Terraform's JSON, escapes these three as well.
fn go_json(text: &str) -> String {
    json(text).replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026")
}

fn hcl(text: &str) -> String {
    json(text).replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::default();
        for secret in secrets {
            redactor.add(&Secret::new(*secret));
        }
        redactor
    }

    #[test]
    fn the_longest_goes_first() {
        assert_eq!(redactor(&["pass", "password123"]).apply("a password123 b pass"), "a *** b ***");
    }

    #[test]
    fn empty_and_short_values_mask_nothing() {
        let redactor = Redactor::default();
        assert!(
            !redactor.add(&Secret::new(""))
                && !redactor.add(&Secret::new("abc"))
                && !redactor.add(&Secret::new("    "))
        );
        assert_eq!(redactor.apply("abc"), "abc");
    }

    #[test]
    fn every_spelling() {
        let redactor = redactor(&["s3cr\"t <&> ${x}\nsecond line"]);
        for printed in [
            "s3cr\"t <&> ${x}",
            r#""s3cr\"t <&> ${x}\nsecond line""#,
            r#"s3cr\"t \u003c\u0026\u003e ${x}"#,
            r#"s3cr\"t <&> $${x}"#,
            "second line",
            "s3cr%22t%20%3C%26%3E%20%24%7Bx%7D",
            "czNjciJ0IDwmPiAke3h9CnNlY29uZCBsaW5l",
            "s3cr%22t+%3C%26%3E+%24%7Bx%7D",
        ] {
            let masked = redactor.apply(printed);
            assert!(
                !masked.contains("s3cr") && !masked.contains("second") && masked.contains(MASK),
                "{printed} -> {masked}"
            );
        }
    }

    #[test]
    fn base64_at_any_offset() {
        let secret = "correct-horse-battery\n";
        let redactor = redactor(&[secret]);
        for before in ["", "u", "us", "user:", "a longer prefix "] {
            for after in ["", "x", "yz", "and more"] {
                let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
                let masked = redactor.apply(&encoded).into_owned();
                let left = encoded.len() - masked.replace(MASK, "").len();
                assert!(
                    masked.contains(MASK) && left + 4 >= secret.len() * 8 / 6,
                    "{before} {after}: {encoded} -> {masked}"
                );
            }
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2hunter2")), "***");
    }
}
