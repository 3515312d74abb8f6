//! The state of an environment: its location, backend, locks, contents, and copying it.

pub(crate) mod backend;
pub(crate) mod classic;
pub(crate) mod lock;
pub(crate) mod place;
mod sensitive;
pub(crate) mod summary;
pub(crate) mod transfer;
