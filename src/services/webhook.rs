//! Sends a JSON document to a webhook. Its URL is a secret.

use reqwest::{Url, redirect::Policy};
use serde_json::Value;

use super::registry::is_local;
use crate::base::{authorities, http_wait, interrupt::Interrupt, limits::Limit, redact::Secret};

/// Returns why the document was not accepted, without the URL. After a signal, the limit is
/// shorter.
pub(crate) async fn post(
    url: &Secret,
    document: &Value,
    interrupt: &Interrupt,
) -> Result<(), String> {
    let url = Url::parse(url.expose().trim())
        .ok()
        .filter(|url| url.host_str().is_some_and(|host| url.scheme() == "https" || is_local(host)))
        .ok_or("it is not an `https://` URL")?;
    let client = authorities::http_client()
        // A redirect would send the message to a place that is not configured.
        .redirect(Policy::none())
        .connect_timeout(Limit::Webhook.time())
        .user_agent(concat!("cdflow/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.without_url().to_string())?;
    let sending = client.post(url).json(document).send();
    let answer = interrupt
        .or_stop([Limit::Webhook; 2], sending)
        .await
        .map_err(|limit| limit.passed("no answer"))?
        .map_err(|error| http_wait::why(error, Limit::Webhook, Limit::Webhook))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}
