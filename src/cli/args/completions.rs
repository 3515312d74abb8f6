//! The arguments of `completions`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = super::examples::COMPLETIONS)]
pub(crate) struct CompletionsInputs {
    /// Shell that reads the script
    pub(crate) shell: Shell,
}

/// A shell with a completion script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}
