//! The comment of a pull request: one table row per component and environment, and below it what each row has to say.
//! Text in, text out.
//!
//! The first line is hidden and holds the rows as JSON; each row's own part stands behind a hidden line. So a run can change
//! its own row and keep the others as they are, though it knows nothing of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    base::log::duration_text,
    report::{
        Outcome, PastRun, PlanReport, Report,
        body::{self, capital, shrink},
        losses,
        markdown::{MARKER, code_cell, counted, grouped, html, link, words},
        plan::PlanCounts,
    },
};

/// Of a comment, as GitHub counts characters; we count bytes, which are not fewer.
pub(crate) const LIMIT: usize = 65_536;
const FORMAT: u32 = 1;
/// The changes of a comment's only row are unfolded if they have no more lines than this.
const AT_A_GLANCE: usize = 100;
const ROW: &str = "<!-- cdflow:row ";
const FOLD: &str = "<!-- cdflow:fold -->";
const END: &str = "<!-- cdflow:end -->";
/// Before what the ledger adds to what a run wrote.
const LEDGER: &str = "<!-- cdflow:ledger -->";

/// The rows of a comment, by component and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows(Vec<Row>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    facts: Facts,
    /// What nobody may miss: never folded.
    alerts: String,
    body: String,
}

/// What the table shows, and what decides which of two runs is the newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    component: String,
    environment: String,
    version: String,
    counts: Option<PlanCounts>,
    story: String,
    outcome: Outcome,
    run: u64,
    attempt: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment_url: Option<String>,
    seconds: u64,
    /// How things stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct CommentHeader {
    format: u32,
    rows: Vec<Facts>,
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

/// At most `limit` bytes. Every row stays; what is below them shares the room.
pub(crate) fn render(rows: &Rows, limit: usize) -> String {
    let mut shown = rows.clone();
    let mut share = limit;
    loop {
        let text = render_whole(&shown);
        if text.len() <= limit || share < 64 {
            return if text.len() <= limit { text } else { render_bare(rows, limit) };
        }
        // The largest have to give: all are cut to the same size, which is tried downward.
        let longest =
            shown.0.iter().map(|row| row.alerts.len().max(row.body.len())).max().unwrap_or(0);
        share = share.min(longest) * 4 / 5;
        for (row, full) in shown.0.iter_mut().zip(&rows.0) {
            let whole = link("the job summary", row.facts.url.as_deref());
            row.alerts = losses::shrink(&full.alerts, share, &whole);
            row.body = shrink(&full.body, share, &whole);
            if share < 1_000 && row.body.len() > share {
                row.body = format!("_More in {whole}._");
            }
        }
    }
}

fn render_whole(rows: &Rows) -> String {
    let header = CommentHeader {
        format: FORMAT,
        rows: rows.0.iter().map(|row| row.facts.clone()).collect(),
    };
    let mut text =
        format!("{MARKER} {} -->\n{}\n\n{}\n", json(&header), heading(rows), table(rows));
    for (number, row) in rows.0.iter().enumerate() {
        text.push_str(&format!(
            "\n{ROW}{number} -->\n{}{FOLD}\n{}\n",
            apart(&row.alerts),
            fold(row, rows.0.len() == 1)
        ));
    }
    text.push_str(END);
    text
}

/// With so many rows that not even their titles have room: the table as far as it goes, and nothing is kept for others.
fn render_bare(rows: &Rows, limit: usize) -> String {
    let mut kept = rows.clone();
    for row in &mut kept.0 {
        row.alerts.clear();
        row.body.clear();
    }
    let mut left_out = 0;
    loop {
        let mut text = render_whole(&kept);
        if left_out > 0 {
            text.push_str(&format!(
                "\n\n_{} not shown: there is no more room._",
                counted(left_out, "row")
            ));
        }
        let Some(oldest) = (0..kept.0.len()).min_by_key(|at| kept.0[*at].facts.run) else {
            return text;
        };
        if text.len() <= limit {
            return text;
        }
        kept.0.remove(oldest);
        left_out += 1;
    }
}

/// An HTML comment ends at `-->`: in JSON, `<` and `>` can only stand in strings.
fn json(header: &CommentHeader) -> String {
    serde_json::to_string(header)
        .unwrap_or_default()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// How many ended how, the bad ends first.
fn heading(rows: &Rows) -> String {
    let ends = [
        Outcome::Failed,
        Outcome::Interrupted,
        Outcome::Unfinished,
        Outcome::Refused,
        Outcome::Applying,
        Outcome::Planned,
        Outcome::Deployed,
        Outcome::Refreshed,
        Outcome::Destroyed,
        Outcome::Superseded,
        Outcome::NoChanges,
    ];
    let count = |end: &Outcome| rows.0.iter().filter(|row| row.facts.outcome == *end).count();
    let told = ends.iter().filter(|end| count(end) > 0).map(|end| match rows.0.len() {
        1 => end.word().to_owned(),
        _ => format!("{} {}", count(end), end.word()),
    });
    format!("### cdflow: {}", told.collect::<Vec<_>>().join(", "))
}

fn table(rows: &Rows) -> String {
    let mut table =
        "| Component | Environment | Version | Changes | State |\n|:--|:--|:--|:--|:--|".to_owned();
    for Row { facts, .. } in &rows.0 {
        let place = format!("**{}**", words(&facts.environment));
        let environment = link(&place, facts.environment_url.as_deref());
        let state = link(&capital(facts.outcome.word()), facts.url.as_deref());
        // Of what goes on, or died, nobody knows how long it takes.
        let took = duration_text(std::time::Duration::from_secs(facts.seconds));
        let took = if facts.seconds > 0 { format!(" <sub>{took}</sub>") } else { String::new() };
        table.push_str(&format!(
            "\n| {} | {environment} | {} | {} | {} {state}{took} |",
            words(&facts.component),
            code_cell(&facts.version),
            facts
                .counts
                .as_ref()
                .map_or_else(|| "–".to_owned(), |counts| short(counts, &facts.story)),
            facts.outcome.icon(),
        ));
    }
    table
}

/// `+2 ~1 −1`, and how many of them are replacements.
fn short(counts: &PlanCounts, story: &str) -> String {
    if *counts == PlanCounts::default() {
        return if story.is_empty() { "–".to_owned() } else { words(story) };
    }
    let parts = [("+", counts.add), ("~", counts.change), ("−", counts.destroy)];
    let shown = parts.iter().filter(|(_, count)| *count > 0).map(|(sign, count)| {
        let number = format!("{}{}", if *sign == "~" { "\\~" } else { sign }, grouped(*count));
        if *sign == "−" { format!("**{number}**") } else { number }
    });
    let mut shown = shown.collect::<Vec<_>>().join(" ");
    let more = [
        (counts.replace, "replaced"),
        (counts.import, "imported"),
        (counts.moved, "moved"),
        (counts.forget, "forgotten"),
    ];
    let more: Vec<String> = more
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    if !more.is_empty() {
        let apart = if shown.is_empty() { "" } else { " " };
        shown.push_str(&format!("{apart}<sub>{}</sub>", more.join(", ")));
    }
    shown
}

fn apart(alerts: &str) -> String {
    if alerts.is_empty() { String::new() } else { format!("{alerts}\n\n") }
}

fn fold(row: &Row, is_alone: bool) -> String {
    let open = if is_alone && row.body.lines().count() <= AT_A_GLANCE { " open" } else { "" };
    let Facts { component, environment, story, outcome, .. } = &row.facts;
    let told = if story.is_empty() { outcome.word() } else { story };
    let title = format!("<b>{} → {}</b>: {}", html(component), html(environment), html(told));
    format!("<details{open}><summary>{title}</summary>\n\n{}\n\n</details>", row.body)
}

fn unfold(folded: &str) -> &str {
    let inner = folded.trim().split_once("</summary>").map_or("", |(_, rest)| rest);
    inner.trim().strip_suffix("</details>").unwrap_or(inner).trim()
}

/// The same for a file or a summary, where nothing is hidden.
pub(crate) fn heading_of(report: &Report) -> String {
    let outcome = report.outcome;
    // What has no more to say than that it is done is known by its name.
    let is_named = outcome == Outcome::Done && !report.command.is_empty();
    let what = if is_named { html(&report.command) } else { capital(outcome.word()) };
    match (&report.component, &report.environment) {
        (Some(component), Some(environment)) => {
            format!("## {} {} → {}: {what}", outcome.icon(), html(component), html(environment))
        }
        (Some(component), None) => format!("## {} {}: {what}", outcome.icon(), html(component)),
        _ if report.command.is_empty() => format!("## {} cdflow: {what}", outcome.icon()),
        _ if is_named => format!("## {} cdflow: {what}", outcome.icon()),
        _ => format!("## {} cdflow {}: {what}", outcome.icon(), html(&report.command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{RunRef, samples};

    fn row(component: &str, environment: &str, run: u64, attempt: u64) -> Row {
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

    #[test]
    fn five_thousand_resources_keep_the_limit_and_show_every_destroy() {
        let report = samples::large_plan(5_000, 300);
        let text = render(&merge(Rows::default(), Row::of(&report).unwrap()), LIMIT);
        assert!(text.len() <= LIMIT, "{}", text.len());
        for loss in report.plan.as_ref().unwrap().losses() {
            assert!(text.contains(&loss.address), "{}", loss.address);
        }
        assert!(text.contains("more changes not shown here"), "{text}");
    }

    #[test]
    fn large_rows_give_way_so_that_all_are_there() {
        let mut rows = Rows::default();
        for number in 0..40 {
            let mut report = samples::large_plan(400, 12);
            report.environment = Some(format!("env-{number}"));
            rows = merge(rows, Row::of(&report).unwrap());
            let text = render(&rows, LIMIT);
            assert!(text.len() <= LIMIT, "{number}: {}", text.len());
            rows = parse(&text).unwrap();
            assert_eq!(rows.0.len(), number + 1);
        }
        let text = render(&rows, LIMIT);
        assert!(text.contains("aws_sqs_queue.old[0]") && text.contains("The list is in"), "{text}");
    }

    #[test]
    fn hundreds_of_rows_keep_the_limit() {
        let rows = (0..600).fold(Rows::default(), |rows, n| {
            merge(rows, row("component", &format!("environment-{n}"), n, 1))
        });
        let text = render(&rows, LIMIT);
        assert!(text.len() <= LIMIT && text.contains("not shown: there is no more room"));
    }

    #[test]
    fn a_plan_of_one_huge_resource_is_cut_between_lines() {
        let mut report = samples::small_plan();
        let plan = report.plan.as_mut().unwrap();
        plan.resources[0].diff = "+     line of ümläut 漢字\n".repeat(100_000);
        let text = render(&merge(Rows::default(), Row::of(&report).unwrap()), LIMIT);
        assert!(text.len() <= LIMIT && text.contains("lines more"), "{}", text.len());
    }

    #[test]
    fn hostile_words_stay_inside() {
        let report = samples::hostile();
        let rows = merge(merge(Rows::default(), Row::of(&report).unwrap()), row("z", "ci", 1, 1));
        let text = render(&rows, LIMIT);
        assert_eq!(parse(&text), Some(rows.clone()), "{text}");
        let shrunk = render(&rows, 6_000);
        assert_eq!(parse(&shrunk).unwrap().0.len(), 2);
        let outside: String = outside_fences(&text);
        assert!(
            !outside.contains("@team")
                && !outside.contains("<script")
                && !outside.contains("](http://evil"),
            "{outside}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    /// What is read as Markdown.
    fn outside_fences(text: &str) -> String {
        let mut fence: Option<String> = None;
        let mut out = String::new();
        for line in text.lines().skip(1) {
            let ticks = line.chars().take_while(|c| *c == '`').count();
            match &fence {
                Some(open) if line == open => fence = None,
                Some(_) => {}
                None if ticks >= 3 => fence = Some("`".repeat(ticks)),
                None => {
                    out.push_str(&without_code(line));
                    out.push('\n');
                }
            }
        }
        assert_eq!(fence, None);
        out
    }

    /// Code within a line ends at as many backticks as began it.
    fn without_code(line: &str) -> String {
        let Some(at) = line.find('`') else { return line.to_owned() };
        if line[..at].ends_with('\\') {
            return format!("{}{}", &line[..=at], without_code(&line[at + 1..]));
        }
        let ticks: String = line[at..].chars().take_while(|c| *c == '`').collect();
        let inside = &line[at + ticks.len()..];
        let runs = inside.match_indices(&ticks);
        let mut ends = runs.map(|(end, _)| end).filter(|end| {
            !inside[..*end].ends_with('`') && !inside[end + ticks.len()..].starts_with('`')
        });
        let end = ends.next().unwrap_or_else(|| panic!("code without an end: {line}"));
        format!("{}{}", &line[..at], without_code(&inside[end + ticks.len()..]))
    }
}
