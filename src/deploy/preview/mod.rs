//! What decides about the environment of a pull request.

pub(crate) mod expiry;
pub(crate) mod pull_request;
pub(crate) mod watch;
