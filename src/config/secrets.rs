//! The keys of cdflow.yml about secrets: where they are kept.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer};

/// A service that keeps secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SecretSource {
    Credstash,
    Ssm,
    SecretsManager,
}

/// The value of `secrets` in cdflow.yml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSources {
    /// `secrets: none`.
    None,
    /// `secrets: [ssm, …]`.
    From(Vec<SecretSource>),
}

/// The value of `credstash` in cdflow.yml: settings that differ from credstash's defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CredstashSettings {
    /// Default: `credstash-<team>`.
    pub(crate) table: Option<String>,
    /// The KMS encryption context of every secret in the table.
    pub(crate) context: Option<BTreeMap<String, String>>,
}

impl<'de> Deserialize<'de> for SecretSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = SecretSources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, or a list of `credstash`, `ssm` and `secrets-manager`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretSources, E> {
                match text {
                    "none" => Ok(SecretSources::None),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<SecretSources, A::Error> {
                let mut sources = Vec::new();
                while let Some(source) = list.next_element::<SecretSource>()? {
                    if sources.contains(&source) {
                        return Err(serde::de::Error::custom(format!("{source} is named twice")));
                    }
                    sources.push(source);
                }
                match sources.is_empty() {
                    true => Err(serde::de::Error::invalid_length(0, &self)),
                    false => Ok(SecretSources::From(sources)),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credstash => "credstash",
            Self::Ssm => "ssm",
            Self::SecretsManager => "secrets-manager",
        })
    }
}
