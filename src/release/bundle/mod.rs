//! The bundle: everything that a deploy needs in one zip, checked before any of it is used.
//!
//! No other zip code reads or writes bundles: general readers repair a damaged zip, this one
//! rejects it. `layout` has the rules for names, sizes and order; `record`, `central_directory` and
//! `entry` have the zip structures, and `index` combines them. `manifest` lists the content, which
//! `writer` writes and `reader` checks. The code is synchronous: call it from a blocking thread.

mod central_directory;
mod codec;
mod entry;
mod extract;
mod index;
mod known_segment;
mod layout;
mod manifest;
mod reader;
mod record;
mod staged_content;
mod staged_file;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use self::{
    index::{BundleIndex, IndexLookup},
    known_segment::{KnownSegment, KnownSegments, segments},
    layout::{MANIFEST, NameTree, check_name},
    manifest::{BundleManifest, TerraformIdentity},
    reader::{Unpacked, check_entries, unpack},
    staged_file::{EntrySource, StagedFile},
    writer::{Bundle, BundleHeader, write},
};
