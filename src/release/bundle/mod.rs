//! The bundle: everything a deployment needs in one zip, checked before it is opened.
//!
//! Written here and read here, with no other zip code: a general reader repairs what it is given, this one refuses.
//! `layout` says which names, sizes and order there may be; `record`, `directory` and `entry` know the zip structures,
//! `index` is what they add up to; `manifest` is the promise about the content, `writer` and `reader` keep it.
//! The code is synchronous: call it from a blocking thread.

mod central_directory;
mod codec;
mod entry;
mod extract;
mod index;
mod layout;
mod manifest;
mod reader;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use self::{
    index::{BundleIndex, IndexLookup},
    layout::check_name,
    manifest::{BundleManifest, TerraformIdentity},
    reader::{Unpacked, unpack},
    writer::{Bundle, BundleHeader, EntrySource, StagedFile, write},
};
