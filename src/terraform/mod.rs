//! Terraform or OpenTofu, step by step: each step returns the only value with which the next can
//! start.

pub(crate) mod cache_folder;
mod cache_lock;
pub(crate) mod code;
mod driver;
pub(crate) mod output;
pub(crate) mod providers;
pub(crate) mod state;
pub(crate) mod tool;

pub(crate) use self::driver::{
    Applied, ERRORED_STATE, Folder, InitRequest, Initialised, Plan, PlanMode, PlanRequest,
    StoredFrom, UnsavedState, check_code,
};
