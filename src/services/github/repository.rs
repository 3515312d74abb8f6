//! A repository: the name by which routes address it, and what GitHub says about it.

use std::{fmt, str::FromStr};

use serde::Deserialize;

use crate::base::error::{Error, Result};

/// `owner/name`, checked, because it becomes a part of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepositoryName {
    pub(crate) owner: String,
    pub(crate) name: String,
}

/// A repository as GitHub describes it in its API and in events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Repository {
    /// Never reused, unlike the name.
    pub(crate) id: u64,
    pub(crate) full_name: String,
}

impl FromStr for RepositoryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                && ![".", ".."].contains(&name)
        };
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::input(format!("GITHUB_REPOSITORY is `{}`", text.escape_debug()))
                .hint("it is written `owner/name`")),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_parts_of_routes() {
        for wrong in
            ["acme", "acme/", "/checkout", "acme/../x", "acme/..", "a b/c", "acme/checkout?x"]
        {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
        assert_eq!(
            "acme/check.out_1-x".parse::<RepositoryName>().unwrap().to_string(),
            "acme/check.out_1-x"
        );
    }
}
