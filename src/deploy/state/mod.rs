//! Where the state of an environment is, who holds its lock, and what a failure leaves of it.

pub(crate) mod after_failure;
pub(crate) mod held_lock;
pub(crate) mod location;
pub(crate) mod migration;
