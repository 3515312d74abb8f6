//! What the tests stand on. Everything outside the binary is real or answers on the wire:
//! Terraform, git, moto as AWS, and in the `Lab` a Docker engine with registries. A test owns a
//! `Sandbox` (home, temporary and working folders); only moto and the lab are shared, and there
//! every test has buckets and repositories of its own, so that tests run side by side.

mod action;
pub(crate) mod action_image;
mod aws;
mod company;
mod event;
mod expression;
pub(crate) mod github;
mod helper;
mod iam;
mod invariants;
mod issuer;
mod lab;
mod local;
mod output;
pub(crate) mod person;
mod podman;
mod probe;
mod processes;
mod project;
mod provider_registry;
mod providers;
mod reference;
mod runner;
mod sandbox;
mod scrub;
pub(crate) mod silent;
mod small_disk;
pub(crate) mod tool;
mod tool_mirror;
pub(crate) mod workflow;

pub(crate) use action::{Job, RUNNER, entries_of_runner};
pub(crate) use aws::{AMBIENT_KEY, AMBIENT_SECRET, Aws, DEV, PROD, REGION, RELEASE};
pub(crate) use company::Company;
pub(crate) use event::pull_request_event;
pub(crate) use iam::RoleRequest;
pub(crate) use invariants::Invariants;
pub(crate) use issuer::{Issuer, RIGHT_TO_ASK, token as id_token};
pub(crate) use lab::Lab;
pub(crate) use local::entries;
pub(crate) use output::Output;
pub(crate) use podman::Podman;
pub(crate) use probe::Probe;
pub(crate) use processes::{Process, descendants};
pub(crate) use project::Project;
pub(crate) use provider_registry::ProviderRegistry;
pub(crate) use providers::{Mirror, platform, tiny_archive};
pub(crate) use reference::Reference;
pub(crate) use runner::{Runner, Running, cdflow, git, python, terraform};
pub(crate) use sandbox::{Sandbox, files_under};
pub(crate) use scrub::Scrub;
pub(crate) use small_disk::{on_a_small_disk, with_own_mounts};
pub(crate) use tool_mirror::{
    Fault, MirrorServer, SigningKey, ToolMirror, archive, archive_name, archive_of_link,
    path_but_terraform, path_without_terraform, real_terraform, signature_name, stamped,
};

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder of the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    repository().join(path)
}
