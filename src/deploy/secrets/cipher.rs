//! Decrypts a value of credstash: AES-256 in counter mode, and an HMAC over the ciphertext. The
//! first half of the 64-byte data key encrypts, the second half authenticates.

use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use hmac::{Hmac, KeyInit, Mac};

/// The hash functions of the HMAC that credstash offers. Items without a name use SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HmacDigest {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The reason why a value was not decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnsealError {
    /// The data key from KMS does not have 64 bytes.
    Key,
    /// The item was changed, or the key is the wrong one.
    Hmac,
    /// The plaintext is not UTF-8.
    Text,
}

impl HmacDigest {
    /// Parses the attribute `digest` of an item. Returns `None` for an unknown name.
    pub(crate) fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("SHA256") => Some(Self::Sha256),
            Some("SHA" | "SHA1") => Some(Self::Sha1),
            Some("SHA224") => Some(Self::Sha224),
            Some("SHA384") => Some(Self::Sha384),
            Some("SHA512") => Some(Self::Sha512),
            Some("MD5") => Some(Self::Md5),
            Some(_) => None,
        }
    }

    /// Compares in constant time.
    fn verifies(self, key: &[u8], message: &[u8], mac: &[u8]) -> bool {
        fn check<M: Mac + KeyInit>(key: &[u8], message: &[u8], mac: &[u8]) -> bool {
            <M as KeyInit>::new_from_slice(key)
                .is_ok_and(|hmac| hmac.chain_update(message).verify_slice(mac).is_ok())
        }
        match self {
            Self::Md5 => check::<Hmac<md5::Md5>>(key, message, mac),
            Self::Sha1 => check::<Hmac<sha1::Sha1>>(key, message, mac),
            Self::Sha224 => check::<Hmac<sha2::Sha224>>(key, message, mac),
            Self::Sha256 => check::<Hmac<sha2::Sha256>>(key, message, mac),
            Self::Sha384 => check::<Hmac<sha2::Sha384>>(key, message, mac),
            Self::Sha512 => check::<Hmac<sha2::Sha512>>(key, message, mac),
        }
    }
}

/// Verifies the HMAC and then decrypts. `mac` is in bytes, not in hex.
pub(crate) fn open(
    data_key: &[u8],
    digest: HmacDigest,
    ciphertext: &[u8],
    mac: &[u8],
) -> Result<String, UnsealError> {
    let (encryption, authentication) = data_key
        .split_at_checked(32)
        .filter(|(_, rest)| rest.len() == 32)
        .ok_or(UnsealError::Key)?;
    if !digest.verifies(authentication, ciphertext, mac) {
        return Err(UnsealError::Hmac);
    }
    // credstash starts the counter at one.
    let mut counter = [0; 16];
    counter[15] = 1;
    let mut cipher =
        Ctr128BE::<Aes256>::new_from_slices(encryption, &counter).map_err(|_| UnsealError::Key)?;
    let mut text = ciphertext.to_vec();
    cipher.apply_keystream(&mut text);
    String::from_utf8(text).map_err(|_| UnsealError::Text)
}
