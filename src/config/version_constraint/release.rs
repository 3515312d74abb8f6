//! A version in a constraint, by the rules of hashicorp/go-version. They accept more than semver:
//! one segment or ten, `v1.5`, `1.5beta`, `1.5.0-01~x`.

use std::cmp::Ordering;

use semver::{Prerelease, Version};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// At least three: missing ones are 0.
    segments: Vec<u64>,
    /// The number of segments in the text.
    written: usize,
    /// Empty: not a pre-release.
    pre: String,
}

impl From<&Version> for Release {
    fn from(version: &Version) -> Self {
        let segments = vec![version.major, version.minor, version.patch];
        Self { segments, written: 3, pre: version.pre.to_string() }
    }
}

impl Release {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        cursor.eat("v");
        let mut segments = vec![cursor.number("a version")?];
        while cursor.eat(".") {
            segments.push(cursor.number("a number")?);
        }
        let written = segments.len();
        segments.resize(written.max(3), 0);
        let mut start = cursor.at;
        let is_dashed = cursor.eat("-");
        let has_word = !cursor.take(is_word).is_empty();
        // `1.5.0-` is the pre-release `-`.
        start += usize::from(is_dashed && has_word);
        if is_dashed || has_word {
            cursor.more_words()?;
        }
        let pre = cursor.text[start..cursor.at].to_owned();
        if cursor.eat("+") {
            cursor.word()?;
            cursor.more_words()?;
        }
        Ok(Self { segments, written, pre })
    }

    /// Returns None if semver does not allow the version.
    pub(super) fn to_version(&self) -> Option<Version> {
        let [major, minor, patch] = *self.segments.as_slice() else { return None };
        let pre = Prerelease::new(&self.pre).ok()?;
        Some(Version { pre, ..Version::new(major, minor, patch) })
    }

    /// Returns the constraint for `1.11.x` or `1.x`, if this is only `1.11` or `1`.
    pub(super) fn as_series(&self) -> Option<String> {
        match (self.is_pre(), self.written) {
            (false, 1) => Some(format!("~> {}.0", self.segments[0])),
            (false, 2) => Some(format!("~> {}.{}.0", self.segments[0], self.segments[1])),
            _ => None,
        }
    }

    /// Returns the pre-release; empty if this is none.
    pub(super) fn pre(&self) -> &str {
        &self.pre
    }

    pub(super) fn is_pre(&self) -> bool {
        !self.pre.is_empty()
    }

    pub(super) fn has_segments_of(&self, other: &Self) -> bool {
        self.segments == other.segments
    }

    /// Whether a version has the same segments as this one, except from the last written one on.
    pub(super) fn has_as_patch(&self, version: &Self) -> bool {
        let fixed = self.written - 1;
        self.segments.len() <= version.segments.len()
            && self.segments[..fixed] == version.segments[..fixed]
    }

    /// Compares two versions. If one has more segments than the other, pre-releases do not matter.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        if self.has_segments_of(other) {
            return order_of_pre(&self.pre, &other.pre);
        }
        let length = self.segments.len().max(other.segments.len());
        let mut segments = [self, other].map(|it| it.segments.clone());
        segments.iter_mut().for_each(|it| it.resize(length, 0));
        segments[0].cmp(&segments[1])
    }
}

fn order_of_pre(one: &str, other: &str) -> Ordering {
    if one.is_empty() || other.is_empty() {
        return one.is_empty().cmp(&other.is_empty());
    }
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        let (one, other) = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => (one.unwrap_or_default(), other.unwrap_or_default()),
        };
        if one != other {
            return order_of_words(one, other);
        }
    }
}

/// Compares two different words. An empty word means a missing one: it is less than a number, and
/// greater than letters. If two words are the same number (`1`, `01`), the first is less.
fn order_of_words(one: &str, other: &str) -> Ordering {
    let numbers = (one.parse::<i64>().ok(), other.parse::<i64>().ok());
    match (one.is_empty(), other.is_empty(), numbers) {
        (true, _, (_, Some(_))) | (_, true, (None, _)) => Ordering::Less,
        (true, ..) | (_, true, _) => Ordering::Greater,
        (.., (Some(_), None)) => Ordering::Less,
        (.., (None, Some(_))) => Ordering::Greater,
        (.., (None, None)) => one.cmp(other),
        (.., (Some(one), Some(other))) if one > other => Ordering::Greater,
        (.., (Some(_), Some(_))) => Ordering::Less,
    }
}

/// A place in the text of a constraint.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let is_here = self.rest().starts_with(sign);
        self.at += if is_here { sign.len() } else { 0 };
        is_here
    }

    /// Skips only the characters that Go's regular expressions call space.
    pub(super) fn skip_space(&mut self) {
        self.take(|byte| b" \t\n\r\x0c".contains(&byte));
    }

    /// Returns an error that names what should be here.
    pub(super) fn unexpected(&self, expected: &str) -> String {
        let column = self.column();
        match self.rest().chars().next() {
            Some(found) => {
                format!("expected {expected} in column {column}, found `{}`", found.escape_debug())
            }
            None => format!("expected {expected} in column {column}, found the end"),
        }
    }

    fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes matching ASCII characters.
    fn take(&mut self, is_meant: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| byte.is_ascii() && is_meant(*byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn number(&mut self, expected: &str) -> Result<u64, String> {
        let column = self.column();
        match self.take(|byte| byte.is_ascii_digit()) {
            "" => Err(self.unexpected(expected)),
            // Terraform parses signed 64-bit numbers.
            digits => {
                let number = digits.parse::<i64>().map(i64::unsigned_abs);
                number.map_err(|_| format!("the number in column {column} is too large"))
            }
        }
    }

    fn word(&mut self) -> Result<(), String> {
        match self.take(is_word) {
            "" => Err(self.unexpected("a letter or digit")),
            _ => Ok(()),
        }
    }

    fn more_words(&mut self) -> Result<(), String> {
        while self.eat(".") {
            self.word()?;
        }
        Ok(())
    }
}

/// Whether a byte can be in a pre-release or in a build.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-~".contains(&byte)
}
