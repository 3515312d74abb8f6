//! What people read while a run goes on. Narration goes to standard error and what was asked for (Terraform's own words,
//! tables, JSON) to standard output; on Actions all goes to standard output, because the runner keeps no order between two.
//! Every line passes the redactor.

use std::{
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{error::Error, redact::Redactor};

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) redactor: Redactor,
    /// 0 is normal; 1 tells what was chosen and why; 2 and more tell each program that is started.
    verbosity: u8,
    color: bool,
    /// Standard error is a terminal: a progress line may be drawn over.
    terminal: bool,
    /// On GitHub Actions: its commands for warnings and errors.
    actions: bool,
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
        Self { redactor, verbosity, color: !no_color && (terminal || actions), terminal, actions }
    }

    /// Whether Terraform should colour what it prints.
    pub(crate) fn colors_output(&self) -> bool {
        self.color && (self.actions || io::stdout().is_terminal())
    }

    /// A step begins.
    pub(crate) fn step(&self, title: &str) {
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
        match self.actions {
            true => self.narrate(&format!("::warning::{}", command_data(&self.redactor.apply(text)))),
            false => self.narrate(&format!("{} {text}", self.paint(Style::Yellow, "warning:"))),
        }
    }

    pub(crate) fn error(&self, error: &Error) {
        let text = error.to_string();
        match self.actions {
            true => self.narrate(&format!("::error::{}", command_data(&self.redactor.apply(&text)))),
            false => self.narrate(&format!("{} {text}", self.paint(Style::Red, "error:"))),
        }
    }

    /// A line of a program that runs for us, or of what the user asked to see.
    pub(crate) fn output(&self, line: &str) {
        let line = self.redactor.apply(line);
        // A closed pipe (`| head`) is no reason to stop an apply half way.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }

    fn narrate(&self, line: &str) {
        let line = self.redactor.apply(line);
        let _ = match self.actions {
            true => writeln!(io::stdout().lock(), "{line}"),
            false => writeln!(io::stderr().lock(), "{line}"),
        };
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
        Progress { log: self, what, total, started: Instant::now(), done: AtomicU64::new(0), shown: AtomicU64::new(0) }
    }
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
        let pause = if self.log.terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        let shown = self.shown.load(Ordering::Relaxed);
        if now.saturating_sub(shown) < u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
            || self.shown.compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let line = format!("    {}: {} of {}", self.what, bytes_text(done), bytes_text(self.total));
        let _ = match self.log.terminal {
            true => write!(io::stderr().lock(), "\r\u{1b}[K{line}"),
            false => writeln!(io::stderr().lock(), "{line}"),
        };
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
    }
}
