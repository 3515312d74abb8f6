//! Authorization of a request: a password, or a token that the registry's token service grants.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use serde_json::Value;

use super::{
    challenge::{self, Challenge},
    client::is_local,
    login::Login,
    request::RegistryRequest,
};
use crate::base::{
    error::{Error, Result},
    redact::Secret,
};

impl RegistryRequest<'_> {
    /// Returns the `Authorization` header that the challenge in a 401 asks for.
    pub(super) async fn authorization(&self, rejection: &Response) -> Result<HeaderValue> {
        let challenges = rejection.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenges.iter().find_map(|value| Challenge::parse(value.to_str().ok()?));
        match (challenge, &self.registry.login) {
            (Some(Challenge::Bearer { realm, service, scope }), login) => {
                self.token(&realm, service, scope, login.as_ref()).await
            }
            (Some(Challenge::Basic), Some(Login::Password { user, password })) => {
                self.header(&basic(user, password))
            }
            _ => Err(self.rejected(rejection)),
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        login: Option<&Login>,
    ) -> Result<HeaderValue> {
        let registry = self.registry;
        if login.is_some() && !is_safe(realm) {
            return Err(Error::refused(self.what())
                .why(format!(
                    "the login would be sent to its token service `{}` without TLS",
                    realm.escape_debug()
                ))
                .hint("check which server answers as this registry"));
        }
        let scope =
            scope.unwrap_or_else(|| format!("repository:{}:pull", registry.path(self.repository)));
        let mut fields = vec![("scope", scope)];
        fields.extend(service.map(|service| ("service", service)));
        let request = || match login {
            Some(Login::IdentityToken(token)) => {
                let mut fields = fields.clone();
                fields.push(("grant_type", "refresh_token".to_owned()));
                fields.push(("refresh_token", token.expose().to_owned()));
                fields.push(("client_id", "cdflow".to_owned()));
                let form = "application/x-www-form-urlencoded";
                registry
                    .token_client
                    .post(realm)
                    .header(CONTENT_TYPE, form)
                    .body(challenge::encoded(&fields))
            }
            Some(Login::Password { user, password }) => {
                let request = registry.token_client.get(challenge::with_query(realm, &fields));
                request.header(AUTHORIZATION, basic(user, password))
            }
            None => registry.client.get(challenge::with_query(realm, &fields)),
        };
        let mut answer = self.with_retries(request).await?;
        match answer.status() {
            status if status.is_success() => {}
            // Some services answer 400 for an unknown refresh token.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.rejected(&answer));
            }
            status => return Err(self.unavailable(format!("its token service answers {status}"))),
        }
        let granted: Value = self.parse(&self.content(&mut answer).await?)?;
        match ["token", "access_token"].iter().find_map(|name| granted[*name].as_str()) {
            Some(token) => self.header(&format!("Bearer {token}")),
            None => Err(self.unavailable("its token service returned no token")),
        }
    }

    /// Returns a header value that no log shows.
    fn header(&self, text: &str) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| self.unavailable("its token is not a valid header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Returns whether a login may be sent to this token service: over TLS, or on this machine.
pub(super) fn is_safe(realm: &str) -> bool {
    Url::parse(realm).is_ok_and(|url| {
        url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_local)
    })
}

fn basic(user: &str, password: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))
}
