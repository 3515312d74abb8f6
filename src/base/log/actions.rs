//! Workflow commands of GitHub Actions: groups, annotations, and stopping the processing of
//! commands.

use std::{
    collections::BTreeSet,
    io,
    path::{Component, Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::line::try_write_line;
use crate::base::{
    error::FilePosition,
    redact::{Redactor, Secret},
};

/// The runner's state: whether it processes commands, and what was sent.
pub(super) struct RunnerCommands {
    /// The token that resumes command processing: 256 random bits.
    token: String,
    pub(super) is_closed: Mutex<bool>,
    /// A group is open.
    is_grouped: AtomicBool,
    /// Standard output has a document. The runner reads commands from standard error as well.
    is_on_stderr: AtomicBool,
    /// The root of the checkout, to which positions are relative.
    workspace: Option<PathBuf>,
    /// Annotations that were sent, so that each is sent once.
    annotated: Mutex<BTreeSet<String>>,
}

/// GitHub shows ten annotations of a severity per step; one is reserved for the error that ends the
/// run.
const ANNOTATIONS: usize = 9;
/// GitHub cuts the text of an annotation at this number of characters.
const ANNOTATION_LENGTH: usize = 4_096;

impl RunnerCommands {
    pub(super) fn open(workspace: Option<PathBuf>) -> Self {
        // Without random bytes any token could be guessed: then command processing is never
        // resumed.
        let token = Secret::random().map(|token| token.expose().to_owned()).unwrap_or_default();
        Self {
            token,
            is_closed: Mutex::new(false),
            is_grouped: AtomicBool::new(false),
            is_on_stderr: AtomicBool::new(false),
            workspace,
            annotated: Mutex::default(),
        }
    }

    /// Leaves standard output to the result of the run.
    pub(super) fn leave_stdout(&self) {
        self.is_on_stderr.store(true, Ordering::Relaxed);
    }

    fn write(&self, line: &str) -> io::Result<()> {
        match self.is_on_stderr.load(Ordering::Relaxed) {
            true => try_write_line(&mut io::stderr().lock(), line),
            false => try_write_line(&mut io::stdout().lock(), line),
        }
    }

    /// Groups don't nest.
    pub(super) fn group(&self, title: &str) {
        self.end_group();
        self.is_grouped.store(true, Ordering::Relaxed);
        self.command(&format!("::group::{title}"));
    }

    pub(super) fn end_group(&self) {
        if self.is_grouped.swap(false, Ordering::Relaxed) {
            self.command("::endgroup::");
        }
    }

    /// Returns `file=…,line=…,col=…`, or None if the file is not in the checkout. Masks secrets in
    /// the path before it is escaped, because then they would be spelled differently.
    pub(super) fn place(&self, place: &FilePosition, redactor: &Redactor) -> Option<String> {
        let path = normal(&place.file);
        let path = path.strip_prefix(self.workspace.as_ref()?).ok()?.to_str()?;
        let path = redactor.apply(path);
        let column =
            if place.column > 0 { format!(",col={}", place.column) } else { String::new() };
        Some(format!("file={},line={}{column}", command_property(&path), place.line))
    }

    /// Annotates a position, if GitHub still shows annotations of this severity and this one is
    /// new.
    pub(super) fn annotate(&self, severity: &str, properties: &str, title: &str, text: &str) {
        let text: String = text.chars().take(ANNOTATION_LENGTH).collect();
        let title = command_property(title);
        let of_severity = format!("::{severity} ");
        let command = format!("{of_severity}{properties},title={title}::{}", command_data(&text));
        let mut annotated = self.annotated.lock().unwrap_or_else(PoisonError::into_inner);
        let is_room =
            annotated.iter().filter(|one| one.starts_with(&of_severity)).count() < ANNOTATIONS;
        if is_room && annotated.insert(command.clone()) {
            self.command(&command);
        }
    }

    /// Prints a line that must not be processed as a command.
    pub(super) fn line(&self, line: &str) -> io::Result<()> {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_closed, true) {
            let _ = self.write(&format!("::stop-commands::{}", self.token));
        }
        self.write(line)
    }

    pub(super) fn command(&self, command: &str) {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        self.reopen(&mut is_closed);
        let _ = self.write(command);
    }

    pub(super) fn reopen(&self, is_closed: &mut bool) {
        if std::mem::replace(is_closed, false) {
            let _ = self.write(&format!("::{}::", self.token));
        }
    }
}

/// The runner reads `%`, CR and LF of a command's text as escapes.
pub(super) fn command_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a command's properties `:` and `,` are escapes as well.
fn command_property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Resolves `.` and `..` without reading the file system.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut done, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(done.pop()),
            part => done.push(part),
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_text_is_escaped() {
        assert_eq!(command_data("a%0A\n::b"), "a%250A%0A::b");
        assert_eq!(command_property("a,b:c%\r\n"), "a%2Cb%3Ac%25%0D%0A");
        assert_eq!(normal(Path::new("/w/app/infra/../../lib/./x.tf")), Path::new("/w/lib/x.tf"));
    }

    #[test]
    fn a_position_shows_no_secret() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter2:hunter2"));
        let runner = RunnerCommands::open(Some("/w".into()));
        let file = PathBuf::from("/w/infra/hunter2:hunter2.tf");
        let place = runner.place(&FilePosition { file, line: 3, column: 0 }, &redactor);
        assert_eq!(place.as_deref(), Some("file=infra/***.tf,line=3"));
    }
}
