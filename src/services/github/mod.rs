//! GitHub's API. Its errors have their own type, because they rarely make a run fail.

mod account;
mod api;
mod branches;
mod changed_files;
mod checks;
mod client;
pub(crate) mod code_owners;
mod comments;
mod contents;
mod deployments;
mod error;
mod pull_request;
mod reactions;
mod release_body;
mod releases;
mod repository;
mod reviews;
mod run_reviews;
mod server;
mod teams;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::{
    account::GitHubAccount,
    api::Api,
    branches::BranchHead,
    changed_files::LISTED,
    checks::{CheckRun, NewCheckRun},
    comments::{Comment, DatedComment},
    contents::RepositoryFile,
    deployments::{Deployment, NewDeployment, NewStatus, Status},
    error::{GitHubError, GitHubErrorKind},
    pull_request::PullRequest,
    reactions::Reaction,
    release_body::Section,
    releases::{GitHubRelease, NewRelease},
    repository::{Repository, RepositoryName},
    reviews::{Approval, Discounted},
    server::Server,
};
pub(crate) use crate::base::pace::Pace;
