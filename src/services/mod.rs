//! Thin wrappers of what is outside: AWS, the CI, Docker, GitHub, registries, stores, git.

pub(crate) mod aws;
pub(crate) mod ci;
pub(crate) mod docker;
pub(crate) mod git;
pub(crate) mod github;
pub(crate) mod registry;
pub(crate) mod store;
pub(crate) mod tool_site;
pub(crate) mod webhook;
