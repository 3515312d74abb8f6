//! The one way tests start programs: a cleared environment, no standard input, and an end to every
//! wait.

use super::processes::kill_tree;
use super::{Aws, Lab, Mirror, Output, Process, Sandbox, Scrub, descendants, in_repository, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take when a test says nothing else. Generous: machines that run tests are
/// busy.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long output is read on after a program's end: something it left running may hold its pipes
/// open.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Flags of SIOCSIFFLAGS: IFF_UP and IFF_RUNNING.
const LOOPBACK_UP: &str = "import fcntl, os, socket, struct, subprocess, sys, threading
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))
";
/// A Unix socket is a file: it leads out of a network that is closed.
const RELAYED: &str = "def pump(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def serve(listener):
    while True:
        near, far = listener.accept()[0], socket.socket(socket.AF_UNIX)
        far.connect(RELAY)
        threading.Thread(target=pump, args=(near, far), daemon=True).start()
        threading.Thread(target=pump, args=(far, near), daemon=True).start()

threading.Thread(target=serve, args=(socket.create_server(('127.0.0.1', PORT), backlog=64),), \
daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
";

/// The binary under test, in a sandbox of its own. Most tests start from `Project::cdflow`.
pub(crate) fn cdflow(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Runner {
    Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &Sandbox::new())
}

/// Terraform in a folder.
pub(crate) fn terraform(
    sandbox: &Sandbox,
    folder: impl AsRef<Path>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Runner {
    Runner::new("terraform", arguments, sandbox).cwd(folder).env("CHECKPOINT_DISABLE", "1")
}

/// Git in a folder, as an author and at a time that never change: equal content makes equal
/// commits.
pub(crate) fn git(
    sandbox: &Sandbox,
    folder: impl AsRef<Path>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Runner {
    let mut runner =
        Runner::new("git", arguments, sandbox).cwd(folder).env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        runner = runner
            .env(format!("GIT_{role}_NAME"), "Ada")
            .env(format!("GIT_{role}_EMAIL"), "ada@example.com")
            .env(format!("GIT_{role}_DATE"), "2024-02-03T04:05:06Z");
    }
    runner
}

/// The Python of `.venv`, isolated from the machine's.
pub(crate) fn python(
    sandbox: &Sandbox,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Runner {
    let arguments = std::iter::once(OsString::from("-I"))
        .chain(arguments.into_iter().map(|it| it.as_ref().to_owned()));
    Runner::new(python_path(), arguments, sandbox)
}

pub(super) fn python_path() -> PathBuf {
    let python = in_repository(".venv/bin/python");
    assert!(python.exists(), "`{}` is missing: run `make test`, which makes it", python.display());
    python
}

/// A program about to be started.
#[derive(Clone)]
pub(crate) struct Runner {
    program: OsString,
    arguments: Vec<OsString>,
    cwd: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
    scrub: Scrub,
    sandbox: Sandbox,
}

impl Runner {
    pub(crate) fn new(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        sandbox: &Sandbox,
    ) -> Self {
        let runner = Self {
            program: program.as_ref().to_owned(),
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
            cwd: sandbox.work(),
            environment: BTreeMap::new(),
            stdin: None,
            timeout: TIMEOUT,
            scrub: sandbox.scrub(),
            sandbox: sandbox.clone(),
        };
        runner
            .env("PATH", tool::path(sandbox))
            .env("HOME", sandbox.home())
            .env("TMPDIR", sandbox.tmp())
            // No test downloads a program from the internet.
            .env(
                "CDFLOW_TERRAFORM_MIRROR",
                format!("file:{}", sandbox.root().join("no-mirror").display()),
            )
            .env("TF_CLI_CONFIG_FILE", sandbox.cli_config())
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        folder.as_ref().clone_into(&mut self.cwd);
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    pub(crate) fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        pairs.into_iter().fold(self, |runner, (name, value)| runner.env(name, value))
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Terraform finds the providers of this mirror, and no others.
    pub(crate) fn providers(self, mirror: &Mirror) -> Self {
        let file = mirror.cli_config(&self.sandbox);
        self.env("TF_CLI_CONFIG_FILE", file)
    }

    /// A shell runs `script`, in which `"$0" "$@"` is the program with its arguments.
    pub(crate) fn in_shell(mut self, script: &str) -> Self {
        let program = std::mem::replace(&mut self.program, "/bin/sh".into());
        self.arguments.splice(0..0, ["-c".into(), script.into(), program]);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) fn scrubber(mut self, scrub: Scrub) -> Self {
        self.scrub = scrub;
        self
    }

    /// In a network of its own that holds its loopback address alone: nothing outside is reached,
    /// moto neither.
    pub(crate) fn offline(self) -> Self {
        self.in_network(LOOPBACK_UP.to_owned() + "os.execvp(sys.argv[1], sys.argv[1:])")
    }

    /// Likewise, but moto is there, at the address it has outside, and nothing else is.
    pub(crate) fn offline_but(self, aws: &Aws) -> Self {
        let port = aws.endpoint().rsplit(':').next().unwrap();
        let socket = aws.relay(&self.sandbox);
        self.in_network(format!(
            "{LOOPBACK_UP}PORT, RELAY = {port}, {:?}\n{RELAYED}",
            socket.to_str().unwrap()
        ))
    }

    /// In the laboratory: `DOCKER_HOST` is its engine, and its registries, moto, and nothing else
    /// are reached.
    pub(crate) fn in_lab(mut self, lab: &Lab) -> Self {
        let wrapped = [
            format!("--target={}", lab.pid()).into(),
            "--net".into(),
            "--mount".into(),
            // A folder that was entered outside has no path inside.
            "--".into(),
            "sh".into(),
            "-c".into(),
            "cd \"$0\" && exec \"$@\"".into(),
            self.cwd.clone().into(),
            std::mem::replace(&mut self.program, "nsenter".into()),
        ];
        self.arguments.splice(0..0, wrapped);
        self.env("DOCKER_HOST", lab.docker_host())
    }

    fn in_network(mut self, script: String) -> Self {
        let wrapped = [
            "--map-root-user".into(),
            "--net".into(),
            python_path().into(),
            "-I".into(),
            "-c".into(),
            script.into(),
            std::mem::replace(&mut self.program, "unshare".into()),
        ];
        self.arguments.splice(0..0, wrapped);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it, to be looked at or sent signals while it runs.
    #[track_caller]
    pub(crate) fn spawn(self) -> Running {
        let description = self.to_string();
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.cwd)
            .env_clear()
            .envs(&self.environment)
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start: {error}\n{description}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that ends without having read it all is not the test's trouble.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        Running {
            stdout: Collected::from(child.stdout.take().unwrap()),
            stderr: Collected::from(child.stderr.take().unwrap()),
            child,
            started: Instant::now(),
            timeout: self.timeout,
            description,
            scrub: self.scrub,
            sandbox: self.sandbox,
        }
    }
}

/// The command as one could type it, with its folder and environment.
impl std::fmt::Display for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "cd {}", self.cwd.display())?;
        for (name, value) in &self.environment {
            writeln!(f, "{}={:?}", name.display(), value)?;
        }
        f.write_str(&self.program.to_string_lossy())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// A program that runs. Killed, with all that it started, when the test lets go of it.
pub(crate) struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
    started: Instant,
    timeout: Duration,
    description: String,
    scrub: Scrub,
    sandbox: Sandbox,
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Its standard output so far.
    pub(crate) fn said(&self) -> String {
        self.stdout.text()
    }

    /// To this process alone, not to its group.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The processes below it, as they are now.
    pub(crate) fn processes(&self) -> Vec<Process> {
        descendants(self.pid()).into_iter().filter_map(Process::of).collect()
    }

    /// Waits until one of the two streams holds this text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> &mut Self {
        self.wait_until(&format!("`{text}` in its output"), |running| {
            running.stdout.text().contains(text) || running.stderr.text().contains(text)
        })
    }

    /// Waits until something holds. Fails when the program ends first, or takes longer than its
    /// timeout.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> &mut Self {
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            if ended {
                self.stdout.finish();
                self.stderr.finish();
            }
            if holds(self) {
                return self;
            }
            assert!(!ended, "ended before {what}\n{}", self.so_far());
            assert!(
                self.started.elapsed() < self.timeout,
                "no {what} in {:?}\n{}",
                self.timeout,
                self.so_far()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Looks at it again and again while it runs, and waits for its end.
    #[track_caller]
    pub(crate) fn watch(mut self, mut look: impl FnMut(&Self)) -> Output {
        while self.child.try_wait().unwrap().is_none() && self.started.elapsed() < self.timeout {
            look(&self);
            thread::sleep(Duration::from_millis(10));
        }
        self.wait()
    }

    /// The most memory that this process alone has had so far, in KiB.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    }

    /// Waits for its end; kills it when that takes longer than its timeout.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() >= self.timeout {
                kill_tree(self.pid());
                panic!("still running after {:?}\n{}", self.timeout, self.so_far());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let elapsed = self.started.elapsed();
        self.stdout.finish();
        self.stderr.finish();
        Output {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            elapsed,
            command: std::mem::take(&mut self.description),
            scrub: self.scrub.clone(),
            _sandbox: self.sandbox.clone(),
        }
    }

    fn so_far(&self) -> String {
        format!(
            "--- command\n{}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.description,
            self.stdout.text(),
            self.stderr.text()
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            kill_tree(self.pid());
            let _ = self.child.wait();
        }
    }
}

/// What a stream has said, read by a thread of its own.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Collected {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = channel();
        let sink = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
            drop(end);
        });
        Self { bytes, ended }
    }

    fn finish(&self) {
        // Both answers mean the same: there is no more to come, or none that is waited for.
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}
