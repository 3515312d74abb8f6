//! The state of an environment: its location, backend, locks, contents, and copying it.

pub(crate) mod backend;
pub(crate) mod classic;
pub(crate) mod empty;
pub(crate) mod local_folder;
pub(crate) mod lock;
pub(crate) mod object;
pub(crate) mod place;
mod sensitive;
pub(crate) mod stored;
pub(crate) mod summary;
pub(crate) mod taken_locks;
pub(crate) mod transfer;
