//! Effects that can be kept: a sensitive value is replaced by a keyed digest, which says only
//! whether another value is the same.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};

use super::{Effects, Side, read::PlannedValue};
use crate::base::{
    digest::Sha256,
    redact::{Redactor, Secret},
};

/// A value as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Sealed {
    Unknown,
    /// JSON.
    Plain(String),
    /// Digests of a secret, as it is and without the words of the release.
    Secret {
        exact: Sha256,
        general: Sha256,
    },
}

/// The words that differ between two releases of the same content: version, commit, build number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    own: Vec<String>,
    /// Also of the release that is deployed, which a plan shows as the values before.
    before: Vec<String>,
}

/// What a word is replaced by. No value of a plan has this character.
const PLACE: &str = "\u{fdd0}";
/// A shorter word is replaced only where it is the whole value.
const SHORTEST_IN_TEXT: usize = 4;

impl Words {
    pub(crate) fn new(own: Vec<String>, deployed: Vec<String>) -> Self {
        let sorted = |words: Vec<String>| {
            let mut words: Vec<String> =
                words.into_iter().filter(|word| !word.is_empty()).collect();
            // The longest first: the short commit is the beginning of the long one.
            words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
            words.dedup();
            words
        };
        Self { before: sorted([own.clone(), deployed].concat()), own: sorted(own) }
    }

    /// Returns `value`, which is JSON, without the words. A number has none.
    pub(super) fn general<'v>(&self, value: &'v str, side: Side) -> Cow<'v, str> {
        let Some(inner) = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else {
            return Cow::Borrowed(value);
        };
        let words = if side == Side::After { &self.own } else { &self.before };
        if words.iter().any(|word| word == inner) {
            return Cow::Borrowed(PLACE);
        }
        let mut general = Cow::Borrowed(value);
        for word in words.iter().filter(|word| word.len() >= SHORTEST_IN_TEXT) {
            if general.contains(word.as_str()) {
                general = Cow::Owned(without(&general, word));
            }
        }
        general
    }

    /// Returns a value of the release, which is JSON, without the words.
    pub(crate) fn general_value(&self, value: &str) -> String {
        self.general(value, Side::After).into_owned()
    }

    /// Returns the name of an object that there is, as JSON without the words.
    pub(super) fn general_text(&self, name: &str) -> String {
        let json = serde_json::Value::from(name).to_string();
        self.general(&json, Side::Before).into_owned()
    }
}

/// Replaces `word` where it is not a part of a longer one. A `v` may precede a version.
fn without(text: &str, word: &str) -> String {
    let joins = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = &found[word.len()..];
        out.push_str(before);
        let so_far = out.strip_suffix('v').unwrap_or(&out);
        let is_part = joins(so_far.chars().next_back()) || joins(after.chars().next());
        out.push_str(if is_part { word } else { PLACE });
        rest = after;
    }
    out + rest
}

/// Seals the effects of the plans of one release.
pub(crate) struct Sealer<'s> {
    pub(crate) key: &'s Secret,
    pub(crate) words: &'s Words,
    /// Knows the values that are secret although the plan does not mark them.
    pub(crate) redactor: &'s Redactor,
}

impl Sealer<'_> {
    pub(crate) fn seal(&self, effects: &Effects<PlannedValue>) -> Effects<Sealed> {
        let name = |name: &str| match self.redactor.finds(name) {
            true => mac(self.key, name.as_bytes()).to_string(),
            false => name.to_owned(),
        };
        effects.map(&name, &|value, side| match value {
            PlannedValue::Unknown => Sealed::Unknown,
            PlannedValue::Plain(text) if !self.redactor.finds(text) => Sealed::Plain(text.clone()),
            PlannedValue::Plain(text) => self.secret(text, side),
            PlannedValue::Sensitive(secret) => self.secret(secret.expose(), side),
        })
    }

    fn secret(&self, text: &str, side: Side) -> Sealed {
        Sealed::Secret {
            exact: mac(self.key, text.as_bytes()),
            general: mac(self.key, self.words.general(text, side).as_bytes()),
        }
    }
}

/// Returns the keyed digest of `bytes`. `key` has at most 64 bytes, as the key of a store has.
pub(crate) fn mac(key: &Secret, bytes: &[u8]) -> Sha256 {
    let mut block = [0_u8; 64];
    block.iter_mut().zip(key.expose().bytes()).for_each(|(to, from)| *to = from);
    let hmac = <Hmac<sha2::Sha256> as KeyInit>::new(&block.into());
    Sha256::from_bytes(hmac.chain_update(bytes).finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::terraform::output::effects::{Change, Effect};

    #[test]
    fn words_of_the_release_are_left_out() {
        let own = ["42-a1b2c3d", "a1b2c3d", "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334", "42"];
        let words = Words::new(own.map(str::to_owned).to_vec(), vec!["41-0000000".to_owned()]);
        for (value, general) in [
            ("\"42-a1b2c3d\"", PLACE.to_owned()),
            ("\"42\"", PLACE.to_owned()),
            ("42", "42".to_owned()),
            ("\"41-0000000\"", "\"41-0000000\"".to_owned()),
            ("\"port 42\"", "\"port 42\"".to_owned()),
            ("\"checkout-42-a1b2c3d.zip\"", format!("\"checkout-{PLACE}.zip\"")),
            ("\"repo:v42-a1b2c3d\"", format!("\"repo:v{PLACE}\"")),
            ("\"xva1b2c3d\"", "\"xva1b2c3d\"".to_owned()),
            ("\"xa1b2c3d\"", "\"xa1b2c3d\"".to_owned()),
            ("\"a1b2c3d9\"", "\"a1b2c3d9\"".to_owned()),
        ] {
            assert_eq!(words.general(value, Side::After), general, "{value}");
        }
        assert_eq!(words.general("\"41-0000000\"", Side::Before), PLACE);
    }

    #[test]
    fn a_secret_is_only_compared() {
        let (key, other) = (Secret::new("key"), Secret::new("other"));
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter22"));
        let words = Words::default();
        let sealer = Sealer { key: &key, words: &words, redactor: &redactor };
        let secret = sealer.secret("\"hunter22\"", Side::After);
        assert_eq!(secret, sealer.secret("\"hunter22\"", Side::After));
        assert_ne!(secret, sealer.secret("\"hunter23\"", Side::After));
        assert_ne!(mac(&key, b"x"), mac(&other, b"x"));
        // RFC 4231, test case 2.
        assert_eq!(
            mac(&Secret::new("Jefe"), b"what do ya want for nothing?").to_string(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(!serde_json::to_string(&secret).unwrap().contains("hunter22"));
        // Also in the names of things.
        let change = || Change { before: None, after: Some(PlannedValue::Unknown) };
        let effect = Effect {
            action: "create".to_owned(),
            moved_from: Some("a.b[\"hunter22\"]".to_owned()),
            import: Some("hunter22".to_owned()),
            object: BTreeMap::from([("id".to_owned(), "hunter22".to_owned())]),
            replace: BTreeSet::from(["x[\"hunter22\"]".to_owned()]),
            attributes: BTreeMap::from([("x[\"hunter22\"]".to_owned(), change())]),
            added: BTreeSet::from(["hunter22".to_owned()]),
        };
        let effects = Effects {
            resources: BTreeMap::from([("a.c[\"hunter22\"]".to_owned(), effect)]),
            outputs: BTreeMap::from([("hunter22".to_owned(), change())]),
            deferred: BTreeSet::from(["hunter22".to_owned()]),
        };
        let sealed = serde_json::to_string(&sealer.seal(&effects)).unwrap();
        assert!(!sealed.contains("hunter22"), "{sealed}");
    }
}
