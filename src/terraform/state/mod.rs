//! Where a state is, its locks, and what it contains.

pub(crate) mod backend;
pub(crate) mod classic;
pub(crate) mod lock;
pub(crate) mod place;
pub(crate) mod summary;
pub(crate) mod transfer;
