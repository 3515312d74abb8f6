//! clap's usage errors: better tips, and the same error without a terminal.

use std::ffi::OsString;

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::args::{Inputs, leaf_commands};
use crate::base::{error::Error, spelling::nearest};

/// Flags of other programs, and what to write instead.
const OTHER_FLAGS: [(&str, &str); 9] = [
    ("plan", PLAN),
    ("dry-run", PLAN),
    ("auto-approve", "to answer the question in advance: --yes"),
    ("env", "write the environment after the command: `cdflow deploy live 42`"),
    ("data", "data of a release: --release-data KEY=VALUE"),
    ("format", AS_JSON),
    ("output", AS_JSON),
    ("var", "values are in config/: docs/terraform.md"),
    ("var-file", "values are in config/: docs/terraform.md"),
];
const PLAN: &str =
    "to see the plan and apply nothing: `cdflow deploy ENVIRONMENT VERSION --plan-only`";
const AS_JSON: &str = "to get a table as JSON: --json";
/// Commands of other programs.
const OTHER_COMMANDS: [(&str, &str); 8] = [
    ("plan", PLAN),
    ("apply", "`cdflow deploy ENVIRONMENT VERSION` plans and applies"),
    ("list", "to list the releases: `cdflow releases`"),
    ("ls", "to list the releases: `cdflow releases`"),
    ("promote", "deploy the same release to another environment: `cdflow deploy live 42`"),
    ("logs", "to see earlier deploys: `cdflow history ENVIRONMENT`"),
    ("validate", "to see what a release would contain: `cdflow release --dry-run`"),
    ("version", "`cdflow --version`"),
];

/// Where a range of versions is given.
const ONE_VERSION: &str = "a release has one exact version: write it without an operator, such as \
                           1.2.0 or 42-a1b2c3d; to list the releases: `cdflow releases`";

/// Replaces clap's guesses by better ones.
pub(super) fn correct_tip(error: &mut clap::Error, args: &[OsString]) {
    match error.kind() {
        ErrorKind::UnknownArgument => correct_flag(error, args),
        ErrorKind::InvalidSubcommand => correct_command(error),
        ErrorKind::ValueValidation => explain_range(error),
        _ => {}
    }
}

/// Replaces the guess for an unknown command if another program has it. Otherwise removes hidden
/// commands from the guesses, and those that are less near.
fn correct_command(error: &mut clap::Error) {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    if let Some(tip) = of_others(&OTHER_COMMANDS, name) {
        replace_guess(error, tip.to_owned());
        return;
    }
    let root = Inputs::command();
    let shown = root.get_subcommands().filter(|it| !it.is_hide_set());
    let guess = nearest(name, shown.map(clap::Command::get_name)).map(str::to_owned);
    error.remove(ContextKind::SuggestedSubcommand);
    if let Some(guess) = guess {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![guess]));
    }
}

/// Adds a tip about a version that is a range, as in cdflow.yml's `terraform-version`.
fn explain_range(error: &mut clap::Error) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let is_version = text(ContextKind::InvalidArg).trim_matches(['<', '>', '[', ']']) == "VERSION";
    if is_version && is_range(text(ContextKind::InvalidValue)) {
        replace_guess(error, ONE_VERSION.to_owned());
    }
}

fn is_range(text: &str) -> bool {
    let text = text.trim();
    let operators = ["~>", ">", "<", "=", "!=", "~", "^"];
    let begins = operators.iter().filter_map(|it| text.strip_prefix(it)).any(has_number);
    begins || (has_number(text) && (text.ends_with(".*") || text.contains("||")))
}

fn has_number(text: &str) -> bool {
    text.contains(|char: char| char.is_ascii_digit())
}

fn of_others(known: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    known.iter().find(|(known, _)| *known == name).map(|(_, tip)| *tip)
}

fn replace_guess(error: &mut clap::Error, tip: String) {
    for guess in [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::Suggested,
        ContextKind::Usage,
    ] {
        error.remove(guess);
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

/// Returns the name in `-auto-approve`, as Terraform's flags are written. clap reads it as the
/// letters `-a`, `-u`, … and reports the first one that it does not know.
fn whole_word<'a>(letter: &str, args: &'a [OsString]) -> Option<&'a str> {
    let words = args.iter().filter_map(|arg| arg.to_str()?.strip_prefix('-'));
    let mut words = words.filter(|word| !word.starts_with('-') && word.len() > 1);
    words.find(|word| word.contains(letter))?.split('=').next()
}

/// Replaces clap's guess for an unknown flag if the name belongs to something else: a positional
/// argument, such as ENVIRONMENT, or a flag of other commands. A flag that only looks similar would
/// do something else.
fn correct_flag(error: &mut clap::Error, args: &[OsString]) {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return };
    let flag = flag.split('=').next().unwrap_or_default().to_owned();
    let command = command_of(error);
    let command = command.as_deref();
    let tip = match (flag.strip_prefix("--"), flag.strip_prefix('-')) {
        (Some(name), _) => tip(name, command),
        (None, None) => argument_tip(command),
        (None, Some(letter)) => {
            let word = whole_word(letter, args);
            match word.and_then(|word| Some((word, tip(word, command)?))) {
                Some((word, tip)) => {
                    let word = ContextValue::String(format!("-{word}"));
                    error.insert(ContextKind::InvalidArg, word);
                    Some(tip)
                }
                None => short_tip(letter),
            }
        }
    };
    if let Some(tip) = tip {
        replace_guess(error, tip);
    }
}

/// Arguments that a command does not have, and what to write instead.
const OTHER_ARGUMENTS: [(&str, &str); 5] = [
    ("status", OF_ONE),
    ("releases", OF_ONE),
    ("release", "a release belongs to no environment: `cdflow release 42`"),
    ("deploy", "a deploy is to one environment: `cdflow deploy live 42`"),
    (
        "rollback",
        "for another release than the one before: `cdflow deploy live 42 --allow-downgrade`",
    ),
];
const OF_ONE: &str = "this command is about every environment; to see the deploys of one: \
                      `cdflow history live`";

/// Returns what to write instead of an argument too many.
fn argument_tip(command: Option<&str>) -> Option<String> {
    of_others(&OTHER_ARGUMENTS, command?).map(str::to_owned)
}

/// Returns the command that an error is about, such as `preview up`.
fn command_of(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let words = usage.split_whitespace().skip_while(|word| *word != "cdflow").skip(1);
    let words = words.take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    Some(words.collect::<Vec<_>>().join(" ")).filter(|name| !name.is_empty())
}

fn tip(name: &str, command: Option<&str>) -> Option<String> {
    let mut root = Inputs::command();
    root.build();
    let commands = leaf_commands(&root);
    let positionals = commands.iter().flat_map(|(_, command)| command.get_positionals());
    let positionals: Vec<&str> = positionals.map(|it| it.get_id().as_str()).collect();
    let flags = commands.iter().flat_map(|(_, command)| command.get_arguments());
    let flags: Vec<&str> = flags.filter_map(clap::Arg::get_long).collect();
    let meant = nearest(name, positionals.iter().copied().chain(flags.iter().copied()));
    if let Some(meant) = meant.filter(|it| !flags.contains(&name) && positionals.contains(it)) {
        let meant = meant.to_uppercase();
        let own = commands.iter().find(|(name, _)| Some(name.as_str()) == command);
        let Some((command, own)) = own else { return Some(format!("{meant} is not a flag")) };
        let own: Vec<String> =
            own.get_positionals().map(|it| it.get_id().as_str().to_uppercase()).collect();
        return Some(match own.contains(&meant) {
            true => format!(
                "{meant} is not a flag; write it after the command: `cdflow {command} {}`",
                own.join(" ")
            ),
            false => format!("{meant} is not a flag, and `cdflow {command}` has no such argument"),
        });
    }
    let owners: Vec<&str> = commands
        .iter()
        .filter(|(_, command)| command.get_arguments().any(|arg| arg.get_long() == Some(name)))
        .map(|(name, _)| name.as_str())
        .collect();
    if command.is_some_and(|command| owners.contains(&command)) {
        return Some(format!("a flag has two hyphens: --{name}"));
    }
    let other = of_others(&OTHER_FLAGS, name);
    if owners.is_empty() {
        return other.map(str::to_owned);
    }
    let other = other.map(|tip| format!("; {tip}")).unwrap_or_default();
    Some(format!("--{name} is a flag of other commands: {}{other}", owners.join(", ")))
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

/// A name says itself that it is invalid, so clap's "invalid value" in front of it is left out.
fn without_repetition(what: &str) -> &str {
    match what.split_once("': invalid ") {
        Some((before, _)) if what.starts_with("invalid value '") => &what[before.len() + 3..],
        _ => what,
    }
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
    let what = without_repetition(what.trim_start_matches("error: ").trim_end_matches(':'));
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
