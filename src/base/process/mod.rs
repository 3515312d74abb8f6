//! The only place that starts programs: with a cleared environment, as a user that the caller
//! names, in their own process group, with at most one interrupt, and with an end.

mod followed;
mod life;
#[cfg(test)]
mod tests;
mod watched;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::signal::Signal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use self::{
    followed::{Followed, unfollowed},
    watched::{Watched, code, send},
};
pub(crate) use self::{
    followed::{JsonLines, Output},
    life::Life,
};
use super::{
    error::{Error, Exit, Result},
    interrupt::Interrupt,
    limits::Limit,
    log::Log,
    run_as::RunAs,
};

/// Interval at which the output of a program is read.
const FOLLOW_EVERY: Duration = Duration::from_millis(40);
/// The fix for a script without its interpreter.
pub(crate) const FIRST_LINE: &str =
    "if it is a script, add the line of its interpreter as the first one, such as `#!/bin/sh`";
/// Limit of the captured output, in bytes.
const CAPTURE_LIMIT: u64 = 64 << 20;

/// A program that is about to be started.
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
    run_as: RunAs,
    input: Input,
    life: Life,
    more: Duration,
    output: Output,
}

/// The standard input of a program.
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    /// The standard input of cdflow.
    Ours,
}

type LineSink<'a> = &'a mut (dyn FnMut(&str) + Send);

/// How a program ended.
pub(crate) struct Finished {
    /// The exit code, or 128 + n if signal n ended the program, as in a shell.
    pub(crate) code: i32,
}

pub(crate) struct Captured {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Program {
    /// Prepares a program that sees only `env`, and nothing of cdflow's own environment. `run_as`
    /// has no default: a program that runs code of others must not run as root.
    pub(crate) fn new(
        path: &Path,
        cwd: &Path,
        env: &BTreeMap<OsString, OsString>,
        run_as: RunAs,
        life: Life,
    ) -> Self {
        Self {
            path: path.to_owned(),
            args: Vec::new(),
            env: env.clone(),
            cwd: cwd.to_owned(),
            run_as,
            input: Input::Nothing,
            life,
            more: Duration::ZERO,
            output: Output::Disk,
        }
    }

    /// Sets where the program writes what `relay` passes on.
    pub(crate) fn with_output(self, output: Output) -> Self {
        Self { output, ..self }
    }

    /// Makes the limit longer, by the time that the program may wait itself.
    pub(crate) fn longer_by(self, more: Duration) -> Self {
        Self { more: self.more + more, ..self }
    }

    /// Sets what `capture` writes to standard input, for data that must not appear in the
    /// arguments.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(input.into());
        self
    }

    /// Lets the program read cdflow's standard input. This does not work at a terminal, where the
    /// program runs in the background.
    pub(crate) fn with_our_input(mut self) -> Self {
        self.input = Input::Ours;
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Runs to the end; standard output and standard error are kept apart.
    pub(crate) async fn capture(self, log: &Log, interrupt: &Interrupt) -> Result<Captured> {
        let mut child = self.spawn(log, Stdio::piped(), Stdio::piped())?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let (Some(mut stdin), Input::Bytes(input)) = (stdin, &self.input) {
                // A program need not read what it gets.
                let _ = stdin.write_all(input).await;
            }
        };
        let mut watched = Watched::new(child, self.life, self.more);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (status, read) = {
            let reading = async {
                let (read_out, read_err, ()) = tokio::join!(
                    read_limited(stdout, &mut out),
                    read_limited(stderr, &mut err),
                    write
                );
                read_out.and(read_err)
            };
            watched.with_output(log, interrupt, reading).await
        };
        let failed = |error: io::Error| {
            Error::internal(format!("`{}` can't be read", self.path.display())).why(error)
        };
        read.map_err(failed)?;
        Ok(Captured {
            code: watched.code(status.map_err(failed)?).map_err(|limit| self.too_slow(limit))?,
            stdout: out,
            stderr: String::from_utf8_lossy(&err).into_owned(),
        })
    }

    /// Runs to the end; each line, of standard output and standard error in the order in which they
    /// were written, goes to
    /// `sink` as it comes.
    ///
    /// Terraform writes into a file, and we follow it: a pipe would break when cdflow is killed,
    /// and take the program along in the middle of an apply. An orphan that keeps the output open
    /// is not waited for.
    pub(crate) async fn relay(
        self,
        log: &Log,
        interrupt: &Interrupt,
        sink: LineSink<'_>,
    ) -> Result<Finished> {
        let output = self.followed()?;
        let child = self.spawn(log, output.as_stream()?, output.as_stream()?)?;
        self.follow(child, log, interrupt, vec![(output, sink)]).await
    }

    /// As `relay`, with standard output and standard error kept apart; so the order between the two
    /// is lost.
    pub(crate) async fn relay_apart(
        self,
        log: &Log,
        interrupt: &Interrupt,
        [out_sink, err_sink]: [LineSink<'_>; 2],
    ) -> Result<Finished> {
        let [out, err] = [self.followed()?, self.followed()?];
        let child = self.spawn(log, out.as_stream()?, err.as_stream()?)?;
        self.follow(child, log, interrupt, vec![(out, out_sink), (err, err_sink)]).await
    }

    /// Lends the program our terminal until it ends. It begins in our process group, the one in the
    /// foreground: a shell that could not read from the terminal would be stopped. What it prints
    /// is visible only to that person, and is not redacted.
    ///
    /// If cdflow gets a signal, the program gets SIGHUP, as a shell does when its terminal is
    /// closed.
    #[expect(clippy::disallowed_methods, reason = "this is the place where programs start")]
    pub(crate) async fn interact(self, log: &Log, interrupt: &Interrupt) -> Result<Finished> {
        log.debug(&self.line());
        let mut child = self
            .command(Command::new(&self.path))
            .spawn()
            .map_err(|error| self.not_started(error))?;
        let status = tokio::select! {
            status = child.wait() => status,
            () = interrupt.arrived() => {
                send(&child, Signal::SIGHUP);
                child.wait().await
            }
        };
        Ok(Finished { code: code(status.map_err(unfollowed)?) })
    }

    fn followed(&self) -> Result<Followed> {
        let folder = self.env.get(OsStr::new("TMPDIR")).map(OsString::as_os_str);
        Followed::new(self.output, self.run_as, folder)
    }

    /// Runs to the end while `parse` reads standard output on a thread of its own, so that nothing
    /// large is held.
    pub(crate) async fn parse<T: Send + 'static>(
        self,
        log: &Log,
        interrupt: &Interrupt,
        parse: impl FnOnce(&mut dyn io::Read) -> T + Send + 'static,
    ) -> Result<(T, Captured)> {
        let failed = |error: io::Error| Error::internal("cannot create a pipe").why(error);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut child = self.spawn(log, writer.into(), Stdio::piped())?;
        let stderr = child.stderr.take();
        let parsed = tokio::task::spawn_blocking(move || {
            let mut reader = io::BufReader::with_capacity(256 * 1024, reader);
            let parsed = parse(&mut reader);
            // Reads what the parser leaves, or the program would block on a full pipe.
            let _ = io::copy(&mut reader, &mut io::sink());
            parsed
        });
        let mut err = Vec::new();
        let mut watched = Watched::new(child, self.life, self.more);
        let mut result = None;
        let (status, read) = {
            let reading = async {
                let (read, parsed) = tokio::join!(read_limited(stderr, &mut err), parsed);
                result = Some(parsed);
                read
            };
            watched.with_output(log, interrupt, reading).await
        };
        read.map_err(failed)?;
        let code = watched.code(status.map_err(failed)?).map_err(|limit| self.too_slow(limit))?;
        let parsed = result
            .ok_or_else(|| Error::internal(Limit::Output.passed("the output did not end")))?
            .map_err(|error| Error::internal("the output's reader failed").why(error))?;
        let stderr = String::from_utf8_lossy(&err).into_owned();
        Ok((parsed, Captured { code, stdout: Vec::new(), stderr }))
    }

    /// Passes on what the program writes into its files, until it has ended.
    async fn follow(
        self,
        child: Child,
        log: &Log,
        interrupt: &Interrupt,
        mut outputs: Vec<(Followed, LineSink<'_>)>,
    ) -> Result<Finished> {
        let mut watched = Watched::new(child, self.life, self.more);
        let pass_on = |outputs: &mut Vec<(Followed, LineSink<'_>)>| -> Result<bool> {
            let mut has_more = false;
            for (followed, sink) in outputs {
                has_more |= followed.pass_on(&log.redactor, *sink).map_err(unfollowed)?;
            }
            Ok(has_more)
        };
        let status = {
            let ended = watched.supervise(log, interrupt);
            tokio::pin!(ended);
            let mut pause = FOLLOW_EVERY;
            loop {
                tokio::select! {
                    status = &mut ended => break status,
                    () = tokio::time::sleep(pause) => {
                        let has_more = pass_on(&mut outputs)?;
                        pause = if has_more { Duration::ZERO } else { FOLLOW_EVERY };
                    }
                }
            }
        };
        // What is left behind can go on writing.
        let until = Instant::now() + Limit::Output.time();
        while pass_on(&mut outputs)? && Instant::now() < until {}
        for (followed, sink) in &mut outputs {
            followed.pass_rest(*sink);
        }
        Ok(Finished {
            code: watched
                .code(status.map_err(unfollowed)?)
                .map_err(|limit| self.too_slow(limit))?,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place where programs start")]
    fn spawn(&self, log: &Log, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        log.debug(&self.line());
        let stdin = match self.input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
            Input::Ours => Stdio::inherit(),
        };
        self.command(Command::new(&self.path))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C at a terminal must not reach Terraform's providers, nor Terraform a second
            // time.
            .process_group(0)
            .spawn()
            .map_err(|error| self.not_started(error))
    }

    fn command(&self, mut command: Command) -> Command {
        command.args(&self.args).env_clear().envs(&self.env).current_dir(&self.cwd);
        if let RunAs::User { id, group } = self.run_as {
            // For root, this also removes all other groups and all capabilities.
            command.uid(id).gid(group);
        }
        command
    }

    fn not_started(&self, error: io::Error) -> Error {
        let failed = Error::input(format!("cannot start `{}`", self.path.display()));
        if error.raw_os_error() == Some(Errno::ENOEXEC as i32) {
            return failed
                .why(format!("{error}: it is neither a script nor a program for this machine"))
                .hint(FIRST_LINE);
        }
        let failed = failed.why(error);
        match self.run_as {
            RunAs::Ourselves => failed,
            RunAs::User { id, .. } => {
                failed.hint(format!("let user {id} enter `{}`", self.cwd.display()))
            }
        }
    }

    fn too_slow(&self, limit: Limit) -> Error {
        let exit = match limit {
            Limit::TerraformInit
            | Limit::TerraformWorkspace
            | Limit::TerraformPlan
            | Limit::TerraformRead => Exit::PlanFailed,
            Limit::TerraformPush => Exit::StateNotSaved,
            Limit::BuildHook => Exit::BuildFailed,
            Limit::Hook => Exit::Refused,
            Limit::CredentialHelper => Exit::Credentials,
            _ => Exit::Input,
        };
        let what = format!("`{}` did not end", self.line().trim_start_matches("$ "));
        let error = Error::new(exit, limit.passed(&what));
        error.why(format!("it was started in `{}`, and was stopped", self.cwd.display())).hint(
            format!(
                "check what it waits for; if it needs more time, set CDFLOW_LIMITS, for example \
                 to `{}=2h`",
                limit.name()
            ),
        )
    }

    fn line(&self) -> String {
        let words: Vec<_> = std::iter::once(self.path.as_os_str())
            .chain(self.args.iter().map(OsString::as_os_str))
            .collect();
        format!("$ {}", words.join(OsStr::new(" ")).to_string_lossy())
    }
}

async fn read_limited(
    from: Option<impl tokio::io::AsyncRead + Unpin>,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    if let Some(from) = from {
        let mut limited = from.take(CAPTURE_LIMIT);
        limited.read_to_end(into).await?;
        tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await?;
    }
    Ok(())
}

/// The first executable file called `name` in the folders of `path` (PATH's own syntax).
pub(crate) fn find(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(path?).map(|folder| folder.join(name)).find(|candidate| {
        candidate.is_absolute()
            && std::fs::metadata(candidate)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}
