//! Names: parsed or rejected, never repaired, because two names must not become one object.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::{error::Error, printable};

mod image;

pub(crate) use self::image::Image;

/// A rejected name: its kind, the escaped value, the rule and what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} `{value}`: expected {rule} ({advice})")]
pub(crate) struct InvalidName {
    kind: &'static str,
    value: String,
    rule: &'static str,
    advice: String,
}

impl From<InvalidName> for Error {
    fn from(rejected: InvalidName) -> Self {
        Self::input(rejected.to_string())
    }
}

/// Parses a pull request label. Rejects an empty one, which no pull request can have.
pub(crate) fn label<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let label = Option::<String>::deserialize(deserializer)?;
    match label.as_deref().map(str::trim) {
        Some("") => Err(serde::de::Error::custom(
            "expected the name of a label; remove the key if no label is needed",
        )),
        label => Ok(label.map(str::to_owned)),
    }
}

/// Defines a name: a string that can only be made by parsing.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr, $rule:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
        #[schemars(inline)]
        pub(crate) struct $name(String);

        impl $name {
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.to_owned()));
                }
                let lower = text.to_ascii_lowercase();
                let advice = match check(&lower) {
                    true => format!("did you mean `{lower}`?"),
                    false => format!("for example `{}`", $example),
                };
                let value = printable::excerpt(text);
                Err(InvalidName { kind: $kind, value, rule: $rule, advice })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// A release's version. It becomes a Docker tag (hence the alphabet and the length) and part of
    /// object keys.
    Version,
    "version",
    |text| {
        (1..=128).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    },
    "1 to 128 letters, digits, `.`, `_` or `-`, starting with a letter or digit, as a Docker tag \
     needs",
    "42-a1b2c3d"
);

name!(
    /// An environment: a Terraform workspace and part of object keys.
    Environment,
    "environment",
    |text| is_label(text) && !["default", "ledger"].contains(&text),
    "1 to 63 lowercase letters, digits and inner `-`; no dots, because secret names are split at \
     dots; `default` and `ledger` are reserved",
    "live"
);

name!(
    /// The owner of a component: the first part of every key.
    Team,
    "team",
    |text| is_label(text) && !["default", "recovery"].contains(&text),
    "1 to 63 lowercase letters, digits and inner `-`; `default` and `recovery` are reserved",
    "platform"
);

name!(
    /// A deployable unit.
    Component,
    "component",
    |text| {
        (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    },
    "1 to 63 letters, digits, `.`, `_` or `-`, starting with a letter or digit",
    "checkout"
);

impl Component {
    /// Checks the stricter rule for names of image repositories.
    pub(crate) fn check_as_image(&self) -> Result<(), InvalidName> {
        let is_letter = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if (2..=63).contains(&self.0.len())
            && is_letter(&self.0)
            && self.0.split(['.', '_', '-']).all(is_part)
        {
            return Ok(());
        }
        Err(InvalidName {
            kind: "component",
            value: printable::excerpt(&self.0),
            rule: "2 to 63 lowercase letters and digits with single `.`, `_` or `-` between them, \
                   starting with a letter, because its image has the same name",
            advice: "for example `checkout`".to_owned(),
        })
    }
}

impl Version {
    /// Whether `preview up` made the release: `pr-<number>-<commit>`.
    pub(crate) fn is_of_preview(&self) -> bool {
        let number = self.0.strip_prefix("pr-").and_then(|rest| rest.split_once('-'));
        number.is_some_and(|(number, _)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    }
}

impl Environment {
    /// A pull request's environment is `pr-<number>`, never a branch name.
    pub(crate) fn is_preview(&self) -> bool {
        self.0
            .strip_prefix("pr-")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    }

    /// Returns the environment of a pull request.
    pub(crate) fn of_pull_request(number: u64) -> Self {
        Self(format!("pr-{number}"))
    }

    /// Returns the number of the pull request, or None for names such as `pr-007`.
    pub(crate) fn pull_request(&self) -> Option<u64> {
        let number = self.0.strip_prefix("pr-")?.parse().ok()?;
        (Self::of_pull_request(number) == *self).then_some(number)
    }

    /// Returns the name of its configuration and secrets: `preview` for all previews, else its own.
    pub(crate) fn shared_name(&self) -> &str {
        if self.is_preview() { "preview" } else { &self.0 }
    }
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions() {
        let long = "a".repeat(128);
        for good in ["1", "1.2.3", "42-a1b2c3d", "pr-7-0123abc", "A_b", long.as_str()] {
            assert!(good.parse::<Version>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(129);
        for bad in [
            "",
            "1.0+5",
            "v/1",
            "-rm",
            ".1",
            "_1",
            "a b",
            "1\n",
            "é",
            "..",
            "1\0",
            too_long.as_str(),
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn environments_and_teams() {
        for good in ["live", "ci", "pr-12", "a", "0", &"a".repeat(63)] {
            assert!(good.parse::<Environment>().is_ok(), "{good}");
            assert!(good.parse::<Team>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "default",
            "live.a",
            "Live",
            "-x",
            "x-",
            "a b",
            "../x",
            "a/b",
            "a_b",
            "live\n",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<Environment>().is_err(), "{bad}");
            assert!(bad.parse::<Team>().is_err(), "{bad}");
        }
        assert!("ledger".parse::<Environment>().is_err());
        assert!("ledger".parse::<Team>().is_ok());
        assert!("recovery".parse::<Team>().is_err());
    }

    #[test]
    fn components_that_are_images() {
        let image = |name: &str| name.parse::<Component>().unwrap().check_as_image().is_ok();
        for good in ["ab", "checkout", "a-b_c.d", "a1", &"a".repeat(63)] {
            assert!(image(good), "{good}");
        }
        for bad in ["a", "Checkout", "1a", "a--b", "a.-b", "ab-", "aB"] {
            assert!(!image(bad), "{bad}");
        }
    }

    #[test]
    fn previews() {
        for (name, preview) in
            [("pr-1", true), ("pr-", false), ("pr-a", false), ("live", false), ("pr-1-2", false)]
        {
            assert_eq!(
                name.parse::<Environment>().is_ok_and(|e| e.is_preview()),
                preview,
                "{name}"
            );
        }
        let number = |name: &str| name.parse::<Environment>().unwrap().pull_request();
        assert_eq!(
            ["pr-7", "pr-007", "pr-99999999999999999999", "live"].map(number),
            [Some(7), None, None, None]
        );
    }

    #[test]
    fn a_refusal_says_the_rule_and_escapes_the_value() {
        let refused = "v/1\u{1b}[2J".parse::<Version>().unwrap_err().to_string();
        assert!(refused.contains(r"`v/1\u{1b}[2J`") && refused.contains("Docker tag"), "{refused}");
    }

    proptest! {
        #[test]
        fn no_name_can_leave_its_folder(text in ".*") {
            for accepted in [
                text.parse::<Version>().map(|n| n.to_string()),
                text.parse::<Environment>().map(|n| n.to_string()),
                text.parse::<Team>().map(|n| n.to_string()),
                text.parse::<Component>().map(|n| n.to_string()),
            ].into_iter().flatten() {
                prop_assert_eq!(&accepted, &text);
                prop_assert!(!accepted.contains(['/', '\\', '\0', ' ']));
                prop_assert!(!accepted.starts_with(['.', '-']));
            }
        }
    }
}
