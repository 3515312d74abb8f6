//! What the stores have of a version.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

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

/// What an object is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(super) enum ObjectType {
    Bundle,
    LambdaZip,
    Image,
}

impl Location {
    /// The first store has the bundles, others Lambda zips.
    pub(super) fn object_type(&self) -> ObjectType {
        match self {
            Self::Store { number: 0, .. } => ObjectType::Bundle,
            Self::Store { .. } => ObjectType::LambdaZip,
            Self::Image => ObjectType::Image,
        }
    }
}
