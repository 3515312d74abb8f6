//! The artifact of a release, a Lambda zip or an image, and its keys of `var.release`.

pub(crate) mod function;
pub(crate) mod image;
pub(crate) mod image_reference;
pub(crate) mod lambda;
pub(crate) mod lambda_upload;
