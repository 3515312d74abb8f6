//! The waits of HTTP requests: the pause that a server asks for, and which limit ended a wait.

use std::{error::Error as StdError, time::Duration};

use reqwest::{Response, header::RETRY_AFTER};

use super::{error::chain, limits::Limit};

/// Returns the pause that a server asks for, in seconds. Ignores dates.
pub(crate) fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns why there is no answer. `connect` and `answer` are the limits of the client.
pub(crate) fn why(error: reqwest::Error, connect: Limit, answer: Limit) -> String {
    passed(&error, connect, answer).unwrap_or_else(|| chain(&error.without_url()))
}

/// Returns the wait that ended and its limit, if reqwest's error, which can be among the sources,
/// says that a limit ended it.
pub(crate) fn passed(
    error: &(dyn StdError + 'static),
    connect: Limit,
    answer: Limit,
) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(late) = error.downcast_ref::<reqwest::Error>().filter(|it| it.is_timeout()) {
            return Some(match late.is_connect() {
                true => connect.passed("no connection"),
                false => answer.passed("no answer"),
            });
        }
        next = error.source();
    }
    None
}
