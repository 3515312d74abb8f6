//! Who we are, and which roles and secrets that opens.

use std::{collections::BTreeMap, sync::Arc};

use super::findings::{Level, Report};
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

/// The accounts that environments are in, with their environments.
pub(crate) type Accounts<'a> = BTreeMap<&'a str, (&'a Account, Vec<&'a str>)>;

pub(crate) async fn identity(
    report: &mut Report,
    scheme: &AccountScheme,
    first: Option<RootSession>,
    global: &Global,
    host: &Host,
) -> Option<RootSession> {
    let wanted = context::needs_aws(scheme)
        || scheme.accounts.values().any(|account| account.role.is_some());
    let root = match first {
        None if wanted => {
            report.take("identity", context::root_session(scheme, &global.aws, host).await)?
        }
        None => {
            report.ok("identity", "none is needed: the account scheme is local");
            return None;
        }
        Some(root) => root,
    };
    report.ok("identity", root.caller.clone());
    Some(root)
}

pub(crate) async fn release_role(
    report: &mut Report,
    scheme: &AccountScheme,
    root: Option<&RootSession>,
) -> Option<Arc<Session>> {
    let account = &scheme.release_account;
    let Some(role) = account.role.as_deref() else {
        report
            .ok("release role", format!("the account `{}` has none and needs none", account.alias));
        return None;
    };
    role_of(report, "release role", account, role, root).await
}

pub(crate) fn accounts(scheme: &AccountScheme) -> Accounts<'_> {
    let mut accounts = Accounts::new();
    for (environment, alias) in scheme.environments() {
        if let Some(account) = scheme.accounts.get(alias) {
            accounts.entry(alias).or_insert_with(|| (account, Vec::new())).1.push(environment);
        }
    }
    accounts
}

/// Both roles of each account. What is returned are the sessions of the deploying ones.
pub(crate) async fn environments(
    report: &mut Report,
    accounts: &Accounts<'_>,
    root: Option<&RootSession>,
) -> Vec<Arc<Session>> {
    let mut sessions = Vec::new();
    for (account, environments) in accounts.values() {
        let check = format!("environment {}", environments.join(", "));
        let Some(role) = &account.role else {
            report.ok(&check, format!("the account `{}` is local and has no role", account.alias));
            continue;
        };
        sessions.extend(role_of(report, &check, account, role, root).await);
        match &account.plan_role {
            Some(plan_role) => _ = role_of(report, &check, account, plan_role, root).await,
            None => report.warning(
                &check,
                format!(
                    "the account `{}` has no `plan-role`: `--plan-only` uses the role that may change everything",
                    account.alias
                ),
                "add one that only reads to the account scheme",
            ),
        }
    }
    sessions
}

async fn role_of(
    report: &mut Report,
    check: &str,
    account: &Account,
    role: &str,
    root: Option<&RootSession>,
) -> Option<Arc<Session>> {
    if root.is_none() {
        report.skip(check, "there is no identity to assume its role from");
        return None;
    }
    let session = report.take(check, context::session(root, account, role.into()).await)??;
    report.ok(
        check,
        format!("role {role} of account {}", session.account_id.as_deref().unwrap_or("(none)")),
    );
    Some(session)
}

/// Where secrets come from; with an environment they are read, counted, and forgotten.
pub(crate) async fn secrets(
    report: &mut Report,
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
                "infra/ declares `secrets`, but no role is there to read any with",
                "say `secrets: none` in cdflow.yml if that is meant",
            );
        }
    };
    let named = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (Some(environment), Some(session)) = (environment, session) else {
        return match environment {
            None => report.ok(
                "secrets",
                format!("from {named}; `cdflow doctor ENVIRONMENT` reads those of one"),
            ),
            Some(_) => report.skip("secrets", "there is no role to read them with"),
        };
    };
    let request =
        secrets::SecretsRequest { identity, environment, credstash: &manifest.credstash, session };
    let Some(found) = report.take("secrets", secrets::read(&sources, &request).await) else {
        return;
    };
    report.ok("secrets", format!("{} from {named}", found.len()));
    for (name, _) in found.iter().filter(|(_, secret)| !host.log.redactor.add(secret)) {
        let error = Error::input(format!(
            "the secret `{name}` is too short to be masked where Terraform prints it"
        ));
        report.failed("secrets", Level::Warning, &error.hint("make it longer"));
    }
}
