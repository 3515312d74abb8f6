//! Secrets of an environment, for Terraform's variable `secrets`: read when a deploy needs them, kept nowhere.
//!
//! Sources, by their names in cdflow.yml: `credstash` (the table `credstash-<team>`, names `deploy.<environment>.<component>.<name>`),
//! `ssm` (parameters `/cdflow/<environment>/<component>/<name>`) and `secrets-manager` (the secret `cdflow/<environment>/<component>`,
//! a JSON object of strings). No source wins over another: a name that stands in two of them is an error.

use std::collections::BTreeMap;

use crate::{
    base::error::{Error, Result},
    config::secrets::SecretSource,
};

mod cipher;
mod credstash;
mod parameters;
mod request;
mod secrets_manager;

pub(crate) use self::request::{Secrets, SecretsRequest};

/// Reads all sources at once. A source that is not there at all is an error, unless another one is named besides.
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
                    "the secret `{name}` stands in two sources: {other} and {source}"
                ))
                .hint("remove one of the two: none wins over the other"));
            }
            secrets.insert(name, secret);
        }
    }
    Ok(secrets)
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

/// Dots are for credstash's prefix: with one in a name, the secrets of one component could be those of another.
fn check_name(name: &str, source: SecretSource) -> Result<()> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Ok(());
    }
    Err(Error::input(format!(
        "the secret `{}` of {source} is refused: letters, digits, `_` and `-`",
        name.escape_debug()
    ))
    .hint("store it under another name"))
}
