//! The only place that starts programs: with a cleared environment, in their own process group, and
//! with at most one interrupt.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::Instant,
};

use super::{
    error::{Error, Result},
    interrupt::Interrupt,
    limits::Limit,
    log::Log,
};

/// Interval at which the output of a program is read.
const FOLLOW_EVERY: Duration = Duration::from_millis(40);
/// A trace of Terraform (TF_LOG) can be as large as the disk.
const GIVE_BACK_EVERY: u64 = 1 << 20;
/// Delay after the start during which an interrupt is held back.
const UNTIL_IT_LISTENS: Duration = Duration::from_secs(1);
/// Interval of the messages that cdflow still waits for a program to stop.
const STILL_WAITING: Duration = Duration::from_secs(30);
/// A longer line is passed on in pieces, so that memory stays bounded.
const LONGEST_LINE: usize = 1 << 20;
/// Limit of the captured output, in bytes.
const CAPTURE_LIMIT: u64 = 64 << 20;

/// A program that is about to be started.
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
    input: Input,
    limit: Option<Limit>,
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
    /// Prepares a program that sees only `env`, and nothing of cdflow's own environment.
    pub(crate) fn new(path: &Path, cwd: &Path, env: &BTreeMap<OsString, OsString>) -> Self {
        Self {
            path: path.to_owned(),
            args: Vec::new(),
            env: env.clone(),
            cwd: cwd.to_owned(),
            input: Input::Nothing,
            limit: None,
        }
    }

    /// Lets `capture` kill the program, with everything that it has started, at this limit and at
    /// the first signal. For programs that only read: nothing is lost with them.
    pub(crate) fn expendable_after(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
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
        let read = async {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let (read_out, read_err) =
                tokio::join!(read_limited(stdout, &mut out), read_limited(stderr, &mut err));
            read_out.and(read_err).map(|()| (out, err))
        };
        let group = Expendable(child.id().filter(|_| self.limit.is_some()));
        let running = async { tokio::join!(supervise(&mut child, log, interrupt), read, write) };
        let (status, read, ()) = match self.limit {
            None => running.await,
            Some(limit) => tokio::select! {
                ended = running => ended,
                () = tokio::time::sleep(limit.time()) => return Err(self.too_slow(limit)),
                () = interrupt.arrived() => {
                    interrupt.check(&format!("`{}` had ended", self.name()))?;
                    return Err(self.too_slow(limit));
                }
            },
        };
        group.ended();
        let failed = |error: io::Error| {
            Error::internal(format!("`{}` can't be read", self.path.display())).why(error)
        };
        let (stdout, stderr) = read.map_err(failed)?;
        Ok(Captured {
            code: code(status.map_err(failed)?),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs to the end; each line, of standard output and standard error in the order in which they
    /// were written, goes to
    /// `sink` as it comes.
    ///
    /// The program writes into a file that has no name, and we follow it: a pipe would break when
    /// cdflow is killed, and take the program along in the middle of an apply; and an orphan that
    /// keeps the output open would keep us waiting.
    pub(crate) async fn relay(
        self,
        log: &Log,
        interrupt: &Interrupt,
        sink: LineSink<'_>,
    ) -> Result<Finished> {
        let output = self.output_file()?;
        let child = self.spawn(log, output.as_stream()?, output.as_stream()?)?;
        follow(child, log, interrupt, vec![(output, sink)]).await
    }

    /// As `relay`, with standard output and standard error kept apart; so the order between the two
    /// is lost.
    pub(crate) async fn relay_apart(
        self,
        log: &Log,
        interrupt: &Interrupt,
        [out_sink, err_sink]: [LineSink<'_>; 2],
    ) -> Result<Finished> {
        let [out, err] = [self.output_file()?, self.output_file()?];
        let child = self.spawn(log, out.as_stream()?, err.as_stream()?)?;
        follow(child, log, interrupt, vec![(out, out_sink), (err, err_sink)]).await
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

    /// In the program's TMPDIR, removed already.
    fn output_file(&self) -> Result<Followed> {
        let folder =
            self.env.get(OsStr::new("TMPDIR")).map_or_else(|| Path::new("/tmp"), Path::new);
        let output = tempfile::tempfile_in(folder).map_err(unfollowed)?;
        Ok(Followed { output, offset: 0, given_back: 0, line: Vec::new() })
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
        let (status, read, parsed) = tokio::join!(
            supervise(&mut child, log, interrupt),
            read_limited(stderr, &mut err),
            parsed
        );
        read.map_err(failed)?;
        let parsed =
            parsed.map_err(|error| Error::internal("the output's reader failed").why(error))?;
        let stderr = String::from_utf8_lossy(&err).into_owned();
        Ok((parsed, Captured { code: code(status.map_err(failed)?), stdout: Vec::new(), stderr }))
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
        command
    }

    fn not_started(&self, error: io::Error) -> Error {
        Error::input(format!("cannot start `{}`", self.path.display())).why(error)
    }

    fn too_slow(&self, limit: Limit) -> Error {
        Error::input(limit.passed(&format!("`{}` did not end", self.name())))
            .why(format!("it was started in `{}`, and was killed", self.cwd.display()))
            .hint("check the files and the disk there, then run cdflow again")
    }

    /// The file name of the program.
    fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    fn line(&self) -> String {
        let words: Vec<_> = std::iter::once(self.path.as_os_str())
            .chain(self.args.iter().map(OsString::as_os_str))
            .collect();
        format!("$ {}", words.join(OsStr::new(" ")).to_string_lossy())
    }
}

fn unfollowed(error: io::Error) -> Error {
    Error::internal("cannot follow the output").why(error)
}

/// Passes on what the program writes into its files, until it has ended.
async fn follow(
    mut child: Child,
    log: &Log,
    interrupt: &Interrupt,
    mut outputs: Vec<(Followed, LineSink<'_>)>,
) -> Result<Finished> {
    let status = {
        let ended = supervise(&mut child, log, interrupt);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                status = &mut ended => break status,
                () = tokio::time::sleep(FOLLOW_EVERY) => {
                    for (followed, sink) in &mut outputs {
                        followed.pass_on(*sink).map_err(unfollowed)?;
                    }
                }
            }
        }
    };
    for (followed, sink) in &mut outputs {
        followed.pass_on(*sink).map_err(unfollowed)?;
        followed.pass_rest(*sink);
    }
    Ok(Finished { code: code(status.map_err(unfollowed)?) })
}

/// Waits for the end; passes on one interrupt, to the program itself and not to its group, and
/// ignores the rest: Terraform takes a second one as "exit at once, never mind the state". It is
/// never killed, however long it takes to stop.
async fn supervise(child: &mut Child, log: &Log, interrupt: &Interrupt) -> io::Result<ExitStatus> {
    let began = Instant::now();
    tokio::select! {
        status = child.wait() => return status,
        () = interrupt.arrived() => {}
    }
    // Before it listens to signals, a program would simply die of one.
    tokio::select! {
        status = child.wait() => return status,
        () = tokio::time::sleep_until(began + UNTIL_IT_LISTENS) => {}
    }
    let id = child.id();
    send(child, Signal::SIGINT);
    loop {
        tokio::select! {
            status = child.wait() => return status,
            () = tokio::time::sleep(STILL_WAITING) => log.note(&format!(
                "still waiting for process {} to stop; killing it could lose its \
                 work", id.unwrap_or_default()
            )),
        }
    }
}

/// To the program itself, not to its group.
fn send(child: &Child, signal: Signal) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// Kills the program and everything in its group if it is dropped before the program has ended, as
/// it is with a cancelled future. A child of the program could hold its output open.
struct Expendable(Option<u32>);

impl Expendable {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Expendable {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
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

/// The output of a program, and how far it has been passed on.
struct Followed {
    output: File,
    offset: u64,
    given_back: u64,
    /// The beginning of a line whose end is not there yet.
    line: Vec<u8>,
}

impl Followed {
    /// For the program to write into.
    fn as_stream(&self) -> Result<Stdio> {
        self.output.try_clone().map(Stdio::from).map_err(unfollowed)
    }

    /// What has been written since the last time, line by line.
    fn pass_on(&mut self, sink: &mut (dyn FnMut(&str) + Send)) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            let read = self.output.read_at(&mut piece, self.offset)?;
            if read == 0 {
                self.give_back();
                return Ok(());
            }
            self.offset += read as u64;
            for part in piece[..read].split_inclusive(|byte| *byte == b'\n') {
                self.line.extend_from_slice(part);
                if part.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                    self.pass_rest(sink);
                }
            }
        }
    }

    /// What was passed on needs no room on the disk any more; where the file system can't give it
    /// back, it stays.
    fn give_back(&mut self) {
        if self.offset >= self.given_back + GIVE_BACK_EVERY {
            let [from, len] = [self.given_back, self.offset - self.given_back]
                .map(|n| i64::try_from(n).unwrap_or(0));
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(&self.output, hole, from, len);
            self.given_back = self.offset;
        }
    }

    fn pass_rest(&mut self, sink: &mut (dyn FnMut(&str) + Send)) {
        if !self.line.is_empty() {
            let text = String::from_utf8_lossy(&self.line);
            sink(text.trim_end_matches(['\n', '\r']));
            self.line.clear();
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
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
