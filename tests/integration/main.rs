//! The tests run the binary as a person or a runner would, against real Terraform and AWS as moto
//! plays it. `make test` prepares what they need; one module per subject, `support` is what they
//! stand on.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests start programs and read their own environment, and a panic is how a test fails"
)]

mod action_image;
mod actions;
mod adopt;
mod apply_results;
mod approvals;
mod attacks;
mod aws_faults;
mod aws_infrastructure;
mod aws_lambda;
mod aws_state;
mod bad_input;
mod bootstrap;
mod bootstrap_options;
mod bundle_damage;
mod causes;
mod check_run;
mod ci;
mod classic;
mod code_files;
mod comments;
mod container;
mod current_plans;
mod defaults;
mod demo;
mod deploy;
mod docker_release;
mod doctor;
mod documents;
mod encryption;
mod examples;
mod fetching;
mod first_deploy;
mod first_mistakes;
mod full_store;
mod function_release;
mod ghes;
mod github_release;
mod guards;
mod hooks;
mod hostile_checkout;
mod images;
mod init;
mod interrupt;
mod lab;
mod language;
mod layers;
mod limits;
mod local_states;
mod merge_queue;
mod migration;
mod notify;
mod oidc;
mod opentofu;
mod operations;
mod platforms;
mod policy;
mod preflight;
mod preview;
mod preview_artifacts;
mod progress;
mod pull_request_life;
mod questions;
mod queues;
mod races;
mod reap;
mod reference;
mod release;
mod release_checks;
mod release_files;
mod releases;
mod report;
mod review_places;
mod reviewed;
mod rig;
mod runner_action;
mod schemas;
mod secret_sinks;
mod secrets;
mod segments;
mod shared_segments;
mod shell;
mod soak;
mod stored_plans;
mod support;
mod sweep;
mod terraform_versions;
mod tool_downloads;
mod unknown_changes;
mod unprivileged;
mod warm;
mod workflows;
