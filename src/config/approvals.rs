//! `approvals` in `deploy` of cdflow.yml and in `policy`: who must have approved a change. A number
//! is short for `count`.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::team_name::TeamName;

/// The approvals as written in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approvals {
    /// People who must have approved the pull request: at least 1.
    pub(crate) count: usize,
    /// Whether each changed file needs an approval of one of its owners.
    pub(crate) code_owners: bool,
    /// A member of each of these teams must have approved.
    pub(crate) teams: BTreeSet<TeamName>,
    /// The GitHub environment in which an approval of the run is accepted instead.
    pub(crate) environment: Option<String>,
}

/// The approvals as keys.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ApprovalKeys {
    #[serde(default, deserialize_with = "count")]
    count: Option<usize>,
    #[serde(default)]
    code_owners: bool,
    #[serde(default, deserialize_with = "teams")]
    teams: BTreeSet<TeamName>,
    #[serde(default, deserialize_with = "environment")]
    environment: Option<String>,
}

const NOT_ZERO: &str = "expected 1 or more; remove the key if 1 approval is enough";

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Option::<usize>::deserialize(deserializer)?.map(not_zero).transpose()
}

fn not_zero<E: de::Error>(count: usize) -> Result<usize, E> {
    match count {
        0 => Err(E::custom(NOT_ZERO)),
        count => Ok(count),
    }
}

fn teams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<TeamName>, D::Error> {
    let teams = BTreeSet::deserialize(deserializer)?;
    match teams.is_empty() {
        true => Err(de::Error::custom("expected a team; remove the key if no team must approve")),
        false => Ok(teams),
    }
}

fn environment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    let is_bad = |name: &String| name.trim().is_empty() || name.chars().any(char::is_control);
    match name.as_ref().is_some_and(is_bad) {
        true => Err(de::Error::custom("expected the name of a GitHub environment")),
        false => Ok(name),
    }
}

impl From<ApprovalKeys> for Approvals {
    fn from(keys: ApprovalKeys) -> Self {
        let ApprovalKeys { count, code_owners, teams, environment } = keys;
        Self { count: count.unwrap_or(1), code_owners, teams, environment }
    }
}

impl<'de> Deserialize<'de> for Approvals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ApprovalsVisitor;

        impl<'de> Visitor<'de> for ApprovalsVisitor {
            type Value = Approvals;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of people, or keys such as `count` and `teams`")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Approvals, E> {
                let count = usize::try_from(count).map_err(E::custom)?;
                let count = not_zero(count)?;
                let (code_owners, teams, environment) = (false, BTreeSet::new(), None);
                Ok(Approvals { count, code_owners, teams, environment })
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Approvals, E> {
                self.visit_u64(u64::try_from(count).map_err(|_| E::custom(NOT_ZERO))?)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Approvals, A::Error> {
                ApprovalKeys::deserialize(MapAccessDeserializer::new(entries)).map(Into::into)
            }
        }

        deserializer.deserialize_any(ApprovalsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::document::from_yaml;

    #[derive(Debug, Deserialize)]
    struct Sample {
        approvals: Approvals,
    }

    fn parse(text: &str) -> Result<Approvals, String> {
        let text = format!("approvals: {text}\n");
        let sample = from_yaml::<Sample>("x.yml", &text).map_err(|error| error.to_string())?;
        Ok(sample.approvals)
    }

    #[test]
    fn a_number_is_short_for_the_count() {
        assert_eq!(parse("2"), parse("{count: 2}"));
        assert_eq!(parse("1"), parse("{}"));
        let all = "{count: 2, code-owners: true, teams: [platform, acme/data], environment: live}";
        let all = parse(all).unwrap();
        assert_eq!((all.count, all.code_owners), (2, true));
        let teams: Vec<String> = all.teams.iter().map(ToString::to_string).collect();
        assert_eq!(teams, ["platform", "acme/data"]);
        assert_eq!(all.environment.as_deref(), Some("live"));
    }

    #[test]
    fn a_mistake_names_the_key() {
        for (text, says) in [
            ("0", "`approvals`: expected 1 or more"),
            ("-1", "`approvals`: expected 1 or more"),
            ("two", "expected a number of people, or keys"),
            ("true", "expected a number of people, or keys"),
            ("[grace]", "expected a number of people, or keys"),
            ("{count: 0}", "`approvals.count`: expected 1 or more"),
            ("{cuont: 2}", "unknown key `cuont`"),
            ("{code-owners: 1}", "`approvals.code-owners`: expected `true` or `false`"),
            ("{teams: []}", "`approvals.teams`: expected a team"),
            ("{teams: platform}", "`approvals.teams`: expected a list"),
            ("{teams: ['']}", "`approvals.teams[0]`: `` is not a team"),
            ("{teams: ['@acme/platform']}", "`@acme/platform` is not a team"),
            ("{environment: ' '}", "expected the name of a GitHub environment"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("x.yml:1:") && error.contains(says), "{text}: {error}");
        }
    }
}
