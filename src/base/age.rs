//! Files encrypted to one key, in the format of age (<https://age-encryption.org/v1>).

use std::{
    fmt,
    io::{self, Read, Write},
};

use age::secrecy::ExposeSecret;
use bech32::{ToBase32, Variant};

use super::redact::Secret;

const IDENTITY: &str = "age-secret-key-";
/// In bytes, as the format's chunks.
const PIECE: usize = 64 << 10;

/// A public key, `age1…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipient(age::x25519::Recipient);

/// A private key, `AGE-SECRET-KEY-1…`. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Identity(age::x25519::Identity);

/// Why a file was not decrypted.
#[derive(Debug)]
pub(crate) enum OpenError {
    Io(io::Error),
    /// It was encrypted to another key.
    OtherKey,
    /// It was changed, or is not a file of age for an X25519 key.
    Damaged,
}

impl Recipient {
    /// None: it is not a key of the type X25519.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Identity {
    pub(crate) fn random() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// Any 32 bytes are a key.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        let text = bech32::encode(IDENTITY, bytes.to_base32(), Variant::Bech32).ok()?;
        text.to_ascii_uppercase().parse().ok().map(Self)
    }

    /// Finds the key in a file of `age-keygen`, which has comments. None if there is not exactly
    /// one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (line, more) = (lines.next()?, lines.next());
        line.parse().ok().map(Self).filter(|_| more.is_none())
    }

    pub(crate) fn text(&self) -> Secret {
        Secret::new(self.0.to_string().expose_secret().to_owned())
    }

    pub(crate) fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

/// Encrypts `from` as a stream.
pub(crate) fn seal(
    recipient: &Recipient,
    from: &mut impl Read,
    to: &mut impl Write,
) -> io::Result<()> {
    let recipients = std::iter::once(&recipient.0 as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let mut writer = encryptor.wrap_output(to)?;
    io::copy(from, &mut writer)?;
    writer.finish().map(drop)
}

/// Decrypts `from` as a stream. On an error, `to` might have the beginning, which is authentic.
pub(crate) fn open(
    identity: &Identity,
    from: &mut impl Read,
    to: &mut impl Write,
) -> Result<(), OpenError> {
    let decryptor = age::Decryptor::new(from)?;
    let identities = std::iter::once(&identity.0 as &dyn age::Identity);
    let mut reader = decryptor.decrypt(identities)?;
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            read => to.write_all(&piece[..read]).map_err(OpenError::Io)?,
        }
    }
}

impl From<age::DecryptError> for OpenError {
    fn from(error: age::DecryptError) -> Self {
        match error {
            age::DecryptError::NoMatchingKeys => Self::OtherKey,
            age::DecryptError::Io(error) => error.into(),
            _ => Self::Damaged,
        }
    }
}

/// The crate reports damaged content as an error of reading.
impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../tests/fixtures/age/key.txt");
    const CHUNK: usize = 64 << 10;

    fn decrypted(identity: &Identity, file: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plain = Vec::new();
        open(identity, &mut &*file, &mut plain).map(|()| plain)
    }

    fn encrypted(identity: &Identity, plain: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        seal(&identity.recipient(), &mut &*plain, &mut file).unwrap();
        file
    }

    #[test]
    fn files_of_age_are_decrypted() {
        let identity = Identity::parse(KEY).unwrap();
        let short = include_bytes!("../../tests/fixtures/age/short.age");
        assert_eq!(decrypted(&identity, short).unwrap(), b"a plan\n");
        let empty = include_bytes!("../../tests/fixtures/age/empty.age");
        assert_eq!(decrypted(&identity, empty).unwrap(), b"");
        // More than one chunk.
        let long = include_bytes!("../../tests/fixtures/age/long.age");
        assert_eq!(decrypted(&identity, long).unwrap(), vec![b'x'; CHUNK + 100]);
    }

    #[test]
    fn every_size_comes_back() {
        let identity = Identity::random();
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let plain: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let file = encrypted(&identity, &plain);
            assert!(decrypted(&identity, &file).unwrap() == plain, "{size}");
            assert!(!file.windows(16).any(|part| plain.windows(16).next() == Some(part)));
        }
    }

    #[test]
    fn a_changed_or_cut_file_is_rejected() {
        let identity = Identity::random();
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
        let other = Identity::random();
        assert!(matches!(decrypted(&other, &file), Err(OpenError::OtherKey)));
    }

    #[test]
    fn keys_of_age_keygen_are_read() {
        // Made by age-keygen 1.1.1.
        let file = include_str!("../../tests/fixtures/age/key.txt");
        let recipient = file.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        let identity = Identity::parse(file).unwrap();
        assert_eq!(identity.recipient().to_string(), recipient);
        assert_eq!(Recipient::parse(recipient), Some(identity.recipient()));
        assert!(file.contains(identity.text().expose()));
        assert!(!format!("{identity:?}").contains(&identity.text().expose()[20..]));
        let two = format!("{file}\n{}", identity.text().expose());
        for wrong in ["", "# only a comment", recipient, &two, "AGE-SECRET-KEY-1QQQQ"] {
            assert!(Identity::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(Recipient::parse("age1qqqq"), None);
        assert_eq!(Recipient::parse(identity.text().expose()), None);
    }
}
