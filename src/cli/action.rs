//! The Action: the inputs of a step (`INPUT_*`, read by envy) become arguments, which clap parses.
//!
//! Which inputs a command has, which are lists and which are booleans is read from the command
//! line's own definition.

use std::{collections::BTreeMap, error::Error as _, ffi::OsString};

use clap::{
    Arg, ArgAction, CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    args::{Command, CommentStep, ComponentCommand, Inputs, PreviewCommand, leaf_commands},
    usage::as_error,
};
use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
        redact::Secret,
        spelling::nearest,
    },
    config::settings::{FetchInputs, FileInput},
};

const PREFIX: &str = "INPUT_";
const COMMAND: &str = "command";
const TOKEN: &str = "github-token";
const AUTHORITIES: &str = "ca-certificates";
const AGE_IDENTITY: &str = "age-identity";

/// These need a terminal, or a folder that no later step sees.
const NOT_FOR_A_STEP: [&str; 5] = ["shell", "build", "dockerfile", "init", "completions"];

/// Flags that answer a person's question, and a step is asked none.
const NOT_AN_INPUT: [&str; 1] = ["yes"];

/// Flags whose input has another name.
const RENAMED: [(&str, &str); 2] = [("directory", "working-directory"), ("force", "lock-id")];

/// Inputs whose content never becomes an argument: other users of a machine can read its command
/// lines. Certificates are public, but a key could be among them by mistake.
const SECRETS: [&str; 6] =
    [TOKEN, AUTHORITIES, AGE_IDENTITY, "ssh-key", "ssh-known-hosts", "netrc"];

/// A step whose command depends on the event may give the inputs of the one to the other, which
/// ignores them.
const ACCEPTS_INPUTS_OF: (&str, &str) = ("preview down", "preview up");

/// The inputs of a step by name; empty ones are absent.
pub(super) struct ActionInputs(BTreeMap<String, String>);

impl ActionInputs {
    /// Reads `INPUT_*`. The runner sets every declared input, and leaves those empty that the step
    /// does not give.
    pub(super) fn read(environment: &ProcessEnv) -> Result<Self> {
        let mut given = Vec::new();
        for (name, value) in environment
            .all()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        {
            let name = name.to_string_lossy().into_owned();
            let value =
                value.to_str().ok_or_else(|| Error::input(format!("{name} is not UTF-8")))?.trim();
            if !value.is_empty() {
                given.push((name, value.to_owned()));
            }
        }
        let count = given.len();
        // envy removes the prefix and lowercases; hyphens stay.
        let inputs: BTreeMap<_, _> = envy::prefixed(PREFIX)
            .from_iter(given)
            .map_err(|_| Error::internal("cannot read the inputs from the environment"))?;
        if inputs.len() < count {
            return Err(Error::input("an input is set twice, in upper and in lower case")
                .hint("keep one of the two"));
        }
        Ok(Self(inputs))
    }

    pub(super) fn is_given(&self) -> bool {
        self.0.contains_key(COMMAND)
    }

    /// Parses the inputs as the command line that they are equivalent to.
    pub(super) fn parse(mut self) -> Result<Inputs> {
        let mut root = Inputs::command();
        root.build();
        let commands = step_commands(&root);
        self.check_given(COMMAND)?;
        let name = self.0.remove(COMMAND).unwrap_or_default();
        let command = find(&name, &commands)?;
        for required in command.inputs().filter(|input| input.arg.is_required_set()) {
            self.check_given(&required.name)?;
        }
        let accepted = match name == ACCEPTS_INPUTS_OF.0 {
            true => find(ACCEPTS_INPUTS_OF.1, &commands)?,
            false => command,
        };
        self.check_names(accepted, &commands)?;
        let secrets: Vec<_> =
            SECRETS.iter().filter_map(|name| self.0.remove_entry(*name)).collect();
        if !std::ptr::eq(accepted, command) {
            self.parse_as(accepted)?;
        }
        let mut inputs = self.parse_as(command)?;
        for (name, content) in secrets {
            set_secret(&mut inputs, &name, Secret::new(content));
        }
        Ok(inputs)
    }

    fn check_given(&self, name: &str) -> Result<()> {
        if self.0.contains_key(name) {
            return Ok(());
        }
        let error = Error::input(format!("the input `{name}` is missing"));
        Err(match nearest(name, self.0.keys().map(String::as_str)) {
            Some(other) => {
                error.hint(format!("rename the input `{}`: is it `{name}`?", other.escape_debug()))
            }
            None => error.hint(format!(
                "add `{name}:` to the step's `with:`; if it is there, its expression has no value"
            )),
        })
    }

    /// Rejects an input that `command` does not have: it is misspelled, or for another command.
    fn check_names(&self, command: &StepCommand, commands: &[StepCommand]) -> Result<()> {
        let is_of = |command: &StepCommand, name: &str| {
            name == TOKEN || command.inputs().any(|input| input.name == name)
        };
        let Some(name) = self.0.keys().find(|name| !is_of(command, name)) else { return Ok(()) };
        let owners: Vec<&str> =
            commands.iter().filter(|it| is_of(it, name)).map(|it| it.name.as_str()).collect();
        if !owners.is_empty() {
            let what = format!("the input `{name}` is not for the command `{}`", command.name);
            let hint = format!("remove it from the step: it is for {}", owners.join(", "));
            return Err(Error::input(what).hint(hint));
        }
        let known = known_inputs(commands);
        let error = Error::input(format!("unknown input `{}`", name.escape_debug()));
        Err(match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("remove it from the step"),
        })
    }

    fn parse_as(&self, command: &StepCommand) -> Result<Inputs> {
        Inputs::try_parse_from(self.arguments(command)?).map_err(|error| explain(&error, command))
    }

    /// The command line of `command` with those of the inputs that it has.
    fn arguments(&self, command: &StepCommand) -> Result<Vec<OsString>> {
        let mut flags = vec!["cdflow".to_owned()];
        flags.extend(command.name.split(' ').map(str::to_owned));
        let mut positionals = vec!["--".to_owned()];
        for StepInput { name, arg } in command.inputs() {
            let Some(text) = self.0.get(&name) else { continue };
            let flag = format!("--{}", arg.get_long().unwrap_or_default());
            match arg.get_action() {
                _ if arg.is_positional() => positionals.push(text.clone()),
                ArgAction::SetTrue | ArgAction::Count => {
                    flags.extend(is_true(&name, text)?.then_some(flag))
                }
                ArgAction::Append => flags.extend(items(text).map(|item| format!("{flag}={item}"))),
                _ => flags.push(format!("{flag}={text}")),
            }
        }
        flags.extend(positionals);
        Ok(flags.into_iter().map(OsString::from).collect())
    }
}

/// A command that a step may name.
struct StepCommand<'a> {
    name: String,
    clap: &'a clap::Command,
}

/// An argument of a command, and its name as an input.
struct StepInput<'a> {
    name: String,
    arg: &'a Arg,
}

impl StepCommand<'_> {
    /// Every visible argument that takes part, without clap's own `--help`.
    fn inputs(&self) -> impl Iterator<Item = StepInput<'_>> {
        let is_own = |arg: &&Arg| {
            !arg.is_hide_set()
                && !NOT_AN_INPUT.contains(&arg.get_id().as_str())
                && !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
        };
        self.clap.get_arguments().filter(is_own).map(|arg| {
            let flag = arg.get_long().unwrap_or(arg.get_id().as_str());
            let renamed = RENAMED.iter().find(|(from, _)| *from == flag);
            StepInput { name: renamed.map_or(flag, |(_, to)| to).to_owned(), arg }
        })
    }
}

fn step_commands(root: &clap::Command) -> Vec<StepCommand<'_>> {
    leaf_commands(root)
        .into_iter()
        .filter(|(name, _)| !NOT_FOR_A_STEP.contains(&name.as_str()))
        .map(|(name, clap)| StepCommand { name, clap })
        .collect()
}

fn known_inputs(commands: &[StepCommand]) -> Vec<String> {
    let own = commands.iter().flat_map(StepCommand::inputs).map(|input| input.name);
    own.chain([COMMAND, TOKEN].map(str::to_owned)).collect()
}

fn find<'c, 'a>(name: &str, commands: &'c [StepCommand<'a>]) -> Result<&'c StepCommand<'a>> {
    if let Some(command) = commands.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    if NOT_FOR_A_STEP.contains(&name) {
        return Err(Error::input(format!("the command `{name}` is not for a step"))
            .hint(format!("run it in a terminal: cdflow {name}")));
    }
    let known: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
    let error =
        Error::input(format!("unknown command `{}` in the input `command`", name.escape_debug()));
    Err(match nearest(name, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("use one of: {}", known.join(", "))),
    })
}

/// The booleans of YAML 1.2's core schema, as the Actions toolkit reads them.
fn is_true(name: &str, text: &str) -> Result<bool> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        other => Err(Error::input(format!("the input `{name}` is `{}`", other.escape_debug()))
            .hint("set it to `true` or `false`")),
    }
}

/// One item per line.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Says in the words of a step what clap says in those of a command line.
fn explain(error: &clap::Error, command: &StepCommand) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let input = |kind| {
        let shown = text(kind)?;
        command.inputs().find(|input| input.arg.to_string() == shown)
    };
    let Some(StepInput { name, arg }) = input(ContextKind::InvalidArg) else {
        return as_error(error);
    };
    match (error.kind(), error.source()) {
        (ErrorKind::ValueValidation, Some(why)) => {
            let line = text(ContextKind::InvalidValue).unwrap_or_default().escape_debug();
            Error::input(match arg.get_action() {
                ArgAction::Append => format!("the input `{name}` has an invalid line: `{line}`"),
                _ => format!("the input `{name}` is invalid"),
            })
            .why(why)
            .hint(format!("correct the input `{name}` of the step (docs/github-actions.md)"))
        }
        (ErrorKind::ArgumentConflict, _) => match input(ContextKind::PriorArg) {
            Some(other) => {
                Error::input(format!("the inputs `{name}` and `{}` exclude each other", other.name))
                    .hint("keep one of the two")
            }
            None => as_error(error),
        },
        _ => as_error(error),
    }
}

fn set_secret(inputs: &mut Inputs, name: &str, content: Secret) {
    if name == TOKEN {
        inputs.global.github_token = Some(content);
        return;
    }
    if name == AUTHORITIES {
        inputs.global.ca_certificates = Some(FileInput::of_certificates(content));
        return;
    }
    if name == AGE_IDENTITY {
        let place = match &mut inputs.command {
            Command::Component(ComponentCommand::Deploy(deploy)) => &mut deploy.age_identity,
            Command::Comment(CommentStep::Run(run)) => &mut run.age_identity,
            _ => return,
        };
        *place = Some(FileInput::Content(content));
        return;
    }
    // `preview down` ignores what only `preview up` needs.
    let Some(fetch) = fetch_inputs(&mut inputs.command) else { return };
    let file = match name {
        "ssh-key" => &mut fetch.ssh_key,
        "ssh-known-hosts" => &mut fetch.ssh_known_hosts,
        _ => &mut fetch.netrc,
    };
    *file = Some(FileInput::Content(content));
}

fn fetch_inputs(command: &mut Command) -> Option<&mut FetchInputs> {
    match command {
        Command::Component(ComponentCommand::Release(inputs)) => Some(&mut inputs.build.fetch),
        Command::Component(ComponentCommand::Preview(PreviewCommand::Up(inputs))) => {
            Some(&mut inputs.build.fetch)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn action_yml_declares_the_inputs_that_the_commands_have() {
        let action: serde_json::Value =
            serde_saphyr::from_str(include_str!("../../action.yml")).unwrap();
        let declared: BTreeSet<String> =
            action["inputs"].as_object().unwrap().keys().cloned().collect();
        let mut root = Inputs::command();
        root.build();
        let commands = step_commands(&root);
        assert_eq!(known_inputs(&commands).into_iter().collect::<BTreeSet<_>>(), declared);
        let described = action["inputs"]["command"]["description"].as_str().unwrap();
        let described: BTreeSet<&str> = described.split('`').skip(1).step_by(2).collect();
        assert_eq!(commands.iter().map(|it| it.name.as_str()).collect::<BTreeSet<_>>(), described);
    }

    #[test]
    fn secrets_are_neither_arguments_nor_in_errors() {
        let step = |inputs: &[(&str, &str)]| {
            let inputs = inputs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            ActionInputs(inputs.collect())
        };
        let given = [
            ("command", "preview up"),
            ("github-token", "hidden-1"),
            ("ssh-key", "hidden-2"),
            ("ssh-known-hosts", "hidden-3"),
            ("netrc", "hidden-4"),
            ("ca-certificates", "-----BEGIN hidden-5"),
        ];
        let inputs = step(&given).parse().unwrap();
        assert!(inputs.global.github_token.is_some());
        assert!(matches!(inputs.global.ca_certificates, Some(FileInput::Content(_))));
        let Command::Component(ComponentCommand::Preview(PreviewCommand::Up(up))) = inputs.command
        else {
            panic!("another command")
        };
        let FetchInputs { ssh_key, ssh_known_hosts, netrc, .. } = up.build.fetch;
        for file in [ssh_key, ssh_known_hosts, netrc] {
            assert!(matches!(file, Some(FileInput::Content(_))), "{file:?}");
        }
        for wrong in [("lock-timeout", "soon"), ("parallelism", "0"), ("plan-only", "x")] {
            let error = step(&[&given[..], &[wrong]].concat()).parse().unwrap_err();
            assert!(error.to_string().contains(wrong.0), "{error}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let error = step(&[&given[1..], &[("command", "status")]].concat()).parse().unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }

    /// Arguments are positional in order: one that is left out would shift those after it.
    #[test]
    fn only_the_last_positional_argument_of_a_step_is_optional() {
        let mut root = Inputs::command();
        root.build();
        for command in step_commands(&root) {
            let positionals: Vec<&Arg> = command.clap.get_positionals().collect();
            let optional = positionals.iter().filter(|arg| !arg.is_required_set()).count();
            assert!(optional <= 1, "{}", command.name);
            assert!(positionals.iter().rev().skip(1).all(|arg| arg.is_required_set()));
        }
    }
}
