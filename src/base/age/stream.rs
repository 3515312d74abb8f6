//! The content of a file: chunks that are encrypted one by one. The nonce of each has its number,
//! and whether it is the last one, so that no chunk can be left out, repeated or moved.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::{
    failure::OpenError,
    header::{FILE_KEY, derived},
};

pub(super) const NONCE: usize = 16;
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;

pub(super) struct Cipher {
    key: LessSafeKey,
    /// The number of the next chunk.
    number: u64,
}

impl Cipher {
    pub(super) fn new(file_key: &[u8; FILE_KEY], nonce: &[u8; NONCE]) -> Option<Self> {
        let key = derived(file_key, nonce, "payload")?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
        Some(Self { key: LessSafeKey::new(key), number: 0 })
    }

    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    pub(super) fn seal(mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        let mut next = chunk(from, CHUNK)?;
        loop {
            let mut current = next;
            next = chunk(from, CHUNK)?;
            let is_last = next.is_empty();
            let nonce = self.nonce(is_last);
            let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut current);
            sealed.map_err(|_| io::Error::other("the encryption failed"))?;
            to.write_all(&current)?;
            if is_last {
                return Ok(());
            }
        }
    }

    pub(super) fn open(
        mut self,
        from: &mut impl Read,
        to: &mut impl Write,
    ) -> Result<(), OpenError> {
        let mut next = chunk(from, CHUNK + TAG)?;
        loop {
            let mut current = next;
            next = chunk(from, CHUNK + TAG)?;
            let is_last = next.is_empty();
            let is_first = self.number == 0;
            let nonce = self.nonce(is_last);
            let plain = self.key.open_in_place(nonce, Aad::empty(), &mut current);
            let plain = plain.map_err(|_| OpenError::Damaged)?;
            // Only an empty file has an empty chunk.
            if plain.is_empty() && !is_first {
                return Err(OpenError::Damaged);
            }
            to.write_all(plain)?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Returns the next `size` bytes, or what is left.
fn chunk(from: &mut impl Read, size: usize) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK + TAG);
    from.take(size as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}
