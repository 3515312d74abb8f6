//! The arguments of `release`.

use clap::Args;

use super::{
    build::BuildInputs,
    shared::{BundleInputs, ReportInputs},
};
use crate::{
    base::error::{Error, Result},
    config::names::{Image, Version},
};

#[derive(Debug, Args)]
#[command(after_help = super::examples::RELEASE)]
pub(crate) struct ReleaseInputs {
    /// Version to publish, such as 42-a1b2c3d [default in CI: tag, pull request or run number]
    pub(crate) version: Option<Version>,
    /// On GitHub Actions, in a run for a tag: create or complete the tag's GitHub release
    #[arg(long)]
    pub(crate) create_github_release: bool,
    /// Show what the release would contain; build and publish nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write infra/.terraform.lock.hcl into the checkout if it is missing; never replaces one
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) write_lock_file: bool,
    #[command(flatten)]
    pub(crate) build: BundleInputs,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
    #[command(flatten)]
    pub(crate) local: LocalInputs,
}

/// The old spelling of `cdflow build`, which users of roche know: `release --local [--dev] [--tag
/// NAME]`.
#[derive(Debug, Default, Args)]
pub(crate) struct LocalInputs {
    #[arg(long, hide = true, conflicts_with_all = ["version", "platform_config", "release_data"])]
    local: bool,
    #[arg(long, hide = true)]
    dev: bool,
    #[arg(short, long, hide = true, value_name = "NAME")]
    tag: Option<Image>,
}

impl ReleaseInputs {
    /// Returns the inputs of `cdflow build` if this is its old spelling.
    pub(crate) fn as_build(&self) -> Result<Option<BuildInputs>> {
        let LocalInputs { local, dev, tag } = &self.local;
        if *local {
            return Ok(Some(BuildInputs {
                dev: *dev,
                tag: tag.clone(),
                images: self.build.images.clone(),
                dry_run: self.dry_run,
            }));
        }
        let flag = match (dev, tag) {
            (true, _) => "--dev",
            (_, Some(_)) => "--tag",
            _ => return Ok(None),
        };
        Err(Error::input(format!("{flag} is for `cdflow build`: this run publishes a release"))
            .hint(format!("remove {flag}, or build for this machine: cdflow build {flag} …")))
    }
}
