//! The files that set deploy guards.

use super::names::Environment;

/// The keys that a file sets guards with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// cdflow.yml
    #[default]
    Component,
    /// `policy` of the account scheme
    Policy,
}

/// A file that sets guards, for messages.
#[derive(Clone, Copy)]
pub(super) struct GuardFile<'a> {
    pub(super) source: Source,
    pub(super) file: &'a str,
}

impl GuardFile<'_> {
    /// Returns "`policy.environments.live.max-destroy` in account-scheme.json".
    pub(super) fn rule(&self, environment: Option<&Environment>, key: &str) -> String {
        let section = match self.source {
            Source::Component => "deploy",
            Source::Policy => "policy",
        };
        let own = environment.map_or_else(String::new, |name| format!("environments.{name}."));
        format!("`{section}.{own}{key}` in {}", self.file)
    }
}
