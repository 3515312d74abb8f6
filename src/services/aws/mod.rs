//! AWS: identities, the credentials that Terraform gets of them, the registry for images, and what
//! a failed call means.

pub(crate) mod credentials;
pub(crate) mod data_key;
pub(crate) mod ecr;
pub(crate) mod failure;
mod missing_credentials;
mod oidc;
pub(crate) mod pages;
pub(crate) mod patience;
pub(crate) mod region;
pub(crate) mod session;
