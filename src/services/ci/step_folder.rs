//! The folder of a step of the Action on the runner. `runner/main.js` makes it, and names it in
//! `CDFLOW_STEP_FOLDER`.
//!
//! The runner kills node ten seconds after a cancel, and cdflow continues to run. The folder then
//! has what the step's clean-up needs: whether cdflow runs, its output, and how it ended.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

use crate::base::{
    error::{Error, Result},
    process_env::ProcessEnv,
    small_file,
};

const VARIABLE: &str = "CDFLOW_STEP_FOLDER";
/// Contains cdflow's process ID, and is locked while that process lives. The kernel releases the
/// lock, however the process ends. An ID alone might belong to another process by then.
const RUN: &str = "run";
/// Standard output and standard error; a file, because a pipe would break with node.
const OUTPUT: &str = "output";
/// The number of bytes of the output that node has shown.
const SHOWN: &str = "shown";
/// Present after the first signal.
const CANCELLED: &str = "cancelled";
/// The exit code. It is missing if the run was killed.
const EXIT: &str = "exit";

/// The exit code after SIGKILL.
const KILLED: i64 = 137;
/// The pause between two looks at the folder.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepFolder(PathBuf);

impl StepFolder {
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Returns the folder of this step; None for every other run.
    pub(crate) fn of(environment: &ProcessEnv) -> Option<Self> {
        environment.get(VARIABLE).map(Self::at)
    }

    /// Marks the run as running for as long as the file is open.
    pub(crate) fn begin(&self) -> Result<File> {
        let lock = |path: &Path| -> io::Result<File> {
            let mut file = File::create(path)?;
            file.try_lock().map_err(io::Error::from)?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        };
        lock(&self.path(RUN)).map_err(|error| self.failed(RUN, &error))
    }

    pub(crate) fn cancelled(&self) -> Result<()> {
        self.write(CANCELLED, "")
    }

    pub(crate) fn end(&self, exit: u8) -> Result<()> {
        self.write(EXIT, &exit.to_string())
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        match small_file::open(&self.path(RUN)) {
            Ok(file) => Ok(file.try_lock().is_err()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed(RUN, &error)),
        }
    }

    /// Interrupts the run if no signal has reached it. Returns whether that was necessary.
    pub(crate) fn interrupt(&self) -> Result<bool> {
        if self.path(CANCELLED).exists() || !self.is_running()? {
            return Ok(false);
        }
        let id = self.read(RUN)?.and_then(|text| text.parse().ok());
        Ok(id.is_some_and(|id| kill(Pid::from_raw(id), Signal::SIGINT).is_ok()))
    }

    /// Waits for the end of the run. Returns its exit code, or None if it never began.
    pub(crate) async fn ended(&self) -> Result<Option<i64>> {
        while self.is_running()? {
            sleep(PAUSE).await;
        }
        let code = self.read(EXIT)?.and_then(|text| text.parse().ok());
        Ok(code.or_else(|| self.path(RUN).exists().then_some(KILLED)))
    }

    /// Returns how long the run lasted after its first signal. None if the folder does not say it.
    pub(crate) fn lasted(&self) -> Option<Duration> {
        let time = |name: &str| fs::metadata(self.path(name)).ok()?.modified().ok();
        time(EXIT)?.duration_since(time(CANCELLED)?).ok()
    }

    /// Passes on each line that node has not shown, until the run ends.
    pub(crate) async fn follow(&self, sink: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        let shown = self.read(SHOWN)?.and_then(|text| text.parse().ok()).unwrap_or_default();
        let failed = |error: io::Error| self.failed(OUTPUT, &error);
        let mut output = BufReader::new(small_file::open(&self.path(OUTPUT)).map_err(failed)?);
        output.seek(SeekFrom::Start(shown)).map_err(failed)?;
        let mut line = Vec::new();
        loop {
            // Asked before the read: nothing is written after the end.
            let is_last = !self.is_running()?;
            let mut show = |line: &mut Vec<u8>| {
                sink(String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']));
                line.clear();
            };
            while output.read_until(b'\n', &mut line).map_err(failed)? > 0 {
                if line.ends_with(b"\n") {
                    show(&mut line);
                }
            }
            if is_last {
                // The last line might have no end, and was perhaps read before.
                if !line.is_empty() {
                    show(&mut line);
                }
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name), text).map_err(|error| self.failed(name, &error))
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        match small_file::text(&self.path(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    fn failed(&self, name: &str, error: &io::Error) -> Error {
        Error::io("cannot use the file of the step", &self.path(name), error)
            .hint("keep the folder RUNNER_TEMP until the end of the job")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, StepFolder) {
        let folder = tempfile::tempdir().unwrap();
        let step = StepFolder::at(folder.path());
        (folder, step)
    }

    #[tokio::test]
    async fn how_a_run_ended() {
        let (_folder, step) = folder();
        assert_eq!(step.ended().await.unwrap(), None);
        let running = step.begin().unwrap();
        assert!(step.is_running().unwrap() && step.begin().is_err());
        step.end(130).unwrap();
        assert!(step.is_running().unwrap(), "the process has not ended");
        assert_eq!(step.lasted(), None, "no signal has arrived");
        step.cancelled().unwrap();
        let (exit, cancelled) = (step.path(EXIT), step.path(CANCELLED));
        let time = fs::metadata(&cancelled).unwrap().modified().unwrap();
        let file = File::options().write(true).open(&exit).unwrap();
        file.set_modified(time + Duration::from_secs(12)).unwrap();
        assert_eq!(step.lasted(), Some(Duration::from_secs(12)));
        drop(running);
        assert_eq!(step.ended().await.unwrap(), Some(130));
        fs::remove_file(step.path(EXIT)).unwrap();
        assert_eq!(step.ended().await.unwrap(), Some(KILLED));
    }

    #[tokio::test]
    async fn output_that_was_not_shown() {
        let (_folder, step) = folder();
        let running = step.begin().unwrap();
        step.write(OUTPUT, "shown\nnot shown\nits end ").unwrap();
        step.write(SHOWN, "6").unwrap();
        let mut lines = Vec::new();
        let mut sink = |line: &str| {
            lines.push(line.to_owned());
        };
        let late = async {
            sleep(2 * PAUSE).await;
            let mut output = File::options().append(true).open(step.path(OUTPUT)).unwrap();
            output.write_all(b"is late\r\n\xff").unwrap();
            // The last line is read before the end is known.
            sleep(3 * PAUSE).await;
            drop(running);
        };
        let (followed, ()) = tokio::join!(step.follow(&mut sink), late);
        followed.unwrap();
        assert_eq!(lines, ["not shown", "its end is late", "\u{fffd}"]);
    }

    /// Only a run that no signal has reached.
    #[test]
    fn a_run_that_ended_or_was_cancelled_is_not_interrupted() {
        let (_folder, step) = folder();
        assert!(!step.interrupt().unwrap());
        let running = step.begin().unwrap();
        step.cancelled().unwrap();
        assert!(!step.interrupt().unwrap());
        fs::remove_file(step.path(CANCELLED)).unwrap();
        drop(running);
        assert!(!step.interrupt().unwrap());
    }
}
