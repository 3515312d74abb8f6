//! The name of an environment variable, in cdflow.yml.

use std::str::FromStr;

use crate::base::printable;

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VariableName(pub(crate) String);

impl FromStr for VariableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !text.is_empty()
            && text.bytes().all(plain)
            && !text.starts_with(|c: char| c.is_ascii_digit())
        {
            return Ok(Self(text.to_owned()));
        }
        // What follows might be the secret itself.
        let shown = match text.split_once('=') {
            Some((name, _)) => format!("{}=…", printable::excerpt(name)),
            None => printable::excerpt(text),
        };
        Err(format!("`{shown}` is not the name of an environment variable"))
    }
}

deserialize_from_str!(VariableName);
