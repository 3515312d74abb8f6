//! The name of a team on GitHub.

use std::{fmt, str::FromStr};

use crate::base::printable;

/// `platform` or `acme/platform`, in lowercase: GitHub compares such names without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TeamName {
    /// None: the owner of the repository.
    pub(crate) organization: Option<String>,
    /// The name in the team's address.
    pub(crate) slug: String,
}

impl TeamName {
    /// Returns the name with its organization.
    pub(crate) fn in_organization(&self, default: &str) -> Self {
        let organization = self.organization.clone();
        let organization = organization.unwrap_or_else(|| default.to_ascii_lowercase());
        Self { organization: Some(organization), slug: self.slug.clone() }
    }
}

/// Both become parts of routes.
fn is_part(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
}

impl FromStr for TeamName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (organization, slug) = match text.split_once('/') {
            Some((organization, slug)) => (Some(organization), slug),
            None => (None, text),
        };
        if !organization.is_none_or(is_part) || !is_part(slug) {
            return Err(format!(
                "`{}` is not a team: expected the name in the team's address, such as `platform` \
                 or `acme/platform`",
                printable::excerpt(text)
            ));
        }
        let lower = str::to_ascii_lowercase;
        Ok(Self { organization: organization.map(lower), slug: lower(slug) })
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.organization {
            Some(organization) => write!(f, "{organization}/{}", self.slug),
            None => f.write_str(&self.slug),
        }
    }
}

deserialize_from_str!(TeamName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_address_of_a_team() {
        let of = |text: &str| text.parse::<TeamName>().unwrap().in_organization("Acme").to_string();
        assert_eq!([of("platform"), of("Other-Org/Data_2")], ["acme/platform", "other-org/data_2"]);
        for bad in ["", "/", "acme/", "/platform", "@acme/platform", "a/b/c", "..", "a b", "é"] {
            assert!(bad.parse::<TeamName>().is_err(), "{bad}");
        }
    }
}
