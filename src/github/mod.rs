//! GitHub: what the runner reads from us (files), and its API. Trouble with the API is a value of its own, because it hardly
//! ever is the run's failure.

mod api;
mod client;
mod comments;
mod deployments;
mod files;
mod pace;
mod release_body;
mod releases;
#[cfg(test)]
pub(crate) mod tests;
mod trouble;

pub(crate) use api::Api;
pub(crate) use {
    api::PullRequest,
    comments::Comment,
    deployments::{Deployment, NewDeployment, NewStatus, Status},
    files::Files,
    pace::Pace,
    release_body::Section,
    releases::{NewRelease, Release},
    trouble::{Kind, Trouble},
};
