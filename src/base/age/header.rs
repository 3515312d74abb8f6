//! The header of a file: the key of the file, encrypted to one recipient, and an HMAC.

use std::io::Read;

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{UnparsedPublicKey, X25519, agree},
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::{
    failure::OpenError,
    keys::{Identity, Recipient},
};

pub(super) const FILE_KEY: usize = 16;
const TAG: usize = 16;
const VERSION: &str = "age-encryption.org/v1";
const STANZA: &str = "-> X25519 ";
const MAC: &str = "---";
/// In bytes.
const LONGEST_LINE: usize = 128;

/// Returns 32 bytes derived from a key.
pub(super) fn derived(key: &[u8], salt: &[u8], info: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let key = Salt::new(HKDF_SHA256, salt).extract(key);
    key.expand(&[info.as_bytes()], HKDF_SHA256).ok()?.fill(&mut out).ok()?;
    Some(out)
}

/// Returns the key that encrypts the key of the file.
fn wrapping_key(
    own: &Identity,
    other: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Option<LessSafeKey> {
    let other = UnparsedPublicKey::new(&X25519, other);
    let key = agree(&own.private()?, other, (), |shared| {
        derived(shared, &[*share, *recipient].concat(), &format!("{VERSION}/X25519")).ok_or(())
    });
    UnboundKey::new(&CHACHA20_POLY1305, &key.ok()?).ok().map(LessSafeKey::new)
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn mac_key(file_key: &[u8; FILE_KEY]) -> Option<hmac::Key> {
    derived(file_key, &[], "header").map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// Returns the header.
pub(super) fn wrap(file_key: &[u8; FILE_KEY], recipient: &Recipient) -> Option<String> {
    let own = Identity::random().ok()?;
    let Recipient(share) = own.recipient()?;
    let key = wrapping_key(&own, &recipient.0, &share, &recipient.0)?;
    let mut body = file_key.to_vec();
    // The key is used once.
    key.seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut body).ok()?;
    let base64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    let header = format!("{VERSION}\n{STANZA}{}\n{}\n{MAC}", base64(&share), base64(&body));
    let mac = hmac::sign(&mac_key(file_key)?, header.as_bytes());
    Some(format!("{header} {}\n", base64(mac.as_ref())))
}

/// Reads the header, and returns the key of the file.
pub(super) fn unwrap(
    identity: &Identity,
    from: &mut impl Read,
) -> Result<[u8; FILE_KEY], OpenError> {
    let mut lines = [const { String::new() }; 4];
    for line in &mut lines {
        *line = read_line(from)?;
    }
    let [version, stanza, body, mac] = &lines;
    let parsed = || {
        let share: [u8; 32] = bytes(stanza.strip_prefix(STANZA)?)?;
        let mac: [u8; 32] = bytes(mac.strip_prefix(MAC)?.strip_prefix(' ')?)?;
        (version == VERSION).then_some((share, bytes(body)?, mac))
    };
    let (share, wrapped, mac) = parsed().ok_or(OpenError::Damaged)?;
    let Recipient(own) = identity.recipient().ok_or(OpenError::Damaged)?;
    let key = wrapping_key(identity, &share, &share, &own).ok_or(OpenError::Damaged)?;
    let mut wrapped: [u8; FILE_KEY + TAG] = wrapped;
    let file_key = key.open_in_place(zero_nonce(), Aad::empty(), &mut wrapped);
    let file_key = file_key.map_err(|_| OpenError::OtherKey)?;
    let file_key = <[u8; FILE_KEY]>::try_from(&*file_key).map_err(|_| OpenError::Damaged)?;
    let header = format!("{version}\n{stanza}\n{body}\n{MAC}");
    let key = mac_key(&file_key).ok_or(OpenError::Damaged)?;
    match hmac::verify(&key, header.as_bytes(), &mac) {
        Ok(()) => Ok(file_key),
        Err(_) => Err(OpenError::Damaged),
    }
}

fn bytes<const N: usize>(base64: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(base64).ok()?.try_into().ok()
}

/// Reads byte by byte, because the content that follows is not text.
fn read_line(from: &mut impl Read) -> Result<String, OpenError> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        from.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return String::from_utf8(line).map_err(|_| OpenError::Damaged),
            [byte] if line.len() < LONGEST_LINE => line.push(byte),
            _ => return Err(OpenError::Damaged),
        }
    }
}
