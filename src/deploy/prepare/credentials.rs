//! The roles, secrets and environment variables that Terraform gets.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use serde_json::Value;

use super::working_folder::WorkingFolder;
use crate::{
    base::{
        error::{Error, Result},
        run_as::RunAs,
        run_folder::PrivateFolder,
    },
    config::secrets::{SecretSource, SecretSources},
    context::Context,
    deploy::{order::Subject, secrets},
    services::aws::{credentials::CredentialsEndpoint, session::Session},
    terraform::{code::variables::SECRETS, state::backend},
};

/// Assumes the environment's role for the providers, and starts the endpoint that also serves the
/// identity `state` to the backend. None and None if a local scheme names no role.
pub(crate) async fn credentials(
    context: &Context,
    subject: &Subject<'_>,
    private: &PrivateFolder,
    state: Option<&Arc<Session>>,
) -> Result<(Option<Arc<Session>>, Option<CredentialsEndpoint>)> {
    let account = subject.target.account;
    let role = match &account.plan_role {
        Some(plan_role) if subject.plan_only => Some(plan_role),
        _ => account.role.as_ref(),
    };
    if let (Some(id), Some(role)) = (&account.id, role) {
        context
            .host
            .log
            .note(&format!("account {} {id}, {}, as {role}", account.alias, account.region));
    }
    let session = context.session(account, role.map(String::as_str)).await?;
    // Without a role in the environment's account there are no credentials to serve: those of
    // another account would be wrong.
    let endpoint = match &session {
        Some(provider) => {
            let state = state.unwrap_or(provider).clone();
            Some(
                CredentialsEndpoint::start(
                    private.path(),
                    provider.clone(),
                    state,
                    &context.host.log.redactor,
                )
                .await?,
            )
        }
        None => None,
    };
    Ok((session, endpoint))
}

/// Fills the variable `secrets` if the code declares it. Each value is masked once it is read.
pub(crate) async fn read_secrets(
    context: &Context,
    subject: &Subject<'_>,
    folder: &mut WorkingFolder,
    session: Option<&Session>,
) -> Result<()> {
    if !folder.variables.has(SECRETS) {
        return Ok(());
    }
    let log = &context.host.log;
    let (sources, session) = match (&context.manifest.secrets, session) {
        (Some(SecretSources::None), _) => return Ok(()),
        (None, None) => {
            log.warning("a local account scheme has no secrets, so Terraform gets an empty map");
            return Ok(());
        }
        (Some(SecretSources::From(_)), None) => {
            return Err(Error::input(
                "cdflow.yml names sources of secrets, but the environment's account has no `role` \
                 to read them with",
            )
            .hint(
                "give the account an `id` and a `role` in the account scheme, or set \
                 `secrets: none`",
            ));
        }
        (Some(SecretSources::From(sources)), Some(session)) => (sources.clone(), session),
        (None, Some(session)) => (vec![SecretSource::Credstash], session),
    };
    let request = secrets::SecretsRequest {
        identity: &context.identity,
        environment: subject.environment(),
        credstash: &context.manifest.credstash,
        session,
    };
    let read = secrets::read(&sources, &request).await?;
    for (name, secret) in &read {
        if !log.redactor.add(secret) {
            log.warning(&format!(
                "the secret `{name}` is too short, or too ordinary a word, to be masked in what \
                 Terraform prints"
            ));
        }
    }
    if read.is_empty() {
        let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
        log.warning(&format!(
            "no secrets found for `{}` in {}",
            subject.environment(),
            names.join(", ")
        ));
    } else {
        log.note(&format!("{} secret(s)", read.len()));
    }
    let values = read.iter().map(|(name, secret)| (name.clone(), Value::from(secret.expose())));
    folder.variables.set(SECRETS, &values.collect())
}

/// Returns every environment variable that Terraform gets: where to ask for credentials, but none
/// of AWS itself.
pub(crate) fn terraform_env(
    context: &Context,
    private: &PrivateFolder,
    region: &str,
    endpoint: Option<&CredentialsEndpoint>,
) -> Result<BTreeMap<OsString, OsString>> {
    let mut env = context.host.environment.for_terraform(&context.pass_environment);
    if context.host.run_as != RunAs::Ourselves {
        // Terraform's user can write in neither of ours.
        let home = private.home(context.host.environment.get("HOME"), None)?;
        env.insert("HOME".into(), home.into());
        env.insert("TMPDIR".into(), private.folder("tmp")?.into());
    }
    // Without an installation method, Terraform finds only the providers of the bundle, which
    // -plugin-dir names. Nothing is downloaded at deploy.
    let cli_config =
        private.file("terraform.rc", b"disable_checkpoint = true\nprovider_installation {\n}\n")?;
    env.insert("TF_CLI_CONFIG_FILE".into(), cli_config.into());
    // Credentials in HOME, or of this machine, are not the identity of the account scheme.
    env.insert("AWS_SHARED_CREDENTIALS_FILE".into(), private.file("aws-credentials", b"")?.into());
    env.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
    let Some(endpoint) = endpoint else {
        env.insert("AWS_CONFIG_FILE".into(), private.file("aws-config", b"")?.into());
        return Ok(env);
    };
    let program = std::env::current_exe().map_err(|error| {
        Error::internal("cannot find the path of the cdflow program").why(error)
    })?;
    let profile = backend::profile(&program, &endpoint.socket);
    env.insert("AWS_CONFIG_FILE".into(), private.file("aws-config", profile.as_bytes())?.into());
    env.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".into(), endpoint.url.clone().into());
    env.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN".into(), endpoint.token.expose().into());
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        env.insert(name.into(), region.into());
    }
    Ok(env)
}
