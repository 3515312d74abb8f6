//! The steps of a release, and what it is made of: sources, artifact, bundle.

pub(crate) mod artifact;
pub(crate) mod assemble;
pub(crate) mod built;
pub(crate) mod bundle;
mod cache_dir;
mod cached_init;
pub(crate) mod deletion;
pub(crate) mod facts;
pub(crate) mod file_cache;
mod hashed_files;
pub(crate) mod hooks;
pub(crate) mod init;
pub(crate) mod init_access;
mod known_segments;
pub(crate) mod listing;
pub(crate) mod lock_file;
pub(crate) mod partial_fetch;
mod platform_check;
pub(crate) mod platforms;
pub(crate) mod policy_check;
pub(crate) mod publish;
pub(crate) mod published;
pub(crate) mod source;
mod ssh_key;
mod upload;
pub(crate) mod validate;
pub(crate) mod value_check;
