//! The one error type: what failed, on which object, why, what to do next, and the exit code it
//! ends the run with.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use super::{printable, small_file};

/// Why a run ended, as the process exit code says it. The numbers are part of the public contract
/// (docs/exit-codes.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A defect of cdflow itself.
    Internal = 1,
    /// Bad input or configuration; nothing was touched.
    Input = 2,
    /// Refused by policy: a deploy guard, or a version that is immutable.
    Refused = 3,
    /// Credentials or a permission are missing.
    Credentials = 4,
    /// `terraform plan`, or the init before it at deploy, failed.
    PlanFailed = 5,
    /// `terraform apply` failed; the state was saved.
    ApplyFailed = 6,
    /// The state could not be saved; the message names the copy.
    StateNotSaved = 7,
    /// Another run holds the state lock.
    Locked = 8,
    /// An integrity check failed.
    Integrity = 9,
    /// A remote service did not answer after retries.
    Unavailable = 10,
    /// The build (init at release, a hook, an image) failed.
    BuildFailed = 11,
    /// Cancelled by SIGINT.
    Interrupted = 130,
    /// Cancelled by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// A stable word, for programs (docs/exit-codes.md).
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Input => "invalid-input",
            Self::Refused => "refused",
            Self::Credentials => "credentials",
            Self::PlanFailed => "plan-failed",
            Self::ApplyFailed => "apply-failed",
            Self::StateNotSaved => "state-not-saved",
            Self::Locked => "state-locked",
            Self::Integrity => "integrity",
            Self::Unavailable => "unavailable",
            Self::BuildFailed => "build-failed",
            Self::Interrupted | Self::Terminated => "cancelled",
        }
    }
}

/// An error that a person can act on without reading the code. Its text is printable, whatever it
/// quotes.
#[derive(Debug)]
pub(crate) struct Error {
    exit: Exit,
    what: String,
    why: Option<String>,
    hints: Vec<String>,
    place: Option<FilePosition>,
}

/// A position in a file of the checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePosition {
    pub(crate) file: PathBuf,
    pub(crate) line: u64,
    /// 0: not known.
    pub(crate) column: u64,
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `what` is a lowercase fragment with the object in backticks: "cannot read bundle `…`".
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        let what = printable::lines(&what.into());
        Self { exit, what, why: None, hints: Vec::new(), place: None }
    }

    /// Bad input or configuration, nothing touched (2).
    pub(crate) fn input(what: impl Into<String>) -> Self {
        Self::new(Exit::Input, what)
    }

    /// Refused by policy (3).
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what)
    }

    /// An integrity check failed (9).
    pub(crate) fn integrity(what: impl Into<String>) -> Self {
        Self::new(Exit::Integrity, what)
    }

    /// A defect of cdflow itself (1).
    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::new(Exit::Internal, what)
    }

    /// A local file operation failed (2). The message names the path.
    pub(crate) fn io(
        doing: impl fmt::Display,
        path: &std::path::Path,
        error: &std::io::Error,
    ) -> Self {
        let free = "free some space, or set TMPDIR to a folder on a larger disk";
        Self::io_on_disk(doing, path, error, free)
    }

    /// As [`Self::io`], with `free` as the fix for a full disk.
    pub(crate) fn io_on_disk(
        doing: impl fmt::Display,
        path: &std::path::Path,
        error: &std::io::Error,
        free: &str,
    ) -> Self {
        let why = without_temporary_path(error);
        let mut built = Self::input(format!("{doing} `{}`", path.display())).why(&why);
        if is_full(error) {
            built = built.hint(free);
        }
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            built = built.hint("give the user that runs cdflow the permission for it");
        }
        if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem {
            built = built.hint("mount its file system so that it can be written");
        }
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            built = built.hint("raise the limit of a file's size: `ulimit -f` shows it");
        }
        let is_of = |code: Errno| why.ends_with(&format!("(os error {})", code as i32));
        if [Errno::EMFILE, Errno::ENFILE].into_iter().any(is_of) {
            built = built.hint("raise the limit of open files: `ulimit -n` shows it");
        }
        if error.to_string() == small_file::IRREGULAR {
            built = built.hint("find out what it is, and move it elsewhere");
        }
        built
    }

    /// The cause, as the layer below put it.
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(printable::lines(&why.to_string()));
        self
    }

    /// Sets another exit code, for a caller that knows better what the failure means.
    pub(crate) fn exit_with(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds a fix, which starts with a verb. Can be called more than once.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(printable::lines(&hint.into()));
        self
    }

    /// Adds another error that happened afterwards, with its hints.
    pub(crate) fn also(self, other: &Self) -> Self {
        let with_story = self.hint(other.story());
        other.hints.iter().fold(with_story, |error, hint| error.hint(hint.clone()))
    }

    /// Sets the position to fix, for annotations. The text names it as well.
    pub(crate) fn at(mut self, file: &str, line: u64, column: u64) -> Self {
        self.place = Some(FilePosition { file: PathBuf::from(file), line, column });
        self
    }

    /// Makes the position of `at` relative to `folder`.
    pub(crate) fn below(mut self, folder: &Path) -> Self {
        if let Some(place) = &mut self.place {
            place.file = folder.join(&place.file);
        }
        self
    }

    pub(crate) fn place(&self) -> Option<&FilePosition> {
        self.place.as_ref()
    }

    /// Returns the cause, or what failed if the cause is unknown.
    pub(crate) fn cause(&self) -> &str {
        self.why.as_deref().unwrap_or(&self.what)
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what failed and why, without the hints.
    pub(crate) fn story(&self) -> String {
        match &self.why {
            Some(why) => format!("{}: {why}", self.what),
            None => self.what.clone(),
        }
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }
}

/// Writes `what: why`, then one line per hint. The log adds colour and prefix.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.story())?;
        for hint in &self.hints {
            write!(f, "{ADVICE}{hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What separates the advice of an error from what is before it.
pub(crate) const ADVICE: &str = "\n  -> ";

/// The cause of a state that was not saved, in the log and in the ledger.
pub(crate) const STATE_DISK_FULL: &str = "the disk of the state is full";

/// Whether a disk is full, or what this user may write there.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Whether the text of a failure says that a disk is full, in the words of the system or in ours.
pub(crate) fn is_disk_full(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words = ["no space left on device", "disk quota exceeded", STATE_DISK_FULL];
    words.iter().any(|words| text.contains(words))
}

/// Returns the words of the system without the path of a temporary file, which `tempfile` adds.
pub(crate) fn without_temporary_path(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at path \"").filter(|_| error.raw_os_error().is_none()) {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Returns the error and its sources, outermost first, without repetitions.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !text.ends_with(&words) {
            let _ = write!(text, ": {words}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_path_is_not_shown() {
        let missing = std::path::Path::new("/nonexistent/folder");
        let error = tempfile::Builder::new().prefix(".tmp-").tempfile_in(missing).unwrap_err();
        assert!(error.to_string().contains(".tmp-"), "{error}");
        let shown = Error::io("can't write in", missing, &error).to_string();
        let says = "can't write in `/nonexistent/folder`: No such file or directory (os error 2)";
        assert_eq!(shown, says);
    }

    /// Parsers quote what they read, so the error itself keeps its text from controlling a
    /// terminal.
    #[test]
    fn quoted_input_controls_no_terminal() {
        let error = Error::input("bad `\u{1b}[2J`").why("`\u{202e}`\r\nx").hint("use `\u{9b}1m`");
        let text = "bad `\u{fffd}[2J`: `\u{fffd}`\nx\n  -> use `\u{fffd}1m`";
        assert_eq!(error.to_string(), text);
    }
}
