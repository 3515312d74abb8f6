//! clap's usage errors: better tips, and the same error without a terminal.

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::args::{Inputs, leaf_commands};
use crate::base::error::Error;

/// Replaces clap's guess for an unknown flag if the name belongs to something else: a positional
/// argument, such as ENVIRONMENT, or a flag of other commands. A flag that only looks similar would
/// do something else.
pub(super) fn correct_tip(error: &mut clap::Error) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return };
    let flag = flag.split('=').next().unwrap_or_default();
    let tip = match flag.strip_prefix("--") {
        Some(name) => tip(name),
        None => flag.strip_prefix('-').and_then(short_tip),
    };
    let Some(tip) = tip else { return };
    for guess in [ContextKind::SuggestedArg, ContextKind::Suggested, ContextKind::Usage] {
        error.remove(guess);
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

fn tip(name: &str) -> Option<String> {
    let mut root = Inputs::command();
    root.build();
    let commands = leaf_commands(&root);
    let is_positional = commands
        .iter()
        .flat_map(|(_, command)| command.get_positionals())
        .any(|positional| positional.get_id().as_str() == name);
    if is_positional {
        return Some(format!(
            "{} is not a flag; write it after the command, for example `cdflow deploy live 42`",
            name.to_uppercase()
        ));
    }
    let owners: Vec<&str> = commands
        .iter()
        .filter(|(_, command)| command.get_arguments().any(|arg| arg.get_long() == Some(name)))
        .map(|(name, _)| name.as_str())
        .collect();
    (!owners.is_empty())
        .then(|| format!("--{name} is a flag of other commands: {}", owners.join(", ")))
}

/// Names the flag that a letter is short for, and its commands.
fn short_tip(letter: &str) -> Option<String> {
    let mut letters = letter.chars();
    let (letter, None) = (letters.next()?, letters.next()) else { return None };
    let mut root = Inputs::command();
    root.build();
    let commands = leaf_commands(&root);
    let find = |command: &clap::Command| {
        let visible = |arg: &&clap::Arg| arg.get_short() == Some(letter) && !arg.is_hide_set();
        command.get_arguments().find(visible)?.get_long().map(str::to_owned)
    };
    let (owners, flags): (Vec<&str>, Vec<String>) =
        commands.iter().filter_map(|(name, command)| Some((name.as_str(), find(command)?))).unzip();
    let flag = flags.first()?;
    Some(format!("-{letter} is --{flag}, a flag of other commands: {}", owners.join(", ")))
}

/// Whether clap prints the help because the command is missing.
pub(crate) fn is_help(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// Converts a usage error: what is wrong, then clap's tips, the usage and where the help is.
pub(crate) fn as_error(error: &clap::Error) -> Error {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_of = |start: &'static str| move |line: &&&str| line.starts_with(start);
    let usage = lines.iter().find(is_of("Usage: ")).map(|line| line.trim_start_matches("Usage: "));
    let details = lines.iter().take_while(|line| {
        !["Usage: ", "tip: ", "For more information"].iter().any(|start| line.starts_with(start))
    });
    let details: Vec<&str> = details.copied().collect();
    let (what, rest) = details.split_first().map_or(("", &[][..]), |(what, rest)| (*what, rest));
    let what = what.trim_start_matches("error: ").trim_end_matches(':');
    let error = match rest.is_empty() {
        true => Error::input(what),
        false => Error::input(format!("{what}: {}", rest.join(", "))),
    };
    let tips = lines.iter().filter(is_of("tip: ")).map(|line| line.trim_start_matches("tip: "));
    let error = tips.fold(error, Error::hint);
    let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut words = usage.unwrap_or("cdflow").split_whitespace();
    let program = words.next().into_iter();
    let command = program.chain(words.take_while(is_command)).collect::<Vec<_>>().join(" ");
    match usage {
        Some(usage) => {
            error.hint(format!("write `{usage}`; for each flag, run `{command} --help`"))
        }
        None => error.hint(format!("correct it; for each flag, run `{command} --help`")),
    }
}
