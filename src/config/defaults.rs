//! `defaults` of the account scheme: settings of every component whose cdflow.yml has no own.
//!
//! Guards are not among them: they belong to `policy`, which cdflow.yml cannot loosen.

use serde::Deserialize;

use super::{
    component::{Manifest, ReleaseSettings, ReportSettings},
    duration::HumanDuration,
    notify::{self, Notify},
    platforms::ProviderPlatforms,
    preview::Preview,
    secrets::{CredstashSettings, SecretSources},
    version_constraint::Constraint,
};
use crate::base::error::{Error, Result};

/// Each key has the meaning that it has in cdflow.yml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Defaults {
    /// The tool's version is needed before the other keys: see `ToolWishes`.
    pub(crate) terraform_version: Option<Constraint>,
    pub(crate) opentofu_version: Option<Constraint>,
    terraform_platforms: Option<ProviderPlatforms>,
    secrets: Option<SecretSources>,
    #[serde(default)]
    credstash: CredstashSettings,
    #[serde(default)]
    release: ReleaseSettings,
    #[serde(default)]
    deploy: DeployDefaults,
    #[serde(default)]
    preview: Preview,
    notify: Option<Vec<Notify>>,
    #[serde(default)]
    report: ReportSettings,
}

/// The keys of `deploy` that are no guards.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct DeployDefaults {
    lock_timeout: Option<HumanDuration>,
    require_state: Option<bool>,
    github_deployments: Option<bool>,
    url_output: Option<String>,
    store_plans: Option<bool>,
}

/// The keys that were filled in.
struct Filled(Vec<&'static str>);

impl Filled {
    fn fill<T: Clone>(&mut self, key: &'static str, own: &mut Option<T>, default: Option<&T>) {
        if own.is_none() && default.is_some() {
            *own = default.cloned();
            self.0.push(key);
        }
    }
}

impl Defaults {
    /// Messages start with `file`, the account scheme.
    pub(super) fn checked(self, file: &str) -> Result<Self> {
        if self.terraform_version.is_some() && self.opentofu_version.is_some() {
            return Err(Error::input(format!(
                "{file}: `defaults` has both `terraform-version` and `opentofu-version`"
            ))
            .hint("keep one: a component can set the other in its cdflow.yml"));
        }
        notify::check(&format!("{file}: `defaults`"), self.notify.as_deref().unwrap_or_default())?;
        self.preview.check(&format!("{file}: `defaults.preview`"))?;
        Ok(self)
    }

    /// Fills in what the component does not set, and returns the keys. `file` is the account
    /// scheme. The version of the tool is not filled in.
    pub(crate) fn fill(&self, manifest: &mut Manifest, file: &str) -> Result<Vec<&'static str>> {
        let mut filled = Filled(Vec::new());
        let Self {
            terraform_platforms,
            secrets,
            credstash,
            release,
            deploy,
            preview,
            notify,
            report,
            ..
        } = self;
        let platforms = &mut manifest.terraform_platforms;
        filled.fill("terraform-platforms", platforms, terraform_platforms.as_ref());
        filled.fill("secrets", &mut manifest.secrets, secrets.as_ref());
        let own = &mut manifest.credstash;
        filled.fill("credstash.table", &mut own.table, credstash.table.as_ref());
        filled.fill("credstash.context", &mut own.context, credstash.context.as_ref());
        let own = &mut manifest.release;
        filled.fill("release.providers", &mut own.providers, release.providers.as_ref());
        let own = &mut manifest.deploy;
        filled.fill("deploy.lock-timeout", &mut own.lock_timeout, deploy.lock_timeout.as_ref());
        filled.fill("deploy.require-state", &mut own.require_state, deploy.require_state.as_ref());
        let deployments = deploy.github_deployments.as_ref();
        filled.fill("deploy.github-deployments", &mut own.github_deployments, deployments);
        filled.fill("deploy.url-output", &mut own.url_output, deploy.url_output.as_ref());
        filled.fill("deploy.store-plans", &mut own.store_plans, deploy.store_plans.as_ref());
        let own = &mut manifest.preview;
        filled.fill("preview.ttl", &mut own.ttl, preview.ttl.as_ref());
        filled.fill("preview.label", &mut own.label, preview.label.as_ref());
        filled.fill("preview.keep-label", &mut own.keep_label, preview.keep_label.as_ref());
        filled.fill("preview.drafts", &mut own.drafts, preview.drafts.as_ref());
        filled.fill("preview.paths", &mut own.paths, preview.paths.as_ref());
        let account = preview.account_environment.as_ref();
        filled.fill("preview.account-environment", &mut own.account_environment, account);
        let deletes = preview.delete_releases.as_ref();
        filled.fill("preview.delete-releases", &mut own.delete_releases, deletes);
        filled.fill("notify", &mut manifest.notify, notify.as_ref());
        filled.fill("report.stateful", &mut manifest.report.stateful, report.stateful.as_ref());
        // The keys of one file might not fit those of the other.
        manifest.preview.check(&format!("cdflow.yml and `defaults` of {file}"))?;
        Ok(filled.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::document;

    const SMALL: &str = "account-scheme-url: s3://acme/scheme.json\nteam: platform\ntype: lambda\n";

    fn defaults(text: &str) -> Defaults {
        document::from_json::<Defaults>("scheme.json", text).unwrap()
    }

    #[test]
    fn a_key_of_the_component_wins_alone() {
        let scheme = defaults(
            r#"{"deploy": {"lock-timeout": "5m", "require-state": true, "url-output": "url"},
                "preview": {"ttl": "72h", "delete-releases": true}, "secrets": ["ssm"],
                "notify": [{"type": "slack", "url-variable": "SLACK"}],
                "report": {"stateful": ["acme_store"]}}"#,
        );
        let fill = |text: &str| {
            let mut manifest = Manifest::parse("cdflow.yml", &format!("{SMALL}{text}")).unwrap();
            let filled = scheme.fill(&mut manifest, "scheme.json").unwrap();
            (manifest, filled.join(" "))
        };
        let (manifest, filled) = fill("");
        assert_eq!(
            filled,
            "secrets deploy.lock-timeout deploy.require-state deploy.url-output preview.ttl \
             preview.delete-releases notify report.stateful"
        );
        assert_eq!(manifest.deploy.lock_timeout.unwrap().to_string(), "300s");
        assert_eq!(manifest.notify.unwrap().len(), 1);
        let own = "deploy: {lock-timeout: 1m, require-state: false}\npreview: {ttl: 1h}\n\
                   secrets: none\nnotify: []\nreport: {stateful: []}\n";
        let (manifest, filled) = fill(own);
        assert_eq!(filled, "deploy.url-output preview.delete-releases");
        assert_eq!(manifest.deploy.lock_timeout.unwrap().to_string(), "60s");
        assert_eq!(manifest.deploy.require_state, Some(false));
        assert_eq!(manifest.secrets, Some(SecretSources::None));
        assert!(manifest.notify.unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_names_both_files() {
        let scheme = defaults(r#"{"preview": {"keep-label": "preview"}}"#);
        let text = format!("{SMALL}preview: {{label: preview}}\n");
        let mut manifest = Manifest::parse("cdflow.yml", &text).unwrap();
        let error = scheme.fill(&mut manifest, "scheme.json").unwrap_err().to_string();
        assert!(error.starts_with("cdflow.yml and `defaults` of scheme.json: `label`"), "{error}");
        for (text, says) in [
            (r#"{"terraform-version": "1.9.8", "opentofu-version": "1.10.0"}"#, "has both"),
            (r#"{"notify": [{"type": "json", "url-variable": "A", "on": []}]}"#, "`notify[0].on`"),
            (r#"{"preview": {"label": "x", "keep-label": "x"}}"#, "are the same, `x`"),
        ] {
            let error = defaults(text).checked("scheme.json").unwrap_err().to_string();
            assert!(error.starts_with("scheme.json: `defaults") && error.contains(says), "{error}");
        }
        for guard in ["max-destroy", "protect", "require-review", "environments", "approvals"] {
            let text = format!("{{\"deploy\": {{\"{guard}\": 1}}}}");
            assert!(document::from_json::<Defaults>("scheme.json", &text).is_err(), "{guard}");
        }
    }
}
