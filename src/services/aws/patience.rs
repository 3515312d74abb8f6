//! How long calls to AWS are repeated and waited for, the same for every service, and the notice
//! that cdflow waits.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_config::{
    ConfigLoader, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{self, TlsContext, TrustStore},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};

use super::{failure::is_unresolved, region};
use crate::base::{
    authorities::{self, Rejection},
    error::chain,
    limits::Limit,
    log::Log,
};

/// The longest pause between two attempts, in seconds. The SDK waits half of it on average.
const LONGEST_PAUSE: u64 = 8;
/// The attempt that is worth a notice: a few seconds have passed.
const NOTICE_AT: &str = "attempt=4;";

/// Gives every client that is made from the configuration the same patience.
pub(crate) fn patient(loader: ConfigLoader, log: &Log) -> ConfigLoader {
    loader
        .retry_config(retries())
        .timeout_config(timeouts(Limit::AwsAnswer))
        .stalled_stream_protection(stalled())
        .http_client(watched(log))
}

/// Returns as many attempts as fit into the patience: after 1, 2 and 4 seconds, the pauses do not
/// grow any more. Their random lengths are half of that on average.
pub(crate) fn retries() -> RetryConfig {
    let seconds = Limit::AwsPatience.time().as_secs();
    let attempts = 4 + seconds.saturating_sub(3) / (LONGEST_PAUSE / 2);
    RetryConfig::standard()
        .with_max_attempts(u32::try_from(attempts).unwrap_or(u32::MAX))
        .with_max_backoff(std::time::Duration::from_secs(LONGEST_PAUSE))
}

/// Returns the limits of a call whose single attempt may take `attempt`.
pub(crate) fn timeouts(attempt: Limit) -> TimeoutConfig {
    timeouts_of(attempt.time())
}

pub(crate) fn timeouts_of(attempt: std::time::Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Limit::AwsConnect.time())
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt + Limit::AwsPatience.time())
        .build()
}

pub(crate) fn stalled() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::enabled().grace_period(Limit::AwsIdle.time()).build()
}

/// The SDK's own HTTP client, and a look at each request.
fn watched(log: &Log) -> SharedHttpClient {
    let context = authorities();
    let inner = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = ConnectorBuilder::default()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        builder.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            builder.set_sleep_impl(components.sleep_impl());
        }
        builder.set_proxy_config(Some(ProxyConfig::from_env()));
        if let Some(context) = &context {
            builder.set_tls_context(context.clone());
        }
        builder.build()
    });
    let notice = Arc::new(Notice { log: log.clone(), is_shown: AtomicBool::new(false) });
    SharedHttpClient::new(Watched { inner, notice })
}

/// Returns the SDK's trust store, if the user has added authorities.
fn authorities() -> Option<TlsContext> {
    let store = TrustStore::default().with_pem_certificate(authorities::added_pem()?);
    TlsContext::builder().with_trust_store(store).build().ok()
}

/// Shows once per run that cdflow waits.
struct Notice {
    log: Log,
    is_shown: AtomicBool,
}

impl Notice {
    fn see(&self, request: &HttpRequest) {
        let attempt = request.headers().get("amz-sdk-request").unwrap_or_default();
        if attempt.starts_with(NOTICE_AT) && !self.is_shown.swap(true, Ordering::Relaxed) {
            let host = request.uri().split('/').nth(2).unwrap_or_default();
            self.log.note(&format!(
                "AWS ({host}) limits requests or has trouble: cdflow repeats each for up to {} s",
                Limit::AwsPatience.time().as_secs()
            ));
        }
    }
}

/// Required by the SDK; shows nothing.
impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

#[derive(Debug)]
struct Watched<T> {
    inner: T,
    notice: Arc<Notice>,
}

impl HttpClient for Watched<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Watched { inner, notice: Arc::clone(&self.notice) })
    }
}

impl HttpConnector for Watched<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.notice.see(&request);
        let is_suspect = region::unknown_in(request.uri()).is_some();
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            answer.await.map_err(|error| not_repeated_if_hopeless(error, is_suspect))
        })
    }
}

/// Marks a rejected certificate, and a server of a suspect region that has no address, as errors of
/// the user, which the SDK does not retry.
fn not_repeated_if_hopeless(error: ConnectorError, is_suspect: bool) -> ConnectorError {
    let words = chain(&error);
    match Rejection::of(&words, "AWS").is_some() || (is_suspect && is_unresolved(&words)) {
        true => ConnectorError::user(error.into()),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_patience() {
        let retries = retries();
        // The mean of the pauses: half of 1, 2 and 4 seconds, then of the longest.
        let pauses = retries.max_attempts() - 1;
        let mean = 0.5 + 1.0 + 2.0 + f64::from(pauses - 3) * LONGEST_PAUSE as f64 / 2.0;
        let patience = Limit::AwsPatience.time().as_secs_f64();
        assert!((patience - 5.0..=patience + 5.0).contains(&mean), "{mean} s");
    }
}
