//! Checks of the AWS identity, the roles that it can assume, and the secrets.

use std::{collections::BTreeMap, sync::Arc};

use super::report::{DoctorReport, Level};
use crate::{
    base::error::Error,
    cli::args::Global,
    config::{
        component::Manifest,
        identity::Identity,
        names::Environment,
        scheme::{Account, AccountScheme},
        secrets::{SecretSource, SecretSources},
    },
    context,
    deploy::secrets,
    services::{
        aws::session::{RootSession, Session},
        ci::host::Host,
    },
};

/// Accounts by alias, each with the environments that it has.
pub(crate) type AccountsInUse<'a> = BTreeMap<&'a str, (&'a Account, Vec<&'a str>)>;

/// Returns the session of the identity that the run starts with; None if the scheme needs no AWS.
pub(crate) async fn identity(
    report: &mut DoctorReport,
    scheme: &AccountScheme,
    first: Option<RootSession>,
    global: &Global,
    host: &Host,
) -> Option<RootSession> {
    let wanted = context::needs_aws(scheme)
        || scheme.accounts.values().any(|account| account.role.is_some());
    let root = match first {
        None if wanted => report
            .record_error("identity", context::root_session(scheme, &global.aws, host).await)?,
        None => {
            report.ok("identity", "not needed: the account scheme is local");
            return None;
        }
        Some(root) => root,
    };
    report.ok("identity", root.caller.clone());
    Some(root)
}

/// Returns the session of the release account's role.
pub(crate) async fn release_role(
    report: &mut DoctorReport,
    scheme: &AccountScheme,
    root: Option<&RootSession>,
) -> Option<Arc<Session>> {
    let account = &scheme.release_account;
    let Some(role) = account.role.as_deref() else {
        report
            .ok("release role", format!("not needed: the account `{}` has no role", account.alias));
        return None;
    };
    if let Some(plan_role) = &scheme.release_plan_role {
        role_of(report, "release role", account, plan_role, root).await;
    }
    role_of(report, "release role", account, role, root).await
}

/// Returns the accounts that the scheme's environments use.
pub(crate) fn accounts(scheme: &AccountScheme) -> AccountsInUse<'_> {
    let mut accounts = AccountsInUse::new();
    for (environment, alias) in scheme.environments() {
        if let Some(account) = scheme.accounts.get(alias) {
            accounts.entry(alias).or_insert_with(|| (account, Vec::new())).1.push(environment);
        }
    }
    accounts
}

/// The sessions of the roles of all accounts.
#[derive(Default)]
pub(crate) struct RoleSessions {
    pub(crate) deploy: Vec<Arc<Session>>,
    pub(crate) plan: Vec<Arc<Session>>,
}

/// Checks both roles of each account.
pub(crate) async fn environments(
    report: &mut DoctorReport,
    accounts: &AccountsInUse<'_>,
    root: Option<&RootSession>,
) -> RoleSessions {
    let mut sessions = RoleSessions::default();
    for (account, environments) in accounts.values() {
        let check = format!("environment {}", environments.join(", "));
        let Some(role) = &account.role else {
            report.ok(&check, format!("the account `{}` is local and has no role", account.alias));
            continue;
        };
        sessions.deploy.extend(role_of(report, &check, account, role, root).await);
        match &account.plan_role {
            Some(plan_role) => {
                sessions.plan.extend(role_of(report, &check, account, plan_role, root).await);
            }
            None => report.warning(
                &check,
                format!(
                    "the account `{}` has no `plan-role`: `--plan-only` uses the deploy role",
                    account.alias
                ),
                "add a read-only `plan-role` to the account scheme",
            ),
        }
    }
    sessions
}

async fn role_of(
    report: &mut DoctorReport,
    check: &str,
    account: &Account,
    role: &str,
    root: Option<&RootSession>,
) -> Option<Arc<Session>> {
    if root.is_none() {
        report.skip(check, "no identity to assume the role with");
        return None;
    }
    let session =
        report.record_error(check, context::session(root, account, role.into()).await)??;
    report.ok(
        check,
        format!("role {role} of account {}", session.account_id.as_deref().unwrap_or("(none)")),
    );
    Some(session)
}

/// Checks the sources of secrets. With an environment its secrets are read and counted, not shown.
pub(crate) async fn secrets(
    report: &mut DoctorReport,
    manifest: &Manifest,
    identity: &Identity,
    environment: Option<&Environment>,
    session: Option<&Arc<Session>>,
    host: &Host,
) {
    let sources = match (&manifest.secrets, session) {
        (Some(SecretSources::None), _) => {
            return report.ok("secrets", "`secrets: none`: Terraform gets an empty map");
        }
        (Some(SecretSources::From(sources)), _) => sources.clone(),
        (None, Some(_)) => vec![SecretSource::Credstash],
        (None, None) => {
            return report.warning(
                "secrets",
                "infra/ declares `secrets`, but the account has no role to read them with",
                "set `secrets: none` in cdflow.yml if the component needs no secrets",
            );
        }
    };
    let named = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (Some(environment), Some(session)) = (environment, session) else {
        return match environment {
            None => report
                .ok("secrets", format!("from {named}; `cdflow doctor ENVIRONMENT` reads them")),
            Some(_) => report.skip("secrets", "no role to read them with"),
        };
    };
    let request =
        secrets::SecretsRequest { identity, environment, credstash: &manifest.credstash, session };
    let Some(found) = report.record_error("secrets", secrets::read(&sources, &request).await)
    else {
        return;
    };
    report.ok("secrets", format!("{} from {named}", found.len()));
    for (name, _) in found.iter().filter(|(_, secret)| !host.log.redactor.add(secret)) {
        let error =
            Error::input(format!("the secret `{name}` is too short to mask in Terraform's output"));
        report.error("secrets", Level::Warning, &error.hint("use a longer value"));
    }
}
