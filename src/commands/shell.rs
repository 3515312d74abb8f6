//! shell: runs an interactive shell, a script or one command in an environment that is prepared as
//! for a deploy.

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
        shell_word::shell_word,
    },
    cli::args::ShellInputs,
    config::{
        names::{Environment, Version},
        scheme::Matched,
    },
    context::Context,
    deploy::{
        ledger::{Record, environments},
        order::Subject,
        prepare::{self, Prepared},
        push_command::{StateCopy, push_command},
        state::workspace_state::{self, Found},
        target::Target,
    },
    services::ci::host::Host,
    terraform::{ERRORED_STATE, PlanMode, PlanRequest},
};

/// What runs in the environment.
enum Mode {
    /// An interactive shell with our terminal. cdflow does not see what it prints.
    Terminal,
    /// bash reads a script from our standard input.
    Script,
    Command(Vec<OsString>),
}

/// The files that the shell and its programs use.
struct Tools {
    /// The first folder in PATH: the chosen Terraform, and `plan`.
    bin: PathBuf,
    /// The start-up file of bash.
    rc: PathBuf,
}

/// Returns the exit code of the shell.
pub(crate) async fn run(mut context: Context, inputs: ShellInputs) -> Result<u8> {
    let ShellInputs { environment, version, command } = inputs;
    let mode = Mode::choose(command)?;
    // Standard output is for the command; lines of cdflow and `terraform init` are not.
    context.host.log = context.host.log.narrating_all(true);
    let target = Target::resolve(&context, environment)?;
    let record = target.record(&context).await?;
    let version = version_of(&context, &target.environment, &record, version)?;
    context
        .host
        .log
        .step(&format!("Open {} {version} in {}", context.identity.component, target.environment));
    let subject = Subject::new(&context, target, version, &record);
    let environment = subject.environment();
    let prepared = prepare::prepare(&context, &subject).await?;
    let found = find_workspace(&context, &prepared).await?;
    if let (Found::Workspace(None), Some(start)) = (&found, record.with_state()) {
        context.host.log.warning(&format!(
            "`{environment}` has no state, but the ledger says that {} is deployed there: an apply \
             here would create everything again\n  -> restore the state first (docs/terraform.md, \
             \"State\")",
            start.version
        ));
    }
    if let Found::Nothing = found {
        let missing = Error::refused(format!("the environment `{environment}` has no state"));
        return Err(match record.deployed() {
            Some(start) => missing
                .why(format!("the ledger says that {} is deployed there", start.version))
                .hint("restore the state (docs/terraform.md, \"State\")"),
            None => missing.hint(format!(
                "deploy first: cdflow deploy {environment} {}",
                subject.release.version
            )),
        });
    }
    workspace_state::create_file(&prepared)?;
    let tools = tools(&context, &subject, &prepared)?;
    context.host.interrupt.check("opening the shell")?;
    let ended = start(&context.host, &prepared, &tools, &mode).await?;
    check_state(&prepared, &subject)?;
    match context.host.interrupt.requested() {
        Some(exit) => Err(Error::new(
            exit,
            format!("cancelled: the shell ended with exit code {}", ended.code),
        )),
        None => Ok(u8::try_from(ended.code).unwrap_or(Exit::Internal as u8)),
    }
}

/// Looks for the workspace, and selects it. The shell is also for the repair of a state: one that
/// cannot be read is only a warning.
async fn find_workspace(context: &Context, prepared: &Prepared) -> Result<Found> {
    let finding = workspace_state::find(context, prepared);
    match context.host.interrupt.or_cancel("reading the state", finding).await {
        Err(error) if error.exit() == Exit::Integrity => {
            context.host.log.warning(&format!(
                "the sensitive values of the state are not masked: {}",
                error.story()
            ));
            prepared.terraform.select_workspace()?;
            Ok(Found::Workspace(None))
        }
        found => found,
    }
}

impl Mode {
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
        Err(Error::input(
            "an interactive shell needs a terminal for its output, and the output is redirected",
        )
        .hint("run a script (`< script.sh`) or a command: cdflow shell ENVIRONMENT -- COMMAND"))
    }
}

fn version_of(
    context: &Context,
    environment: &Environment,
    record: &Record,
    given: Option<Version>,
) -> Result<Version> {
    given.or_else(|| record.deployed().map(|start| start.version.clone())).ok_or_else(|| {
        environments::not_deployed(context, environment)
            .hint(format!("name the release to work with: cdflow shell {environment} VERSION"))
    })
}

fn tools(context: &Context, subject: &Subject<'_>, prepared: &Prepared) -> Result<Tools> {
    let bin = prepared.private.folder("bin")?;
    // `terraform state rm` writes the backup of a local state here.
    let backups = prepared.folder.infra.join("terraform.tfstate.d");
    let backups = backups.join(subject.environment().as_str());
    std::fs::create_dir_all(&backups)
        .map_err(|error| Error::io("cannot create the folder", &backups, &error))?;
    let request = PlanRequest {
        mode: PlanMode::Deploy,
        var_file: prepared.folder.var_file.clone(),
        plan_file: prepared.folder.plan_file.clone(),
        targets: Vec::new(),
        replace: Vec::new(),
        lock_timeout: context.manifest.deploy.lock_timeout,
        parallelism: None,
        has_ephemeral: prepared.folder.has_ephemeral,
        origins: prepared.folder.origins(),
        wants_json: false,
    };
    let words: Vec<String> =
        prepared.terraform.plan_command(&request).iter().map(|word| shell_word(word)).collect();
    write_program(&bin.join("plan"), &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
    let program = &prepared.tool.program;
    let link = bin.join(prepared.tool.flavor.program());
    std::os::unix::fs::symlink(program, &link)
        .map_err(|error| Error::io("cannot create the link", &link, &error))?;

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
    prepared.private.give_content(prepared.terraform.run_as())?;
    Ok(Tools { bin, rc })
}

/// Needs no quoting: names have no characters that are special in bash.
fn rc(place: &str, matched: Matched, is_colored: bool) -> String {
    // Red for an environment that the account scheme names, because people depend on it.
    let color = if matches!(matched, Matched::ByName) { 31 } else { 36 };
    let prompt = match is_colored {
        true => format!(r"\[\e[1;{color}m\]{place}\[\e[0m\] \W\$ "),
        false => format!(r"{place} \W\$ "),
    };
    format!(
        "unset BASH_ENV HISTFILE\n\
         case $- in\n\
         *i*) PS1='{prompt}'; shopt -s checkjobs checkwinsize ;;\n\
         # A cancelled script ends after its current command.\n\
         *) trap 'exit 130' INT ;;\n\
         esac\n"
    )
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    write_new(path, text.as_bytes())?;
    let executable = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    executable.map_err(|error| Error::io("cannot write", path, &error))
}

async fn start(host: &Host, prepared: &Prepared, tools: &Tools, mode: &Mode) -> Result<Finished> {
    let mut path = OsString::from(&tools.bin);
    path.push(":");
    path.push(host.environment.get("PATH").unwrap_or("/usr/bin:/bin"));
    let located = |name: &OsStr| locate(name, &path, &prepared.folder.infra);
    let common = |env: &mut BTreeMap<OsString, OsString>| {
        env.insert("PATH".into(), path.clone());
    };
    match mode {
        Mode::Terminal => {
            host.log
                .note("`plan` plans like a deploy; `exit` ends the shell and removes its files");
            let shell = prepared.terraform.program(&located(OsStr::new("bash"))?, |env| {
                common(env);
                // Terraform may ask the person at the terminal.
                env.remove(OsStr::new("TF_INPUT"));
                env.remove(OsStr::new("TF_IN_AUTOMATION"));
            });
            shell
                .args([OsStr::new("--rcfile"), tools.rc.as_os_str(), OsStr::new("-i")])
                .interact(&host.log, &host.interrupt)
                .await
        }
        Mode::Script => {
            let shell = prepared.terraform.program(&located(OsStr::new("bash"))?, |env| {
                common(env);
                env.insert("BASH_ENV".into(), tools.rc.clone().into());
            });
            relay(shell.with_our_input(), host).await
        }
        Mode::Command(words) => {
            let (name, args) =
                words.split_first().ok_or_else(|| Error::internal("the command is missing"))?;
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
    // The output of the command goes to standard output.
    let log = host.log.narrating_all(false);
    let (mut out, mut err) = (|line: &str| log.output(line), |line: &str| log.error_output(line));
    program.relay_apart(&host.log, &host.interrupt, [&mut out, &mut err]).await
}

/// Finds a program as a shell does: a name in PATH, a path relative to the folder it starts in.
fn locate(name: &OsStr, path: &OsStr, folder: &Path) -> Result<PathBuf> {
    let found = match name.to_str() {
        Some(name) if !name.contains('/') => find(name, Some(path)),
        _ => Some(folder.join(name)).filter(|path| path.is_file()),
    };
    found.ok_or_else(|| {
        Error::input(format!("program `{}` not found", name.to_string_lossy().escape_debug()))
            .hint("use a program in PATH, or a path relative to infra/ of the release")
    })
}

/// Keeps the files, and fails, if a command left a state that Terraform could not save.
fn check_state(prepared: &Prepared, subject: &Subject<'_>) -> Result<()> {
    let file = prepared.folder.infra.join(ERRORED_STATE);
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    prepared.private.keep();
    Err(Error::new(Exit::StateNotSaved, "a command in the shell failed to save the state")
        .why(format!("Terraform left it in `{}`", file.display()))
        .hint(format!(
            "save it before anything else is deployed here: {}",
            push_command(
                prepared.tool.flavor,
                &subject.release.version,
                subject.environment(),
                &StateCopy::File(file),
            )
        )))
}
