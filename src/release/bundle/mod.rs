//! The bundle: everything that a deploy needs in one zip, checked before any of it is used.
//!
//! No other zip code reads or writes bundles: general readers repair a damaged zip, this one
//! rejects it. `layout` has the rules for names, sizes and order; `record`, `central_directory` and
//! `entry` have the zip structures, and `index` combines them. `manifest` lists the content, which
//! `writer` writes and `reader` checks. The code is synchronous: call it from a blocking thread.

mod archive_map;
mod central_directory;
pub(crate) mod codec;
mod entry;
mod extract;
mod index;
mod known_segment;
mod layout;
mod manifest;
mod reader;
pub(crate) mod record;
mod shared_segment;
mod staged_content;
mod staged_file;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use self::{
    archive_map::PiecePlace,
    entry::BundleEntry,
    index::{BundleIndex, IndexLookup},
    known_segment::{KnownSegment, KnownSegments, SegmentPlace, segments},
    layout::{MANIFEST, NameTree, check_name},
    manifest::{BundleManifest, TerraformIdentity, is_kept},
    reader::{Unpacked, check_entries, unpack},
    shared_segment::{SegmentPlan, SharedSegment},
    staged_file::{EntrySource, StagedFile},
    writer::{Bundle, BundleHeader, write},
};
