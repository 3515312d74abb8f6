//! Decides whether a pull request has a preview, and how long it lives.

pub(crate) mod expiry;
pub(crate) mod pull_request;
pub(crate) mod watch;
