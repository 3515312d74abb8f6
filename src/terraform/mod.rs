//! Terraform (or OpenTofu), driven step by step: each step gives the only value with which the next can be taken.

pub(crate) mod code;
mod driver;
pub(crate) mod output;
pub(crate) mod state;
pub(crate) mod tool;

pub(crate) use self::driver::{
    Applied, Folder, InitRequest, Initialised, Plan, PlanMode, PlanRequest,
};
