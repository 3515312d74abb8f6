//! The comment of a pull request: one table row per component and environment, and below it what each row has to say.
//! Text in, text out.
//!
//! The first line is hidden and holds the rows as JSON; each row's own part stands behind a hidden line. So a run can change
//! its own row and keep the others as they are, though it knows nothing of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::report::{
    Outcome, PastRun, PlanReport, Report, body,
    markdown::{MARKER, link},
    plan::PlanCounts,
};

/// Of a comment, as GitHub counts characters; we count bytes, which are not fewer.
pub(crate) const LIMIT: usize = 65_536;
pub(super) const FORMAT: u32 = 1;
pub(super) const ROW: &str = "<!-- cdflow:row ";
pub(super) const FOLD: &str = "<!-- cdflow:fold -->";
pub(super) const END: &str = "<!-- cdflow:end -->";
/// Before what the ledger adds to what a run wrote.
const LEDGER: &str = "<!-- cdflow:ledger -->";

/// The rows of a comment, by component and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows(pub(super) Vec<Row>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(super) facts: Facts,
    /// What nobody may miss: never folded.
    pub(super) alerts: String,
    pub(super) body: String,
}

/// What the table shows, and what decides which of two runs is the newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) component: String,
    pub(super) environment: String,
    pub(super) version: String,
    pub(super) counts: Option<PlanCounts>,
    pub(super) story: String,
    pub(super) outcome: Outcome,
    pub(super) run: u64,
    pub(super) attempt: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) environment_url: Option<String>,
    pub(super) seconds: u64,
    /// How things stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CommentHeader {
    pub(super) format: u32,
    pub(super) rows: Vec<Facts>,
}

impl Row {
    /// None for a report that is of no environment.
    pub(crate) fn of(report: &Report) -> Option<Self> {
        let run = report.run.clone().unwrap_or_default();
        let whole = link("the job summary", run.url.as_deref());
        let facts = Facts {
            component: report.component.clone()?,
            environment: report.environment.clone()?,
            version: report.version.clone()?,
            counts: report.plan.as_ref().map(|plan| plan.counts),
            story: report
                .plan
                .as_ref()
                .map(|plan| body::story(plan, report.outcome))
                .unwrap_or_default(),
            outcome: report.outcome,
            run: run.id,
            attempt: run.attempt,
            url: run.url,
            environment_url: report.environment_url.clone(),
            seconds: report.seconds,
            at: report.ended,
        };
        let room = LIMIT - 6_000;
        let alerts = body::alerts(report, room / 2);
        let body = body::body(report, room - alerts.len(), &whole);
        Some(Self { facts, alerts, body })
    }

    /// What the ledger knows of a run of `component`; its plan is not known any more.
    pub(crate) fn of_past(component: &str, past: &PastRun) -> Self {
        let has_changes = past.counts != PlanCounts::default();
        let plan = PlanReport { counts: past.counts, has_changes, ..PlanReport::default() };
        let facts = Facts {
            component: component.to_owned(),
            environment: past.environment.clone(),
            version: past.version.clone(),
            counts: Some(past.counts),
            // Without resources it may have changed outputs: the ledger does not say.
            story: if has_changes { body::story(&plan, past.outcome) } else { String::new() },
            outcome: past.outcome,
            run: past.run.id,
            attempt: past.run.attempt,
            url: past.run.url.clone(),
            environment_url: None,
            seconds: past.seconds(),
            at: Some(past.ended.unwrap_or(past.started)),
        };
        Self { facts, alerts: past.alert(component), body: past.body() }
    }

    /// That it is under way: the plan is what is being applied.
    pub(crate) fn of_applying(report: &Report) -> Option<Self> {
        let now = Some(Timestamp::now());
        Self::of(&Report {
            outcome: Outcome::Applying,
            ended: now,
            past: Vec::new(),
            ..report.clone()
        })
    }

    pub(crate) fn has_something_to_say(&self) -> bool {
        self.facts.outcome != Outcome::NoChanges
            && !(self.facts.outcome == Outcome::Deployed && self.facts.story == "no changes")
    }

    fn is_same_place(&self, other: &Self) -> bool {
        (&self.facts.component, &self.facts.environment)
            == (&other.facts.component, &other.facts.environment)
    }

    fn is_older_than(&self, other: &Self) -> bool {
        (self.facts.run, self.facts.attempt) < (other.facts.run, other.facts.attempt)
    }

    /// As the ledger knows it, with the plan that stands here, if it is the one that was applied.
    fn continued(&self, known: &Self) -> Self {
        let counts = |of: &Facts| of.counts.map(|it| (it.add, it.change, it.destroy));
        if self.facts.version != known.facts.version || counts(&self.facts) != counts(&known.facts)
        {
            return known.clone();
        }
        let own = |text: &str| text.split(LEDGER).next().unwrap_or_default().trim().to_owned();
        // What was planned to be lost is told in the words of a plan.
        let is_past = known.facts.outcome.is_past();
        let (alerts, story) = if is_past {
            (String::new(), known.facts.story.clone())
        } else {
            (own(&self.alerts), self.facts.story.clone())
        };
        let with = |own: String, known: &str| match (own.is_empty(), known.is_empty()) {
            (true, _) => known.to_owned(),
            (_, true) => own,
            _ => format!("{own}\n\n{LEDGER}\n{known}"),
        };
        Self {
            facts: Facts { counts: self.facts.counts, story, ..known.facts.clone() },
            alerts: with(alerts, &known.alerts),
            body: with(own(&self.body), &known.body),
        }
    }

    /// Whether it lacks what the ledger knows: what a newer run did, or how its own run went on.
    fn is_behind(&self, known: &Self) -> bool {
        let is_same_run =
            (self.facts.run, self.facts.attempt) == (known.facts.run, known.facts.attempt);
        // One without a time was written by an older cdflow.
        let went_on = self.facts.at.is_some_and(|at| known.facts.at.is_some_and(|then| at < then));
        let never_ended =
            self.facts.outcome == Outcome::Applying && known.facts.outcome == Outcome::Unfinished;
        self.is_older_than(known) || (is_same_run && (went_on || never_ended))
    }
}

impl Rows {
    /// Whether `row` stands here as it is, or a newer one in its place.
    pub(crate) fn has(&self, row: &Row) -> bool {
        self.0.iter().any(|here| {
            here.is_same_place(row) && (here.facts == row.facts || row.is_older_than(here))
        })
    }

    /// Whether another job of its run has written in its place, and said it later. By the clocks of two machines: so who has not
    /// written yet does not ask.
    pub(crate) fn has_later_of_run(&self, row: &Row) -> bool {
        let run = |of: &Row| (of.facts.run, of.facts.attempt);
        let is_later = |here: &Row| {
            here.facts.at.zip(row.facts.at).is_some_and(|(theirs, ours)| theirs > ours)
        };
        self.0.iter().any(|here| here.is_same_place(row) && run(here) == run(row) && is_later(here))
    }

    /// Whether there is one in its place, of whatever run.
    pub(crate) fn has_place_of(&self, row: &Row) -> bool {
        self.0.iter().any(|here| here.is_same_place(row))
    }
}

/// None for a comment that is not ours, or of a newer cdflow.
pub(crate) fn parse(body: &str) -> Option<Rows> {
    let body = body.replace("\r\n", "\n");
    let (first, rest) = body.split_once('\n')?;
    let json = first.strip_prefix(MARKER)?.trim().strip_suffix("-->")?;
    let header: CommentHeader = serde_json::from_str(json).ok()?;
    if header.format > FORMAT {
        return None;
    }
    let mut sections = vec![String::new(); header.rows.len()];
    let mut current: Option<usize> = None;
    for line in rest.lines() {
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

/// `ours` takes the place of the row of the same environment, unless that is of a newer run.
pub(crate) fn merge(mut rows: Rows, ours: Row) -> Rows {
    match rows.0.iter_mut().find(|row| row.is_same_place(&ours)) {
        Some(newer) if ours.is_older_than(newer) => {}
        Some(row) => *row = ours,
        None => rows.0.push(ours),
    }
    rows.0.sort_by(|a, b| {
        (&a.facts.component, &a.facts.environment).cmp(&(&b.facts.component, &b.facts.environment))
    });
    rows
}

/// With the rows that the ledger knows of and that are lost here, or out of date. One that would say nothing is not put back where
/// `changes_only` is wanted.
pub(crate) fn restore(mut rows: Rows, known: &[Row], changes_only: bool) -> Rows {
    for row in known {
        match rows.0.iter().find(|here| here.is_same_place(row)) {
            Some(here) if here.is_behind(row) => {
                let row = here.continued(row);
                rows = merge(rows, row);
            }
            None if !changes_only || row.has_something_to_say() => rows = merge(rows, row.clone()),
            _ => {}
        }
    }
    rows
}

/// With the rows of a second comment, which was made at the same moment.
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
        assert!(text.lines().next().unwrap().starts_with("<!-- cdflow {"));
        assert_eq!(parse(&text), Some(rows.clone()));
        assert_eq!(render(&parse(&text).unwrap(), LIMIT), text);
        assert_eq!(parse(&text.replace('\n', "\r\n")), Some(rows));
        for other in [
            "",
            "hello",
            "hello\nworld",
            "<!-- cdflow -->\n",
            "<!-- cdflow {\"format\":2,\"rows\":[]} -->\n",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_older_run_does_not_replace_a_newer_one() {
        let rows = merge(Rows::default(), row("a", "ci", 7, 2));
        for (older, attempt) in [(6, 9), (7, 1)] {
            assert_eq!(merge(rows.clone(), row("a", "ci", older, attempt)), rows);
        }
        for (newer, attempt) in [(7, 3), (8, 1)] {
            assert_eq!(
                merge(rows.clone(), row("a", "ci", newer, attempt)).0[0],
                row("a", "ci", newer, attempt)
            );
        }
        assert_eq!(merge(rows, row("a", "live", 1, 1)).0.len(), 2);
    }
}
