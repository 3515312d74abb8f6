//! A segment that many releases share. It is an object of its own, an ordinary zip of one file, and
//! the bundles that have the file leave its bytes out.

use std::path::{Path, PathBuf};

use super::known_segment::KnownSegments;
use crate::base::{
    digest::Sha256,
    error::{Error, Result},
};

/// Where each segment of a new bundle is stored.
#[derive(Debug, Default)]
pub(crate) struct SegmentPlan {
    /// Those that the store has already.
    pub(crate) known: KnownSegments,
    /// An empty folder for the programs of providers that become shared segments. None: they stay
    /// in the bundle.
    pub(crate) share_in: Option<PathBuf>,
}

/// A shared segment that a new bundle needs.
#[derive(Clone, Debug)]
pub(crate) struct SharedSegment {
    /// Of the object.
    pub(crate) sha256: Sha256,
    /// The bytes that the bundle leaves out: those before the directory of the object.
    pub(crate) len: u64,
    /// The new object. None if another release has the segment already.
    pub(crate) file: Option<PathBuf>,
}

impl SharedSegment {
    pub(super) fn new(file: &Path, len: u64) -> Result<Self> {
        let sha256 =
            Sha256::of_file(file).map_err(|error| Error::io("cannot read", file, &error))?;
        Ok(Self { sha256, len, file: Some(file.to_owned()) })
    }
}
