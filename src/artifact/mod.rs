//! What a build makes beside the bundle, and what Terraform is told of it.

pub(crate) mod image;
pub(crate) mod lambda;
pub(crate) mod reference;
