//! The findings of `doctor` as data, and their views as text and JSON.

use serde_json::{Value, json};

use crate::base::{
    error::{Error, Exit, Result},
    table::{Screen, labelled},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Ok,
    Warning,
    Problem,
}

/// The result of one check.
#[derive(Debug)]
pub(crate) struct Finding {
    check: String,
    level: Level,
    what: String,
    remedy: Option<String>,
    /// Whether it is a problem of credentials or permissions.
    is_access: bool,
}

/// All findings, in the order of the checks.
#[derive(Default)]
pub(crate) struct DoctorReport(Vec<Finding>);

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl DoctorReport {
    pub(crate) fn ok(&mut self, check: &str, what: impl Into<String>) {
        self.add(check, Level::Ok, what.into(), None, false);
    }

    pub(crate) fn warning(
        &mut self,
        check: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Warning, what.into(), Some(remedy.into()), false);
    }

    /// Adds a check that cannot run because something else is missing, as a warning.
    pub(crate) fn skip(&mut self, check: &str, because: &str) {
        self.add(check, Level::Warning, format!("not checked: {because}"), None, false);
    }

    /// Adds `error` as a finding, with its hints as the remedy.
    pub(crate) fn error(&mut self, check: &str, level: Level, error: &Error) {
        let remedy = (!error.hints().is_empty()).then(|| error.hints().join("; "));
        self.add(check, level, error.story(), remedy, error.exit() == Exit::Credentials);
    }

    /// Returns the value of `result`; adds its error as a problem.
    pub(crate) fn record_error<T>(&mut self, check: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error(check, Level::Problem, &error)).ok()
    }

    fn add(
        &mut self,
        check: &str,
        level: Level,
        what: String,
        remedy: Option<String>,
        is_access: bool,
    ) {
        // Messages of services might have several lines; a finding has one.
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding { check: check.to_owned(), level, what, remedy, is_access });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// Returns the findings as JSON, the format of `doctor --json`.
    pub(crate) fn document(&self) -> Value {
        let finding = |it: &Finding| {
            json!({
                "check": it.check,
                "level": it.level.name(),
                "what": it.what,
                "remedy": it.remedy,
            })
        };
        json!({
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
            "findings": self.0.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    /// Returns the findings as a table, each remedy below its finding.
    pub(crate) fn lines(&self, screen: Screen) -> Vec<String> {
        let width = self.0.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for Finding { check, level, what, remedy, .. } in &self.0 {
            let label = format!("{:<7}  {check:<width$}  ", level.name());
            lines.extend(what.lines().flat_map(|line| labelled(&label, line, screen)));
            let space = " ".repeat(label.chars().count());
            for (n, line) in remedy.iter().flat_map(|remedy| remedy.lines().enumerate()) {
                match n {
                    0 => lines.extend(labelled(&format!("{space}-> "), line, screen)),
                    // More lines are there to be copied.
                    _ => lines.push(format!("{space}   {line}")),
                }
            }
        }
        lines
    }

    /// Returns the last line of a report without problems.
    ///
    /// # Errors
    /// Exit code 4 if all problems are about credentials or permissions, else 2.
    pub(crate) fn verdict(&self) -> Result<String> {
        let warnings = counted(self.count(Level::Warning), "warning");
        match self.count(Level::Problem) {
            0 => Ok(format!("No problems, {warnings}")),
            problems => {
                let mut found = self.0.iter().filter(|finding| finding.level == Level::Problem);
                let exit = if found.all(|finding| finding.is_access) {
                    Exit::Credentials
                } else {
                    Exit::Input
                };
                Err(Error::new(
                    exit,
                    format!("doctor found {}, {warnings}", counted(problems, "problem")),
                ))
            }
        }
    }
}

/// Returns a number with its noun, such as `2 files`.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(report: &DoctorReport) -> Option<Exit> {
        report.verdict().err().map(|error| error.exit())
    }

    #[test]
    fn the_exit_code_is_4_if_only_access_is_missing() {
        let mut report = DoctorReport::default();
        report.ok("a", "good");
        report.warning("b", "old", "renew it");
        assert_eq!(
            (exit(&report), report.verdict().unwrap().as_str()),
            (None, "No problems, 1 warning")
        );
        report.error(
            "role",
            Level::Problem,
            &Error::new(Exit::Credentials, "no").hint("one").hint("two"),
        );
        assert_eq!(exit(&report), Some(Exit::Credentials));
        report.error("store", Level::Problem, &Error::new(Exit::Unavailable, "gone"));
        assert_eq!(exit(&report), Some(Exit::Input));
        assert_eq!(
            report.lines(Screen::default()),
            [
                "ok       a      good",
                "warning  b      old",
                "                -> renew it",
                "problem  role   no",
                "                -> one; two",
                "problem  store  gone",
            ]
        );
        assert_eq!(report.document()["findings"][2]["remedy"], "one; two");
    }
}
