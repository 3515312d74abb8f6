//! The artifact of a release, a Lambda zip or an image, and its keys of `var.release`.

pub(crate) mod function;
pub(crate) mod image;
pub(crate) mod image_reference;
pub(crate) mod lambda;
pub(crate) mod lambda_files;
pub(crate) mod lambda_upload;
mod lambda_zip;

/// Files and folders of these names are in no image and no zip: they differ between checkouts of
/// the same commit, and `.git` can contain a token.
const NEVER_RELEASED: [&str; 4] = [".git", ".cdflow", ".cdflow-cache", ".terraform"];
/// Copies of states that could not be saved, which contain secrets: next to cdflow.yml, and in the
/// folder of local states. As patterns of `.dockerignore`, and of `lambda.exclude`.
const RECOVERY_COPIES: [&str; 2] =
    ["**/recovery-*-????????T??????Z.tfstate", "**/recovery/*/*/*/????????T??????Z.tfstate"];
