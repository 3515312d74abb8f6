//! The state of an environment: where it is, its migration, its lock, and its fate after a failure.

pub(crate) mod after_failure;
pub(crate) mod held_lock;
pub(crate) mod location;
pub(crate) mod lock_holder;
pub(crate) mod migration;
pub(crate) mod unchanged;
pub(crate) mod version;
pub(crate) mod workspace_state;
