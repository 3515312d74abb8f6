//! What a release is made of: sources, artifact, bundle.

pub(crate) mod artifact;
pub(crate) mod bundle;
pub(crate) mod facts;
pub(crate) mod init_access;
pub(crate) mod published;
pub(crate) mod source;
