//! The one place that starts programs: a cleared environment, a process group of their own, and one interrupt.

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
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::Instant,
};

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    log::Log,
};

/// How often the output of a program is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(40);
/// A trace of Terraform (TF_LOG) can be as large as the disk.
const GIVE_BACK_EVERY: u64 = 1 << 20;
/// So long after its start an interrupt is held back.
const UNTIL_IT_LISTENS: Duration = Duration::from_secs(1);
/// How often we say that we still wait, once a program was told to stop.
const STILL_WAITING: Duration = Duration::from_secs(30);
/// A longer line is passed on in pieces, so that memory stays bounded.
const LONGEST_LINE: usize = 1 << 20;
/// Of what a captured program prints, so much is kept.
const CAPTURE_LIMIT: u64 = 64 << 20;

/// A program that is about to be started.
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
    input: Vec<u8>,
}

/// How a program ended.
pub(crate) struct Finished {
    /// As a shell would put it: 128 + n when signal n ended it.
    pub(crate) code: i32,
}

pub(crate) struct Captured {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Program {
    /// Nothing of our own environment is passed on: `env` is all that the program sees.
    pub(crate) fn new(path: &Path, cwd: &Path, env: &BTreeMap<OsString, OsString>) -> Self {
        Self { path: path.to_owned(), args: Vec::new(), env: env.clone(), cwd: cwd.to_owned(), input: Vec::new() }
    }

    /// What `capture` writes to standard input; for what must not stand among the arguments.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Runs to the end; standard output and standard error are kept apart.
    pub(crate) async fn capture(mut self, log: &Log, interrupt: &Interrupt) -> Result<Captured> {
        let input = std::mem::take(&mut self.input);
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        let mut child = self.spawn(log, stdin, Stdio::piped(), Stdio::piped())?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program need not read what it gets.
                let _ = stdin.write_all(&input).await;
            }
        };
        let read = async {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let (read_out, read_err) = tokio::join!(read_limited(stdout, &mut out), read_limited(stderr, &mut err));
            read_out.and(read_err).map(|()| (out, err))
        };
        let (status, read, ()) = tokio::join!(supervise(&mut child, log, interrupt), read, write);
        let failed = |error: io::Error| Error::internal(format!("`{}` can't be read", self.path.display())).why(error);
        let (stdout, stderr) = read.map_err(failed)?;
        Ok(Captured {
            code: code(status.map_err(failed)?),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs to the end; each line, of standard output and standard error in the order in which they were written, goes to
    /// `sink` as it comes.
    ///
    /// The program writes into a file that has no name, and we follow it: a pipe would break when cdflow is killed, and take
    /// the program along in the middle of an apply; and an orphan that keeps the output open would keep us waiting.
    pub(crate) async fn relay(
        self,
        log: &Log,
        interrupt: &Interrupt,
        sink: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Finished> {
        let failed = |error: io::Error| Error::internal("the output can't be followed").why(error);
        let output = self.output_file().map_err(failed)?;
        let [out, err] = [output.try_clone().map_err(failed)?, output.try_clone().map_err(failed)?];
        let mut child = self.spawn(log, Stdio::null(), out.into(), err.into())?;
        let mut followed = Followed { output, offset: 0, given_back: 0, line: Vec::new() };
        let status = {
            let ended = supervise(&mut child, log, interrupt);
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    status = &mut ended => break status,
                    () = tokio::time::sleep(FOLLOW_EVERY) => followed.pass_on(sink).map_err(failed)?,
                }
            }
        };
        followed.pass_on(sink).map_err(failed)?;
        followed.pass_rest(sink);
        Ok(Finished { code: code(status.map_err(failed)?) })
    }

    /// In the program's TMPDIR, removed already.
    fn output_file(&self) -> io::Result<File> {
        let folder = self.env.get(OsStr::new("TMPDIR")).map_or_else(|| Path::new("/tmp"), Path::new);
        tempfile::tempfile_in(folder)
    }

    /// Runs to the end while `parse` reads standard output on a thread of its own, so that nothing large is held.
    pub(crate) async fn parse<T: Send + 'static>(
        self,
        log: &Log,
        interrupt: &Interrupt,
        parse: impl FnOnce(&mut dyn io::Read) -> T + Send + 'static,
    ) -> Result<(T, Captured)> {
        let failed = |error: io::Error| Error::internal("a pipe can't be made").why(error);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut child = self.spawn(log, Stdio::null(), writer.into(), Stdio::piped())?;
        let stderr = child.stderr.take();
        let parsed = tokio::task::spawn_blocking(move || {
            let mut reader = io::BufReader::with_capacity(256 * 1024, reader);
            let parsed = parse(&mut reader);
            // What the parser leaves is read all the same, or the program would wait for a reader.
            let _ = io::copy(&mut reader, &mut io::sink());
            parsed
        });
        let mut err = Vec::new();
        let (status, read, parsed) =
            tokio::join!(supervise(&mut child, log, interrupt), read_limited(stderr, &mut err), parsed);
        read.map_err(failed)?;
        let parsed = parsed.map_err(|error| Error::internal("the output's reader failed").why(error))?;
        let stderr = String::from_utf8_lossy(&err).into_owned();
        Ok((parsed, Captured { code: code(status.map_err(failed)?), stdout: Vec::new(), stderr }))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place where programs start")]
    fn spawn(&self, log: &Log, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        let words: Vec<_> =
            std::iter::once(self.path.as_os_str()).chain(self.args.iter().map(OsString::as_os_str)).collect();
        log.debug(&format!("$ {}", words.join(OsStr::new(" ")).to_string_lossy()));
        Command::new(&self.path)
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C at a terminal must not reach Terraform's providers, nor Terraform a second time.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::input(format!("`{}` can't be started", self.path.display())).why(error))
    }
}

/// Waits for the end; passes on one interrupt, to the program itself and not to its group, and swallows the rest: Terraform
/// takes a second one as "exit at once, never mind the state". It is never killed, however long it takes to stop.
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
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(id), Signal::SIGINT);
    }
    loop {
        tokio::select! {
            status = child.wait() => return status,
            () = tokio::time::sleep(STILL_WAITING) => log.note(&format!(
                "still waiting for process {} to stop; killing it could lose what it has done", id.unwrap_or_default()
            )),
        }
    }
}

async fn read_limited(from: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
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

    /// What was passed on needs no room on the disk any more; where the file system can't give it back, it stays.
    fn give_back(&mut self) {
        if self.offset >= self.given_back + GIVE_BACK_EVERY {
            let [from, len] = [self.given_back, self.offset - self.given_back].map(|n| i64::try_from(n).unwrap_or(0));
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
