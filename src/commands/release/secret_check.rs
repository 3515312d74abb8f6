//! Asks before a release whether the secrets that its code always uses exist. A deploy without them
//! would fail.

use std::collections::BTreeMap;

use crate::{
    base::error::{Error, Result},
    config::{
        names::Environment,
        scheme::Account,
        secrets::{SecretSource, SecretSources},
    },
    context::Context,
    deploy::secrets::{self, SecretsRequest},
    release::{source::Sources, value_check::NO_VALIDATE},
    terraform::code::{looked_up, variables::SECRETS},
};

/// Fails if an environment lacks a secret. Only an environment with a file of its own in `config/`
/// is asked, with the `plan-role` of its account: a release has no other right to read there.
pub(super) async fn check(context: &Context, sources: &Sources) -> Result<()> {
    let kinds = match &context.manifest.secrets {
        Some(SecretSources::None) => return Ok(()),
        Some(SecretSources::From(kinds)) => kinds.clone(),
        None => vec![SecretSource::Credstash],
    };
    let infra = context.folder.join("infra");
    let required = looked_up::required(&infra, "infra", sources.dialect, SECRETS)?;
    if required.is_empty() {
        return Ok(());
    }
    let mut missing = Vec::new();
    for (environment, account) in environments(context, sources) {
        let asking = lacking(context, &environment, account, &kinds, &required);
        match context.host.interrupt.or_cancel("asking for the secrets", asking).await {
            Ok(lacking) => missing.extend(lacking),
            Err(error) if context.host.interrupt.requested().is_some() => return Err(error),
            Err(error) => context.host.log.note(&format!(
                "whether `{environment}` has its secrets is not known: {}",
                error.story()
            )),
        }
    }
    let mut missing = missing.into_iter();
    let Some(first) = missing.next() else { return Ok(()) };
    let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let error = Error::input(first).hint(format!("store it in {}", names.join(" or ")));
    Err(missing.fold(error, |error, other| error.hint(other)).hint(NO_VALIDATE))
}

/// Returns the environments that can be asked.
fn environments<'c>(context: &'c Context, sources: &Sources) -> Vec<(Environment, &'c Account)> {
    let named = context.scheme.environments().keys().filter_map(|it| it.parse().ok());
    let meant = named.filter(|it: &Environment| {
        sources.files.contains_key(&format!("config/{it}.json")) && !it.is_preview()
    });
    meant
        .filter_map(|it| {
            let (account, _) = context.scheme.account_of(&it).ok()?;
            account.plan_role.as_ref().map(|_| (it, account))
        })
        .collect()
}

/// Returns a sentence for each secret that the environment lacks.
async fn lacking(
    context: &Context,
    environment: &Environment,
    account: &Account,
    kinds: &[SecretSource],
    required: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let session = context.session(account, account.plan_role.as_deref()).await?;
    let Some(session) = session else { return Ok(Vec::new()) };
    let request = SecretsRequest {
        identity: &context.identity,
        environment,
        credstash: &context.manifest.credstash,
        session: &session,
    };
    let found = secrets::names(kinds, &request).await?;
    let lacking = required.iter().filter(|(name, _)| !found.contains(*name));
    Ok(lacking
        .map(|(name, place)| format!("{place}: `{environment}` has no secret `{name}`"))
        .collect())
}
