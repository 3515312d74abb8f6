//! Terraform's version constraints, as `required_version` has them. Not semver's: `~> 1.5` means
//! "any 1.x from 1.5", a bare `1.5.7` means exactly that, and a pre-release matches only a
//! constraint that names a pre-release of the same version.
//!
//! The rules are those of hashicorp/go-version, which Terraform and OpenTofu use.

mod release;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use semver::Version;
use serde::{Deserialize, Deserializer, de};

use self::release::{Cursor, Release};
use crate::base::printable;

/// A constraint, and the place that sets it, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) constraint: Constraint,
    pub(crate) place: String,
}

/// `>= 1.6, < 2.0`: every part must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    text: String,
    parts: Vec<Part>,
    /// Whether a pre-release of Terraform counts as the version that it precedes.
    is_of_code: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    operator: Operator,
    release: Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `~>`: only the rightmost given part may grow.
    Pessimistic,
}

/// Longer operators first, because each can start with a shorter one.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("~>", Operator::Pessimistic),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

impl Constraint {
    /// Parses a `required_version`. It must not name a pre-release, and a pre-release of Terraform
    /// counts as the version that it precedes.
    pub(crate) fn of_code(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<Self>()?;
        match parsed.parts.iter().any(|part| part.release.is_pre()) {
            true => Err(format!(
                "`{}` names a pre-release, which Terraform rejects in `required_version`",
                printable::excerpt(text)
            )),
            false => Ok(Self { is_of_code: true, ..parsed }),
        }
    }

    /// Parses a constraint from a setting or a version file. Unlike in Terraform, a pre-release
    /// follows a dash: `1.9.8x` is a typing error.
    pub(crate) fn of_setting(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<Self>()?;
        let is_slip = |pre: &&str| !pre.is_empty() && !text.contains(&format!("-{pre}"));
        match parsed.parts.iter().map(|part| part.release.pre()).find(is_slip) {
            Some(pre) => Err(format!(
                "`{}` has `{pre}` directly after the number; remove it, or write `-{pre}` for a \
                 pre-release",
                printable::excerpt(text)
            )),
            None => Ok(parsed),
        }
    }

    /// Returns the constraint that allows exactly `version`.
    pub(crate) fn only(version: &Version) -> Self {
        let part = Part { operator: Operator::Equal, release: Release::from(version) };
        Self { text: version.to_string(), parts: vec![part], is_of_code: false }
    }

    pub(crate) fn allows(&self, version: &Version) -> bool {
        let release = match self.is_of_code {
            true => Release::from(&Version::new(version.major, version.minor, version.patch)),
            false => Release::from(version),
        };
        self.parts.iter().all(|part| part.allows(&release))
    }

    /// Returns the one version that is allowed, if the constraint names it.
    pub(crate) fn exact(&self) -> Option<Version> {
        self.parts.iter().find(|part| part.operator == Operator::Equal)?.release.to_version()
    }

    /// Returns each version that the constraint names, and the next one. If any version fulfils
    /// several constraints, one of their edges does. None: one of them is not semver's.
    pub(crate) fn edges(&self) -> Option<Vec<Version>> {
        let named = self.parts.iter().map(|part| part.release.to_version());
        let pairs = named.map(|version| {
            let version = version?;
            let next = Version::new(version.major, version.minor, version.patch + 1);
            Some([version, next])
        });
        Some(pairs.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Whether it asks for a pre-release. If not, cdflow chooses none, although `!= 1.5.0` allows
    /// those of every other version.
    pub(crate) fn names_pre_release(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.operator != Operator::NotEqual && part.release.is_pre())
    }

    /// Returns `~> 1.11.0` for `1.11`. As in Terraform, `1.11` allows only 1.11.0, but many people
    /// mean the series.
    pub(crate) fn as_series(&self) -> Option<Self> {
        match self.parts.as_slice() {
            [Part { operator: Operator::Equal, release }] => release.as_series()?.parse().ok(),
            _ => None,
        }
    }
}

impl Part {
    fn allows(&self, version: &Release) -> bool {
        let order = version.order(&self.release);
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            _ if !self.may_compare(version) => false,
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Pessimistic => order.is_ge() && self.release.has_as_patch(version),
        }
    }

    /// A pre-release is compared only with pre-releases of the same version.
    fn may_compare(&self, version: &Release) -> bool {
        match (version.is_pre(), self.release.is_pre()) {
            (true, true) => version.has_segments_of(&self.release),
            (true, false) => false,
            (false, true) => self.operator != Operator::Pessimistic,
            (false, false) => true,
        }
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::of_setting(&text).map_err(de::Error::custom)
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = parts(text).map_err(|why| {
            format!(
                "`{}` is not a version constraint: {why}; write for example `1.11.4`, \
                 `~> 1.11.0` or `>= 1.10, < 2.0`",
                printable::excerpt(text)
            )
        })?;
        Ok(Self { text: text.trim().to_owned(), parts, is_of_code: false })
    }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut cursor = Cursor::new(text);
    let mut parts = Vec::new();
    loop {
        cursor.skip_space();
        let operator = OPERATORS.iter().find(|(sign, _)| cursor.eat(sign));
        cursor.skip_space();
        let release = Release::parse(&mut cursor)?;
        cursor.skip_space();
        let operator = operator.map_or(Operator::Equal, |(_, operator)| *operator);
        parts.push(Part { operator, release });
        if cursor.is_at_end() {
            return Ok(parts);
        }
        if !cursor.eat(",") {
            return Err(cursor.unexpected("a comma or the end"));
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
