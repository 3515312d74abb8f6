//! What a build makes beside the bundle, and what Terraform is told of it.

pub(crate) mod function;
pub(crate) mod image;
pub(crate) mod image_reference;
pub(crate) mod lambda;
pub(crate) mod lambda_upload;
