//! Durations in configuration and flags.

use std::{fmt, str::FromStr, time::Duration};

use crate::base::printable;

/// A duration as people write it: `90s`, `5m`, `72h`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HumanDuration(pub(crate) Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`{}` is not a duration: expected a number and `s`, `m`, `h` or `d`, such as `5m`",
                printable::excerpt(text)
            )
        };
        let (number, unit) =
            text.char_indices().last().map(|(at, unit)| (&text[..at], unit)).ok_or_else(refuse)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return Err(refuse()),
        };
        let number: u32 = number.parse().map_err(|_| refuse())?;
        Ok(Self(Duration::from_secs(u64::from(number) * seconds)))
    }
}

/// Writes seconds, which Terraform accepts too.
impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

deserialize_from_str!(HumanDuration);
