//! Terraform code and its files: declarations, variables, modules, the dependency lock file.

pub(crate) mod blocks;
pub(crate) mod declarations;
pub(crate) mod file_calls;
pub(crate) mod files;
pub(crate) mod lockfile;
pub(crate) mod looked_up;
pub(crate) mod modules;
pub(crate) mod origins;
pub(crate) mod release_type;
pub(crate) mod requirement;
#[cfg(test)]
mod tests;
pub(crate) mod variable_blocks;
pub(crate) mod variables;
