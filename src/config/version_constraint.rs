//! Terraform's version constraints, as `required_version` has them. Not semver's: `~> 1.5` means
//! "any 1.x from 1.5", a bare `1.5.7` means exactly that, and a pre-release matches only a
//! constraint that names a pre-release of the same version.
//!
//! The rules are those of hashicorp/go-version, which Terraform and OpenTofu use.

use std::{cmp::Ordering, fmt, str::FromStr};

use semver::{Prerelease, Version};

/// A constraint and where it is written, for messages.
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
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    operator: Operator,
    /// At least three; missing ones are 0.
    segments: Vec<u64>,
    /// How many were written.
    written: usize,
    pre: Prerelease,
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

/// Longer ones come first.
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
    pub(crate) fn allows(&self, version: &Version) -> bool {
        self.parts.iter().all(|part| part.allows(version))
    }

    /// Returns the one version that is allowed, if the constraint names it.
    pub(crate) fn exact(&self) -> Option<Version> {
        self.parts.iter().find(|part| part.operator == Operator::Equal)?.version()
    }

    /// The constraint that allows exactly `version`.
    pub(crate) fn only(version: &Version) -> Self {
        let part = Part {
            operator: Operator::Equal,
            segments: vec![version.major, version.minor, version.patch],
            written: 3,
            pre: version.pre.clone(),
        };
        Self { text: version.to_string(), parts: vec![part] }
    }

    /// `1.11` is 1.11.0 alone, as with Terraform; many who write it mean `~> 1.11.0`.
    pub(crate) fn as_series(&self) -> Option<Self> {
        match self.parts.as_slice() {
            [Part { operator: Operator::Equal, segments, written: 2, .. }] => {
                format!("~> {}.{}.0", segments[0], segments[1]).parse().ok()
            }
            _ => None,
        }
    }
}

impl Part {
    fn allows(&self, version: &Version) -> bool {
        let order = self.order(version);
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            _ if !self.may_compare(version) => false,
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Pessimistic => {
                order.is_ge() && self.segments.len() == 3 && self.is_below_bound(version)
            }
        }
    }

    /// Compares a version with this one.
    fn order(&self, version: &Version) -> Ordering {
        let mut segments = segments(version).to_vec();
        segments.resize(self.segments.len(), 0);
        segments.cmp(&self.segments).then_with(|| version.pre.cmp(&self.pre))
    }

    /// A pre-release is compared only with pre-releases of the same version.
    fn may_compare(&self, version: &Version) -> bool {
        match (version.pre.is_empty(), self.pre.is_empty()) {
            (true, true) => true,
            (true, false) => self.operator != Operator::Pessimistic,
            (false, true) => false,
            (false, false) => self.segments == segments(version),
        }
    }

    fn is_below_bound(&self, version: &Version) -> bool {
        let fixed = self.written.saturating_sub(1).min(3);
        segments(version)[..fixed] == self.segments[..fixed]
    }

    fn version(&self) -> Option<Version> {
        let [major, minor, patch] = *self.segments.as_slice() else { return None };
        Some(Version { pre: self.pre.clone(), ..Version::new(major, minor, patch) })
    }
}

fn segments(version: &Version) -> [u64; 3] {
    [version.major, version.minor, version.patch]
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut column = 1;
        let mut parts = Vec::new();
        for part in text.split(',') {
            parts.push(part_of(part.trim()).map_err(|why| {
                let before = part.chars().take_while(|it| it.is_whitespace()).count();
                format!(
                    "`{}` is not a version constraint: {why} in column {}; write for example \
                     `1.11.4`, `~> 1.11.0` or `>= 1.10, < 2.0`",
                    text.escape_debug(),
                    column + before
                )
            })?);
            column += part.chars().count() + 1;
        }
        Ok(Self { text: text.trim().to_owned(), parts })
    }
}

fn part_of(text: &str) -> Result<Part, String> {
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim_start())))
        .unwrap_or((Operator::Equal, text));
    let version = version.strip_prefix('v').unwrap_or(version);
    if version.is_empty() {
        return Err("a version is missing".into());
    }
    let numbers = version.find(|it: char| !it.is_ascii_digit() && it != '.');
    let (numbers, suffix) = version.split_at(numbers.unwrap_or(version.len()));
    let malformed = || format!("`{}` is not a version", version.escape_debug());
    let mut segments = Vec::new();
    for number in numbers.split('.') {
        segments.push(number.parse::<u64>().map_err(|_| malformed())?);
    }
    let written = segments.len();
    segments.resize(written.max(3), 0);
    let (pre, build) = suffix.split_once('+').unwrap_or((suffix, "0"));
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || "-~".contains(it))
    };
    let is_named = |text: &str| text.split('.').all(is_word);
    // `1.0beta` is `1.0-beta`.
    let pre = pre.strip_prefix('-').unwrap_or(pre);
    if (!pre.is_empty() && !is_named(pre)) || (suffix.starts_with('-') && pre.is_empty()) {
        return Err(malformed());
    }
    if !is_named(build) {
        return Err(malformed());
    }
    let pre = Prerelease::new(pre).map_err(|_| malformed())?;
    Ok(Part { operator, segments, written, pre })
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
            ("v1.5.7", "1.5.7", true),
            ("= 1.5", "1.5.0", true),
            ("~> 1.5", "1.11.4", true),
            ("~> 1.5", "2.0.0", false),
            ("~> 1", "2.0.0", true),
            ("~> 1.5.0", "1.5.9", true),
            ("~> 1.5.0", "1.6.0", false),
            (">= 1.6, < 2.0", "1.11.4", true),
            (">= 1.6, < 1.11", "1.11.4", false),
            ("!= 1.11.4", "1.11.4", false),
            (">1.10", "1.10.0", false),
            ("<=1.10", "1.10.0", true),
            (">= 1.6", "1.12.0-rc1", false),
            ("< 2.0", "1.12.0-rc1", false),
            ("~> 1.12", "1.12.0-rc1", false),
            (">= 1.12.0-beta1", "1.12.0-rc1", true),
            (">= 1.12.0-beta1", "1.13.0-rc1", false),
            (">= 1.12.0-beta1", "1.12.0", true),
            ("~> 1.12.0-beta1", "1.12.0-rc1", true),
            ("~> 1.12.0-beta1", "1.12.1", false),
            ("1.12.0-rc1", "1.12.0-rc1", true),
            ("!= 1.12.0-rc1", "1.12.0", true),
            ("1.11.4.0", "1.11.4", true),
            ("1.11.4+ent", "1.11.4", true),
        ] {
            let parsed: Constraint = constraint.parse().unwrap();
            assert_eq!(parsed.allows(&version.parse().unwrap()), allowed, "{constraint} {version}");
        }
    }

    #[test]
    fn a_malformed_constraint_names_its_column() {
        for (bad, why) in [
            ("", "a version is missing in column 1"),
            ("latest", "`latest` is not a version in column 1"),
            ("^1.2", "`^1.2` is not a version in column 1"),
            (">= ", "a version is missing in column 1"),
            ("1.x", "`1.x` is not a version"),
            (">= 1.6,", "a version is missing in column 8"),
            (">= 1.6,  < two", "`two` is not a version in column 10"),
            ("1.2.3-", "`1.2.3-` is not a version"),
            ("1..2", "`1..2` is not a version"),
            ("99999999999999999999", "is not a version"),
        ] {
            let error = bad.parse::<Constraint>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn the_one_version() {
        let exact = |text: &str| text.parse::<Constraint>().unwrap().exact();
        assert_eq!(exact("1.11"), Some(Version::new(1, 11, 0)));
        assert_eq!(exact(">= 1.6, = 1.11.4"), Some(Version::new(1, 11, 4)));
        assert_eq!(exact("1.12.0-rc1"), Some("1.12.0-rc1".parse().unwrap()));
        assert_eq!(exact("~> 1.11.0"), None);
        let only = Constraint::only(&Version::new(1, 11, 4));
        assert_eq!(
            (only.exact(), only.to_string()),
            (Some(Version::new(1, 11, 4)), "1.11.4".into())
        );
    }

    /// Terraform itself is the oracle: one folder has a block for each constraint, and each that
    /// does not hold is an error with its line.
    #[test]
    fn terraform_judges_the_same() {
        use std::{collections::BTreeSet, process::Command};
        let version = |words: &mut u64| {
            let mut pick = |of: &[&str]| {
                *words = words.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                of[(*words >> 33) as usize % of.len()].to_owned()
            };
            let mut text = pick(&["", "", "", "v"]) + &pick(&["1", "1", "1", "1", "0", "2"]);
            if pick(&["y", "y", "y", "n"]) == "y" {
                text += &format!(".{}", pick(&["11", "11", "10", "12", "5", "x"]));
                if pick(&["y", "y", "n"]) == "y" {
                    text += &format!(".{}", pick(&["4", "4", "3", "5", "0", "04"]));
                }
            }
            text + &pick(&["", "", "", "", "", "", "", "+ent", ".0", "-", " "])
        };
        let mut words = 7_u64;
        let mut constraints = Vec::new();
        for number in 0..400 {
            let operators = ["", "=", "!=", ">", "<", ">=", "<=", "~>", "=>", "~", "=="];
            let mut part = |salt: u64| {
                words = words.wrapping_add(salt);
                let operator = operators[(words >> 40) as usize % if salt == 3 { 11 } else { 8 }];
                let space = ["", " ", "  "][(words >> 20) as usize % 3];
                format!("{operator}{space}{}", version(&mut words))
            };
            let one = part(if number % 10 == 0 { 3 } else { 1 });
            constraints.push(match number % 4 {
                0 => format!("{one}, {}", part(2)),
                _ => one,
            });
        }
        let folder = tempfile::tempdir().unwrap();
        let blocks: Vec<String> = constraints
            .iter()
            .map(|it| format!("terraform {{ required_version = \"{it}\" }}\n"))
            .collect();
        std::fs::write(folder.path().join("main.tf"), blocks.concat()).unwrap();
        // `init` reports the constraints that do not hold, `validate` those that are malformed.
        let mut bad = BTreeSet::new();
        for arguments in [&["init", "-backend=false", "-json"][..], &["validate", "-json"]] {
            #[allow(clippy::disallowed_methods)]
            let answer = Command::new("terraform")
                .args(arguments)
                .current_dir(folder.path())
                .env("CHECKPOINT_DISABLE", "1")
                .output()
                .expect("terraform is needed: CONTRIBUTING.md says how to get it");
            let events = serde_json::Deserializer::from_slice(&answer.stdout);
            for event in events.into_iter::<serde_json::Value>() {
                let event = event.unwrap();
                let many = event["diagnostics"].as_array().cloned().unwrap_or_default();
                let lines = many.iter().chain(event.get("diagnostic"));
                bad.extend(lines.filter_map(|it| it.pointer("/range/start/line")?.as_u64()));
            }
        }
        let real = Version::new(1, 11, 4);
        let mut counts = [0; 3];
        for (index, text) in constraints.iter().enumerate() {
            let ours = text.parse::<Constraint>().map(|parsed| parsed.allows(&real));
            counts[match ours {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(_) => 2,
            }] += 1;
            assert_eq!(ours == Ok(true), !bad.contains(&(index as u64 + 1)), "`{text}`: {ours:?}");
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }
}
