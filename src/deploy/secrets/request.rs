//! The question to a source of secrets, and its answer.

use std::collections::BTreeMap;

use crate::{
    base::redact::Secret,
    config::{identity::Identity, names::Environment, secrets::CredstashSettings},
    services::aws::session::Session,
};

/// Names the component and the environment whose secrets are read.
pub(crate) struct SecretsRequest<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) environment: &'a Environment,
    pub(crate) credstash: &'a CredstashSettings,
    /// In the account of the environment.
    pub(crate) session: &'a Session,
}

/// Names to values. `Debug` hides the values.
pub(crate) type Secrets = BTreeMap<String, Secret>;

impl SecretsRequest<'_> {
    /// Returns the environment's part of a name: `live`, or `preview` for every `pr-<number>`.
    pub(super) fn environment_name(&self) -> &str {
        self.environment.shared_name()
    }

    /// Returns the region for messages; empty if it is unknown.
    pub(super) fn region(&self) -> &str {
        self.session.config.region().map_or("", |region| region.as_ref())
    }
}
