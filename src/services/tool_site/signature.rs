//! The OpenPGP signature of `SHA256SUMS`, and the public keys that may have made it.

use std::time::{Duration, SystemTime};

use pgp::{
    composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{KeyDetails, Tag, Timestamp},
};

use crate::{
    base::error::{Error, Result},
    config::flavor::Flavor,
};

/// HashiCorp's key 72D7468F, fingerprint C874 011F 0AB4 0511 0D02 1055 3436 5D94 72D7 468F, as
/// hashicorp/hc-install contains it. It expires in March 2030.
const HASHICORP: &str = include_str!("keys/hashicorp.asc");
/// OpenTofu's key, fingerprint E3E6 E43D 84CB 852E ADB0 051D 0C0A F313 E5FD 9F80, as
/// opentofu/tofudl contains it (from get.opentofu.org/opentofu.asc). It does not expire.
const OPENTOFU: &str = include_str!("keys/opentofu.asc");

/// Why a signature does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSigned {
    pub(super) why: String,
    /// It might be good, but the key is not known.
    pub(super) is_by_unknown: bool,
}

impl From<String> for NotSigned {
    fn from(why: String) -> Self {
        Self { why, is_by_unknown: false }
    }
}

/// Digests that cannot be forged.
const STRONG: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sha224];

/// Keys of which any may sign.
pub(super) struct Keys(Vec<SignedPublicKey>);

impl Keys {
    /// The publisher's key and `added`, in ASCII armor.
    pub(super) fn read(flavor: Flavor, added: &[String]) -> Result<Self> {
        let publisher = match flavor {
            Flavor::Terraform => HASHICORP,
            Flavor::OpenTofu => OPENTOFU,
        };
        let mut keys = Vec::new();
        for (number, text) in
            std::iter::once(publisher).chain(added.iter().map(String::as_str)).enumerate()
        {
            let found = blocks(text).try_fold(Vec::new(), |mut found, block| {
                let (in_block, _) = SignedPublicKey::from_string_many(block)?;
                for key in in_block {
                    found.push(key?);
                }
                Ok::<_, pgp::errors::Error>(found)
            });
            let not_a_key = |why: String| {
                // The publisher's key is number 0.
                let number = number.saturating_sub(1);
                Error::input(format!(
                    "`terraform-mirror-keys[{number}]` of the account scheme is not a public key"
                ))
                .why(why)
                .hint("export it with `gpg --armor --export FINGERPRINT`")
            };
            match found {
                Ok(found) if found.is_empty() => return Err(not_a_key("it is empty".into())),
                Ok(found) => keys.extend(found),
                Err(error) => return Err(not_a_key(error.to_string())),
            }
        }
        Ok(Self(keys))
    }

    /// Whether the fingerprint is that of one of these keys.
    pub(super) fn has(&self, fingerprint: &str) -> bool {
        self.0.iter().any(|key| name_of(key) == fingerprint)
    }

    /// Fails if a key has expired or is revoked.
    pub(super) fn check_valid(&self) -> Result<()> {
        let now = SystemTime::now();
        self.0.iter().try_for_each(|key| {
            usable(key, now).map(drop).map_err(|why| {
                Error::input(
                    "a key in `terraform-mirror-keys` of the account scheme does not count",
                )
                .why(why)
                .hint("replace it by the mirror's current key")
            })
        })
    }

    /// Returns the fingerprint of the key that signed `content`, or says why none did.
    pub(super) fn check(&self, content: &[u8], signature: &[u8]) -> Result<String, NotSigned> {
        self.check_at(content, signature, SystemTime::now())
    }

    fn check_at(
        &self,
        content: &[u8],
        signature: &[u8],
        now: SystemTime,
    ) -> Result<String, NotSigned> {
        let signatures = parse(signature)?;
        let mut reason = NotSigned::from("it contains no signature".to_owned());
        for signature in &signatures {
            match self.check_one(content, &signature.signature, now) {
                Ok(name) => return Ok(name),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    fn check_one(
        &self,
        content: &[u8],
        signature: &Signature,
        now: SystemTime,
    ) -> Result<String, NotSigned> {
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err("it is not a signature of a file".to_owned().into());
        }
        if !signature.hash_alg().is_some_and(|used| STRONG.contains(&used)) {
            return Err("it uses a digest that can be forged".to_owned().into());
        }
        for key in &self.0 {
            let primary = std::iter::once(None);
            for subkey in primary.chain(key.public_subkeys.iter().map(Some)) {
                if is_by(signature, key, subkey) {
                    let verified = verify(content, signature, key, subkey, now);
                    return verified.map(|()| name_of(key)).map_err(Into::into);
                }
            }
        }
        let why = format!("it is by a key that cdflow does not know: {}", issuer(signature));
        Err(NotSigned { why, is_by_unknown: true })
    }
}

/// Returns each armored block of a text, which can have several one after the other.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "-----BEGIN PGP";
    let text = text.trim();
    let mut starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    if starts.first() != Some(&0) && !text.is_empty() {
        starts.insert(0, 0);
    }
    let ends = starts.clone().into_iter().skip(1).chain([text.len()]);
    starts.into_iter().zip(ends).map(|(start, end)| text[start..end].trim())
}

/// Returns the fingerprint of a key in upper case.
fn name_of(key: &SignedPublicKey) -> String {
    key.primary_key.fingerprint().to_string().to_uppercase()
}

/// A signature file can contain several, in binary form or in ASCII armor.
fn parse(bytes: &[u8]) -> Result<Vec<DetachedSignature>, String> {
    let parsed = match bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        true => DetachedSignature::from_armor_many(bytes.trim_ascii_start())
            .and_then(|(found, _)| found.collect::<pgp::errors::Result<Vec<_>>>()),
        false => DetachedSignature::from_bytes_many(bytes)
            .and_then(|found| found.collect::<pgp::errors::Result<Vec<_>>>()),
    };
    parsed.map_err(|error| format!("it is not an OpenPGP signature: {error}"))
}

fn is_by(signature: &Signature, key: &SignedPublicKey, sub: Option<&SignedPublicSubKey>) -> bool {
    let (fingerprint, id) = match sub {
        None => (key.primary_key.fingerprint(), key.primary_key.legacy_key_id()),
        Some(sub) => (sub.key.fingerprint(), sub.key.legacy_key_id()),
    };
    match signature.issuer_fingerprint().as_slice() {
        [] => signature.issuer_key_id().contains(&&id),
        named => named.contains(&&fingerprint),
    }
}

fn issuer(signature: &Signature) -> String {
    let named = signature.issuer_fingerprint().first().map(|it| it.to_string().to_uppercase());
    let id = || signature.issuer_key_id().first().map(|it| it.to_string().to_uppercase());
    named.or_else(id).unwrap_or_else(|| "it names none".into())
}

fn verify(
    content: &[u8],
    signature: &Signature,
    key: &SignedPublicKey,
    sub: Option<&SignedPublicSubKey>,
    now: SystemTime,
) -> Result<(), String> {
    let name = usable(key, now)?;
    let seconds = |time: Timestamp| u64::from(time.as_secs());
    let verified = match sub {
        None => signature.verify(&key.primary_key, content),
        Some(sub) => {
            let binding = binding(key, sub)
                .ok_or_else(|| format!("a part of the key {name} may not sign"))?;
            check_expiry(&name, sub.key.created_at(), binding, now)?;
            signature.verify(&sub.key, content)
        }
    };
    verified.map_err(|_| format!("it does not match the file (key {name})"))?;
    let made = signature.created().ok_or("it has no date")?;
    let age = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    // A day for clocks that differ.
    if seconds(made) > age + 86_400 {
        return Err("it is from the future: check the clock of this machine".into());
    }
    let lasts = signature.signature_expiration_time().map_or(0, |it| u64::from(it.as_secs()));
    if lasts > 0 && seconds(made) + lasts < age {
        return Err("it has expired".into());
    }
    Ok(())
}

/// Returns the fingerprint of a key that has neither expired nor been revoked.
fn usable(key: &SignedPublicKey, now: SystemTime) -> Result<String, String> {
    let name = name_of(key);
    if !key.details.revocation_signatures.is_empty() {
        return Err(format!("the key {name} is revoked"));
    }
    let own = self_signature(key).ok_or_else(|| format!("the key {name} has no valid identity"))?;
    check_expiry(&name, key.primary_key.created_at(), own, now)?;
    Ok(name)
}

/// Returns the newest valid statement of the key about itself.
fn self_signature(key: &SignedPublicKey) -> Option<&Signature> {
    let of_users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|made| {
            made.is_certification()
                && made.verify_certification(&key.primary_key, Tag::UserId, &user.id).is_ok()
        })
    });
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|made| made.verify_key(&key.primary_key).is_ok());
    of_users.chain(direct).max_by_key(|made| made.created().map(Timestamp::as_secs))
}

/// Returns the newest valid statement of the key that `sub` may sign; None also after a revocation.
fn binding<'k>(key: &SignedPublicKey, sub: &'k SignedPublicSubKey) -> Option<&'k Signature> {
    let is_valid =
        |made: &&Signature| made.verify_subkey_binding(&key.primary_key, &sub.key).is_ok();
    let newest = sub
        .signatures
        .iter()
        .filter(is_valid)
        .max_by_key(|made| made.created().map(Timestamp::as_secs))?;
    // The subkey agreed to sign for this key.
    let back = newest.embedded_signature()?;
    let agreed = back.verify_primary_key_binding(&sub.key, &key.primary_key).is_ok();
    let signs = newest.typ() == Some(SignatureType::SubkeyBinding) && newest.key_flags().sign();
    (signs && agreed).then_some(newest)
}

fn check_expiry(
    name: &str,
    created: Timestamp,
    statement: &Signature,
    now: SystemTime,
) -> Result<(), String> {
    let lasts = statement.key_expiration_time().map_or(0, |it| it.as_secs());
    let end = SystemTime::from(created) + Duration::from_secs(lasts.into());
    match lasts > 0 && end < now {
        true => Err(format!("the key {name} has expired")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use pgp::{
        composed::{KeyType, SecretKeyParamsBuilder, SignedSecretKey},
        packet::{SignatureConfig, Subpacket, SubpacketData},
        types::Password,
    };

    use super::*;

    fn secret_key() -> SignedSecretKey {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true);
        parameters.primary_user_id("Mirror <mirror@example.com>".into());
        parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
    }

    /// Signs that the key expires after `seconds`, or is revoked.
    fn statement(secret: &SignedSecretKey, kind: SignatureType, seconds: u32) -> Signature {
        let key = &secret.primary_key;
        let mut config = SignatureConfig::from_key(rand::thread_rng(), key, kind).unwrap();
        let data = [
            SubpacketData::SignatureCreationTime(Timestamp::now()),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
            SubpacketData::KeyExpirationTime(pgp::types::Duration::from_secs(seconds)),
        ];
        config.hashed_subpackets = data.map(|data| Subpacket::regular(data).unwrap()).into();
        config.sign_key(key, &Password::empty(), key.public_key()).unwrap()
    }

    #[test]
    fn keys_that_have_expired_or_are_revoked() {
        let secret = secret_key();
        let signed = DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &secret.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            &b"content"[..],
        );
        let signed = pgp::ser::Serialize::to_bytes(&signed.unwrap()).unwrap();
        let in_hours = |hours: u64| SystemTime::now() + Duration::from_secs(hours * 3600);
        let mut key = SignedPublicKey::from(secret.clone());
        let check =
            |key: &SignedPublicKey, now| Keys(vec![key.clone()]).check_at(b"content", &signed, now);
        assert_eq!(check(&key, in_hours(3)), Ok(name_of(&key)));
        let ends = statement(&secret, SignatureType::Key, 3600);
        key.details.direct_signatures.push(ends);
        assert_eq!(check(&key, in_hours(0)), Ok(name_of(&key)));
        assert!(check(&key, in_hours(3)).unwrap_err().why.ends_with("has expired"));
        // What another key says about this one does not count.
        key.details.direct_signatures = vec![statement(&secret_key(), SignatureType::Key, 3600)];
        assert_eq!(check(&key, in_hours(3)), Ok(name_of(&key)));
        let revocation = statement(&secret, SignatureType::KeyRevocation, 0);
        key.details.revocation_signatures.push(revocation);
        assert!(check(&key, in_hours(0)).unwrap_err().why.ends_with("is revoked"));
        assert!(Keys(vec![key]).check_at(b"other", &signed, in_hours(0)).is_err());
    }

    fn years(count: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs((count - 1970) * 31_557_600)
    }

    #[test]
    fn the_keys_of_the_publishers() {
        for (flavor, fingerprint, expires) in [
            (Flavor::Terraform, "c874011f0ab405110d02105534365d9472d7468f", true),
            (Flavor::OpenTofu, "e3e6e43d84cb852eadb0051d0c0af313e5fd9f80", false),
        ] {
            let keys = Keys::read(flavor, &[]).unwrap();
            let [key] = keys.0.as_slice() else { panic!() };
            assert_eq!(key.primary_key.fingerprint().to_string().to_lowercase(), fingerprint);
            let own = self_signature(key).unwrap();
            let created = key.primary_key.created_at();
            let is_valid = |year| check_expiry("x", created, own, years(year)).is_ok();
            assert_eq!((is_valid(2029), is_valid(2031)), (true, !expires));
        }
        let keys = Keys::read(Flavor::Terraform, &[]).unwrap();
        let signing =
            keys.0[0].public_subkeys.iter().filter(|sub| binding(&keys.0[0], sub).is_some());
        // The two that sign, of which one expired in 2022.
        assert_eq!(signing.count(), 2);
    }

    #[test]
    fn texts_that_are_neither_keys_nor_signatures() {
        let armored = |key: &SignedSecretKey| {
            SignedPublicKey::from(key.clone()).to_armored_string(Default::default()).unwrap()
        };
        let (one, other) = (secret_key(), secret_key());
        let two = format!("{}\n{}", armored(&one), armored(&other));
        let keys = Keys::read(Flavor::Terraform, &[two]).unwrap();
        assert_eq!(keys.0.len(), 3, "both blocks of one text");
        assert!(keys.has(&name_of(&SignedPublicKey::from(other))));
        for bad in ["hello", "", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n"] {
            let added = [armored(&one), bad.to_owned()];
            let error = Keys::read(Flavor::Terraform, &added).err().unwrap().story();
            assert!(error.contains("`terraform-mirror-keys[1]`"), "{error}");
        }
        let keys = Keys::read(Flavor::Terraform, &[]).unwrap();
        for bytes in [&b""[..], b"<html>", b"-----BEGIN PGP SIGNATURE-----\n\nxx\n", b"\xff\x00"] {
            assert!(keys.check(b"content", bytes).is_err(), "{bytes:?}");
        }
    }
}
