//! The rows of the check run `cdflow`, one per component and environment, and what they mean
//! together.
//!
//! The text of the check run begins with a hidden line that holds the rows as JSON.

use serde::{Deserialize, Serialize};

use crate::report::{
    Guard, Outcome, Report,
    body::change_summary,
    markdown::{code_cell, counted, link, words},
};

const START: &str = "<!-- cdflow:check ";
const END: &str = " -->";
/// The version of the format. Rows of a higher one are left alone.
const FORMAT: u32 = 1;

/// The rows, sorted by component and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckRows(Vec<CheckRow>);

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
}

/// What the check run shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckState {
    /// None: in progress.
    pub(super) conclusion: Option<&'static str>,
    pub(super) title: String,
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
    /// Returns the rows of a check run's text. None if cdflow did not write it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (json, _) = text.strip_prefix(START)?.split_once(END)?;
        let header: Header = serde_json::from_str(&json.replace("\\u003e", ">")).ok()?;
        (header.format <= FORMAT).then_some(Self(header.rows))
    }

    pub(super) fn merge(mut self, others: impl IntoIterator<Item = CheckRow>) -> Self {
        for row in others {
            match self.0.iter_mut().find(|it| it.is_place_of(&row)) {
                Some(found) if found.order() > row.order() => {}
                Some(found) => *found = row,
                None => self.0.push(row),
            }
        }
        self.0.sort_by(|a, b| (&a.component, &a.environment).cmp(&(&b.component, &b.environment)));
        self
    }

    pub(super) fn into_rows(self) -> Vec<CheckRow> {
        self.0
    }

    /// Whether the row is there, or one of a later run.
    pub(super) fn has(&self, row: &CheckRow) -> bool {
        self.0.iter().any(|it| it.is_place_of(row) && (it == row || it.order() > row.order()))
    }

    pub(super) fn state(&self) -> CheckState {
        let total = self.0.iter().map(|row| row.total).max().unwrap_or(1).max(self.0.len());
        let done = self.0.iter().filter(|row| row.outcome.is_some()).count();
        let bad = self.0.iter().filter(|row| row.is_bad()).count();
        let is_unchanged = |row: &CheckRow| row.outcome == Some(Outcome::NoChanges);
        let (conclusion, title) = if bad > 0 {
            (Some("failure"), format!("{bad} of {total} not successful"))
        } else if done < total {
            (None, format!("{done} of {total} done"))
        } else if self.0.iter().all(is_unchanged) {
            (Some("neutral"), "No changes".to_owned())
        } else {
            (Some("success"), format!("{} successful", counted(total, "environment")))
        };
        CheckState { conclusion, title }
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
        let lines: Vec<String> = self.0.iter().map(line).collect();
        let head = "| component | environment | result | changes |\n|:--|:--|:--|:--|";
        let more = match comment {
            Some(url) => format!("\n\n{}", link("The comment on the pull request", Some(url))),
            None => String::new(),
        };
        let about = about.map_or_else(String::new, |number| format!("Pull request #{number}\n\n"));
        format!("{about}{head}\n{}{more}", lines.join("\n"))
    }

    /// Returns the text of the check run.
    pub(super) fn text(&self) -> String {
        let header = Header { format: FORMAT, rows: self.0.clone() };
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
        let rows = CheckRows::default().merge([
            of("ci", Outcome::NoChanges, ""),
            of("aslive", Outcome::Planned, "1 to change"),
            live,
        ]);
        let comment = "https://github.com/acme/checkout/pull/128#issuecomment-1";
        format!("# {}\n\n{}\n", rows.state().title, rows.summary(Some(128), Some(comment)))
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

    fn state(rows: &[CheckRow]) -> (Option<&'static str>, String) {
        let CheckState { conclusion, title } = CheckRows::default().merge(rows.to_vec()).state();
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
        let rows = |all: &[CheckRow]| CheckRows::default().merge(all.to_vec());
        let (failed, again) = (row("ci", Some(Outcome::Failed), 1), row("ci", None, 2));
        let both = rows(&[failed.clone(), again.clone()]);
        assert!(both.has(&again) && both.has(&failed), "the earlier one is over: {both:?}");
        assert_eq!(rows(&[again.clone(), failed]), rows(std::slice::from_ref(&again)));
        let ended = CheckRow { outcome: Some(Outcome::Planned), ..again.clone() };
        assert_eq!(rows(&[ended.clone(), again]), rows(std::slice::from_ref(&ended)));
    }

    #[test]
    fn the_text_keeps_the_rows() {
        let rows = CheckRows::default().merge([row("live", Some(Outcome::Planned), 1)]);
        let text = rows.text();
        assert_eq!(text.matches("-->").count(), 1, "{text}");
        assert_eq!(CheckRows::parse(&text), Some(rows));
        assert_eq!(CheckRows::parse("somebody else's"), None);
        let newer = text.replace("\"format\":1", "\"format\":2");
        assert_eq!(CheckRows::parse(&newer), None);
    }
}
