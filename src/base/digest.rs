//! SHA-256 as a type that knows its own spellings.

use std::{
    fmt,
    io::{self, Read, Write},
    path::Path,
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::small_file;

/// In bytes.
const BUFFER: usize = 256 * 1024;

/// A SHA-256 digest; written in lowercase hex (64 characters).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("pattern" = "^[0-9a-f]{64}$"))]
pub(crate) struct Sha256([u8; 32]);

/// Reads and hashes in one pass.
#[derive(Clone, Default)]
pub(crate) struct Hasher(sha2::Sha256);

impl Sha256 {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    pub(crate) fn of_file(path: &Path) -> io::Result<Self> {
        copy(&mut small_file::open(path)?, &mut io::sink())
    }

    /// AWS Lambda's `source_code_hash` spelling.
    pub(crate) fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Takes a digest that was made elsewhere.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// Copies, and says what was copied.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<Sha256> {
    copy_with(&mut buffer(), from, to)
}

/// Returns a buffer for [`copy_with`]. To make one costs more than to hash a small file.
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; BUFFER]
}

/// Like [`copy`], with a buffer that other copies can use too.
pub(crate) fn copy_with(
    buffer: &mut [u8],
    from: &mut impl Read,
    to: &mut impl Write,
) -> io::Result<Sha256> {
    let mut hasher = Hasher::default();
    loop {
        let read = from.read(buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest (64 lowercase hex digits)")]
pub(crate) struct NotADigest(String);

impl FromStr for Sha256 {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let refuse = || NotADigest(text.chars().take(80).collect());
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let digest = Sha256::of(b"abc");
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digest.base64(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(digest.to_string().parse::<Sha256>().unwrap(), digest);
        assert_eq!(Sha256::from_base64(&digest.base64()), Some(digest));
        assert_eq!(Sha256::from_base64("YWJj"), None);
        assert!("BA".repeat(32).parse::<Sha256>().is_err());
        assert!("é".repeat(32).parse::<Sha256>().is_err());
    }
}
