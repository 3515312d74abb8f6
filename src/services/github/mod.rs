//! GitHub: what the runner reads from us (files), and its API. Trouble with the API is a value of its own, because it hardly
//! ever is the run's failure.

mod api;
mod client;
mod comments;
mod deployments;
mod error;
mod release_body;
mod releases;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::api::Api;
pub(crate) use self::{
    api::PullRequest,
    comments::Comment,
    deployments::{Deployment, NewDeployment, NewStatus, Status},
    error::{Kind, Trouble},
    release_body::Section,
    releases::{NewRelease, Release},
};
pub(crate) use crate::{base::pace::Pace, services::ci::runner_files::Files};
