//! Terraform code and its files: declarations, variables, modules, the dependency lock file.

pub(crate) mod declarations;
pub(crate) mod lockfile;
pub(crate) mod modules;
pub(crate) mod variables;
