//! AWS: identities, and the credentials that Terraform gets of them.

pub(crate) mod credentials;
pub(crate) mod session;
