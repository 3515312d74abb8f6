//! The rows of the check run `cdflow`, one per component and environment, and what they mean
//! together.
//!
//! The text of the check run begins with a hidden line that holds the rows as JSON.

use serde::{Deserialize, Serialize};

use crate::report::{
    Guard, Outcome, Report, RunRef,
    body::change_summary,
    markdown::{code_cell, counted, link, words},
};

const START: &str = "<!-- cdflow:check ";
const END: &str = " -->";
/// The version of the format. A check run with a higher one is left alone.
const FORMAT: u32 = 1;

/// What the jobs have added, in an order that does not depend on theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckRows {
    /// Sorted by component and environment.
    rows: Vec<CheckRow>,
    /// The newest run that found no affected component. It says nothing about the rows of others.
    unaffected: Option<RunRef>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CheckRow {
    component: String,
    environment: String,
    /// None: it is running.
    outcome: Option<Outcome>,
    /// A deploy of the plan would be refused.
    refuses: bool,
    changes: String,
    run: u64,
    attempt: u64,
    url: Option<String>,
    /// How many rows the check run waits for.
    total: usize,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    rows: Vec<CheckRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unaffected: Option<RunRef>,
}

/// What the check run shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CheckState {
    /// None: in progress.
    pub(super) conclusion: Option<&'static str>,
    pub(crate) title: String,
    /// Whether jobs have added rows.
    pub(crate) has_rows: bool,
}

impl From<CheckRow> for CheckRows {
    fn from(row: CheckRow) -> Self {
        Self { rows: vec![row], unaffected: None }
    }
}

impl CheckRow {
    /// Returns the row of a report. None if it has no environment. `is_running`: the run has not
    /// ended.
    pub(super) fn of(report: &Report, total: usize, is_running: bool) -> Option<Self> {
        let run = report.run.clone().unwrap_or_default();
        let plan = report.plan.as_ref();
        Some(Self {
            component: report.component.clone()?,
            environment: report.environment.clone()?,
            outcome: (!is_running).then_some(report.outcome),
            refuses: matches!(report.guard, Some(Guard::Refuses(_))),
            changes: plan.map(|it| change_summary(it, report.outcome)).unwrap_or_default(),
            run: run.id,
            attempt: run.attempt,
            url: run.url,
            total,
        })
    }

    fn is_place_of(&self, other: &Self) -> bool {
        self.component == other.component && self.environment == other.environment
    }

    /// A later attempt replaces an earlier one, and an end replaces its start.
    fn order(&self) -> (u64, u64, bool) {
        (self.run, self.attempt, self.outcome.is_some())
    }

    fn is_bad(&self) -> bool {
        let bad = [Outcome::Refused, Outcome::Interrupted, Outcome::Failed, Outcome::Unfinished];
        self.refuses || self.outcome.is_some_and(|outcome| bad.contains(&outcome))
    }

    fn word(&self) -> &'static str {
        match self.outcome {
            None => "running",
            Some(_) if self.refuses => "would be refused",
            Some(outcome) => outcome.word(),
        }
    }
}

impl CheckRows {
    /// Whether a newer cdflow wrote this text of a check run.
    pub(super) fn is_newer(text: &str) -> bool {
        text.starts_with(START) && Self::parse(text).is_none()
    }

    /// Returns the rows of a check run's text. None if cdflow did not write it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (json, _) = text.strip_prefix(START)?.split_once(END)?;
        let header: Header = serde_json::from_str(&json.replace("\\u003e", ">")).ok()?;
        let Header { rows, unaffected, .. } = header;
        (header.format <= FORMAT).then_some(Self { rows, unaffected })
    }

    /// Returns the entry of a run that found no affected component.
    pub(super) fn unaffected(run: RunRef) -> Self {
        Self { rows: Vec::new(), unaffected: Some(run) }
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        for row in other.rows {
            match self.rows.iter_mut().find(|it| it.is_place_of(&row)) {
                Some(found) if found.order() > row.order() => {}
                Some(found) => *found = row,
                None => self.rows.push(row),
            }
        }
        let place = |row: &CheckRow| (row.component.clone(), row.environment.clone());
        self.rows.sort_by_key(place);
        self.unaffected = self.unaffected.max(other.unaffected);
        self
    }

    /// Whether all of `added` is there, or of a later run.
    pub(super) fn has(&self, added: &Self) -> bool {
        let has = |row: &CheckRow| {
            let mut own = self.rows.iter().filter(|it| it.is_place_of(row));
            own.any(|it| it == row || it.order() > row.order())
        };
        self.unaffected >= added.unaffected && added.rows.iter().all(has)
    }

    pub(super) fn state(&self) -> CheckState {
        let rows = &self.rows;
        let total = rows.iter().map(|row| row.total).max().unwrap_or(1).max(rows.len());
        let done = rows.iter().filter(|row| row.outcome.is_some()).count();
        let bad = rows.iter().filter(|row| row.is_bad()).count();
        let is_unchanged = |row: &CheckRow| row.outcome == Some(Outcome::NoChanges);
        let (conclusion, title) = if rows.is_empty() && self.unaffected.is_some() {
            (Some("neutral"), "No component is affected".to_owned())
        } else if bad > 0 {
            (Some("failure"), format!("{bad} of {total} not successful"))
        } else if done < total {
            (None, format!("{done} of {total} done"))
        } else if rows.iter().all(is_unchanged) {
            (Some("neutral"), "No changes".to_owned())
        } else {
            (Some("success"), format!("{} successful", counted(total, "environment")))
        };
        CheckState { conclusion, title, has_rows: !rows.is_empty() }
    }

    /// Returns the rows as a table, with the pull request that they are about.
    pub(super) fn summary(&self, about: Option<u64>, comment: Option<&str>) -> String {
        let line = |row: &CheckRow| {
            format!(
                "| {} | {} | {} | {} |",
                code_cell(&row.component),
                code_cell(&row.environment),
                link(&words(row.word()), row.url.as_deref()),
                words(&row.changes)
            )
        };
        let lines: Vec<String> = self.rows.iter().map(line).collect();
        let head = "| component | environment | result | changes |\n|:--|:--|:--|:--|";
        let table = match &self.unaffected {
            Some(it) if lines.is_empty() => format!(
                "This change affects no component, so cdflow has planned nothing.\n\n{}",
                link("The run that found this", it.url.as_deref())
            ),
            _ => format!("{head}\n{}", lines.join("\n")),
        };
        let more = match comment {
            Some(url) => format!("\n\n{}", link("The comment on the pull request", Some(url))),
            None => String::new(),
        };
        let about = about.map_or_else(String::new, |number| format!("Pull request #{number}\n\n"));
        format!("{about}{table}{more}")
    }

    /// Returns the text of the check run.
    pub(super) fn text(&self) -> String {
        let Self { rows, unaffected } = self.clone();
        let header = Header { format: FORMAT, rows, unaffected };
        // `-->` would end the hidden line.
        let json = serde_json::json!(header).to_string().replace('>', "\\u003e");
        format!("{START}{json}{END}\n")
    }
}

#[cfg(test)]
pub(in crate::report) mod tests {
    use super::*;

    /// Returns the page of a check run with three rows.
    pub(in crate::report) fn page() -> String {
        let of = |environment: &str, outcome: Outcome, changes: &str| CheckRow {
            component: "checkout".to_owned(),
            changes: changes.to_owned(),
            url: Some("https://github.com/acme/checkout/actions/runs/9876543210".to_owned()),
            ..row(environment, Some(outcome), 1)
        };
        let mut live = of("live", Outcome::Planned, "2 to add, 2 to change, 2 to destroy");
        live.refuses = true;
        let rows = all(&[
            of("ci", Outcome::NoChanges, ""),
            of("aslive", Outcome::Planned, "1 to change"),
            live,
        ]);
        let comment = "https://github.com/acme/checkout/pull/128#issuecomment-1";
        format!("# {}\n\n{}\n", rows.state().title, rows.summary(Some(128), Some(comment)))
    }

    /// Returns the page of a check run of a change that affects no component.
    pub(in crate::report) fn unaffected_page() -> String {
        let url = "https://github.com/acme/checkout/actions/runs/9876543210".to_owned();
        let rows = CheckRows::unaffected(RunRef { id: 1, attempt: 1, url: Some(url) });
        format!("# {}\n\n{}\n", rows.state().title, rows.summary(Some(128), None))
    }

    fn row(environment: &str, outcome: Option<Outcome>, run: u64) -> CheckRow {
        CheckRow {
            component: "shop".to_owned(),
            environment: environment.to_owned(),
            outcome,
            refuses: false,
            changes: "1 to add --> x".to_owned(),
            run,
            attempt: 1,
            url: None,
            total: 2,
        }
    }

    fn all(rows: &[CheckRow]) -> CheckRows {
        rows.iter().cloned().map(CheckRows::from).fold(CheckRows::default(), CheckRows::merge)
    }

    fn state(rows: &[CheckRow]) -> (Option<&'static str>, String) {
        let CheckState { conclusion, title, .. } = all(rows).state();
        (conclusion, title)
    }

    #[test]
    fn success_only_if_each_row_is() {
        let (planned, unchanged) = (Some(Outcome::Planned), Some(Outcome::NoChanges));
        let live = row("live", planned, 1);
        let says = |rows: &[CheckRow]| state(rows).0;
        assert_eq!(state(std::slice::from_ref(&live)), (None, "1 of 2 done".to_owned()));
        assert_eq!(says(&[live.clone(), row("ci", None, 1)]), None);
        assert_eq!(says(&[live.clone(), row("ci", unchanged, 1)]), Some("success"));
        assert_eq!(says(&[row("live", unchanged, 1), row("ci", unchanged, 1)]), Some("neutral"));
        for bad in [Outcome::Failed, Outcome::Refused, Outcome::Interrupted] {
            assert_eq!(says(&[live.clone(), row("ci", Some(bad), 1)]), Some("failure"));
        }
        let refused = CheckRow { refuses: true, ..live.clone() };
        assert_eq!(state(&[refused]), (Some("failure"), "1 of 2 not successful".to_owned()));
    }

    #[test]
    fn a_later_run_replaces_a_row() {
        let (failed, again) = (row("ci", Some(Outcome::Failed), 1), row("ci", None, 2));
        let both = all(&[failed.clone(), again.clone()]);
        for one in [&again, &failed] {
            assert!(both.has(&one.clone().into()), "the earlier one is over: {both:?}");
        }
        assert_eq!(all(&[again.clone(), failed]), again.clone().into());
        let ended = CheckRow { outcome: Some(Outcome::Planned), ..again.clone() };
        assert_eq!(all(&[ended.clone(), again]), ended.into());
    }

    #[test]
    fn no_affected_component_is_neutral_unless_there_are_rows() {
        let found = |id: u64, attempt: u64| {
            CheckRows::unaffected(RunRef { id, attempt, url: Some("https://x.example".into()) })
        };
        let says = |rows: &CheckRows| (rows.state().conclusion, rows.state().has_rows);
        let none = found(2, 1);
        assert_eq!(says(&none), (Some("neutral"), false));
        assert_eq!(none.state().title, "No component is affected");
        let summary = none.summary(Some(7), None);
        assert!(summary.starts_with("Pull request #7\n\nThis change affects no component"));
        assert!(summary.contains("(https://x.example)") && !summary.contains('|'), "{summary}");
        assert_eq!(CheckRows::parse(&none.text()), Some(none.clone()));
        // Rows of other runs stay, whichever is newer.
        let failed = CheckRow { total: 1, ..row("ci", Some(Outcome::Failed), 1) };
        for run in [1, 3] {
            let other: CheckRows = CheckRow { run, ..failed.clone() }.into();
            for both in [none.clone().merge(other.clone()), other.clone().merge(none.clone())] {
                assert_eq!(says(&both), (Some("failure"), true), "{run}");
                assert!(both.has(&none) && both.has(&other));
                assert!(both.summary(None, None).contains("| `ci` |"));
            }
        }
        // Also those of an earlier attempt: another job of the same run can have written them.
        let earlier: CheckRows = CheckRow { run: 2, ..failed }.into();
        let again = earlier.clone().merge(found(2, 2));
        assert_eq!(says(&again), (Some("failure"), true));
        assert!(!earlier.has(&none) && again.has(&none), "a later attempt replaces an earlier one");
    }

    #[test]
    fn the_text_keeps_the_rows() {
        let rows = all(&[row("live", Some(Outcome::Planned), 1)]);
        let text = rows.text();
        assert_eq!(text.matches("-->").count(), 1, "{text}");
        assert_eq!(CheckRows::parse(&text), Some(rows));
        assert_eq!(CheckRows::parse("somebody else's"), None);
        let newer = text.replace("\"format\":1", "\"format\":2");
        assert_eq!(CheckRows::parse(&newer), None);
        assert!(CheckRows::is_newer(&newer) && !CheckRows::is_newer(&text));
        assert!(!CheckRows::is_newer("somebody else's"));
    }
}
