//! shell: an environment prepared as deploy opens it, for a person at a terminal, a script, or one command.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::IsTerminal,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        error::{Error, Exit, Result},
        process::{Finished, find},
        run_folder::write_new,
    },
    cli::args::ShellInputs,
    config::{
        names::{Environment, Version},
        scheme::Matched,
    },
    context::Context,
    deploy::{
        ledger::Record,
        order::Subject,
        prepare::{self, Prepared},
        target::Target,
    },
    services::ci::host::Host,
    terraform::{PlanMode, PlanRequest},
};

/// What the person types into.
enum Way {
    /// The shell has our terminal, and nobody reads along.
    Terminal,
    /// bash reads our standard input.
    Script,
    Command(Vec<OsString>),
}

/// Where the shell, and what it starts, find things.
struct Tools {
    /// First in PATH: the Terraform that was chosen, and `plan`.
    bin: PathBuf,
    /// What bash reads first.
    rc: PathBuf,
}

/// The shell's own exit code.
pub(crate) async fn run(mut context: Context, inputs: ShellInputs) -> Result<u8> {
    let ShellInputs { environment, version, command } = inputs;
    let way = Way::choose(command)?;
    // What the command prints is standard output, and what we and `terraform init` say is not.
    context.host.log = context.host.log.narrating_all(true);
    let target = Target::resolve(&context, environment)?;
    let record = target.record(&context).await?;
    let version = version_of(&target.environment, &record, version)?;
    context
        .host
        .log
        .step(&format!("Open {} {version} in {}", context.identity.component, target.environment));
    let subject = Subject::new(&context, target, version, &record);
    let environment = subject.environment();
    let prepared = prepare::prepare(&context, &subject).await?;
    if !prepared.terraform.has_workspace().await? {
        return Err(Error::refused(format!("the environment `{environment}` has no state")).hint(
            format!("deploy first: cdflow deploy {environment} {}", subject.release.version),
        ));
    }
    prepared.terraform.select_workspace().await?;
    let tools = tools(&context, &subject, &prepared)?;
    context.host.interrupt.check("opening the shell")?;
    let ended = start(&context.host, &prepared, &tools, &way).await?;
    check_state(&prepared)?;
    match context.host.interrupt.requested() {
        Some(exit) => Err(Error::new(
            exit,
            format!("cancelled: the shell ended with exit code {}", ended.code),
        )),
        None => Ok(u8::try_from(ended.code).unwrap_or(Exit::Internal as u8)),
    }
}

impl Way {
    fn choose(command: Vec<OsString>) -> Result<Self> {
        if !command.is_empty() {
            return Ok(Self::Command(command));
        }
        if !std::io::stdin().is_terminal() {
            return Ok(Self::Script);
        }
        if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            return Ok(Self::Terminal);
        }
        Err(Error::input("a shell at a terminal needs all of it, and its output goes elsewhere")
            .hint("give the shell a script (`< script.sh`), or a command: cdflow shell ENVIRONMENT -- COMMAND"))
    }
}

fn version_of(
    environment: &Environment,
    record: &Record,
    given: Option<Version>,
) -> Result<Version> {
    given.or_else(|| record.deployed().map(|start| start.version.clone())).ok_or_else(|| {
        Error::input(format!("by the ledger nothing is deployed in `{environment}`"))
            .hint(format!("name the release to work with: cdflow shell {environment} VERSION"))
    })
}

fn tools(context: &Context, subject: &Subject<'_>, prepared: &Prepared) -> Result<Tools> {
    let bin = prepared.private.folder("bin")?;
    let request = PlanRequest {
        mode: PlanMode::Deploy,
        var_file: prepared.folder.var_file.clone(),
        plan_file: prepared.folder.plan_file.clone(),
        targets: Vec::new(),
        replace: Vec::new(),
        lock_timeout: context.manifest.deploy.lock_timeout,
        parallelism: None,
        has_ephemeral: prepared.folder.has_ephemeral,
    };
    let words: Vec<String> =
        prepared.terraform.plan_command(&request).iter().map(|word| quoted(word)).collect();
    write_program(&bin.join("plan"), &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
    let program = &prepared.tool.program;
    let link = bin.join(prepared.tool.flavor.name());
    std::os::unix::fs::symlink(program, &link)
        .map_err(|error| Error::io("can't make the link", &link, &error))?;

    let place = format!(
        "{}@{} ({})",
        context.identity.component,
        subject.environment(),
        subject.release.version
    );
    let rc = prepared.private.file(
        "shell.rc",
        rc(&place, subject.target.matched, context.host.log.colors_output()).as_bytes(),
    )?;
    Ok(Tools { bin, rc })
}

/// Names have no character that means something to bash.
fn rc(place: &str, matched: Matched, is_colored: bool) -> String {
    // An environment that the scheme names is one that people stand on.
    let color = if matches!(matched, Matched::ByName) { 31 } else { 36 };
    let prompt = match is_colored {
        true => format!(r"\[\e[1;{color}m\]{place}\[\e[0m\] \W\$ "),
        false => format!(r"{place} \W\$ "),
    };
    format!(
        "unset BASH_ENV HISTFILE\n\
         case $- in\n\
         *i*) PS1='{prompt}'; shopt -s checkjobs checkwinsize ;;\n\
         # A cancelled script ends after the command that runs, and runs no further one.\n\
         *) trap 'exit 130' INT ;;\n\
         esac\n"
    )
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    write_new(path, text.as_bytes())?;
    let executable = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    executable.map_err(|error| Error::io("can't write", path, &error))
}

async fn start(host: &Host, prepared: &Prepared, tools: &Tools, way: &Way) -> Result<Finished> {
    let mut path = OsString::from(&tools.bin);
    path.push(":");
    path.push(host.environment.get("PATH").unwrap_or("/usr/bin:/bin"));
    let located = |name: &OsStr| locate(name, &path, &prepared.folder.infra);
    let common = |env: &mut BTreeMap<OsString, OsString>| {
        env.insert("PATH".into(), path.clone());
    };
    match way {
        Way::Terminal => {
            host.log.note("`plan` plans as deploy does; `exit` ends the shell, and all is removed");
            let shell = prepared.terraform.program(&located(OsStr::new("bash"))?, |env| {
                common(env);
                // Somebody is there to be asked.
                env.remove(OsStr::new("TF_INPUT"));
                env.remove(OsStr::new("TF_IN_AUTOMATION"));
            });
            shell
                .args([OsStr::new("--rcfile"), tools.rc.as_os_str(), OsStr::new("-i")])
                .interact(&host.log, &host.interrupt)
                .await
        }
        Way::Script => {
            let shell = prepared.terraform.program(&located(OsStr::new("bash"))?, |env| {
                common(env);
                env.insert("BASH_ENV".into(), tools.rc.clone().into());
            });
            relay(shell.with_our_input(), host).await
        }
        Way::Command(words) => {
            let (name, args) =
                words.split_first().ok_or_else(|| Error::internal("there is no command"))?;
            let command = prepared.terraform.program(&located(name)?, common).args(args);
            relay(
                if std::io::stdin().is_terminal() { command } else { command.with_our_input() },
                host,
            )
            .await
        }
    }
}

async fn relay(program: crate::base::process::Program, host: &Host) -> Result<Finished> {
    // Here standard output is the command's again.
    let log = host.log.narrating_all(false);
    let (mut out, mut err) = (|line: &str| log.output(line), |line: &str| log.error_output(line));
    program.relay_apart(&host.log, &host.interrupt, [&mut out, &mut err]).await
}

/// As a shell does: a name is looked for in PATH, a path is taken from the folder it starts in.
fn locate(name: &OsStr, path: &OsStr, folder: &Path) -> Result<PathBuf> {
    let found = match name.to_str() {
        Some(name) if !name.contains('/') => find(name, Some(path)),
        _ => Some(folder.join(name)).filter(|path| path.is_file()),
    };
    found.ok_or_else(|| {
        Error::input(format!("there is no program `{}`", name.to_string_lossy().escape_debug()))
            .hint("it is looked for in PATH; a relative path is relative to infra/ of the release")
    })
}

/// A state that Terraform could not save is the last thing to remove.
fn check_state(prepared: &Prepared) -> Result<()> {
    let left = prepared.folder.infra.join("errored.tfstate");
    if !left.exists() {
        return Ok(());
    }
    prepared.private.keep();
    Err(Error::new(Exit::StateNotSaved, "a command in the shell could not save the state")
        .why(format!("Terraform left it in `{}`", left.display()))
        .hint("save it before anything else is deployed here: `cdflow shell`, and there `terraform state push` with that path"))
}
