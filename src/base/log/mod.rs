//! What people read while a run goes on. Narration goes to standard error and what was asked for (Terraform's own words,
//! tables, JSON) to standard output; on Actions all goes to standard output, because the runner keeps no order between two.
//! Every line passes the redactor. On Actions every line but our own commands stands between `::stop-commands::` and its
//! token, so that nothing that a program prints, or a file is called, can command the runner.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    io::{self, IsTerminal, Write},
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    error::{Error, Place},
    redact::{Redactor, Secret},
};

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) redactor: Redactor,
    /// 0 is normal; 1 tells what was chosen and why; 2 and more tell each program that is started.
    verbosity: u8,
    color: bool,
    /// Standard output is another program's: what is for people goes to standard error.
    narrates_all: bool,
    /// Standard error is a terminal: a progress line may be drawn over.
    terminal: bool,
    /// What each line begins with, where several things are done at once.
    label: Option<Arc<str>>,
    /// On GitHub Actions: its commands for warnings and errors.
    actions: Option<Arc<Fence>>,
}

/// Whether the runner listens to commands.
struct Fence {
    /// What makes it listen again: 256 random bits.
    token: String,
    is_closed: Mutex<bool>,
    /// A step's lines are being folded.
    is_grouped: AtomicBool,
    /// The checkout's root: places are told relative to it.
    workspace: Option<PathBuf>,
    /// Annotations of places that were made, each once.
    annotated: Mutex<BTreeSet<String>>,
}

/// Of one kind GitHub shows ten per step; one is left for the error that ends the run.
const ANNOTATIONS: usize = 9;
/// Of an annotation's text, GitHub keeps so many characters.
const ANNOTATION_LENGTH: usize = 4_096;

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Log {
    pub(crate) fn new(redactor: Redactor, verbosity: u8, no_color: bool, actions: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let color = !no_color && (terminal || actions);
        Self {
            redactor,
            verbosity,
            color,
            narrates_all: false,
            terminal,
            label: None,
            actions: actions.then(|| Arc::new(Fence::open(None))),
        }
    }

    /// The same log, of a run in this checkout.
    pub(crate) fn in_workspace(mut self, workspace: Option<&str>) -> Self {
        let workspace = workspace
            .map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path)));
        self.actions = self.actions.map(|_| Arc::new(Fence::open(workspace)));
        self
    }

    /// The same log, as the inputs want it.
    pub(crate) fn with(self, verbosity: u8, no_color: bool) -> Self {
        Self { verbosity, color: self.color && !no_color, ..self }
    }

    fn unfold(&self) {
        if let Some(fence) = &self.actions {
            fence.end_group();
        }
    }

    /// The same log, with the output of programs as a part of the narration, or on standard output as always.
    pub(crate) fn narrating_all(&self, narrates_all: bool) -> Self {
        Self { narrates_all, ..self.clone() }
    }

    /// The same log, of one of several things that are done at once.
    pub(crate) fn labelled(&self, label: &str) -> Self {
        Self { label: Some(label.into()), ..self.clone() }
    }

    fn with_label<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.label {
            Some(label) => Cow::Owned(format!("{label} | {text}")),
            None => Cow::Borrowed(text),
        }
    }

    /// The end of a run: steps after ours must be heard again.
    pub(crate) fn finish(&self) {
        self.unfold();
        if let Some(fence) = &self.actions {
            fence.reopen(&mut fence.is_closed.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Whether Terraform should colour what it prints.
    pub(crate) fn colors_output(&self) -> bool {
        self.color && (self.actions.is_some() || io::stdout().is_terminal())
    }

    /// A step begins. On Actions what follows is folded below its title, until the next step or the end.
    pub(crate) fn step(&self, title: &str) {
        // Folds of things that are done at once would be in one another.
        if let Some(fence) = self.actions.as_ref().filter(|_| self.label.is_none()) {
            return fence.group(&command_data(&self.redactor.apply(title)));
        }
        self.narrate(&self.paint(Style::Bold, &format!("==> {title}")));
    }

    /// What a step found or did.
    pub(crate) fn note(&self, text: &str) {
        for line in text.lines() {
            self.narrate(&format!("    {line}"));
        }
    }

    /// The good end of a run.
    pub(crate) fn done(&self, text: &str) {
        if self.label.is_none() {
            self.unfold();
        }
        self.narrate(&self.paint(Style::Green, text));
    }

    /// Shown with `-v`.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity >= 1 {
            self.note(&self.paint(Style::Dim, text));
        }
    }

    /// Shown with `-vv`.
    pub(crate) fn debug(&self, text: &str) {
        if self.verbosity >= 2 {
            self.note(&self.paint(Style::Dim, text));
        }
    }

    pub(crate) fn warning(&self, text: &str) {
        self.told("warning", Style::Yellow, text, None);
    }

    pub(crate) fn error(&self, error: &Error) {
        self.unfold();
        self.told("error", Style::Red, &error.to_string(), error.place());
    }

    /// What Terraform says of a line of code, shown by GitHub beside that line. Elsewhere its words alone must do.
    pub(crate) fn annotate(&self, is_error: bool, title: &str, text: &str, place: &Place) {
        let Some((fence, properties)) =
            self.actions.as_ref().and_then(|fence| Some((fence, fence.place(place)?)))
        else {
            return;
        };
        let severity = if is_error { "error" } else { "warning" };
        let [title, text] = [title, text].map(|text| self.redactor.apply(text).into_owned());
        let text: String = text.chars().take(ANNOTATION_LENGTH).collect();
        let command = format!(
            "::{severity} {properties},title={}::{}",
            command_property(&title),
            command_data(&text)
        );
        let mut annotated = fence.annotated.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = format!("::{severity} ");
        let is_room =
            annotated.iter().filter(|one| one.starts_with(&of_kind)).count() < ANNOTATIONS;
        if is_room && annotated.insert(command.clone()) {
            fence.command(&command);
        }
    }

    fn told(&self, severity: &str, style: Style, text: &str, place: Option<&Place>) {
        match &self.actions {
            Some(fence) => {
                let properties =
                    place.and_then(|place| fence.place(place)).map(|place| format!(" {place}"));
                let properties = properties.unwrap_or_default();
                let text = self.with_label(text);
                fence.command(&format!(
                    "::{severity}{properties}::{}",
                    command_data(&self.redactor.apply(&text))
                ));
            }
            None => self.narrate(&format!("{} {text}", self.paint(style, &format!("{severity}:")))),
        }
    }

    /// A document for another program: alone on standard output, and whole.
    pub(crate) fn json(&self, document: &serde_json::Value) {
        // `##[` would be a command to the runner wherever it stands; in JSON it can only stand in a string.
        let text = format!("{document:#}").replace("##[", "\\u0023#[");
        write_line(&mut io::stdout().lock(), &self.redactor.apply(&text));
    }

    /// A line of a program that runs for us, or of what the user asked to see.
    pub(crate) fn output(&self, line: &str) {
        let line = self.with_label(line);
        let line = self.redactor.apply(&line);
        match &self.actions {
            Some(fence) => fence.line(&line),
            None if self.narrates_all => write_line(&mut io::stderr().lock(), &line),
            None => write_line(&mut io::stdout().lock(), &line),
        }
    }

    /// A line of the standard error of a program that the user asked for.
    pub(crate) fn error_output(&self, line: &str) {
        self.narrate(line);
    }

    fn narrate(&self, line: &str) {
        match &self.actions {
            Some(_) => self.output(line),
            None => {
                write_line(&mut io::stderr().lock(), &self.redactor.apply(&self.with_label(line)))
            }
        }
    }

    /// Only for words of ours, never around a secret that colour codes could split.
    fn paint(&self, style: Style, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Red => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Progress of a transfer of `total` bytes.
    pub(crate) fn progress<'a>(&'a self, what: &'a str, total: u64) -> Progress<'a> {
        Progress {
            log: self,
            what,
            total,
            started: Instant::now(),
            done: AtomicU64::new(0),
            shown: AtomicU64::new(0),
        }
    }
}

impl Fence {
    fn open(workspace: Option<PathBuf>) -> Self {
        // Without random bytes there is no token that a program could not guess: then the runner is never made to listen again.
        let token = Secret::random().map(|token| token.expose().to_owned()).unwrap_or_default();
        Self {
            token,
            is_closed: Mutex::new(false),
            is_grouped: AtomicBool::new(false),
            workspace,
            annotated: Mutex::default(),
        }
    }

    /// Groups don't nest.
    fn group(&self, title: &str) {
        self.end_group();
        self.is_grouped.store(true, Ordering::Relaxed);
        self.command(&format!("::group::{title}"));
    }

    fn end_group(&self) {
        if self.is_grouped.swap(false, Ordering::Relaxed) {
            self.command("::endgroup::");
        }
    }

    /// `file=…,line=…,col=…`; None for what is not in the checkout.
    fn place(&self, place: &Place) -> Option<String> {
        let path = normal(&place.file);
        let path = path.strip_prefix(self.workspace.as_ref()?).ok()?.to_str()?;
        let column =
            if place.column > 0 { format!(",col={}", place.column) } else { String::new() };
        Some(format!("file={},line={}{column}", command_property(path), place.line))
    }

    /// Something that must not be taken for a command.
    fn line(&self, line: &str) {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = io::stdout().lock();
        if !std::mem::replace(&mut *is_closed, true) {
            write_line(&mut out, &format!("::stop-commands::{}", self.token));
        }
        write_line(&mut out, line);
    }

    fn command(&self, command: &str) {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        self.reopen(&mut is_closed);
        write_line(&mut io::stdout().lock(), command);
    }

    fn reopen(&self, is_closed: &mut bool) {
        if std::mem::replace(is_closed, false) {
            write_line(&mut io::stdout().lock(), &format!("::{}::", self.token));
        }
    }
}

/// A closed pipe (`| head`) is no reason to stop an apply half way.
fn write_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
}

/// Drawn over on a terminal; elsewhere a plain line every ten seconds, so that a short transfer stays silent.
pub(crate) struct Progress<'a> {
    log: &'a Log,
    what: &'a str,
    total: u64,
    started: Instant,
    done: AtomicU64,
    /// In milliseconds since the start.
    shown: AtomicU64,
}

impl Progress<'_> {
    /// So many bytes more are done.
    pub(crate) fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pause =
            if self.log.terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        let shown = self.shown.load(Ordering::Relaxed);
        if now.saturating_sub(shown) < u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
            || self
                .shown
                .compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let line = format!("    {}: {} of {}", self.what, bytes_text(done), bytes_text(self.total));
        match self.log.terminal && self.log.actions.is_none() {
            true => {
                let _ = write!(io::stderr().lock(), "\r\u{1b}[K{line}");
            }
            false => self.log.narrate(&line),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.log.terminal && self.shown.load(Ordering::Relaxed) > 0 {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

/// The runner reads `%`, CR and LF of a command's text as escapes.
fn command_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a command's properties `:` and `,` are escapes as well.
fn command_property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Without `.` and `..`, by the text alone.
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

/// `148.2 MB`: decimal units, as object stores bill them.
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => {
            let tenths = bytes / (size / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// `8s`, `2m 05s`, `1h 02m`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        let sizes = [0, 999, 1_000, 148_234_567, 2_000_000_000].map(bytes_text);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "148.2 MB", "2.0 GB"]);
        let times = [8, 125, 3725].map(|s| duration_text(Duration::from_secs(s)));
        assert_eq!(times, ["8s", "2m 05s", "1h 02m"]);
    }

    #[test]
    fn command_text_is_escaped() {
        assert_eq!(command_data("a%0A\n::b"), "a%250A%0A::b");
        assert_eq!(command_property("a,b:c%\r\n"), "a%2Cb%3Ac%25%0D%0A");
        assert_eq!(normal(Path::new("/w/app/infra/../../lib/./x.tf")), Path::new("/w/lib/x.tf"));
    }
}
