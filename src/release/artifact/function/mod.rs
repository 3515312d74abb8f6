//! The image of a Rust function. A build image contains a service without `functions.rs`:
//! Cargo.toml, src/main.rs, run.sh, and usually compiled dependencies. The binary is copied into a
//! runtime image.

use std::collections::BTreeMap;

mod bases;
mod build_context;
mod code;
mod compile_time;
mod dockerfile;
mod images;
mod rocherc;
mod tag;

pub(crate) use self::bases::{describe_bases, log_inputs, pin_bases};
pub(crate) use self::code::Code;
pub(crate) use self::images::Images;
pub(crate) use self::tag::default_tag;

/// Keys of release.json. With the prefix `cdflow.` they are labels of the image.
const IMAGES: [&str; 2] = ["build_image", "runtime_image"];

/// Returns the labels that record the base images. `records` has the build image and the runtime
/// image, each with its digest.
pub(crate) fn labels(records: &[String; 2]) -> BTreeMap<String, String> {
    metadata(records).into_iter().map(|(key, record)| (label(&key), record)).collect()
}

/// Returns the keys of `var.release` that record the base images.
pub(crate) fn metadata(records: &[String; 2]) -> BTreeMap<String, String> {
    IMAGES.iter().zip(records).map(|(key, record)| ((*key).to_owned(), record.clone())).collect()
}

/// Returns the same keys from the labels of an existing image, as far as it has them.
pub(crate) fn metadata_of(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    IMAGES
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), labels.get(&label(key))?.clone())))
        .collect()
}

fn label(key: &str) -> String {
    format!("cdflow.{}", key.replace('_', "-"))
}

/// The kind of build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Tested, optimized, without environment files.
    Release,
    /// For a developer's machine: a debug build, with environment files.
    Dev,
}
