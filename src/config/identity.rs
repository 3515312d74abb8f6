//! A release, and every key and address derived from it.

use super::names::{Component, Environment, Team, Version};
use crate::base::digest::Sha256;

/// A component of a team, and what its keys begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) team: Team,
    pub(crate) component: Component,
    pub(crate) layout: Layout,
}

/// How keys are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `<team>/<component>/…`
    #[default]
    ByTeam,
    /// `<component>/…`: the scheme says `classic-metadata-handling`.
    Classic,
}

/// A version of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) identity: Identity,
    pub(crate) version: Version,
}

impl Identity {
    /// `<team>/<component>`, or `<component>` in the classic layout. Terraform keeps the states of
    /// the workspaces under this prefix.
    pub(crate) fn prefix(&self) -> String {
        match self.layout {
            Layout::ByTeam => format!("{}/{}", self.team, self.component),
            Layout::Classic => self.component.to_string(),
        }
    }

    /// What the keys of all releases start with.
    pub(crate) fn releases_prefix(&self) -> String {
        format!("{}/{}-", self.prefix(), self.component)
    }

    /// The folder of all environments' ledgers.
    pub(crate) fn ledgers_prefix(&self) -> String {
        format!("{}/ledger/", self.prefix())
    }

    pub(crate) fn ledger_prefix(&self, environment: &Environment) -> String {
        format!("{}{environment}/", self.ledgers_prefix())
    }

    /// The folder of the records of plans that pull requests showed.
    pub(crate) fn reviews_prefix(&self) -> String {
        format!("{}/reviews/", self.prefix())
    }

    /// The folder of the names of releases that pull requests made, by source digest.
    pub(crate) fn built_prefix(&self, sources: &Sha256) -> String {
        format!("{}/built/{sources}/", self.prefix())
    }

    /// What the keys of the marks of deletions start with.
    pub(crate) fn deletions_prefix(&self) -> String {
        format!("{}/deleting/{}-", self.prefix(), self.component)
    }

    /// The version in the key of a mark of a deletion; None for any other key.
    pub(crate) fn version_of_deletion(&self, key: &str) -> Option<Version> {
        key.strip_prefix(&self.deletions_prefix())?.strip_suffix(".zip")?.parse().ok()
    }

    /// The version in a release's key; None for any other key (a ledger's, say).
    pub(crate) fn version_in(&self, key: &str) -> Option<Version> {
        key.strip_prefix(&self.releases_prefix())?.strip_suffix(".zip")?.parse().ok()
    }
}

impl Release {
    /// Of the bundle in the release store, and of the zip in a lambda bucket.
    pub(crate) fn key(&self) -> String {
        format!("{}{}.zip", self.identity.releases_prefix(), self.version)
    }

    /// Whether a role for pull requests may write the bundle: `*-pr-*.zip` in the policies.
    pub(crate) fn is_of_pull_request(&self) -> bool {
        self.key().contains("-pr-")
    }

    /// Of the mark that the release is about to be deleted. It ends like the key of a release, so
    /// that the policy which lets a role delete releases covers it.
    pub(crate) fn deletion_key(&self) -> String {
        format!("{}{}.zip", self.identity.deletions_prefix(), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let identity = Identity {
            team: "platform".parse().unwrap(),
            component: "checkout".parse().unwrap(),
            layout: Layout::ByTeam,
        };
        let release = Release { identity: identity.clone(), version: "42-abc".parse().unwrap() };
        assert_eq!(release.key(), "platform/checkout/checkout-42-abc.zip");
        assert_eq!(release.deletion_key(), "platform/checkout/deleting/checkout-42-abc.zip");
        let of = |key: &str| identity.version_in(key);
        assert_eq!(of(&release.deletion_key()), None);
        let deleting = identity.version_of_deletion(&release.deletion_key());
        assert_eq!(deleting.as_ref(), Some(&release.version));
        assert_eq!(identity.version_of_deletion(&release.key()), None);
        assert_eq!(of(&release.key()), Some(release.version));
        assert_eq!(of("platform/checkout/ledger/live/1.json"), None);
        assert_eq!(
            identity.ledger_prefix(&"live".parse().unwrap()),
            "platform/checkout/ledger/live/"
        );
        let classic = Identity { layout: Layout::Classic, ..identity };
        let release = Release { identity: classic.clone(), version: "42-abc".parse().unwrap() };
        assert_eq!(release.key(), "checkout/checkout-42-abc.zip");
        assert_eq!(classic.version_in(&release.key()), Some(release.version));
        assert_eq!(classic.ledger_prefix(&"live".parse().unwrap()), "checkout/ledger/live/");
    }
}
