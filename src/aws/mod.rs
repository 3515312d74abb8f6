//! AWS: identities, the credentials that Terraform gets of them, and what a failed call means.

pub(crate) mod credentials;
pub(crate) mod failure;
mod oidc;
pub(crate) mod session;
