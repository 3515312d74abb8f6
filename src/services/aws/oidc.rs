//! The identity of a run of GitHub Actions, without any stored key: GitHub vouches for the run by a
//! signed token that lives some minutes, and STS gives credentials of a role for it. Both are asked
//! for again as long as the run needs them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use serde::Deserialize;

use super::failure::Failure;
use crate::{
    base::{
        error::{Error, Exit, Result, chain},
        process_env::ProcessEnv,
        redact::{Redactor, Secret},
        retry::Retry,
    },
    config::settings::RoleArn,
};

const AUDIENCE: &str = "sts.amazonaws.com";
/// The longest that every role grants.
const SESSION_SECONDS: i32 = 3600;
const RETRY: Retry = Retry {
    attempts: 3,
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(1),
};

#[derive(Clone)]
pub(crate) struct WebIdentity {
    role: RoleArn,
    session_name: String,
    /// Where GitHub's token is asked for, and the right to ask.
    url: String,
    right: Secret,
    http: reqwest::Client,
    sts: aws_sdk_sts::Client,
    region: String,
    redactor: Redactor,
}

#[derive(Deserialize)]
struct IdToken {
    value: String,
}

impl WebIdentity {
    /// `config` needs no credentials.
    pub(crate) fn new(
        role: &RoleArn,
        region: &str,
        config: &SdkConfig,
        environment: &ProcessEnv,
        redactor: &Redactor,
    ) -> Result<Self> {
        let given = |name| environment.get(name).map(str::to_owned).ok_or_else(not_allowed);
        let right = Secret::new(given("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
        redactor.add(&right);
        let http = reqwest::Client::builder()
            // The right to ask goes to GitHub alone.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| unavailable(chain(&error)))?;
        Ok(Self {
            role: role.clone(),
            session_name: format!("cdflow-{}", environment.get("GITHUB_RUN_ID").unwrap_or("run")),
            url: given("ACTIONS_ID_TOKEN_REQUEST_URL")?,
            right,
            http,
            sts: aws_sdk_sts::Client::new(config),
            region: region.to_owned(),
            redactor: redactor.clone(),
        })
    }

    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        let token = self.token().await?;
        let call = self.sts.assume_role_with_web_identity().role_arn(self.role.as_str());
        let call = call.role_session_name(&self.session_name).duration_seconds(SESSION_SECONDS);
        let what = || format!("the role `{}` can't be assumed with GitHub's token", self.role);
        let answer = call.web_identity_token(token.expose()).send().await.map_err(|error| {
            let failure = Failure::of(&error);
            match failure.exit(&self.region) {
                Exit::Unavailable => failure.into_error(what(), &self.region),
                _ => Error::new(Exit::Credentials, what()).why(failure.why(&self.region)).hint(
                    format!(
                        "check the role's trust policy: it must name the provider \
                         token.actions.githubusercontent.com, the audience {AUDIENCE}, \
                         and this repository (and environment or branch) as its subject"
                    ),
                ),
            }
        })?;
        let given = answer.credentials.ok_or_else(|| {
            Error::new(Exit::Unavailable, what()).why("the answer of STS has no credentials")
        })?;
        let expiry = SystemTime::try_from(given.expiration).ok();
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            expiry,
            "github",
        ))
    }

    async fn token(&self) -> Result<Secret> {
        let joint = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}audience={AUDIENCE}", self.url);
        let mut attempts = RETRY.start();
        loop {
            let failed = match self.http.get(&url).bearer_auth(self.right.expose()).send().await {
                Ok(answer) if answer.status().is_success() => {
                    match answer.json::<IdToken>().await {
                        Ok(token) => {
                            let token = Secret::new(token.value);
                            self.redactor.add(&token);
                            return Ok(token);
                        }
                        Err(error) => chain(&error.without_url()),
                    }
                }
                Ok(answer) if answer.status().is_client_error() => {
                    return Err(not_allowed()
                        .why(format!("GitHub answers HTTP {}", answer.status().as_u16())));
                }
                Ok(answer) => format!("HTTP {}", answer.status().as_u16()),
                Err(error) => chain(&error.without_url()),
            };
            if !attempts.again().await {
                return Err(unavailable(failed));
            }
        }
    }
}

impl ProvideCredentials for WebIdentity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}

/// Required of a provider; shows nothing.
impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebIdentity")
    }
}

fn not_allowed() -> Error {
    Error::new(
        Exit::Credentials,
        "GitHub gives this run no identity, so `aws-role-to-assume` can't be assumed",
    )
    .why("the job is not allowed to request an ID token, or does not run on GitHub Actions")
    .hint(
        "add these permissions to the workflow's job:\n     \
         permissions:\n       contents: read\n       id-token: write",
    )
}

fn unavailable(why: String) -> Error {
    Error::new(Exit::Unavailable, "failed to get an ID token from GitHub")
        .why(why)
        .hint("run again")
}
