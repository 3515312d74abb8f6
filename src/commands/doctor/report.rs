//! The findings of `doctor` as data, and their views as text and JSON.

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{
    error::{Error, Exit, FilePosition, Result},
    table::{Screen, labelled},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
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
    /// What to correct, if it is in a file.
    place: Option<FilePosition>,
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

impl Finding {
    fn new(check: &str, level: Level, what: String) -> Self {
        let check = check.to_owned();
        Self { check, level, what, remedy: None, place: None, is_access: false }
    }
}

impl DoctorReport {
    pub(crate) fn ok(&mut self, check: &str, what: impl Into<String>) {
        self.add(Finding::new(check, Level::Ok, what.into()));
    }

    pub(crate) fn warning(
        &mut self,
        check: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let finding = Finding::new(check, Level::Warning, what.into());
        self.add(Finding { remedy: Some(remedy.into()), ..finding });
    }

    /// Adds a warning about something in `file`.
    pub(crate) fn warning_in(&mut self, check: &str, file: &str, what: String, remedy: &str) {
        let place = Some(FilePosition { file: file.into(), line: 0, column: 0 });
        let finding = Finding::new(check, Level::Warning, what);
        self.add(Finding { remedy: Some(remedy.to_owned()), place, ..finding });
    }

    /// Adds a check that cannot run because something else is missing, as a warning.
    pub(crate) fn skip(&mut self, check: &str, because: &str) {
        self.add(Finding::new(check, Level::Warning, format!("not checked: {because}")));
    }

    /// Adds `error` as a finding, with its hints as the remedy.
    pub(crate) fn error(&mut self, check: &str, level: Level, error: &Error) {
        let remedy = (!error.hints().is_empty()).then(|| error.hints().join("; "));
        let (place, is_access) = (error.place().cloned(), error.exit() == Exit::Credentials);
        let finding = Finding::new(check, level, error.story());
        self.add(Finding { remedy, place, is_access, ..finding });
    }

    /// Returns the value of `result`; adds its error as a problem.
    pub(crate) fn record_error<T>(&mut self, check: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error(check, Level::Problem, &error)).ok()
    }

    fn add(&mut self, finding: Finding) {
        // Messages of services might have several lines; a finding has one.
        let what = finding.what.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding { what, ..finding });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// Returns the findings as JSON, the format of `doctor --json`.
    pub(crate) fn document(&self) -> DoctorDocument<'_> {
        DoctorDocument {
            problems: self.count(Level::Problem),
            warnings: self.count(Level::Warning),
            findings: self.0.iter().map(FindingDocument::of).collect(),
        }
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

/// The findings of the checks.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow doctor --json")]
pub(in crate::commands) struct DoctorDocument<'a> {
    /// The number of problems.
    problems: usize,
    /// The number of warnings.
    warnings: usize,
    /// The findings, in the order of the checks.
    findings: Vec<FindingDocument<'a>>,
}

/// A finding.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "finding")]
struct FindingDocument<'a> {
    /// The check, such as `release-store` or `environment-state`. It does not change with the
    /// component.
    #[schemars(regex(pattern = "^[a-z][a-z.-]*$"))]
    id: String,
    /// The environments that the finding is about, separated by commas. Null: the whole component.
    subject: Option<&'a str>,
    /// How bad it is.
    level: Level,
    /// The file to correct. Null: none is known.
    file: Option<String>,
    /// The line in the file. Null: unknown.
    #[schemars(range(min = 1))]
    line: Option<u64>,
    /// The finding, as a text for people.
    message: &'a str,
    /// What to do, as a text for people. Null: nothing.
    remedy: Option<&'a str>,
}

impl<'a> FindingDocument<'a> {
    fn of(finding: &'a Finding) -> Self {
        let (id, subject) = id_and_subject(&finding.check);
        let place = finding.place.as_ref();
        Self {
            id,
            subject,
            level: finding.level,
            file: place.map(|place| place.file.display().to_string()),
            line: place.map(|place| place.line).filter(|line| *line > 0),
            message: &finding.what,
            remedy: finding.remedy.as_deref(),
        }
    }
}

/// The beginnings of checks about environments, which follow, and their ids.
const OF_ENVIRONMENTS: [(&str, &str); 5] = [
    ("environment ", "environment"),
    ("state of ", "environment-state"),
    ("lock of ", "environment-lock"),
    ("ledger of ", "environment-ledger"),
    ("may change ", "may-change"),
];

/// Returns the id of a check, which does not change with the component, and the environments that
/// it is about.
fn id_and_subject(check: &str) -> (String, Option<&str>) {
    let mut of_environments = OF_ENVIRONMENTS.iter();
    match of_environments.find_map(|(start, id)| Some((*id, check.strip_prefix(start)?))) {
        Some((id, subject)) => (id.to_owned(), Some(subject)),
        None => (check.trim_end_matches('/').replace(',', "").replace(' ', "-"), None),
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
        assert_eq!(report.document().findings[2].remedy, Some("one; two"));
    }

    #[test]
    fn a_finding_for_programs_has_no_prose_in_its_keys() {
        for (check, id, subject) in [
            ("release store", "release-store", None),
            ("config/", "config", None),
            ("cdflow.yml", "cdflow.yml", None),
            ("environment *, ci", "environment", Some("*, ci")),
            ("state", "state", None),
            ("state of live", "environment-state", Some("live")),
            ("may release", "may-release", None),
            ("stores, state and secrets", "stores-state-and-secrets", None),
            ("may change live", "may-change", Some("live")),
        ] {
            assert_eq!(id_and_subject(check), (id.to_owned(), subject));
        }
        let mut report = DoctorReport::default();
        report.error("config/", Level::Problem, &Error::input("bad").at("config/ci.json", 3, 1));
        report.warning_in("workflows", ".github/workflows/a.yml", "old".to_owned(), "renew it");
        let findings = report.document().findings;
        let place = |it: &FindingDocument<'_>| (it.file.clone(), it.line);
        assert_eq!(place(&findings[0]), (Some("config/ci.json".to_owned()), Some(3)));
        assert_eq!(place(&findings[1]), (Some(".github/workflows/a.yml".to_owned()), None));
        assert_eq!(findings[1].message, "old");
    }
}
