//! The key that stored plans are encrypted to.

use std::sync::Arc;

use super::report::DoctorReport;
use crate::{
    config::{
        component::Manifest,
        identity::Identity,
        names::Environment,
        scheme::{AccountScheme, PlanEncryption, Storage},
    },
    deploy::review::purpose,
    services::aws::{data_key, session::Session},
};

const CHECK: &str = "stored plans";

/// What the check needs.
pub(crate) struct PlanKeyCheck<'a> {
    pub(crate) scheme: &'a AccountScheme,
    pub(crate) identity: &'a Identity,
    pub(crate) manifest: &'a Manifest,
    /// Without one, the key is only named.
    pub(crate) environment: Option<&'a Environment>,
    pub(crate) deploy: Option<&'a Arc<Session>>,
    /// Whether the account has a `plan-role`. Without one, plans use the deploy role.
    pub(crate) has_plan_role: bool,
    pub(crate) plan: Option<&'a Arc<Session>>,
}

impl PlanKeyCheck<'_> {
    /// Makes a data key as a plan-only run does, and decrypts it as a deploy does.
    pub(crate) async fn run(&self, report: &mut DoctorReport) {
        if self.manifest.deploy.store_plans == Some(false) {
            return report.ok(CHECK, "none: `deploy.store-plans` in cdflow.yml is `false`");
        }
        let key = match (&self.scheme.plan_encryption, &self.scheme.release_bucket) {
            (None, Storage::Directory(_)) => {
                return report.ok(CHECK, "encrypted with a key next to the release store");
            }
            (None, Storage::Bucket(_)) => {
                return report.ok(CHECK, "none: the account scheme has no `plan-encryption`");
            }
            (Some(PlanEncryption::Age(recipient)), _) => {
                let said = format!("encrypted to {recipient}; deploys need `age-identity`");
                return report.ok(CHECK, said);
            }
            (Some(PlanEncryption::Kms(key)), _) => key,
        };
        let Some(environment) = self.environment else {
            let said =
                format!("encrypted with {key}; to check it, run `cdflow doctor ENVIRONMENT`");
            return report.ok(CHECK, said);
        };
        let (who, plan) = match self.has_plan_role {
            true => ("the `plan-role` and the deploy role", self.plan),
            false => ("the deploy role", self.deploy),
        };
        let Some((deploy, plan)) = self.deploy.zip(plan) else {
            return report.skip(CHECK, "no role to use the key with");
        };
        let purpose = purpose(self.identity, environment);
        let made = data_key::generate(plan, key, &purpose).await;
        let Some((_, data)) = report.record_error(CHECK, made) else { return };
        let opened = data_key::decrypt(deploy, &data, &purpose).await;
        if report.record_error(CHECK, opened).is_some() {
            report.ok(CHECK, format!("encrypted with {key}; {who} can use it"));
        }
    }
}
