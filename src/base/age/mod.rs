//! Files encrypted to one key, in the format of age (<https://age-encryption.org/v1>): an X25519
//! recipient, and 64 KiB chunks of ChaCha20-Poly1305. `age -d` opens them.
//!
//! The crate `age` would bring 50 more crates, most of them for translations. The primitives here
//! are those of the TLS library.

mod bech32;
mod failure;
mod header;
mod keys;
mod stream;

use std::io::{self, Read, Write};

pub(crate) use self::{
    failure::OpenError,
    keys::{Identity, Recipient},
};

/// Encrypts `from` as a stream.
pub(crate) fn seal(
    recipient: &Recipient,
    from: &mut impl Read,
    to: &mut impl Write,
) -> io::Result<()> {
    let failed = || io::Error::other("the encryption failed");
    let mut file_key = [0; header::FILE_KEY];
    getrandom::fill(&mut file_key).map_err(io::Error::other)?;
    let header = header::wrap(&file_key, recipient).ok_or_else(failed)?;
    to.write_all(header.as_bytes())?;
    let mut nonce = [0; stream::NONCE];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    to.write_all(&nonce)?;
    stream::Cipher::new(&file_key, &nonce).ok_or_else(failed)?.seal(from, to)
}

/// Decrypts `from` as a stream. On an error, `to` might have the beginning, which is authentic.
pub(crate) fn open(
    identity: &Identity,
    from: &mut impl Read,
    to: &mut impl Write,
) -> Result<(), OpenError> {
    let file_key = header::unwrap(identity, from)?;
    let mut nonce = [0; stream::NONCE];
    from.read_exact(&mut nonce)?;
    stream::Cipher::new(&file_key, &nonce).ok_or(OpenError::Damaged)?.open(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../../tests/fixtures/age/key.txt");
    const CHUNK: usize = 64 << 10;

    fn decrypted(identity: &Identity, file: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plain = Vec::new();
        open(identity, &mut &*file, &mut plain).map(|()| plain)
    }

    fn encrypted(identity: &Identity, plain: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        seal(&identity.recipient().unwrap(), &mut &*plain, &mut file).unwrap();
        file
    }

    #[test]
    fn files_of_age_are_decrypted() {
        let identity = Identity::parse(KEY).unwrap();
        let short = include_bytes!("../../../tests/fixtures/age/short.age");
        assert_eq!(decrypted(&identity, short).unwrap(), b"a plan\n");
        let empty = include_bytes!("../../../tests/fixtures/age/empty.age");
        assert_eq!(decrypted(&identity, empty).unwrap(), b"");
        // More than one chunk.
        let long = include_bytes!("../../../tests/fixtures/age/long.age");
        assert_eq!(decrypted(&identity, long).unwrap(), vec![b'x'; CHUNK + 100]);
    }

    #[test]
    fn every_size_comes_back() {
        let identity = Identity::random().unwrap();
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let plain: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let file = encrypted(&identity, &plain);
            assert!(decrypted(&identity, &file).unwrap() == plain, "{size}");
            assert!(!file.windows(16).any(|part| plain.windows(16).next() == Some(part)));
        }
    }

    #[test]
    fn a_changed_or_cut_file_is_rejected() {
        let identity = Identity::random().unwrap();
        let file = encrypted(&identity, b"resource");
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(decrypted(&identity, &changed).is_err(), "byte {at}");
            assert!(decrypted(&identity, &file[..at]).is_err(), "{at} bytes");
        }
        let longer = [file.as_slice(), b"x"].concat();
        assert!(matches!(decrypted(&identity, &longer), Err(OpenError::Damaged)));
        // Without its last chunk, and with two chunks exchanged.
        let tag = 16;
        let file = encrypted(&identity, &vec![7; 2 * CHUNK]);
        let start = file.len() - 2 * (CHUNK + tag);
        let cut = &file[..file.len() - CHUNK - tag];
        assert!(matches!(decrypted(&identity, cut), Err(OpenError::Damaged)));
        let (one, two) = file[start..].split_at(CHUNK + tag);
        let swapped = [&file[..start], two, one].concat();
        assert!(matches!(decrypted(&identity, &swapped), Err(OpenError::Damaged)));
        let other = Identity::random().unwrap();
        assert!(matches!(decrypted(&other, &file), Err(OpenError::OtherKey)));
    }
}
