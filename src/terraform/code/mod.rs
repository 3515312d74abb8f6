//! What Terraform reads: variables, modules, the lock file.

pub(crate) mod declarations;
pub(crate) mod lockfile;
pub(crate) mod modules;
pub(crate) mod variables;
