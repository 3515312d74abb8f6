//! Secrets of an environment, for Terraform's variable `secrets`: read when a deploy needs them, kept nowhere.
//!
//! Sources, by their names in cdflow.yml: `credstash` (the table `credstash-<team>`, names `deploy.<environment>.<component>.<name>`),
//! `ssm` (parameters `/cdflow/<environment>/<component>/<name>`) and `secrets-manager` (the secret `cdflow/<environment>/<component>`,
//! a JSON object of strings). No source wins over another: a name that stands in two of them is an error.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer};

use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
    },
    config::{identity::Identity, names::Environment},
    services::aws::session::Session,
};

mod cipher;
mod credstash;
mod parameters;
mod secrets_manager;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    Credstash,
    Ssm,
    SecretsManager,
}

/// What cdflow.yml says of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// `secrets: none`.
    None,
    /// `secrets: [ssm, …]`.
    From(Vec<Source>),
}

/// How credstash was set up, where it is not as usual.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CredstashSettings {
    /// Default: `credstash-<team>`.
    pub(crate) table: Option<String>,
    /// The KMS encryption context with which every secret was put.
    #[serde(default)]
    pub(crate) context: BTreeMap<String, String>,
}

/// Whose secrets.
pub(crate) struct Request<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) environment: &'a Environment,
    pub(crate) credstash: &'a CredstashSettings,
    pub(crate) session: &'a Session,
}

/// Names to values; `Debug` shows no value.
pub(crate) type Secrets = BTreeMap<String, Secret>;

/// Reads all sources at once. A source that is not there at all is an error, unless another one is named besides.
pub(crate) async fn read(sources: &[Source], request: &Request<'_>) -> Result<Secrets> {
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

async fn read_one(source: Source, request: &Request<'_>, may_be_missing: bool) -> Result<Secrets> {
    match source {
        Source::Credstash => credstash::read(request, may_be_missing).await,
        Source::Ssm => parameters::read(request).await,
        Source::SecretsManager => secrets_manager::read(request, may_be_missing).await,
    }
}

/// Dots are for credstash's prefix: with one in a name, the secrets of one component could be those of another.
fn check_name(name: &str, source: Source) -> Result<()> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Ok(());
    }
    Err(Error::input(format!(
        "the secret `{}` of {source} is refused: letters, digits, `_` and `-`",
        name.escape_debug()
    ))
    .hint("store it under another name"))
}

impl Request<'_> {
    /// `live`, or `preview` for every `pr-<number>`.
    fn environment_name(&self) -> &str {
        self.environment.shared_name()
    }

    fn region(&self) -> &str {
        self.session.config.region().map_or("", |region| region.as_ref())
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Sources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, or a list of `credstash`, `ssm` and `secrets-manager`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sources, E> {
                match text {
                    "none" => Ok(Sources::None),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Sources, A::Error> {
                let mut sources = Vec::new();
                while let Some(source) = list.next_element::<Source>()? {
                    if sources.contains(&source) {
                        return Err(serde::de::Error::custom(format!("{source} is named twice")));
                    }
                    sources.push(source);
                }
                match sources.is_empty() {
                    true => Err(serde::de::Error::invalid_length(0, &self)),
                    false => Ok(Sources::From(sources)),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credstash => "credstash",
            Self::Ssm => "ssm",
            Self::SecretsManager => "secrets-manager",
        })
    }
}
