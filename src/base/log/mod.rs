//! The output of a run. Narration goes to standard error, and results (Terraform's output, tables,
//! JSON) go to standard output. On Actions everything goes to standard output, because the runner
//! keeps no order between the two. Every line passes the redactor. On Actions every line except
//! cdflow's own commands is printed between `::stop-commands::` and its token, so that neither a
//! program's output nor a file name can command the runner.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use self::{
    actions::{RunnerCommands, command_data},
    bar::{Bar, Shown},
    line::{LostOutput, try_write_line, write_line},
    wrap::wrapped,
};
pub(crate) use self::{line::unwritten, progress::Progress};
use super::{
    error::{Error, FilePosition},
    printable,
    redact::Redactor,
};

mod actions;
mod bar;
mod line;
mod progress;
mod wrap;

/// Before each line of a note.
const NOTE: &str = "    ";

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) redactor: Redactor,
    /// 0 is normal; 1 also shows decisions and their reasons; 2 also shows each started program.
    verbosity: u8,
    color: bool,
    /// Standard output is read by another program, so everything for people goes to standard error.
    narrates_all: bool,
    /// Nothing is said to people.
    is_muted: bool,
    /// Standard error is a terminal.
    terminal: bool,
    /// The last line of that terminal, outside of any CI.
    bar: Option<Arc<Bar>>,
    /// The last line on standard error is a question without an answer, and has no end yet.
    is_asking: Arc<AtomicBool>,
    /// How long questions have waited for their answers, in milliseconds.
    asked: Arc<AtomicU64>,
    /// The prefix of each line if several tasks run at once.
    label: Option<Arc<str>>,
    /// On GitHub Actions: its commands for warnings and errors.
    actions: Option<Arc<RunnerCommands>>,
    lost: LostOutput,
}

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
            is_muted: false,
            terminal,
            bar: (terminal && !actions).then(Arc::default),
            is_asking: Arc::default(),
            asked: Arc::default(),
            label: None,
            actions: actions.then(|| Arc::new(RunnerCommands::open(None))),
            lost: LostOutput::default(),
        }
    }

    /// Returns the log with the checkout of the run.
    pub(crate) fn in_workspace(mut self, workspace: Option<&str>) -> Self {
        let workspace = workspace
            .map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path)));
        self.actions = self.actions.map(|_| Arc::new(RunnerCommands::open(workspace)));
        self
    }

    /// Returns the log with the settings of the inputs.
    pub(crate) fn with(self, verbosity: u8, no_color: bool) -> Self {
        Self { verbosity, color: self.color && !no_color, ..self }
    }

    /// Returns the log of a run whose terminal gets no bar: another program keeps what is printed,
    /// or the terminal cannot clear a line.
    pub(crate) fn without_bar(self) -> Self {
        Self { bar: None, ..self }
    }

    /// Removes the bar while something else is printed.
    fn wiped(&self) -> Option<MutexGuard<'_, Shown>> {
        self.bar.as_ref().map(|bar| bar.wiped())
    }

    fn unfold(&self) {
        if let Some(runner) = &self.actions {
            runner.end_group();
        }
    }

    /// Returns a log that prints the output of programs with the narration, or on standard output.
    pub(crate) fn narrating_all(&self, narrates_all: bool) -> Self {
        Self { narrates_all, ..self.clone() }
    }

    /// Returns the log of a run whose document is alone on standard output.
    pub(crate) fn for_document(self) -> Self {
        self.actions.iter().for_each(|runner| runner.leave_stdout());
        Self { narrates_all: true, ..self }
    }

    /// Returns a log that drops the narration, for work whose result alone is shown.
    pub(crate) fn muted(&self) -> Self {
        Self { is_muted: true, ..self.clone() }
    }

    /// Returns the log of one of several tasks that run at once.
    pub(crate) fn labelled(&self, label: &str) -> Self {
        Self { label: Some(label.into()), ..self.clone() }
    }

    fn with_label<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.label {
            Some(label) => Cow::Owned(format!("{label} | {text}")),
            None => Cow::Borrowed(text),
        }
    }

    /// Ends the log: the runner processes commands of the following steps again.
    pub(crate) fn finish(&self) {
        self.unfold();
        if let Some(runner) = &self.actions {
            runner.reopen(&mut runner.is_closed.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Whether Terraform should colour what it prints.
    pub(crate) fn colors_output(&self) -> bool {
        self.color && (self.actions.is_some() || io::stdout().is_terminal())
    }

    /// Starts a step. On Actions it is a group, which ends at the next step.
    pub(crate) fn step(&self, title: &str) {
        // Groups of tasks that run at once would interleave.
        if let Some(runner) = self.actions.as_ref().filter(|_| self.label.is_none()) {
            return runner.group(&command_data(&self.redactor.apply(title)));
        }
        self.narrate(&self.paint(Style::Bold, &format!("==> {title}")));
    }

    /// Prints what a step found or did.
    pub(crate) fn note(&self, text: &str) {
        // Redacted first: a line break could split a secret.
        let text = self.redactor.apply(text);
        self.indented(&self.fitted(&text, 0, NOTE.len()));
    }

    fn indented(&self, text: &str) {
        for line in text.lines() {
            self.narrate(&format!("{NOTE}{line}"));
        }
    }

    /// Returns the text with lines that fit the terminal, if there is one. `label` is how much of
    /// the first line is taken, and `indent` of every line.
    fn fitted(&self, text: &str, label: usize, indent: usize) -> String {
        let is_wrapped = self.terminal && self.actions.is_none() && self.label.is_none();
        match terminal_size_of(io::stderr()).filter(|_| is_wrapped) {
            Some((Width(width), _)) => {
                wrapped(text, label, usize::from(width).saturating_sub(indent))
            }
            None => text.to_owned(),
        }
    }

    /// Prints the success message of a run.
    pub(crate) fn done(&self, text: &str) {
        if self.label.is_none() {
            self.unfold();
        }
        self.narrate(&self.paint(Style::Green, text));
    }

    /// Shown with `-v`.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity >= 1 {
            self.indented(&self.paint(Style::Dim, text));
        }
    }

    /// Shown with `-vv`.
    pub(crate) fn debug(&self, text: &str) {
        if self.verbosity >= 2 {
            self.indented(&self.paint(Style::Dim, text));
        }
    }

    pub(crate) fn warning(&self, text: &str) {
        self.report("warning", Style::Yellow, text, None);
    }

    pub(crate) fn error(&self, error: &Error) {
        self.unfold();
        self.report("error", Style::Red, &error.to_string(), error.place());
    }

    /// Annotates a line of code with a message from Terraform. Does nothing outside of GitHub
    /// Actions.
    pub(crate) fn annotate(&self, is_error: bool, title: &str, text: &str, place: &FilePosition) {
        let Some((runner, properties)) = self
            .actions
            .as_ref()
            .and_then(|runner| Some((runner, runner.place(place, &self.redactor)?)))
        else {
            return;
        };
        let severity = if is_error { "error" } else { "warning" };
        let [title, text] = [title, text].map(|text| self.redactor.apply(text));
        runner.annotate(severity, &properties, &title, &text);
    }

    fn report(&self, severity: &str, style: Style, text: &str, place: Option<&FilePosition>) {
        match &self.actions {
            Some(runner) => {
                let properties = place.and_then(|place| runner.place(place, &self.redactor));
                let properties = properties.map(|place| format!(" {place}"));
                let properties = properties.unwrap_or_default();
                let text = self.with_label(text);
                runner.command(&format!(
                    "::{severity}{properties}::{}",
                    command_data(&self.redactor.apply(&text))
                ));
            }
            None => {
                let label = format!("{severity}:");
                let text = self.redactor.apply(text);
                let text = self.fitted(&text, label.len() + 1, 0);
                self.narrate(&format!("{} {text}", self.paint(style, &label)));
            }
        }
    }

    /// Prints a document for another program, alone on standard output.
    pub(crate) fn json(&self, document: &impl Serialize) {
        let document = serde_json::json!(document);
        // The runner processes `##[` anywhere in a line; in JSON it can only occur in a string.
        let text = format!("{document:#}").replace("##[", "\\u0023#[");
        let text = self.redactor.apply(&text);
        let _bar = self.wiped();
        self.lost.keep(try_write_line(&mut io::stdout().lock(), &text));
    }

    /// Prints a line of a program's output, or of a requested result.
    pub(crate) fn output(&self, line: &str) {
        let line = self.with_label(line);
        let line = self.redactor.apply(&line);
        let _bar = self.wiped();
        match &self.actions {
            Some(runner) => self.lost.keep(runner.line(&line)),
            None if self.narrates_all => write_line(&mut io::stderr().lock(), &line),
            None => self.lost.keep(try_write_line(&mut io::stdout().lock(), &line)),
        }
    }

    /// Prints lines of a program that runs code of others. Its colours stay; other control
    /// characters are replaced, because they could hide or forge lines on a terminal.
    pub(crate) fn program_output(&self, text: &str) {
        // Redacted first: a secret can contain such characters.
        let text = self.redactor.apply(text);
        let has_colors = self.colors_output();
        text.split('\n').for_each(|line| self.output(&printable::colored_line(line, has_colors)));
    }

    /// Returns the error if a line of standard output was lost, for example on a full disk. The run
    /// itself goes on: a failure to print must not stop an apply.
    pub(crate) fn lost_output(&self) -> Option<Error> {
        self.lost.error()
    }

    /// Prints a line of the standard error of a program that the user started.
    pub(crate) fn error_output(&self, line: &str) {
        self.narrate(line);
    }

    /// Prints a question, after which the answer is typed on the same line.
    pub(crate) fn question(&self, text: &str) {
        let text = self.redactor.apply(text);
        let _bar = self.wiped();
        self.is_asking.store(true, Ordering::Relaxed);
        let mut out = io::stderr().lock();
        let _ = write!(out, "{}", self.paint(Style::Bold, &text)).and_then(|()| out.flush());
    }

    /// Ends the line of a question. `has_line_end`: the person did so.
    pub(crate) fn answered(&self, has_line_end: bool) {
        if self.is_asking.swap(false, Ordering::Relaxed) && !has_line_end {
            write_line(&mut io::stderr().lock(), "");
        }
    }

    /// Counts the time that a question has waited for its answer.
    pub(crate) fn add_time_asked(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.asked.fetch_add(millis, Ordering::Relaxed);
    }

    /// Returns how long the questions of this run have waited for their answers.
    pub(crate) fn time_asked(&self) -> Duration {
        Duration::from_millis(self.asked.load(Ordering::Relaxed))
    }

    fn narrate(&self, line: &str) {
        if self.is_muted {
            return;
        }
        self.answered(false);
        match &self.actions {
            Some(_) => self.output(line),
            None => {
                let line = self.with_label(line);
                let line = self.redactor.apply(&line);
                let _bar = self.wiped();
                write_line(&mut io::stderr().lock(), &line);
            }
        }
    }

    /// Adds colour. Use it only for fixed texts: colour codes could split a secret and hide it from
    /// the redactor.
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
}
