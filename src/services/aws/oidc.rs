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
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput;
use reqwest::StatusCode;
use serde::Deserialize;

use super::{failure::Failure, region::NamedRegion};
use crate::{
    base::{
        authorities::{self, Rejection},
        error::{Error, Exit, Result, chain},
        http_wait,
        limits::Limit,
        process_env::ProcessEnv,
        redact::{Redactor, Secret},
        retry::Retry,
        url,
    },
    config::settings::RoleArn,
    services::github::Server,
};

const AUDIENCE: &str = "sts.amazonaws.com";
/// The longest that every role grants.
const SESSION_SECONDS: i32 = 3600;
/// `Limit::IdPatience` ends the attempts.
const RETRY: Retry = Retry {
    attempts: 20,
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(15),
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
    region: NamedRegion,
    redactor: Redactor,
    audience: String,
    /// As trust policies name it.
    issuer: String,
}

#[derive(Deserialize)]
struct IdToken {
    value: String,
}

impl WebIdentity {
    /// `config` needs no credentials.
    pub(crate) fn new(
        role: &RoleArn,
        audience: Option<&str>,
        region: &NamedRegion,
        config: &SdkConfig,
        environment: &ProcessEnv,
        redactor: &Redactor,
    ) -> Result<Self> {
        let given = |name| environment.get(name).map(str::to_owned).ok_or_else(not_allowed);
        let right = Secret::new(given("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
        redactor.add(&right);
        let http = authorities::http_client()
            // The right to ask goes to GitHub alone.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Limit::IdConnect.time())
            .timeout(Limit::IdAnswer.time())
            .build()
            .map_err(|error| unavailable(chain(&error)))?;
        Ok(Self {
            role: role.clone(),
            session_name: format!("cdflow-{}", environment.get("GITHUB_RUN_ID").unwrap_or("run")),
            url: given("ACTIONS_ID_TOKEN_REQUEST_URL")?,
            right,
            http,
            sts: aws_sdk_sts::Client::new(config),
            region: region.clone(),
            redactor: redactor.clone(),
            audience: audience.unwrap_or(AUDIENCE).to_owned(),
            issuer: Server::of(environment).issuer(),
        })
    }

    /// Asks for a new token with each attempt: it might have expired in the pause.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        let mut attempts = RETRY.within(Limit::IdPatience.time());
        loop {
            let token = self.token().await?;
            match self.assume(&token).await {
                Err(failure) if is_passing(&failure) => {
                    if !attempts.again().await {
                        let ended = Limit::IdPatience.passed("the attempts ended");
                        return Err(Error::new(Exit::Unavailable, self.not_assumed())
                            .why(format!("{}; {ended}", failure.why(&self.region.name)))
                            .hint("run again: AWS could not reach GitHub to check the token"));
                    }
                }
                Err(failure) => return Err(self.rejected(failure)),
                Ok(answer) => return self.given(answer),
            }
        }
    }

    async fn assume(&self, token: &Secret) -> Result<AssumeRoleWithWebIdentityOutput, Failure> {
        let call = self.sts.assume_role_with_web_identity().role_arn(self.role.as_str());
        let call = call.role_session_name(&self.session_name).duration_seconds(SESSION_SECONDS);
        let answer = call.web_identity_token(token.expose()).send().await;
        answer.map_err(|error| Failure::of(&error))
    }

    fn not_assumed(&self) -> String {
        format!("the role `{}` can't be assumed with GitHub's token", self.role)
    }

    fn rejected(&self, failure: Failure) -> Error {
        let region = &self.region.name;
        match failure.exit(region) {
            _ if failure.is_of_no_region(region) => {
                failure.into_error_in(self.not_assumed(), &self.region)
            }
            Exit::Unavailable => failure.into_error(self.not_assumed(), region),
            _ => Error::new(Exit::Credentials, self.not_assumed())
                .why(failure.why(&self.region.name))
                .hint(format!(
                    "check the role's trust policy: it must name the provider {}, \
                     the audience {}, \
                     and this repository (and environment or branch) as its subject",
                    self.issuer, self.audience
                )),
        }
    }

    fn given(&self, answer: AssumeRoleWithWebIdentityOutput) -> Result<Credentials> {
        let given = answer.credentials.ok_or_else(|| {
            Error::new(Exit::Unavailable, self.not_assumed())
                .why("the answer of STS has no credentials")
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
        let url = format!("{}{joint}audience={}", self.url, url::encode(&self.audience));
        let mut attempts = RETRY.within(Limit::IdPatience.time());
        loop {
            let mut asked_pause = None;
            let failed = match self.http.get(&url).bearer_auth(self.right.expose()).send().await {
                Ok(answer) if answer.status().is_success() => {
                    match answer.json::<IdToken>().await {
                        Ok(token) => {
                            let token = Secret::new(token.value);
                            self.redactor.add(&token);
                            return Ok(token);
                        }
                        Err(error) => unanswered(error),
                    }
                }
                Ok(answer) if is_refused(answer.status()) => {
                    return Err(not_allowed()
                        .why(format!("GitHub answers HTTP {}", answer.status().as_u16())));
                }
                Ok(answer) => {
                    asked_pause = http_wait::retry_after(&answer);
                    format!("HTTP {}", answer.status().as_u16())
                }
                Err(error) => {
                    let why = unanswered(error);
                    if Rejection::of(&why, "").is_some() {
                        return Err(unavailable(why));
                    }
                    why
                }
            };
            if !attempts.again_after(asked_pause).await {
                let ended = Limit::IdPatience.passed("the attempts ended");
                return Err(unavailable(format!("{failed}; {ended}")));
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

/// Whether another attempt might succeed: AWS could not get GitHub's keys.
fn is_passing(failure: &Failure) -> bool {
    match failure.code() {
        Some("InvalidIdentityToken") => failure.why("").contains("etrieve verification key"),
        Some(code) => code == "IDPCommunicationError" || code == "IDPCommunicationErrorException",
        None => false,
    }
}

/// Too many requests, or one that came too late, are no refusal.
fn is_refused(status: StatusCode) -> bool {
    let passing = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
    status.is_client_error() && !passing.contains(&status)
}

fn unanswered(error: reqwest::Error) -> String {
    http_wait::why(error, Limit::IdConnect, Limit::IdAnswer)
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
    let error = Error::new(Exit::Unavailable, "failed to get an ID token from GitHub");
    match Rejection::of(&why, "the issuer") {
        Some(Rejection { why, hint }) => error.why(why).hint(hint),
        None => error.why(why).hint("run again"),
    }
}
