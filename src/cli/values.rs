//! Values of single arguments: parsed or rejected with a reason.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::config::location::{Location, rejected};

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
