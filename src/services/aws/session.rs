//! Who we are at AWS: the ambient identity, and the roles assumed from it.

use std::{
    error::Error as _,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_sdk_sts::{error::SdkError, operation::assume_role::AssumeRoleError};
use tokio::sync::Mutex;

use super::{
    failure::Failure,
    missing_credentials::{missing, source},
    oidc::WebIdentity,
    patience::patient,
    region::NamedRegion,
};
use crate::{
    base::{
        authorities,
        error::{Error, Exit, Result, chain},
        log::Log,
        process_env::ProcessEnv,
        redact::{Redactor, Secret},
    },
    config::scheme::Account,
    config::settings::AwsInputs,
};

/// Role chaining allows one hour at most, so that is what every role gets; it is renewed as long as
/// it is needed.
const SESSION_LENGTH: Duration = Duration::from_secs(3600);
/// Credentials that run out sooner are renewed before they are handed out.
const RENEW_BEFORE: Duration = Duration::from_secs(15 * 60);
const SESSION_NAME_LIMIT: usize = 64;

/// The identity that a run starts with: of the role that it names and GitHub vouches for, or what
/// the environment gives (keys, a profile, a web identity, an instance's role).
#[derive(Clone)]
pub(crate) struct RootSession {
    config: SdkConfig,
    partition: String,
    session_name: String,
    /// Its ARN, as STS says it.
    pub(crate) caller: String,
    redactor: Redactor,
}

/// An identity in the account that it was asked for, which has been checked.
pub(crate) struct Session {
    pub(crate) config: SdkConfig,
    pub(crate) account_id: Option<String>,
    credentials: Refreshing,
}

/// Credentials that are renewed when they are about to run out. Clones share them: our own calls
/// and Terraform's are one session.
#[derive(Clone)]
struct Refreshing {
    provider: SharedCredentialsProvider,
    current: Arc<Mutex<Option<Credentials>>>,
    redactor: Redactor,
}

impl RootSession {
    /// Assumes the role that `inputs` name, or finds the ambient credentials; and asks STS whose
    /// they are. `needed_by` says for messages which setting leads to AWS.
    pub(crate) async fn start(
        region: &NamedRegion,
        needed_by: &str,
        inputs: &AwsInputs,
        environment: &ProcessEnv,
        log: &Log,
    ) -> Result<Self> {
        authorities::check_system(environment)?;
        let redactor = &log.redactor;
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.name.clone()));
        let loader = patient(loader, log);
        let (config, credentials) = match &inputs.aws_role_to_assume {
            None => {
                let config = loader.load().await;
                let provider = config
                    .credentials_provider()
                    .ok_or_else(|| missing("no provider", environment, needed_by))?;
                let credentials = Refreshing::new(provider, redactor);
                credentials
                    .get()
                    .await
                    .map_err(|error| missing(&chain(&error), environment, needed_by))?;
                (config, credentials)
            }
            Some(role) => {
                let config = loader.no_credentials().load().await;
                let audience = inputs.aws_audience.as_deref();
                let identity =
                    WebIdentity::new(role, audience, region, &config, environment, redactor)?;
                let first = identity.credentials().await?;
                (
                    config,
                    Refreshing::begun(SharedCredentialsProvider::new(identity), first, redactor),
                )
            }
        };
        // Each role is assumed by a client of its own, which would look for credentials again.
        let config = config
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let caller = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.map_err(
            |error| {
                let credentials = match &inputs.aws_role_to_assume {
                    Some(role) => format!("the credentials of the role `{role}`"),
                    None => source(environment),
                };
                let what = format!("AWS STS does not identify {credentials} (GetCallerIdentity)");
                Failure::of(&error).into_error_in(what, region)
            },
        )?;
        Ok(Self {
            partition: caller
                .arn()
                .and_then(|arn| arn.split(':').nth(1))
                .unwrap_or("aws")
                .to_owned(),
            caller: caller.arn().unwrap_or("(unknown)").to_owned(),
            session_name: session_name(caller.user_id().unwrap_or("cdflow")),
            redactor: redactor.clone(),
            config,
        })
    }

    /// For the account scheme, which is read before any role is known.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Assumes `role` of `account` and checks that this leads into that account.
    pub(crate) async fn assume(&self, account: &Account, role: &str) -> Result<Session> {
        let region = account.region.as_str();
        let id = account.id.as_deref().unwrap_or_default();
        let arn = format!("arn:{}:iam::{id}:role/{role}", self.partition);
        let provider = AssumeRoleProvider::builder(&arn)
            .configure(&self.config)
            .region(Region::new(region.to_owned()))
            .session_name(&self.session_name)
            .session_length(SESSION_LENGTH)
            .build()
            .await;
        let credentials = Refreshing::new(SharedCredentialsProvider::new(provider), &self.redactor);
        let config = self
            .config
            .to_builder()
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .identity_cache(aws_config::identity::IdentityCache::lazy().build())
            .build();
        credentials.get().await.map_err(|error| refused(&error, &arn, role, account))?;
        let session = Session { config, account_id: account.id.clone(), credentials };
        session.check_account(&arn, account).await?;
        Ok(session)
    }
}

impl Session {
    /// Valid for a quarter of an hour at least, unless they live shorter altogether.
    pub(crate) async fn credentials(&self) -> Result<Credentials, String> {
        self.credentials.get().await.map_err(|error| chain(&error))
    }

    async fn check_account(&self, arn: &str, account: &Account) -> Result<()> {
        let caller =
            aws_sdk_sts::Client::new(&self.config).get_caller_identity().send().await.map_err(
                |error| {
                    Failure::of(&error).into_error_in(
                        format!("AWS STS does not say who `{arn}` is (GetCallerIdentity)"),
                        &named_region(account),
                    )
                },
            )?;
        if caller.account() != self.account_id.as_deref() {
            return Err(Error::refused(format!(
                "the role `{arn}` leads into account {}, not into {}",
                caller.account().unwrap_or("(unknown)"),
                self.account_id.as_deref().unwrap_or("(none)")
            ))
            .hint(format!("correct `accounts.{}.id` in {}", account.alias, account.file)));
        }
        Ok(())
    }
}

impl Refreshing {
    fn new(provider: SharedCredentialsProvider, redactor: &Redactor) -> Self {
        Self { provider, current: Arc::default(), redactor: redactor.clone() }
    }

    /// `first` are good for now.
    fn begun(provider: SharedCredentialsProvider, first: Credentials, redactor: &Redactor) -> Self {
        mask(redactor, &first);
        Self { current: Arc::new(Mutex::new(Some(first))), ..Self::new(provider, redactor) }
    }

    async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut current = self.current.lock().await;
        let now = SystemTime::now();
        let fresh = |credentials: &&Credentials| {
            credentials.expiry().is_none_or(|expiry| expiry > now + RENEW_BEFORE)
        };
        if let Some(credentials) = current.as_ref().filter(fresh) {
            return Ok(credentials.clone());
        }
        let renewed = self.provider.provide_credentials().await?;
        mask(&self.redactor, &renewed);
        *current = Some(renewed.clone());
        Ok(renewed)
    }
}

impl ProvideCredentials for Refreshing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// Required of a provider; shows nothing.
impl fmt::Debug for Refreshing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refreshing")
    }
}

fn named_region(account: &Account) -> NamedRegion {
    NamedRegion { name: account.region.clone(), from: account.region_place() }
}

fn refused(error: &CredentialsError, arn: &str, role: &str, account: &Account) -> Error {
    let region = named_region(account);
    let what = format!("the role `{arn}` can't be assumed");
    let answer = error
        .source()
        .and_then(|source| source.downcast_ref::<SdkError<AssumeRoleError>>())
        .map(Failure::of);
    let why = match answer {
        Some(failure) if failure.exit(&region.name) != Exit::Credentials => {
            return failure.into_error_in(what, &region);
        }
        Some(failure) => failure.why(&region.name),
        None => chain(error),
    };
    Error::new(Exit::Credentials, what)
        .why(why)
        .hint("check that the role exists and that its trust policy allows this identity")
        .hint(format!(
            "or correct `{}` or `accounts.{}.id` in {}",
            account.key_of_role(role),
            account.alias,
            account.file
        ))
}

fn mask(redactor: &Redactor, credentials: &Credentials) {
    redactor.add(&Secret::new(credentials.secret_access_key()));
    if let Some(token) = credentials.session_token() {
        redactor.add(&Secret::new(token));
    }
}

/// STS takes `[\w+=,.@-]`, 2 to 64 characters.
fn session_name(user_id: &str) -> String {
    let mut name = String::new();
    for c in user_id.chars() {
        match c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) {
            true => name.push(c),
            false if !name.ends_with('-') => name.push('-'),
            false => {}
        }
    }
    name.truncate(SESSION_NAME_LIMIT);
    if name.len() < 2 { "cdflow".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_suit_sts() {
        assert_eq!(session_name("AROA:build 1/é2"), "AROA-build-1-2");
        assert_eq!(session_name(&"a".repeat(100)).len(), 64);
        assert_eq!(session_name(""), "cdflow");
    }
}
