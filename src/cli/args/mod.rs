//! Every argument of the command line. The arguments of a command are in the file of its name;
//! `shared` has those of several.
//!
//! An input of the Action has the name of its flag, or of its positional argument, except for a few
//! that `cli::action` lists.

mod adopt;
mod build;
mod comment;
mod completions;
mod deploy;
mod destroy;
mod dockerfile;
mod doctor;
mod examples;
mod history;
mod hold;
mod init;
mod inspect;
mod preview;
mod prune;
mod release;
mod releases;
mod rollback;
mod shared;
mod shell;
mod status;
mod unaffected;
mod unlock;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use self::{
    adopt::AdoptInputs,
    build::BuildInputs,
    comment::{CommentRunInputs, CommentStep},
    completions::{CompletionsInputs, Shell},
    deploy::DeployInputs,
    destroy::DestroyInputs,
    dockerfile::DockerfileInputs,
    doctor::DoctorInputs,
    history::HistoryInputs,
    hold::{HoldInputs, UnholdInputs},
    init::InitInputs,
    inspect::InspectInputs,
    preview::{PreviewCommand, PreviewDownInputs, PreviewReapInputs, PreviewUpInputs},
    prune::PruneInputs,
    release::ReleaseInputs,
    releases::ReleasesInputs,
    rollback::RollbackInputs,
    shared::{ConfirmInputs, Global, PlanInputs, ReportInputs},
    shell::ShellInputs,
    status::StatusInputs,
    unaffected::UnaffectedInputs,
    unlock::UnlockInputs,
};

/// Build once, publish one immutable release, deploy it to any environment with Terraform.
#[derive(Debug, Parser)]
#[command(
    name = "cdflow",
    version,
    after_help = examples::ALL
)]
pub(crate) struct Inputs {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a run has one value")]
pub(crate) enum Command {
    #[command(flatten)]
    Component(ComponentCommand),
    /// Carry out the command in a comment on a pull request
    #[command(subcommand, after_help = examples::COMMENT)]
    Comment(CommentStep),
    /// Complete the check run `cdflow` of a change that affects no component
    Unaffected(UnaffectedInputs),
    /// Build the image of a function component for this machine
    Build(BuildInputs),
    /// Print or write the Dockerfile of a function component
    Dockerfile(DockerfileInputs),
    /// Check everything that a release or a deploy needs
    Doctor(DoctorInputs),
    /// Create a component in a new folder
    Init(InitInputs),
    /// Print the completion script of a shell
    Completions(CompletionsInputs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man { directory: PathBuf },
    /// Print credentials for Terraform's state backend
    #[command(hide = true)]
    CredentialProcess { socket: PathBuf },
    /// Wait for a cancelled step of the Action; action.yml's `post-entrypoint`
    #[command(hide = true)]
    Post,
}

/// The commands that work on a component of the account scheme.
#[derive(Debug, Subcommand)]
pub(crate) enum ComponentCommand {
    /// Build, bundle and publish a version
    Release(ReleaseInputs),
    /// List the published releases, and where each is deployed
    Releases(ReleasesInputs),
    /// Show the contents of a published release
    Inspect(InspectInputs),
    /// Deploy a release to an environment
    Deploy(DeployInputs),
    /// Destroy an environment
    Destroy(DestroyInputs),
    /// Manage the environment of a pull request
    #[command(subcommand, after_help = examples::PREVIEW)]
    Preview(PreviewCommand),
    /// Show the deployed version of each environment
    Status(StatusInputs),
    /// Show the deploys of an environment and their results
    History(HistoryInputs),
    /// Deploy the previously deployed version again
    Rollback(RollbackInputs),
    /// Open a shell or run a command with Terraform set up for an environment
    Shell(ShellInputs),
    /// Delete old releases that were never deployed
    Prune(PruneInputs),
    /// Show who holds a state lock, or release it
    Unlock(UnlockInputs),
    /// Let only one pull request deploy to an environment
    Hold(HoldInputs),
    /// Release the hold of a pull request
    Unhold(UnholdInputs),
    /// Copy a state that another tool created, and use it
    Adopt(AdoptInputs),
}

/// Returns the visible commands that have no subcommands, each with its name as typed, such as
/// `preview up`.
pub(super) fn leaf_commands(root: &clap::Command) -> Vec<(String, &clap::Command)> {
    let visible = |command: &&clap::Command| !command.is_hide_set() && command.get_name() != "help";
    let mut leaves = Vec::new();
    for command in root.get_subcommands().filter(visible) {
        match command.has_subcommands() {
            true => leaves.extend(
                leaf_commands(command)
                    .into_iter()
                    .map(|(name, leaf)| (format!("{} {name}", command.get_name()), leaf)),
            ),
            false => leaves.push((command.get_name().to_owned(), command)),
        }
    }
    leaves
}
