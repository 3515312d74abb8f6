//! The comment as Markdown: the verdict, a table, a section per row, and the hidden data.

use std::collections::BTreeMap;

use super::{
    facts::{CommentHeader, Facts},
    headline::{Next, headline, with_age},
    layout::Layout,
    rows::{END, FORMAT, Row, Rows},
    section::{same_changes, sections, short_place},
    table::table,
};
use crate::report::{
    Outcome,
    body::shrink,
    losses,
    markdown::{MARKER, counted, link},
    run_context::RunContext,
};

/// Renders the comment in at most `limit` bytes. All rows stay; the sections below share the room.
pub(crate) fn render(rows: &Rows, limit: usize) -> String {
    let mut shown = rows.clone();
    let mut share = limit;
    loop {
        let text = render_full(&shown);
        if text.len() <= limit || share < 64 {
            return if text.len() <= limit { text } else { render_least(&shown, limit) };
        }
        // The largest sections are cut, all to the same size, which shrinks until the comment fits.
        let longest =
            shown.0.iter().map(|row| row.alerts.len().max(row.body.len())).max().unwrap_or(0);
        share = share.min(longest) * 4 / 5;
        for (row, full) in shown.0.iter_mut().zip(&rows.0) {
            let full_report = link("the job summary", row.facts.url.as_deref());
            row.alerts = losses::shrink(&full.alerts, share);
            row.body = shrink(&full.body, share, &full_report);
            if share < 1_000 && row.body.len() > share {
                row.body = format!("_For details, see {full_report}._");
            }
        }
    }
}

fn render_full(rows: &Rows) -> String {
    let layout = Layout::of(rows);
    let facts: Vec<&Facts> = rows.0.iter().map(|row| &row.facts).collect();
    let mut text = format!("### {}\n", headline(&facts, &layout.outdated, Next::Merge));
    text.push_str(&format!("\n{}\n", overview(rows, &layout)));
    let header = CommentHeader { format: FORMAT, rows: facts.into_iter().cloned().collect() };
    format!("{text}{}{END}\n{MARKER} {} -->", sections(rows, &layout), json(&header))
}

/// Returns how many rows have which outcome, and the table of the rows with changes.
fn overview(rows: &Rows, layout: &Layout) -> String {
    let mut lines: Vec<(&Facts, _, Option<String>)> = Vec::new();
    for group in &layout.groups {
        let members: Vec<(usize, &Row)> =
            group.iter().filter_map(|at| Some((*at, rows.0.get(*at)?))).collect();
        for (number, (at, row)) in members.iter().enumerate() {
            let first = members.first().filter(|_| number > 0).map(|(_, first)| &first.facts);
            let above = || layout.same_above(*at, rows);
            let same = first.or_else(above).map(|other| {
                format!("{} as {}", same_changes(&row.facts), short_place(other, &row.facts))
            });
            lines.push((&row.facts, with_age(&row.facts, layout.outdated.contains(at)), same));
        }
    }
    let outcomes = format!("cdflow: {}", outcomes(rows));
    // One row says the same in its section.
    let is_alone = rows.0.len() == 1;
    let table = if lines.is_empty() || is_alone { String::new() } else { table(&lines) };
    let shared = rows.0.first().map(|row| layout.shared.line(&row.facts.context));
    let parts = [outcomes, table, shared.unwrap_or_default()].into_iter();
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Renders what remains when even short sections do not fit: first without what only the next run
/// needs, then without the changes, without the context, without the alerts, and without the oldest
/// rows. Rows that are left out are lost.
fn render_least(rows: &Rows, limit: usize) -> String {
    let mut kept = rows.clone();
    let stages: [fn(&mut Row); 6] = [
        |row| row.facts.memory = None,
        |row| row.body.clear(),
        |row| row.alerts = losses::without_named(&row.alerts),
        |row| {
            let full_report = link("the job summary", row.facts.url.as_deref());
            row.alerts = losses::without_list(&row.alerts, &full_report);
        },
        |row| {
            let before_merge = row.facts.context.before_merge;
            row.facts.context = RunContext { before_merge, ..RunContext::default() };
        },
        |row| row.alerts.clear(),
    ];
    for stage in stages {
        kept.0.iter_mut().for_each(stage);
        let text = render_full(&kept);
        if text.len() <= limit {
            return text;
        }
    }
    let mut left_out = 0;
    loop {
        let mut text = render_full(&kept);
        if left_out > 0 {
            let note = format!(
                "\n_{} not shown: the comment has reached GitHub's size limit._\n{END}",
                counted(left_out, "row")
            );
            text = text.replacen(END, &note, 1);
        }
        if text.len() <= limit || kept.0.is_empty() {
            return text;
        }
        // Half of what is too much at once, so that hundreds of rows do not take hundreds of steps.
        let of_row = text.len() / kept.0.len();
        let count = ((text.len() - limit) / of_row.max(1) / 2).max(1);
        for _ in 0..count {
            let oldest = (0..kept.0.len()).min_by_key(|at| kept.0[*at].facts.run);
            let Some(oldest) = oldest else { break };
            kept.0.remove(oldest);
            left_out += 1;
        }
    }
}

/// Escapes `<` and `>`, because an HTML comment ends at `-->`. In JSON, both occur only in strings.
fn json(header: &CommentHeader) -> String {
    serde_json::to_string(header)
        .unwrap_or_default()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// Returns how many rows have which outcome, failures first.
fn outcomes(rows: &Rows) -> String {
    if let [row] = rows.0.as_slice() {
        return row.facts.outcome.word().to_owned();
    }
    let outcomes = [
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
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows.0 {
        *counts.entry(row.facts.outcome.counted_word()).or_default() += 1;
    }
    let counted = outcomes.iter().filter_map(|outcome| {
        let word = outcome.counted_word();
        Some(format!("{} {word}", counts.get(word)?))
    });
    counted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        comment::rows::{LIMIT, merge, parse, tests::row},
        samples,
    };

    #[test]
    fn five_thousand_resources_keep_the_limit_and_show_every_destroy() {
        let report = samples::large_plan(5_000, 300);
        let text = render(&merge(Rows::default(), Row::of(&report).unwrap()), LIMIT);
        assert!(text.len() <= LIMIT, "{}", text.len());
        for loss in report.plan.as_ref().unwrap().losses() {
            assert!(text.contains(&loss.address), "{}", loss.address);
        }
        assert!(text.contains("more changes not shown"), "{text}");
    }

    #[test]
    fn large_sections_shrink_so_that_every_row_fits() {
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
        let named =
            text.matches("> - 12 queues `aws_sqs_queue.old[0…11]` will be destroyed").count();
        assert_eq!(named, 40, "each row names what it destroys");
    }

    #[test]
    fn hundreds_of_rows_keep_the_limit() {
        let rows = (0..600).fold(Rows::default(), |rows, n| {
            merge(rows, row("component", &format!("environment-{n}"), n, 1))
        });
        let text = render(&rows, LIMIT);
        assert!(text.len() <= LIMIT && text.contains("not shown: the comment has reached"));
    }

    #[test]
    fn a_plan_of_one_huge_resource_is_cut_between_lines() {
        let mut report = samples::small_plan();
        let plan = report.plan.as_mut().unwrap();
        plan.resources[0].diff = "+     line of ümläut 漢字\n".repeat(100_000);
        let text = render(&merge(Rows::default(), Row::of(&report).unwrap()), LIMIT);
        assert!(text.len() <= LIMIT && text.contains("more lines"), "{}", text.len());
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

    /// Returns what GitHub reads as Markdown.
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

    /// Removes code spans: a span ends at as many backticks as it starts with.
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
