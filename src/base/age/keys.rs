//! Keys of age: a recipient encrypts, its identity decrypts.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, X25519};

use super::bech32;
use crate::base::redact::Secret;

const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";

/// A public key, `age1…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipient(pub(super) [u8; 32]);

/// A private key, `AGE-SECRET-KEY-1…`. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Identity([u8; 32]);

impl Recipient {
    /// None: it is not a key of the type X25519.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        bech32::decode(RECIPIENT, text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0))
    }
}

impl Identity {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Any 32 bytes are a key.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Finds the key in a file of `age-keygen`, which has comments. None if there is not exactly
    /// one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (line, more) = (lines.next()?, lines.next());
        let bytes = bech32::decode(IDENTITY, line)?.try_into().ok()?;
        more.is_none().then_some(Self(bytes))
    }

    pub(crate) fn text(&self) -> Secret {
        Secret::new(bech32::encode(IDENTITY, &self.0).to_ascii_uppercase())
    }

    /// None: the library rejects the key.
    pub(crate) fn recipient(&self) -> Option<Recipient> {
        let public = self.private()?.compute_public_key().ok()?;
        public.as_ref().try_into().ok().map(Recipient)
    }

    pub(super) fn private(&self) -> Option<PrivateKey> {
        PrivateKey::from_private_key(&X25519, &self.0).ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_age_keygen_are_read() {
        // Made by age-keygen 1.1.1.
        let file = include_str!("../../../tests/fixtures/age/key.txt");
        let recipient = file.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        let identity = Identity::parse(file).unwrap();
        assert_eq!(identity.recipient().unwrap().to_string(), recipient);
        assert_eq!(Recipient::parse(recipient), identity.recipient());
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
