//! Terraform's version constraints. Not semver's: `~> 1.5` means "any 1.x from 1.5", a bare `1.5.7`
//! means exactly that.

use std::{fmt, str::FromStr};

use semver::Version;

/// `>= 1.6, < 2.0`: every part must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    text: String,
    parts: Vec<(Operator, Version, Precision)>,
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

/// How many parts of the version were written (1 to 3).
type Precision = usize;

impl Constraint {
    pub(crate) fn allows(&self, version: &Version) -> bool {
        self.parts.iter().all(|(operator, wanted, precision)| match operator {
            Operator::Equal => version == wanted,
            Operator::NotEqual => version != wanted,
            Operator::Less => version < wanted,
            Operator::LessOrEqual => version <= wanted,
            Operator::Greater => version > wanted,
            Operator::GreaterOrEqual => version >= wanted,
            Operator::Pessimistic => {
                version >= wanted
                    && version.pre == wanted.pre
                    && below_bound(version, wanted, *precision)
            }
        })
    }
}

impl Constraint {
    /// `1.11` is 1.11.0 alone, as with Terraform; many who write it mean `~> 1.11.0`.
    pub(crate) fn as_series(&self) -> Option<Self> {
        match self.parts.as_slice() {
            [(Operator::Equal, wanted, 2)] => {
                format!("~> {}.{}.0", wanted.major, wanted.minor).parse().ok()
            }
            _ => None,
        }
    }
}

fn below_bound(version: &Version, wanted: &Version, precision: Precision) -> bool {
    match precision {
        3 => (version.major, version.minor) == (wanted.major, wanted.minor),
        2 => version.major == wanted.major,
        _ => true,
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(|part| part_of(part.trim())).collect::<Option<Vec<_>>>();
        let parts = parts.ok_or_else(|| {
            format!(
                "`{}` is not a version constraint: expected for example `1.11.4`, `~> 1.11.0` or \
                 `>= 1.10, < 2.0`",
                text.escape_debug()
            )
        })?;
        Ok(Self { text: text.trim().to_owned(), parts })
    }
}

fn part_of(text: &str) -> Option<(Operator, Version, Precision)> {
    const OPERATORS: [(&str, Operator); 7] = [
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("~>", Operator::Pessimistic),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("=", Operator::Equal),
    ];
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim_start())))
        .unwrap_or((Operator::Equal, text));
    let (numbers, suffix) = version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
    let precision = numbers.split('.').count();
    let padding = match precision {
        1 => ".0.0",
        2 => ".0",
        3 => "",
        _ => return None,
    };
    Some((operator, Version::parse(&format!("{numbers}{padding}{suffix}")).ok()?, precision))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_terraform_reads_them() {
        for (constraint, version, allowed) in [
            ("1.5.7", "1.5.7", true),
            ("1.5.7", "1.5.8", false),
            ("= 1.5", "1.5.0", true),
            ("~> 1.5", "1.11.4", true),
            ("~> 1.5", "2.0.0", false),
            ("~> 1.5.0", "1.5.9", true),
            ("~> 1.5.0", "1.6.0", false),
            (">= 1.6, < 2.0", "1.11.4", true),
            (">= 1.6, < 1.11", "1.11.4", false),
            ("!= 1.11.4", "1.11.4", false),
            (">1.10", "1.10.0", false),
            ("<=1.10", "1.10.0", true),
        ] {
            let parsed: Constraint = constraint.parse().unwrap();
            assert_eq!(parsed.allows(&version.parse().unwrap()), allowed, "{constraint} {version}");
        }
        for bad in ["", "latest", "1.2.3.4", "^1.2", ">= ", "1.x", ">= 1.6,"] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad}");
        }
    }
}
