//! Which of the allowed versions a version file asks for: `latest`, `latest-allowed` and
//! `min-required`, as tfenv, tofuenv and tenv have them.

use std::fmt;

/// A version file that leaves the version to the list of those that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionPick {
    pub(crate) end: End,
    /// As written.
    pub(crate) text: String,
    /// `.terraform-version:1`
    pub(crate) place: String,
}

/// An end of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Newest,
    Oldest,
}

impl End {
    /// Returns None for a text that means something else.
    pub(crate) fn of(text: &str) -> Option<Self> {
        match text {
            "latest" | "latest-allowed" => Some(Self::Newest),
            "min-required" => Some(Self::Oldest),
            _ => None,
        }
    }
}

impl fmt::Display for VersionPick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in {}", self.text, self.place)
    }
}
