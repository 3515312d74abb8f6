//! An image from a Rust function. A build image holds a whole service but `functions.rs`: Cargo.toml, src/main.rs, run.sh, and
//! mostly dependencies that are compiled already. The binary goes into a runtime image.

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

/// Keys of release.json, and with `cdflow.` before them labels of the image.
const IMAGES: [&str; 2] = ["build_image", "runtime_image"];

/// By which the image says what it was made from: the record of the build image and of the runtime image.
pub(crate) fn labels(records: &[String; 2]) -> BTreeMap<String, String> {
    metadata(records).into_iter().map(|(key, record)| (label(&key), record)).collect()
}

/// What Terraform is told beside the image's own name.
pub(crate) fn metadata(records: &[String; 2]) -> BTreeMap<String, String> {
    IMAGES.iter().zip(records).map(|(key, record)| ((*key).to_owned(), record.clone())).collect()
}

/// The same of an image that was made before, as far as it says so.
pub(crate) fn metadata_of(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    IMAGES
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), labels.get(&label(key))?.clone())))
        .collect()
}

fn label(key: &str) -> String {
    format!("cdflow.{}", key.replace('_', "-"))
}

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Tested, optimised, and without environment files.
    Release,
    /// For the developer's machine: quickly compiled, with the environment files.
    Dev,
}
