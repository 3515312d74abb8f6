//! Previews: environments that live as long as their pull request.

use std::{fmt, time::Duration};

use globset::{Glob, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::{names, names::Environment};
use crate::{
    base::error::{Error, Result},
    config::duration::HumanDuration,
};

/// The label that keeps a preview which is older than its `ttl`.
const KEEP: &str = "keep-preview";

/// The key `preview` of cdflow.yml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Preview {
    /// Lifetime of a preview after its last deploy. Default: until its pull request is closed.
    #[serde(default, deserialize_with = "ttl")]
    pub(crate) ttl: Option<HumanDuration>,
    /// Only pull requests with this label have one. Default: all.
    #[serde(default, deserialize_with = "names::label")]
    pub(crate) label: Option<String>,
    /// Default: `keep-preview`.
    #[serde(default, deserialize_with = "names::label")]
    pub(super) keep_label: Option<String>,
    /// The environment whose account previews use. Default: the account of `"*"` in the account
    /// scheme.
    pub(crate) account_environment: Option<Environment>,
    /// Only pull requests that change such a file have one. Default: all.
    pub(crate) paths: Option<Paths>,
    /// Whether drafts have one. Default: yes.
    pub(super) drafts: Option<bool>,
    /// Deletes the releases of a preview with it. Default: no.
    pub(crate) delete_releases: Option<bool>,
}

/// Globs of files, as the repository names them.
#[derive(Clone)]
pub(crate) struct Paths {
    written: Vec<String>,
    set: GlobSet,
}

/// The pull request and commit of a preview, as recorded in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "preview")]
pub(crate) struct PreviewOf {
    /// GitHub's ID of the repository, because a name can be reused. Null: unknown.
    pub(crate) repository: Option<u64>,
    /// The number of the pull request.
    pub(crate) number: u64,
    /// Its branch.
    pub(crate) branch: String,
    /// The commit that was deployed.
    pub(crate) sha: String,
    /// The lifetime in seconds. Null: until the pull request is closed.
    pub(crate) ttl: Option<u64>,
}

impl Preview {
    pub(crate) fn check(&self, file: &str) -> Result<()> {
        match &self.label {
            Some(label) if label.eq_ignore_ascii_case(self.keep_label()) => {
                Err(Error::input(format!(
                    "{file}: `label` and `keep-label` are the same, `{}`",
                    label.escape_debug()
                ))
                .why("every preview would be kept, whatever its `ttl`")
                .hint("name two labels in `preview`"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn keep_label(&self) -> &str {
        self.keep_label.as_deref().unwrap_or(KEEP)
    }

    pub(crate) fn wants_drafts(&self) -> bool {
        self.drafts.unwrap_or(true)
    }
}

impl PreviewOf {
    /// Terraform's variable `preview`; `ttl` as `timeadd` takes it.
    pub(crate) fn variable(&self) -> Value {
        let ttl = self.ttl.map(|seconds| format!("{seconds}s"));
        json!({ "number": self.number, "branch": self.branch, "sha": self.sha, "ttl": ttl })
    }
}

impl Paths {
    pub(crate) fn match_any<'f>(&self, mut files: impl Iterator<Item = &'f str>) -> bool {
        files.any(|file| self.set.is_match(file))
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written.join(", "))
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HumanDuration>, D::Error> {
    let ttl = Option::<HumanDuration>::deserialize(deserializer)?;
    match ttl {
        Some(HumanDuration(Duration::ZERO)) => {
            Err(serde::de::Error::custom("`ttl` must be longer than zero"))
        }
        ttl => Ok(ttl),
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Vec::<String>::deserialize(deserializer)?;
        if written.is_empty() {
            let message = "an empty list matches no pull request; remove the key to match all";
            return Err(serde::de::Error::custom(message));
        }
        let mut set = GlobSetBuilder::new();
        for glob in &written {
            set.add(Glob::new(glob).map_err(serde::de::Error::custom)?);
        }
        Ok(Self { written, set: set.build().map_err(serde::de::Error::custom)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> crate::base::error::Result<Preview> {
        crate::base::document::from_yaml("cdflow.yml", text)
    }

    #[test]
    fn every_key() {
        let preview = parse(
            "{ttl: 72h, label: preview, account-environment: ci, paths: [app/**, '*.md'], drafts: \
             false}",
        );
        let preview = preview.unwrap();
        assert_eq!(preview.ttl.unwrap().0.as_secs(), 72 * 3600);
        assert!(!preview.wants_drafts() && preview.delete_releases.is_none());
        assert_eq!(preview.keep_label(), "keep-preview");
        let paths = preview.paths.unwrap();
        assert!(
            paths.match_any(["x", "app/a/b.rs"].into_iter())
                && !paths.match_any(["lib/app"].into_iter())
        );
        assert!(Preview::default().wants_drafts());
    }

    #[test]
    fn mistakes_are_placed() {
        for bad in [
            "ttl: 3 days",
            "ttl: 72",
            "ttl: -1h",
            "ttl: soon",
            "account-environment: CI",
            "paths: ['{a']",
            "tll: 3h",
        ] {
            let refused = parse(bad).unwrap_err();
            assert!(refused.to_string().starts_with("cdflow.yml:1:"), "{bad}: {refused}");
        }
    }

    #[test]
    fn the_variable_for_terraform() {
        let of = PreviewOf {
            repository: Some(1),
            number: 7,
            branch: "topic".into(),
            sha: "abc".into(),
            ttl: Some(60),
        };
        assert_eq!(
            of.variable(),
            json!({ "number": 7, "branch": "topic", "sha": "abc", "ttl": "60s" })
        );
        let endless = PreviewOf { ttl: None, ..of };
        assert!(endless.variable()["ttl"].is_null());
    }
}
