//! Completion scripts and manual pages, which are made from the definition of the command line.

use std::{fs, io, path::Path};

use clap::CommandFactory;
use clap_complete::{Shell as Script, generate};

use super::args::{Inputs, Shell};

const NAME: &str = "cdflow";

/// Returns the completion script of `shell`.
pub(crate) fn completions(shell: Shell) -> String {
    let script = match shell {
        Shell::Bash => Script::Bash,
        Shell::Zsh => Script::Zsh,
        Shell::Fish => Script::Fish,
    };
    let mut text = Vec::new();
    generate(script, &mut visible(), NAME, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes `cdflow.1` and a page for each command into `folder`. Returns the number of pages.
pub(crate) fn manual(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(visible(), folder)?;
    let pages = fs::read_dir(folder)?.filter_map(Result::ok).map(|it| it.file_name());
    Ok(pages.filter(|name| name.to_string_lossy().ends_with(".1")).count())
}

/// The command line without the commands that only cdflow itself starts.
fn visible() -> clap::Command {
    let whole = Inputs::command();
    let shown: Vec<clap::Command> =
        whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    clap::Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .args(whole.get_arguments().cloned())
        .subcommands(shown)
        .subcommand_required(true)
}
