//! What is read from the account scheme that a bundle carries.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    base::{
        document,
        error::{Error, Result},
    },
    config::names::{Environment, Team},
};

/// Of the scheme that a bundle carries: where each environment was, when the release was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrozenAccount {
    pub(crate) alias: String,
    pub(crate) id: Option<String>,
    pub(crate) region: String,
}

/// Lenient: a bundle may be older or newer than this program, and only three facts of it are
/// needed.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FrozenFile {
    accounts: BTreeMap<String, FrozenFileAccount>,
    default_region: String,
    environments: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct FrozenFileAccount {
    id: Option<String>,
    region: Option<String>,
}

impl FrozenAccount {
    /// The account of `environment` (a preview's: as it is listed) by the bundle's
    /// account-scheme.json.
    pub(crate) fn find(raw: &str, team: &Team, environment: &Environment) -> Result<Self> {
        let file = "account-scheme.json of the bundle";
        let mut parsed: FrozenFile =
            document::from_json(file, &raw.replace("{team}", team.as_str()))?;
        let alias = parsed
            .environments
            .get(environment.as_str())
            .or_else(|| parsed.environments.get("*"))
            .cloned();
        let found =
            alias.and_then(|alias| parsed.accounts.remove(&alias).map(|account| (alias, account)));
        let (alias, account) = found.ok_or_else(|| {
            Error::input(format!(
                "this release was made before the account scheme had an environment `{environment}`"
            ))
            .hint("make a new release and deploy that one")
        })?;
        Ok(Self { alias, id: account.id, region: account.region.unwrap_or(parsed.default_region) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scheme::tests::{AWS, environment};

    #[test]
    fn frozen_is_lenient() {
        let team = "platform".parse().unwrap();
        let newer = AWS.replacen('{', "{\"from-the-future\": 1,", 1);
        let live = FrozenAccount::find(&newer, &team, &environment("live")).unwrap();
        assert_eq!(live.id.as_deref(), Some("012345678901"));
        assert_eq!((live.alias.as_str(), live.region.as_str()), ("prod", "eu-west-1"));
        let gone = AWS.replace(", \"*\": \"dev\"", "");
        assert!(FrozenAccount::find(&gone, &team, &environment("ci")).is_err());
    }
}
