//! Terraform (or OpenTofu), driven step by step: each step gives the only value with which the next can be taken.

pub(crate) mod backend;
pub(crate) mod changes;
pub(crate) mod classic;
pub(crate) mod declarations;
mod diagnostics;
mod driver;
mod events;
mod failure;
pub(crate) mod lock;
pub(crate) mod lockfile;
pub(crate) mod modules;
pub(crate) mod place;
pub(crate) mod plan_text;
pub(crate) mod state;
pub(crate) mod tool;
pub(crate) mod transfer;
pub(crate) mod variables;
pub(crate) mod version;

pub(crate) use driver::{Applied, Folder, InitRequest, Initialised, Plan, PlanMode, PlanRequest};
