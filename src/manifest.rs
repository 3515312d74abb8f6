//! `cdflow.yml`: what a component says of itself.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::{
    document,
    error::{Error, Result},
    limits::{EnvironmentLimits, Limits, Protected},
    names::{Component, Environment, Team},
    secrets::{CredstashSettings, Sources},
    terraform::version::Constraint,
};

pub(crate) const FILE: &str = "cdflow.yml";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) account_scheme_url: SchemeUrl,
    pub(crate) team: Team,
    #[serde(rename = "type")]
    pub(crate) kind: ComponentType,
    /// Default: from the git remote, else from GITHUB_REPOSITORY.
    pub(crate) component: Option<Component>,
    #[serde(default = "default_tfstate_filename")]
    pub(crate) tfstate_filename: StateFilename,
    /// Lambda zips go to every region of the scheme's `lambda-buckets`.
    #[serde(default)]
    pub(crate) multi_region: bool,
    pub(crate) terraform_version: Option<Constraint>,
    /// OpenTofu in Terraform's place.
    pub(crate) opentofu_version: Option<Constraint>,
    pub(crate) lambda: Option<Lambda>,
    #[serde(default)]
    pub(crate) deploy: Deploy,
    /// Where the environment's secrets are. Not said: credstash, where the code declares `variable "secrets"`.
    pub(crate) secrets: Option<Sources>,
    #[serde(default)]
    pub(crate) credstash: CredstashSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ComponentType {
    /// Terraform code alone
    Infrastructure,
    /// Terraform code and a zip for AWS Lambda
    Lambda,
}

/// Where the account scheme lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SchemeUrl {
    S3 {
        bucket: String,
        key: String,
    },
    /// Relative to the folder of cdflow.yml.
    Path(PathBuf),
}

/// The name of the state object, one path segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateFilename(pub(crate) String);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Lambda {
    /// Default: the folder named like the component, else `src`.
    pub(crate) source: Option<PathBuf>,
    /// Globs, relative to the source folder.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
}

/// How deployments of this component behave.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Deploy {
    /// How long Terraform waits for the state lock. Default: not at all.
    pub(crate) lock_timeout: Option<Wait>,
    /// Refuse to deploy where no state exists, unless `new-environment` says that this is meant.
    #[serde(default)]
    pub(crate) require_state: bool,
    // The fields of `Limits`; serde can't both flatten and refuse unknown keys.
    max_destroy: Option<usize>,
    #[serde(default)]
    protect: Vec<Protected>,
    #[serde(default)]
    environments: BTreeMap<Environment, EnvironmentLimits>,
}

impl Deploy {
    pub(crate) fn limits(&self) -> Limits {
        let (protect, environments) = (self.protect.clone(), self.environments.clone());
        Limits { max_destroy: self.max_destroy, protect, environments }
    }
}

/// A duration as people write it: `90s`, `5m`, `72h`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) Duration);

impl Manifest {
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let manifest: Self = document::from_yaml(file, text)?;
        if manifest.terraform_version.is_some() && manifest.opentofu_version.is_some() {
            return Err(Error::input(format!("{file}: both `terraform-version` and `opentofu-version` are set"))
                .hint("keep the one that this component deploys with"));
        }
        if manifest.lambda.is_some() && manifest.kind != ComponentType::Lambda {
            return Err(
                Error::input(format!("{file}: `lambda` is for components of type `lambda`")).hint("remove `lambda`")
            );
        }
        if manifest.multi_region && manifest.kind != ComponentType::Lambda {
            return Err(Error::input(format!("{file}: `multi-region` is for components of type `lambda`"))
                .hint("remove `multi-region`"));
        }
        Ok(manifest)
    }
}

impl FromStr for SchemeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.split_once("://") {
                Some((scheme, _)) => {
                    Err(format!("`{scheme}://` is no place for an account scheme: s3://bucket/key, or a path"))
                }
                None if text.is_empty() => Err("an account scheme's place is s3://bucket/key, or a path".to_owned()),
                None => Ok(Self::Path(text.into())),
            };
        };
        match rest.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => Err(format!("`{text}` names no bucket and key (s3://bucket/key)")),
        }
    }
}

impl fmt::Display for SchemeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for StateFilename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !text.is_empty() && text.bytes().all(plain) && !text.starts_with('.') {
            return Ok(Self(text.to_owned()));
        }
        Err("a tfstate-filename is one name of letters, digits, `.`, `_` and `-`".to_owned())
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("`{}` is no duration: a number and `s`, `m`, `h` or `d`, such as `5m`", text.escape_debug());
        let (number, unit) = text.char_indices().last().map(|(at, unit)| (&text[..at], unit)).ok_or_else(refuse)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return Err(refuse()),
        };
        let number: u32 = number.parse().map_err(|_| refuse())?;
        Ok(Self(Duration::from_secs(u64::from(number) * seconds)))
    }
}

/// In seconds, which Terraform understands too.
impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

fn default_tfstate_filename() -> StateFilename {
    StateFilename("terraform.tfstate".to_owned())
}

/// The types above are read from scalars by their own `FromStr`.
macro_rules! deserialize_from_str {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

deserialize_from_str!(SchemeUrl, StateFilename, Wait, Constraint);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Source;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(FILE, text)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    const SMALL: &str = "account-scheme-url: s3://acme/scheme.json\nteam: platform\ntype: lambda\n";

    #[test]
    fn the_smallest() {
        let manifest = parse(SMALL).unwrap();
        assert_eq!(manifest.account_scheme_url.to_string(), "s3://acme/scheme.json");
        assert_eq!(manifest.tfstate_filename.0, "terraform.tfstate");
        assert_eq!(manifest.kind, ComponentType::Lambda);
        assert!(manifest.component.is_none() && !manifest.multi_region && !manifest.deploy.require_state);
    }

    #[test]
    fn durations() {
        let manifest = parse(&format!("{SMALL}deploy: {{lock-timeout: 5m}}\n")).unwrap();
        assert_eq!(manifest.deploy.lock_timeout.unwrap().to_string(), "300s");
        for bad in ["5", "m", "5 m", "-5m", "5w", "5é", "99999999999d"] {
            assert!(bad.parse::<Wait>().is_err(), "{bad}");
        }
    }

    #[test]
    fn where_secrets_are() {
        let secrets = |text: &str| parse(&format!("{SMALL}secrets: {text}\n"));
        assert_eq!(parse(SMALL).unwrap().secrets, None);
        assert_eq!(secrets("none").unwrap().secrets, Some(Sources::None));
        assert_eq!(
            secrets("[ssm, credstash]").unwrap().secrets,
            Some(Sources::From(vec![Source::Ssm, Source::Credstash]))
        );
        for bad in ["nope", "[]", "[ssm, ssm]", "[vault]", "3"] {
            let refused = secrets(bad).unwrap_err().to_string();
            assert!(refused.starts_with("cdflow.yml:4:"), "{refused}");
        }
    }

    #[test]
    fn mistakes_are_placed_and_named() {
        assert_eq!(
            message("account-scheme-url: s3://a/b\ntema: x\ntype: lambda\n"),
            "cdflow.yml:2:1: unknown key `tema`\n  -> did you mean `team`?"
        );
        assert_eq!(
            message("account-scheme-url: s3://a/b\nteam: x\ntype: lambada\n"),
            "cdflow.yml:3:7: unknown value `lambada`\n  -> did you mean `lambda`?"
        );
        let refused = message("account-scheme-url: s3://a/b\nteam: X\ntype: lambda\n");
        assert!(refused.starts_with("cdflow.yml:2:7: team `X` is refused"), "{refused}");
        for url in ["s3://", "s3://a", "s3://a/", "https://a/b", "''"] {
            assert!(
                message(&format!("account-scheme-url: {url}\nteam: x\ntype: lambda\n"))
                    .starts_with("cdflow.yml:1:21: ")
            );
        }
    }

    #[test]
    fn combinations_that_contradict() {
        let text = "account-scheme-url: a.json\nteam: x\ntype: infrastructure\nlambda: {source: src}\n";
        assert!(message(text).contains("`lambda` is for"));
        assert!(message(&format!("{SMALL}terraform-version: 1.11.4\nopentofu-version: 1.8.0\n")).contains("both"));
        assert!(
            message("account-scheme-url: a.json\nteam: x\ntype: infrastructure\nmulti-region: true\n")
                .contains("lambda")
        );
    }
}
