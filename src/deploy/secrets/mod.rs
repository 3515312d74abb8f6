//! The secrets of an environment, for Terraform's variable `secrets`. They are read when a deploy
//! needs them and are stored nowhere.
//!
//! Sources, by their names in cdflow.yml:
//!
//! - `credstash`: the table `credstash-<team>`, names `deploy.<environment>.<component>.<name>`
//! - `ssm`: parameters `/cdflow/<environment>/<component>/<name>`
//! - `secrets-manager`: the secret `cdflow/<environment>/<component>`, a JSON object of strings
//!
//! All sources are equal: a name in two of them is an error.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::error::{Error, Result},
    config::secrets::SecretSource,
};

pub(crate) mod cipher;
pub(crate) mod credstash;
mod parameters;
mod request;
mod secrets_manager;

pub(crate) use self::request::{Secrets, SecretsRequest};

/// Reads all sources concurrently. A source that does not exist is an error if it is the only one.
pub(crate) async fn read(
    sources: &[SecretSource],
    request: &SecretsRequest<'_>,
) -> Result<Secrets> {
    let reads = sources.iter().map(|source| async move {
        (*source, read_one(*source, request, sources.len() > 1).await)
    });
    let mut secrets = Secrets::new();
    let mut origins = BTreeMap::new();
    for (source, read) in futures_util::future::join_all(reads).await {
        for (name, secret) in read? {
            check_name(&name, source)?;
            if let Some(other) = origins.insert(name.clone(), source) {
                return Err(Error::input(format!(
                    "duplicate secret `{name}`: both {other} and {source} have it"
                ))
                .hint("remove it from one of the two"));
            }
            secrets.insert(name, secret);
        }
    }
    Ok(secrets)
}

/// Returns the names in all sources. A source that does not exist has none.
pub(crate) async fn names(
    sources: &[SecretSource],
    request: &SecretsRequest<'_>,
) -> Result<BTreeSet<String>> {
    let asked = sources.iter().map(|source| async move {
        match source {
            SecretSource::Credstash => credstash::names(request).await,
            SecretSource::Ssm => parameters::names(request).await,
            // Its names are in its value.
            SecretSource::SecretsManager => {
                Ok(secrets_manager::read(request, true).await?.into_keys().collect())
            }
        }
    });
    Ok(futures_util::future::try_join_all(asked).await?.into_iter().flatten().collect())
}

async fn read_one(
    source: SecretSource,
    request: &SecretsRequest<'_>,
    may_be_missing: bool,
) -> Result<Secrets> {
    match source {
        SecretSource::Credstash => credstash::read(request, may_be_missing).await,
        SecretSource::Ssm => parameters::read(request).await,
        SecretSource::SecretsManager => secrets_manager::read(request, may_be_missing).await,
    }
}

/// Rejects dots in particular. credstash's prefix ends with one, so a name with a dot could be a
/// secret of another component.
fn check_name(name: &str, source: SecretSource) -> Result<()> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Ok(());
    }
    Err(Error::input(format!("invalid name of a secret in {source}: `{}`", name.escape_debug()))
        .why("it can have letters, digits, `_` and `-`")
        .hint("store it under another name"))
}
