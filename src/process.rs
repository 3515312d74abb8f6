//! The one place that starts programs: a cleared environment, a process group of their own, one interrupt, and an end to
//! every wait.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::fd::OwnedFd,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    process::{Child, Command},
};

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    log::Log,
};

/// A program's orphans may keep its output open for ever; so long we go on reading after its end.
const AFTER_THE_END: Duration = Duration::from_secs(2);
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
        Self { path: path.to_owned(), args: Vec::new(), env: env.clone(), cwd: cwd.to_owned() }
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Runs to the end; standard output and standard error are kept apart.
    pub(crate) async fn capture(self, log: &Log, interrupt: &Interrupt) -> Result<Captured> {
        let mut child = self.spawn(log, Stdio::piped(), Stdio::piped())?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = async {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let (read_out, read_err) = tokio::join!(read_limited(stdout, &mut out), read_limited(stderr, &mut err));
            read_out.and(read_err).map(|()| (out, err))
        };
        let (status, read) = tokio::join!(supervise(&mut child, interrupt), read);
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
    pub(crate) async fn relay(
        self,
        log: &Log,
        interrupt: &Interrupt,
        sink: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Finished> {
        let failed = |error: io::Error| Error::internal("a pipe can't be made").why(error);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let twin = writer.try_clone().map_err(failed)?;
        let mut child = self.spawn(log, writer.into(), twin.into())?;
        let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
        let read = relay_lines(BufReader::new(reader), sink);
        tokio::pin!(read);
        let status = {
            let ended = supervise(&mut child, interrupt);
            tokio::pin!(ended);
            let mut drained = false;
            let status = loop {
                tokio::select! {
                    status = &mut ended => break status,
                    () = &mut read, if !drained => drained = true,
                }
            };
            if !drained {
                let _ = tokio::time::timeout(AFTER_THE_END, &mut read).await;
            }
            status
        };
        Ok(Finished { code: code(status.map_err(failed)?) })
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
        let mut child = self.spawn(log, writer.into(), Stdio::piped())?;
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
            tokio::join!(supervise(&mut child, interrupt), read_limited(stderr, &mut err), parsed);
        read.map_err(failed)?;
        let parsed = parsed.map_err(|error| Error::internal("the output's reader failed").why(error))?;
        let stderr = String::from_utf8_lossy(&err).into_owned();
        Ok((parsed, Captured { code: code(status.map_err(failed)?), stdout: Vec::new(), stderr }))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place where programs start")]
    fn spawn(&self, log: &Log, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        let words: Vec<_> =
            std::iter::once(self.path.as_os_str()).chain(self.args.iter().map(OsString::as_os_str)).collect();
        log.debug(&format!("$ {}", words.join(OsStr::new(" ")).to_string_lossy()));
        Command::new(&self.path)
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C at a terminal must not reach Terraform's providers, nor Terraform a second time.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::input(format!("`{}` can't be started", self.path.display())).why(error))
    }
}

/// Waits for the end; passes on one interrupt, to the program itself and not to its group, and swallows the rest: Terraform
/// takes a second one as "exit at once, never mind the state".
async fn supervise(child: &mut Child, interrupt: &Interrupt) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        () = interrupt.arrived() => {}
    }
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(id), Signal::SIGINT);
    }
    child.wait().await
}

async fn read_limited(from: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    if let Some(from) = from {
        let mut limited = from.take(CAPTURE_LIMIT);
        limited.read_to_end(into).await?;
        tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await?;
    }
    Ok(())
}

async fn relay_lines(mut from: impl AsyncBufRead + Unpin, sink: &mut (dyn FnMut(&str) + Send)) {
    let mut line = Vec::new();
    while let Ok(available) = from.fill_buf().await {
        if available.is_empty() {
            break;
        }
        let (piece, ends) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        line.extend_from_slice(&available[..piece]);
        from.consume(piece);
        if ends || line.len() >= LONGEST_LINE {
            pass(&mut line, sink);
        }
    }
    if !line.is_empty() {
        pass(&mut line, sink);
    }
}

fn pass(line: &mut Vec<u8>, sink: &mut (dyn FnMut(&str) + Send)) {
    let text = String::from_utf8_lossy(line);
    sink(text.trim_end_matches(['\n', '\r']));
    line.clear();
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
