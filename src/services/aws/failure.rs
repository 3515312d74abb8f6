//! From an AWS SDK error to ours: what the service said, which exit code that means, and what to do
//! next.

use std::{error::Error as StdError, fmt::Write as _};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::region::{self, NamedRegion};
use crate::base::{
    authorities::Rejection,
    error::{Error, Exit, chain},
    limits::Limit,
};

/// One failed call, with everything a person (or AWS support) needs to find it again.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    cause: Cause,
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    /// S3's `x-amz-bucket-region`: where the bucket really is.
    bucket_region: Option<String>,
    /// The service's `Date`, to be held against our clock.
    server_time: Option<String>,
    /// The fix, if something between here and AWS is the cause.
    fix: Option<&'static str>,
    /// The name of the server has no address.
    is_unresolved: bool,
}

/// How far the call came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cause {
    /// The service answered, and refused.
    #[default]
    Service,
    /// No credentials, or the provider of them failed.
    Credentials,
    /// No answer, a late one, or one that is not S3's.
    Unavailable,
    /// The request could not even be built.
    Request,
}

impl Failure {
    pub(crate) fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let header =
            |name| error.raw_response().and_then(|r| r.headers().get(name)).map(str::to_owned);
        let service = error.as_service_error().map(ProvideErrorMetadata::meta);
        let words = chain(error);
        let rejection = Rejection::of(&words, "the AWS endpoint");
        let (cause, message) = match error {
            _ if rejection.is_some() => {
                (Cause::Unavailable, rejection.as_ref().map(|it| it.why.clone()))
            }
            _ if is_garbled(error) => return Self::not_aws("the answer is not one that AWS gives"),
            SdkError::ServiceError(_) => {
                (Cause::Service, service.and_then(|m| m.message()).map(str::to_owned))
            }
            SdkError::TimeoutError(_) => (Cause::Unavailable, Some(unanswered(&chain(error)))),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                (Cause::Unavailable, Some(Limit::AwsConnect.passed("no connection in any attempt")))
            }
            other => {
                let why = match words.rsplit_once("address information: ") {
                    Some((_, why)) if is_unresolved(&words) => {
                        format!("the name of the server has no address: {why}")
                    }
                    _ => words.clone(),
                };
                (cause(other, &words), Some(why))
            }
        };
        Self {
            cause,
            status: error.raw_response().map(|r| r.status().as_u16()),
            code: service.and_then(|m| m.code()).map(str::to_owned),
            message,
            request_id: header("x-amz-request-id").or_else(|| header("x-amzn-requestid")),
            bucket_region: header("x-amz-bucket-region"),
            server_time: header("date"),
            fix: rejection.map(|it| it.hint),
            is_unresolved: is_unresolved(&words),
        }
    }

    /// An answer that comes from something between us and AWS.
    pub(crate) fn not_aws(why: &str) -> Self {
        let message = format!("{why}: a proxy or another program answers in place of AWS");
        let fix = Some("check the endpoint and the proxies on the way to AWS, and run again");
        Self { cause: Cause::Unavailable, message: Some(message), fix, ..Self::default() }
    }

    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the service knows the identity, and denies it this call.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.code(), Some("AccessDenied" | "AccessDeniedException"))
    }

    /// The exit code this failure ends the run with, for a client of `region`.
    pub(crate) fn exit(&self, region: &str) -> Exit {
        match self.cause {
            Cause::Credentials => Exit::Credentials,
            Cause::Unavailable if self.is_of_no_region(region) => Exit::Input,
            Cause::Unavailable => Exit::Unavailable,
            Cause::Request => Exit::Internal,
            Cause::Service if self.other_region(region).is_some() => Exit::Input,
            Cause::Service => self.exit_of_answer(),
        }
    }

    fn exit_of_answer(&self) -> Exit {
        match self.code.as_deref().unwrap_or_default() {
            "AccessDenied"
            | "AccessDeniedException"
            | "AllAccessDisabled"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
            | "SignatureDoesNotMatch"
            | "TokenRefreshRequired"
            | "UnrecognizedClientException" => Exit::Credentials,
            "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" => {
                Exit::Integrity
            }
            "InternalError"
            | "OperationAborted"
            | "RequestTimeout"
            | "ServiceUnavailable"
            | "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded" => Exit::Unavailable,
            _ => match self.status {
                Some(401 | 403) => Exit::Credentials,
                Some(429 | 500..) => Exit::Unavailable,
                _ => Exit::Input,
            },
        }
    }

    /// Whether the region probably does not exist: cdflow does not know it, and its server has no
    /// address.
    pub(crate) fn is_of_no_region(&self, region: &str) -> bool {
        self.is_unresolved && !region::is_known(region)
    }

    /// `what` says which action on which object failed: "`s3://…` can't be read".
    pub(crate) fn into_error(self, what: impl Into<String>, region: &str) -> Error {
        let hint = self.hint(region, None);
        self.with_hint(what, region, hint)
    }

    /// Like [`Self::into_error`], and names the setting of a region that does not exist.
    pub(crate) fn into_error_in(self, what: impl Into<String>, region: &NamedRegion) -> Error {
        let hint = self.hint(&region.name, Some(&region.from));
        self.with_hint(what, &region.name, hint)
    }

    fn with_hint(self, what: impl Into<String>, region: &str, hint: Option<String>) -> Error {
        let error = Error::new(self.exit(region), what).why(self.why(region));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// "AccessDenied: Access Denied (HTTP 403, region eu-west-1, request id …)"
    pub(crate) fn why(&self, region: &str) -> String {
        let mut text = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => "the service gave no reason".to_owned(),
        };
        text.push_str(" (");
        if let Some(status) = self.status {
            let _ = write!(text, "HTTP {status}, ");
        }
        let _ = write!(text, "region {region}");
        if let Some(id) = &self.request_id {
            let _ = write!(text, ", request id {id}");
        }
        text.push(')');
        text
    }

    fn hint(&self, region: &str, from: Option<&str>) -> Option<String> {
        if let Some(fix) = self.fix {
            return Some(fix.to_owned());
        }
        if self.is_of_no_region(region) {
            return Some(region::fix(region, from));
        }
        if let Some(real) = self.other_region(region) {
            return Some(format!(
                "correct the region in the account scheme (for the scheme's own bucket: \
                 AWS_REGION): the bucket is in region `{real}`, the configured region is `{region}`"
            ));
        }
        let hint = match self.code.as_deref() {
            Some("RequestTimeTooSkewed") => return Some(self.skew()),
            Some("NoSuchBucket") => {
                "check the bucket's name in the account scheme, or create the bucket"
            }
            Some("PermanentRedirect") => {
                "check the region in the account scheme: the bucket is in another region"
            }
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "RequestExpired"
                | "TokenRefreshRequired",
            ) => "get new credentials and run again: these have expired",
            Some("SignatureDoesNotMatch") => {
                "check the secret access key: it does not belong to the access key id"
            }
            Some(
                "InvalidAccessKeyId"
                | "InvalidClientTokenId"
                | "InvalidToken"
                | "UnrecognizedClientException",
            ) => "check the source of these credentials: AWS does not know them",
            _ => match self.exit(region) {
                Exit::Credentials if self.cause == Cause::Credentials => {
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, \
                     or run where a role is attached"
                }
                Exit::Credentials => {
                    "give the role this permission, \
                     and check the policies of the bucket and its key"
                }
                Exit::Unavailable => "run again later: the service failed even after retries",
                _ => return None,
            },
        };
        Some(hint.to_owned())
    }

    fn skew(&self) -> String {
        let server = self.server_time.as_deref().unwrap_or("unknown");
        format!(
            "set the clock: this machine's time is {}, the server's is {server}",
            jiff::Timestamp::now()
        )
    }

    /// The bucket's region, when S3 names one that is not ours.
    fn other_region(&self, region: &str) -> Option<&str> {
        let redirected = matches!(self.status, Some(301 | 307 | 400));
        self.bucket_region.as_deref().filter(|real| redirected && *real != region)
    }
}

/// Whether the words of an error say that the name of a server has no address.
pub(super) fn is_unresolved(words: &str) -> bool {
    words.contains("dns error") || words.contains("failed to lookup address")
}

/// Returns which limit ended the attempts. The SDK says only in words which of its waits ended, and
/// how long it was.
fn unanswered(chain: &str) -> String {
    let (answer, patience) = (Limit::AwsAnswer.time(), Limit::AwsPatience.time());
    let is_usual = [answer, answer + patience]
        .iter()
        .any(|time| chain.contains(&format!("occurred after {time:?}")));
    let attempt = if is_usual { Limit::AwsAnswer } else { Limit::AwsTransfer };
    let why = attempt.passed("no answer to any attempt");
    match chain.contains("all attempts") {
        true => format!("{why}; {}", Limit::AwsPatience.passed("the attempts ended")),
        false => why,
    }
}

/// Whether a successful answer could not be read: the SDK reports it as an error of the service,
/// without a code. An error that S3 sends after it has begun a successful answer has one.
fn is_garbled<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let is_success = error.raw_response().is_some_and(|answer| answer.status().is_success());
    let SdkError::ServiceError(service) = error else { return false };
    is_success && service.err().code().is_none()
}

fn cause<E>(error: &SdkError<E>, chain: &str) -> Cause {
    // The SDK reports a missing identity as a failed dispatch (or construction) and keeps the type
    // to itself; only the words of its `CredentialsError` distinguish it from a failed connection.
    let identity = matches!(error, SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_))
        && chain.to_ascii_lowercase().contains("credential");
    match error {
        _ if identity => Cause::Credentials,
        SdkError::ConstructionFailure(_) => Cause::Request,
        _ => Cause::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Failure {
        Failure { status: Some(status), code: Some(code.to_owned()), ..Failure::default() }
    }

    #[test]
    fn exits() {
        let cases = [
            (403, "AccessDenied", Exit::Credentials),
            (400, "ExpiredToken", Exit::Credentials),
            (403, "RequestTimeTooSkewed", Exit::Credentials),
            (404, "NoSuchBucket", Exit::Input),
            (503, "SlowDown", Exit::Unavailable),
            (400, "RequestTimeout", Exit::Unavailable),
            (500, "", Exit::Unavailable),
            (400, "BadDigest", Exit::Integrity),
            (400, "InvalidRequest", Exit::Input),
        ];
        for (status, code, exit) in cases {
            assert_eq!(answer(status, code).exit("eu-west-1"), exit, "{code}");
        }
    }

    #[test]
    fn another_region_is_named() {
        let failure = Failure {
            bucket_region: Some("us-east-2".to_owned()),
            ..answer(301, "PermanentRedirect")
        };
        let error = failure.into_error("`s3://b/k` can't be read", "eu-west-1");
        assert_eq!(error.exit(), Exit::Input);
        assert_eq!(
            error.to_string(),
            "`s3://b/k` can't be read: PermanentRedirect (HTTP 301, region eu-west-1)\n  \
             -> correct the region in the account scheme (for the scheme's own bucket: \
             AWS_REGION): the bucket is in region `us-east-2`, the configured region is `eu-west-1`"
        );
    }

    #[test]
    fn a_server_without_an_address_makes_an_unknown_region_an_error_of_the_input() {
        let failure =
            || Failure { cause: Cause::Unavailable, is_unresolved: true, ..Failure::default() };
        assert_eq!(failure().exit("eu-west-1"), Exit::Unavailable);
        let region =
            NamedRegion { name: "eu-west-9".into(), from: "`default-region` of s.json".into() };
        let error = failure().into_error_in("STS failed", &region);
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.hints()[0].starts_with("correct `default-region` of s.json: `eu-west-9` is"));
        assert!(is_unresolved("client error (Connect): dns error: failed to lookup address"));
    }

    #[test]
    fn skew_names_both_clocks() {
        let server_time = Some("Fri, 20 Nov 2026 10:00:00 GMT".to_owned());
        let failure = Failure { server_time, ..answer(403, "RequestTimeTooSkewed") };
        let text = failure.into_error("`s3://b/k` can't be read", "eu-west-1").to_string();
        assert!(
            text.contains("-> set the clock: this machine's time is ")
                && text.contains("the server's is Fri, 20 Nov 2026 10:00:00 GMT"),
            "{text}"
        );
    }
}
