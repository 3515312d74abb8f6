//! What was found, as data; the text is a view of it.

use serde_json::{Value, json};

use crate::base::error::{Error, Exit, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Ok,
    Warning,
    Problem,
}

#[derive(Debug)]
pub(crate) struct Finding {
    check: String,
    level: Level,
    what: String,
    remedy: Option<String>,
    /// A problem of credentials or permissions.
    of_access: bool,
}

#[derive(Default)]
pub(crate) struct Report(Vec<Finding>);

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Report {
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

    /// What could not be asked because something else is missing.
    pub(crate) fn skip(&mut self, check: &str, because: &str) {
        self.add(check, Level::Warning, format!("not checked: {because}"), None, false);
    }

    pub(crate) fn failed(&mut self, check: &str, level: Level, error: &Error) {
        let remedy = (!error.hints().is_empty()).then(|| error.hints().join("; "));
        self.add(check, level, error.story(), remedy, error.exit() == Exit::Credentials);
    }

    /// What was asked for; else the problem is noted.
    pub(crate) fn take<T>(&mut self, check: &str, asked: Result<T>) -> Option<T> {
        asked.map_err(|error| self.failed(check, Level::Problem, &error)).ok()
    }

    fn add(
        &mut self,
        check: &str,
        level: Level,
        what: String,
        remedy: Option<String>,
        of_access: bool,
    ) {
        // The service's own words may have lines; a finding is one.
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding { check: check.to_owned(), level, what, remedy, of_access });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    pub(crate) fn document(&self) -> Value {
        let finding = |it: &Finding| json!({"check": it.check, "level": it.level.name(), "what": it.what, "remedy": it.remedy});
        json!({
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
            "findings": self.0.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let width = self.0.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for Finding { check, level, what, remedy, .. } in &self.0 {
            lines.push(format!("{:<7}  {check:<width$}  {what}", level.name()));
            // A remedy may have lines to paste.
            let remedy = remedy.iter().flat_map(|remedy| remedy.lines().enumerate());
            lines.extend(remedy.map(|(n, line)| {
                format!("{:7}  {:width$}  {}{line}", "", "", ["-> ", "   "][n.min(1)])
            }));
        }
        lines
    }

    /// The last line of a good report; else the error that ends the run: 4 if access is all that is missing.
    pub(crate) fn verdict(&self) -> Result<String> {
        let warnings = counted(self.count(Level::Warning), "warning");
        match self.count(Level::Problem) {
            0 => Ok(format!("No problem, {warnings}")),
            problems => {
                let mut found = self.0.iter().filter(|finding| finding.level == Level::Problem);
                let exit = if found.all(|finding| finding.of_access) {
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

pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(report: &Report) -> Option<Exit> {
        report.verdict().err().map(|error| error.exit())
    }

    #[test]
    fn the_exit_code_says_whether_it_is_about_access_alone() {
        let mut report = Report::default();
        report.ok("a", "good");
        report.warning("b", "old", "renew it");
        assert_eq!(
            (exit(&report), report.verdict().unwrap().as_str()),
            (None, "No problem, 1 warning")
        );
        report.failed(
            "role",
            Level::Problem,
            &Error::new(Exit::Credentials, "no").hint("one").hint("two"),
        );
        assert_eq!(exit(&report), Some(Exit::Credentials));
        report.failed("store", Level::Problem, &Error::new(Exit::Unavailable, "gone"));
        assert_eq!(exit(&report), Some(Exit::Input));
        assert_eq!(
            report.lines(),
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
