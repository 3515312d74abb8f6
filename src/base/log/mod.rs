//! What people read while a run goes on. Narration goes to standard error and what was asked for
//! (Terraform's own words, tables, JSON) to standard output; on Actions all goes to standard
//! output, because the runner keeps no order between two. Every line passes the redactor. On
//! Actions every line but our own commands stands between `::stop-commands::` and its token, so
//! that nothing that a program prints, or a file is called, can command the runner.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use self::{
    actions::{Fence, command_data},
    line::write_line,
};
use super::{
    error::{Error, FilePosition},
    redact::Redactor,
};

mod actions;
mod line;
mod progress;

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

    /// The same log, with the output of programs as a part of the narration, or on standard output
    /// as always.
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

    /// A step begins. On Actions what follows is folded below its title, until the next step or the
    /// end.
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

    /// What Terraform says of a line of code, shown by GitHub beside that line. Elsewhere its words
    /// alone must do.
    pub(crate) fn annotate(&self, is_error: bool, title: &str, text: &str, place: &FilePosition) {
        let Some((fence, properties)) =
            self.actions.as_ref().and_then(|fence| Some((fence, fence.place(place)?)))
        else {
            return;
        };
        let severity = if is_error { "error" } else { "warning" };
        let [title, text] = [title, text].map(|text| self.redactor.apply(text));
        fence.annotate(severity, &properties, &title, &text);
    }

    fn told(&self, severity: &str, style: Style, text: &str, place: Option<&FilePosition>) {
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
}
