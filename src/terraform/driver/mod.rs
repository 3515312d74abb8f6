//! Runs Terraform. `Folder` -> `Initialised` -> `Plan` -> `Applied`: only a plan can be applied,
//! and a plan exists only after init.

mod apply;
mod filters;
mod folder;
mod init;
mod mirror;
mod plan;
mod planned_code;
mod planned_state;
mod request;
mod unsaved_state;
mod validate;
mod workspace;

pub(crate) use self::{
    apply::Applied,
    folder::Folder,
    init::{InitRequest, Initialised},
    plan::{Plan, StoredFrom},
    planned_code::check_code,
    request::{PlanMode, PlanRequest},
    unsaved_state::{ERRORED_STATE, UnsavedState},
};
