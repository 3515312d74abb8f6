//! Whose secrets are read, and what reading them returns.

use std::collections::BTreeMap;

use crate::{
    base::redact::Secret,
    config::{identity::Identity, names::Environment, secrets::CredstashSettings},
    services::aws::session::Session,
};

/// Whose secrets.
pub(crate) struct SecretsRequest<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) environment: &'a Environment,
    pub(crate) credstash: &'a CredstashSettings,
    pub(crate) session: &'a Session,
}

/// Names to values; `Debug` shows no value.
pub(crate) type Secrets = BTreeMap<String, Secret>;

impl SecretsRequest<'_> {
    /// `live`, or `preview` for every `pr-<number>`.
    pub(super) fn environment_name(&self) -> &str {
        self.environment.shared_name()
    }

    pub(super) fn region(&self) -> &str {
        self.session.config.region().map_or("", |region| region.as_ref())
    }
}
