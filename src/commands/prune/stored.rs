//! What the stores have of a version.

use jiff::Timestamp;

/// Everything that is stored for a version.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// The bundle comes first, because it is the release.
    pub(super) objects: Vec<Object>,
    /// The time of the newest object; `None` if the store does not have it.
    pub(super) modified: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) at: Location,
    /// For messages.
    pub(super) place: String,
    /// In bytes.
    pub(super) size: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Location {
    Store {
        number: usize,
        key: String,
    },
    /// An image whose tag is the version.
    Image,
}

impl Location {
    /// A stable word, for programs (docs/schema). The first store has the bundles, others Lambda
    /// zips.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Store { number: 0, .. } => "bundle",
            Self::Store { .. } => "lambda-zip",
            Self::Image => "image",
        }
    }
}
