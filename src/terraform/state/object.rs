//! Where a state is stored, and what locks it.

use super::lock::StateLock;
use crate::services::store::ReleaseStore;

/// A state file in a store.
pub(crate) struct StateObject {
    pub(crate) store: ReleaseStore,
    pub(crate) key: String,
    pub(crate) locks: Vec<StateLock>,
    /// Whether its locks are acquired. The locks of a foreign state are only checked, and the copy
    /// fails if that state changes meanwhile.
    pub(crate) is_ours: bool,
}

impl StateObject {
    /// Returns the object for messages, in backticks.
    pub(super) fn describe(&self) -> String {
        format!("`{}`", self.store.describe(&self.key))
    }
}
