//! How a write ends that never replaces an object.

/// The result of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    /// An object of this name existed and was not changed. After a lost answer it might be our own:
    /// compare its digest.
    Exists,
}
