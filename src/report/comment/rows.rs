//! The rows of a pull request comment, one per component and environment: reading and merging them.
//!
//! The last line of the comment is hidden and holds the rows as JSON, because mail shows only the
//! first characters. The section of each row follows a hidden line. So a run can change its own
//! row and keep the others, of which it knows nothing.

use jiff::Timestamp;

use super::{
    facts::{CommentHeader, Facts},
    head::Head,
};
use crate::report::{
    LastStart, Outcome, PastRun, PlanReport, Report, body,
    markdown::{MARKER, link},
    plan::PlanCounts,
};

/// The maximum size of a comment. GitHub counts characters; cdflow counts bytes, which are never
/// fewer.
pub(crate) const LIMIT: usize = 65_536;
/// The version of the format; comments with a higher one are left alone. In format 1, the data is
/// in the first line.
pub(super) const FORMAT: u32 = 2;
/// The start of the hidden line before the section of a row, whose number follows. After the number
/// of no row comes text that is not part of a row.
pub(super) const ROW: &str = "<!-- cdflow:row ";
/// The hidden line between the alerts of a row and its folded body.
pub(super) const FOLD: &str = "<!-- cdflow:fold -->";
/// The hidden line after the last section.
pub(super) const END: &str = "<!-- cdflow:end -->";
/// The hidden line between what a run wrote and what was added from the ledger.
const LEDGER: &str = "<!-- cdflow:ledger -->";

/// The rows of a comment, sorted by component and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows(pub(super) Vec<Row>);

/// One component in one environment: its table row and its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(super) facts: Facts,
    /// Markdown that is never folded.
    pub(super) alerts: String,
    /// Markdown that is folded.
    pub(super) body: String,
}

impl Row {
    /// Returns the row of a report. None if the report has no environment or version.
    pub(crate) fn of(report: &Report) -> Option<Self> {
        let facts = Facts::of(report)?;
        let full_report = link("the job summary", facts.url.as_deref());
        let room = LIMIT - 6_000;
        let alerts = body::alerts(report, room / 2);
        let body = body::body(report, room - alerts.len(), &full_report);
        Some(Self { facts, alerts, body })
    }

    /// Returns the row of a run that only the ledger knows: without the plan, which it does not
    /// record.
    pub(crate) fn of_past(component: &str, past: &PastRun) -> Self {
        let has_changes = past.counts != PlanCounts::default();
        let plan = PlanReport { counts: past.counts, has_changes, ..PlanReport::default() };
        let place = (component, past.environment.as_str());
        let facts = Facts {
            counts: Some(past.counts),
            // Without resource changes, the outputs might have changed: the ledger does not record
            // that.
            changes: if has_changes {
                body::change_summary(&plan, past.outcome)
            } else {
                String::new()
            },
            seconds: past.seconds(),
            at: Some(past.ended.unwrap_or(past.started)),
            context: past.context.clone(),
            ..Facts::of_run(place, &past.version, past.outcome, &past.run)
        };
        Self { facts, alerts: past.alert(component), body: past.body() }
    }

    /// Returns the row of a run that is applying its plan.
    pub(crate) fn of_applying(report: &Report) -> Option<Self> {
        let now = Some(Timestamp::now());
        Self::of(&Report {
            outcome: Outcome::Applying,
            ended: now,
            past: Vec::new(),
            ..report.clone()
        })
    }

    /// Whether the run changed something, or was meant to.
    pub(crate) fn has_changes(&self) -> bool {
        self.facts.outcome != Outcome::NoChanges
            && !(self.facts.outcome == Outcome::Deployed && self.facts.changes == "no changes")
    }

    fn is_same_environment(&self, other: &Self) -> bool {
        (&self.facts.component, &self.facts.environment)
            == (&other.facts.component, &other.facts.environment)
    }

    fn is_older_than(&self, other: &Self) -> bool {
        (self.facts.run, self.facts.attempt) < (other.facts.run, other.facts.attempt)
    }

    /// Returns the `recorded` row, with the plan of this row if that is the plan that was applied.
    fn updated_with(&self, recorded: &Self) -> Self {
        let counts = |of: &Facts| of.counts.map(|it| (it.add, it.change, it.destroy));
        if self.facts.version != recorded.facts.version
            || counts(&self.facts) != counts(&recorded.facts)
        {
            return recorded.clone();
        }
        let own = |text: &str| text.split(LEDGER).next().unwrap_or_default().trim().to_owned();
        // After the apply, alerts in the future tense would be wrong.
        let is_past = recorded.facts.outcome.is_past();
        let (alerts, changes) = if is_past {
            (String::new(), recorded.facts.changes.clone())
        } else {
            (own(&self.alerts), self.facts.changes.clone())
        };
        let join = |own: String, recorded: &str| match (own.is_empty(), recorded.is_empty()) {
            (true, _) => recorded.to_owned(),
            (_, true) => own,
            _ => format!("{own}\n\n{LEDGER}\n{recorded}"),
        };
        Self {
            facts: Facts {
                counts: self.facts.counts,
                changes,
                context: self.facts.context.clone(),
                risk: self.facts.risk,
                memory: self.facts.memory.clone(),
                ..recorded.facts.clone()
            },
            alerts: join(alerts, &recorded.alerts),
            body: join(own(&self.body), &recorded.body),
        }
    }

    /// Whether the ledger has something newer: another run, or a later outcome of the same run.
    fn is_outdated_by(&self, recorded: &Self) -> bool {
        let is_same_run =
            (self.facts.run, self.facts.attempt) == (recorded.facts.run, recorded.facts.attempt);
        // A row without a time was written by an older cdflow.
        let has_continued =
            self.facts.at.is_some_and(|at| recorded.facts.at.is_some_and(|then| at < then));
        let never_ended = self.facts.outcome == Outcome::Applying
            && recorded.facts.outcome == Outcome::Unfinished;
        self.is_older_than(recorded) || (is_same_run && (has_continued || never_ended))
    }
}

impl Rows {
    /// Marks the plans of `component` after which a run began to change their environment, or its
    /// state changed.
    pub(super) fn mark_outdated(&mut self, component: &str, starts: &[LastStart]) {
        for row in self.0.iter_mut().filter(|row| row.facts.component == component) {
            let facts = &mut row.facts;
            let mut here = starts.iter().filter(|it| it.environment == facts.environment);
            if facts.outcome == Outcome::Planned {
                let planned = facts.context.planned_serial;
                facts.outdated_by = here.find_map(|it| it.since(facts.at, planned));
            }
        }
    }

    /// Marks the plans of an open pull request that are for another commit than its newest one, or
    /// whose base branch has a newer commit.
    pub(super) fn mark_moved(&mut self, head: &Head) {
        let is_open_plan = |facts: &Facts| {
            facts.outcome == Outcome::Planned && facts.context.before_merge == Some(true)
        };
        for facts in self.0.iter_mut().map(|row| &mut row.facts).filter(|it| is_open_plan(it)) {
            let context = &facts.context;
            let is_other =
                |planned: &Option<String>, now: &str| planned.as_ref().is_some_and(|it| it != now);
            let newer = Some(&head.commit).filter(|now| is_other(&context.commit, now));
            facts.newer_commit = newer.cloned();
            let base = head.base.as_ref();
            let base = base.filter(|(name, _)| context.base_branch.as_ref() == Some(name));
            let moved = base.filter(|(_, now)| is_other(&context.base_commit, now));
            facts.base_moved = moved.map(|(_, now)| now.clone());
        }
    }

    /// Whether these rows have `row` as it is, or a newer one of the same environment.
    pub(crate) fn has(&self, row: &Row) -> bool {
        self.0.iter().any(|here| {
            let is_written = || here.facts.written() == row.facts.written();
            here.is_same_environment(row) && (is_written() || row.is_older_than(here))
        })
    }

    /// Whether another job of the same run has written a later row for the same environment.
    ///
    /// This compares the clocks of two machines, so a job that has not written yet must not rely on
    /// it.
    pub(crate) fn has_later_of_run(&self, row: &Row) -> bool {
        let run = |of: &Row| (of.facts.run, of.facts.attempt);
        let is_later = |here: &Row| {
            here.facts.at.zip(row.facts.at).is_some_and(|(theirs, ours)| theirs > ours)
        };
        self.0
            .iter()
            .any(|here| here.is_same_environment(row) && run(here) == run(row) && is_later(here))
    }

    /// Whether there is a row for the same environment, of any run.
    pub(crate) fn has_environment_of(&self, row: &Row) -> bool {
        self.0.iter().any(|here| here.is_same_environment(row))
    }
}

/// Reads the rows of a comment. None if cdflow did not write it, or a newer cdflow did.
pub(crate) fn parse(body: &str) -> Option<Rows> {
    let is_data = |line: &&str| line.starts_with(MARKER) && line.contains('{');
    let lines = || body.lines().map(without_spaces);
    let json = lines().rfind(is_data)?;
    let json = json.strip_prefix(MARKER)?.trim().strip_suffix("-->")?;
    let header: CommentHeader = serde_json::from_str(json).ok()?;
    if header.format > FORMAT {
        return None;
    }
    let mut sections = vec![String::new(); header.rows.len()];
    let mut current: Option<usize> = None;
    for line in lines().filter(|line| !is_data(line)) {
        if line == END {
            break;
        }
        if let Some(number) =
            line.strip_prefix(ROW).and_then(|rest| rest.strip_suffix(" -->")?.parse().ok())
        {
            current = Some(number);
        } else if let Some(of_row) = current.and_then(|at| sections.get_mut(at)) {
            of_row.push_str(line);
            of_row.push('\n');
        }
    }
    let rows = header.rows.into_iter().zip(sections).map(|(facts, section)| {
        let (alerts, folded) = section.split_once(FOLD).unwrap_or(("", &section));
        Row { facts, alerts: alerts.trim().to_owned(), body: unfold(folded).to_owned() }
    });
    Some(Rows(rows.collect()))
}

/// Removes the spaces that somebody added around a hidden line, and the rest of a line's end.
fn without_spaces(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    let trimmed = line.trim();
    if trimmed.starts_with(MARKER) && trimmed.ends_with("-->") { trimmed } else { line }
}

/// Adds `ours`, or replaces the row of the same environment unless a newer run wrote that.
pub(crate) fn merge(mut rows: Rows, ours: Row) -> Rows {
    match rows.0.iter_mut().find(|row| row.is_same_environment(&ours)) {
        Some(newer) if ours.is_older_than(newer) => {}
        Some(row) => *row = Row { facts: ours.facts.after(&row.facts), ..ours },
        None => rows.0.push(ours),
    }
    rows.0.sort_by(|a, b| {
        (&a.facts.component, &a.facts.environment).cmp(&(&b.facts.component, &b.facts.environment))
    });
    rows
}

/// Adds the rows that only the ledger has, and updates those that are outdated.
/// With `changes_only`, missing rows without changes are not added.
pub(crate) fn restore(mut rows: Rows, recorded: &[Row], changes_only: bool) -> Rows {
    for row in recorded {
        match rows.0.iter().find(|here| here.is_same_environment(row)) {
            Some(here) if here.is_outdated_by(row) => {
                let row = here.updated_with(row);
                rows = merge(rows, row);
            }
            None if !changes_only || row.has_changes() => rows = merge(rows, row.clone()),
            _ => {}
        }
    }
    rows
}

/// Merges the rows of a second comment, which another run created at the same time.
pub(crate) fn merge_all(rows: Rows, others: Rows) -> Rows {
    others.0.into_iter().fold(rows, merge)
}

fn unfold(folded: &str) -> &str {
    let inner = folded.trim().split_once("</summary>").map_or("", |(_, rest)| rest);
    inner.trim().strip_suffix("</details>").unwrap_or(inner).trim()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::render::render, *};
    use crate::report::{RunRef, samples};

    pub(in crate::report::comment) fn row(
        component: &str,
        environment: &str,
        run: u64,
        attempt: u64,
    ) -> Row {
        let mut report = samples::small_plan();
        report.component = Some(component.to_owned());
        report.environment = Some(environment.to_owned());
        report.run = Some(RunRef { id: run, attempt, url: None });
        Row::of(&report).unwrap()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let rows = merge(merge(Rows::default(), row("b", "live", 1, 1)), row("a", "ci", 2, 1));
        let text = render(&rows, LIMIT);
        assert!(text.lines().last().unwrap().starts_with("<!-- cdflow {"));
        assert_eq!(parse(&text), Some(rows.clone()));
        assert_eq!(render(&parse(&text).unwrap(), LIMIT), text);
        for end in ["\r\n", "\r\r\n"] {
            assert_eq!(parse(&text.replace('\n', end)), Some(rows.clone()));
        }
        let with_spaces: String = text
            .lines()
            .map(|line| match line.starts_with(MARKER) {
                true => format!("\t {line}  \n"),
                false => format!("{line}\n"),
            })
            .collect();
        assert_eq!(parse(&with_spaces), Some(rows.clone()));
        for other in [
            "",
            "hello",
            "hello\nworld",
            "<!-- cdflow -->\n",
            "<!-- cdflow {\"format\":3,\"rows\":[]} -->\n",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_comment_of_format_1_is_read() {
        let text = "<!-- cdflow {\"format\":1,\"rows\":[{\"component\":\"a\",\
            \"environment\":\"ci\",\"version\":\"1\",\"counts\":null,\"story\":\"\",\
            \"outcome\":\"failed\",\"run\":1,\"attempt\":1,\"seconds\":2}]} -->\n\
            ### cdflow: failed\n\n| a |\n\n<!-- cdflow:row 0 -->\n> an alert\n\n\
            <!-- cdflow:fold -->\n<details><summary>a</summary>\n\nThe log.\n\n</details>\n\
            <!-- cdflow:end -->";
        let rows = parse(text).unwrap();
        assert_eq!(
            (rows.0[0].alerts.as_str(), rows.0[0].body.as_str()),
            ("> an alert", "The log.")
        );
        let text = render(&rows, LIMIT);
        assert!(text.starts_with("### ⛔ Blocked: a → ci failed\n"), "{text}");
        assert_eq!(parse(&text), Some(rows));
    }

    #[test]
    fn an_older_run_does_not_replace_a_newer_one() {
        let rows = merge(Rows::default(), row("a", "ci", 7, 2));
        for (older, attempt) in [(6, 9), (7, 1)] {
            assert_eq!(merge(rows.clone(), row("a", "ci", older, attempt)), rows);
        }
        for (newer, attempt) in [(7, 3), (8, 1)] {
            let merged = merge(rows.clone(), row("a", "ci", newer, attempt)).0.remove(0);
            assert_eq!(merged.facts.since.as_deref(), Some("the same changes"));
            let written = row("a", "ci", newer, attempt);
            assert_eq!(Row { facts: merged.facts.written(), ..merged }, written);
        }
        assert_eq!(merge(rows, row("a", "live", 1, 1)).0.len(), 2);
    }
}
