//! Values of single arguments: parsed or rejected with a reason.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::config::{
    location::{Location, rejected},
    names::Environment,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PullRequestNumber(pub(crate) u64);

impl FromStr for PullRequestNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => {
                Err(format!("`{}` is not a pull request number, such as `7`", text.escape_debug()))
            }
        }
    }
}

/// A commit by its full digest, so that nothing else can be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitId(pub(crate) String);

impl FromStr for CommitId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digest = [40, 64].contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match is_digest {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "`{}` is not a full commit ID, which has 40 or 64 hex digits",
                text.escape_debug()
            )),
        }
    }
}

/// The environments to which merging a pull request deploys, in the workflow's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MergeDeploys(pub(crate) Vec<Environment>);

impl FromStr for MergeDeploys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(|c: char| c == ',' || c.is_whitespace());
        let mut environments: Vec<Environment> = Vec::new();
        for name in names.filter(|name| !name.is_empty()) {
            let environment = name.parse::<Environment>().map_err(|why| why.to_string())?;
            if !environments.contains(&environment) {
                environments.push(environment);
            }
        }
        match environments.is_empty() {
            true => Err("name one or more environments, such as `ci, live`".to_owned()),
            false => Ok(Self(environments)),
        }
    }
}

/// The location of a state that another tool created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateUrl {
    S3 { bucket: String, key: String },
    File(PathBuf),
}

impl FromStr for StateUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Location::parse(text) {
            Some(Location::Object { bucket, key }) => Ok(Self::S3 { bucket, key }),
            Some(Location::File(path)) => Ok(Self::File(path)),
            Some(Location::Path(_)) | None => {
                Err(rejected(text, "a state location", "s3://bucket/key or file:path"))
            }
        }
    }
}

impl fmt::Display for StateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// One entry of the release data, `KEY=VALUE`. The value may contain `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datum {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Datum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

/// Parses the number of rows that a check run waits for.
pub(super) fn rows(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(number) if (1..=1000).contains(&number) => Ok(number),
        _ => Err("expected a number from 1 to 1000: how many jobs write a row"),
    }
}

/// Parses the number of resources that Terraform works on at the same time.
pub(super) fn parallelism(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(number) if (1..=256).contains(&number) => Ok(number),
        _ => Err("expected a number from 1 to 256"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_a_full_digest() {
        for good in ["a1".repeat(20), "0f".repeat(32)] {
            assert_eq!(good.parse::<CommitId>(), Ok(CommitId(good)));
        }
        for bad in [String::new(), "a1b2c3d".to_owned(), "A1".repeat(20), "g".repeat(40)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn merging_deploys_to_environments() {
        let named = |text: &str| {
            let parsed = text.parse::<MergeDeploys>()?;
            Ok::<_, String>(parsed.0.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(named("live").unwrap(), ["live"]);
        assert_eq!(named(" ci, live,ci\n aslive ").unwrap(), ["ci", "live", "aslive"]);
        for bad in ["", " , ", "to production!", "ci, UP"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }
}
