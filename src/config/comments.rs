//! `comments` of cdflow.yml: which commands in comments on pull requests are carried out.

use serde::Deserialize;

use super::names::Environment;

/// The environments of each command. A command without environments is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Comments {
    /// `/cdflow plan`
    #[serde(default)]
    pub(crate) plan: Vec<Environment>,
    /// `/cdflow apply`
    #[serde(default)]
    pub(crate) apply: Vec<Environment>,
    /// `/cdflow hold`, `/cdflow unhold`, and `/cdflow apply`, which holds what it applies to
    #[serde(default)]
    pub(crate) hold: Vec<Environment>,
    /// `/cdflow unlock`
    #[serde(default)]
    pub(crate) unlock: Vec<Environment>,
}
