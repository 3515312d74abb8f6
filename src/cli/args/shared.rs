//! Arguments that several commands have.

use std::path::PathBuf;

use clap::Args;

use crate::{
    base::redact::Secret,
    cli::values::{Datum, MergeDeploys, parallelism, rows},
    config::{
        duration::HumanDuration,
        names::Component,
        settings::{
            AwsInputs, CacheChoice, Commenting, FetchInputs, FileInput, FunctionImages,
            RegistryLogin,
        },
        version_constraint::Constraint,
    },
};

const GLOBAL_HEADING: &str = "Global options";
pub(super) const REPORT_HEADING: &str = "Report options";

/// The arguments of every command.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = GLOBAL_HEADING)]
pub(crate) struct Global {
    /// Component name [default: cdflow.yml, the git remote or GITHUB_REPOSITORY]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) component: Option<Component>,
    /// Folder of cdflow.yml
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Environment variable to pass on to Terraform (repeatable)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) pass_environment: Vec<String>,
    /// Required version of Terraform or OpenTofu; overrides cdflow.yml
    #[arg(long, global = true, value_name = "CONSTRAINT", value_parser = Constraint::of_setting)]
    pub(crate) terraform_version: Option<Constraint>,
    /// Use the old account scheme even if the component has moved
    #[arg(long, global = true)]
    pub(crate) old_account_scheme: bool,
    /// Print what cdflow chooses and why; twice: also each program it starts
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print without colors
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    #[command(flatten)]
    pub(crate) aws: AwsInputs,
    /// PEM file of certificate authorities to trust in addition to the public ones
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_certificates: Option<FileInput>,
    /// Folder for downloads that later runs use [default: the machine's cache]; `none`: no cache
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache_dir: Option<CacheChoice>,
    /// Only an input, not a flag: other users of a machine can read its command lines.
    #[arg(skip)]
    pub(crate) github_token: Option<Secret>,
}

/// Where a run reports, apart from the log.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = REPORT_HEADING)]
pub(crate) struct ReportInputs {
    /// Write the report to this file as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) report_markdown: Option<PathBuf>,
    /// Write the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report_json: Option<PathBuf>,
    /// Comment on the pull request: true, changes-only or false [default: true]
    #[arg(long, value_name = "WHEN")]
    pub(crate) comment: Option<Commenting>,
    /// Write the check run `cdflow` of a pull request or merge queue, which waits for N rows
    #[arg(long, value_name = "N", value_parser = rows)]
    pub(crate) check: Option<usize>,
    /// Say in the verdict of the comment to which environments merging deploys, such as `ci, live`
    #[arg(long, value_name = "ENVIRONMENTS")]
    pub(crate) merge_deploys: Option<MergeDeploys>,
}

/// How a command plans.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlanInputs {
    /// Show the plan and change nothing
    #[arg(long, short)]
    pub(crate) plan_only: bool,
    /// Write the plan to this folder, as text and as JSON
    #[arg(long, value_name = "DIR", help_heading = REPORT_HEADING)]
    pub(crate) plan_out: Option<PathBuf>,
    /// Resources to work on at the same time [Terraform's default: 10]
    #[arg(long, value_name = "N", value_parser = parallelism)]
    pub(crate) parallelism: Option<u32>,
    /// How long to wait for the state lock, such as 5m [default: `deploy.lock-timeout` in
    /// cdflow.yml]
    #[arg(long, value_name = "TIME")]
    pub(crate) lock_timeout: Option<HumanDuration>,
}

/// Who answers the question before an apply.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfirmInputs {
    /// Apply without asking at a terminal (or set CDFLOW_YES=1)
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// What a release is made from, apart from the checkout.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BundleInputs {
    /// Folder of <account>/<region>.json files (repeatable; later ones win)
    #[arg(long, value_name = "DIR")]
    pub(crate) platform_config: Vec<PathBuf>,
    /// Value for Terraform's variable `release` (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) release_data: Vec<Datum>,
    /// Do not check the code and the values of each environment
    #[arg(long)]
    pub(crate) no_validate: bool,
    /// Image registry login: environment variable VARIABLE holds USER:PASSWORD (repeatable)
    #[arg(long, value_name = "HOST=VARIABLE")]
    pub(crate) registries: Vec<RegistryLogin>,
    #[command(flatten)]
    pub(crate) fetch: FetchInputs,
    #[command(flatten)]
    pub(crate) images: FunctionImages,
}
