//! What the stores have of a version.

use jiff::Timestamp;

/// Everything that is stored for a version.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The bundle comes first, because it is the release.
    pub(super) objects: Vec<Object>,
    /// The time of the newest object; `None` if the store does not have it.
    pub(super) modified: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) at: Location,
    /// For messages.
    pub(super) place: String,
    /// In bytes.
    pub(super) size: u64,
}

#[derive(Debug)]
pub(super) enum Location {
    Store {
        number: usize,
        key: String,
    },
    /// An image whose tag is the version.
    Image,
}
