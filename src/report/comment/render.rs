//! The comment as Markdown: a heading, one table row per environment, and a folded section per row.

use super::rows::{CommentHeader, END, FOLD, FORMAT, Facts, ROW, Row, Rows};
use crate::{
    base::units::duration_text,
    report::{
        Outcome, Report,
        body::{capital, shrink},
        losses,
        markdown::{MARKER, code_cell, counted, grouped, html, link, words},
        plan::PlanCounts,
    },
};

/// In lines. If the comment has one row, a section that is not longer is shown unfolded.
const MAX_UNFOLDED: usize = 100;

/// Renders the comment in at most `limit` bytes. All rows stay; the sections below share the room.
pub(crate) fn render(rows: &Rows, limit: usize) -> String {
    let mut shown = rows.clone();
    let mut share = limit;
    loop {
        let text = render_full(&shown);
        if text.len() <= limit || share < 64 {
            return if text.len() <= limit { text } else { render_table_only(rows, limit) };
        }
        // The largest sections are cut, all to the same size, which shrinks until the comment fits.
        let longest =
            shown.0.iter().map(|row| row.alerts.len().max(row.body.len())).max().unwrap_or(0);
        share = share.min(longest) * 4 / 5;
        for (row, full) in shown.0.iter_mut().zip(&rows.0) {
            let full_report = link("the job summary", row.facts.url.as_deref());
            row.alerts = losses::shrink(&full.alerts, share, &full_report);
            row.body = shrink(&full.body, share, &full_report);
            if share < 1_000 && row.body.len() > share {
                row.body = format!("_For details, see {full_report}._");
            }
        }
    }
}

fn render_full(rows: &Rows) -> String {
    let header = CommentHeader {
        format: FORMAT,
        rows: rows.0.iter().map(|row| row.facts.clone()).collect(),
    };
    let mut text =
        format!("{MARKER} {} -->\n{}\n\n{}\n", json(&header), heading(rows), table(rows));
    for (number, row) in rows.0.iter().enumerate() {
        text.push_str(&format!(
            "\n{ROW}{number} -->\n{}{FOLD}\n{}\n",
            paragraph(&row.alerts),
            fold(row, rows.0.len() == 1)
        ));
    }
    text.push_str(END);
    text
}

/// Renders the table only, without the oldest rows if it is too long. The rows that are left out
/// are lost.
fn render_table_only(rows: &Rows, limit: usize) -> String {
    let mut kept = rows.clone();
    for row in &mut kept.0 {
        row.alerts.clear();
        row.body.clear();
    }
    let mut left_out = 0;
    loop {
        let mut text = render_full(&kept);
        if left_out > 0 {
            text.push_str(&format!(
                "\n\n_{} not shown: the comment has reached GitHub's size limit._",
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

/// Escapes `<` and `>`, because an HTML comment ends at `-->`. In JSON, both occur only in strings.
fn json(header: &CommentHeader) -> String {
    serde_json::to_string(header)
        .unwrap_or_default()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// Returns the heading: how many rows have which outcome, failures first.
fn heading(rows: &Rows) -> String {
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
    let count =
        |outcome: &Outcome| rows.0.iter().filter(|row| row.facts.outcome == *outcome).count();
    let counted =
        outcomes.iter().filter(|outcome| count(outcome) > 0).map(|outcome| match rows.0.len() {
            1 => outcome.word().to_owned(),
            _ => format!("{} {}", count(outcome), outcome.counted_word()),
        });
    format!("### cdflow: {}", counted.collect::<Vec<_>>().join(", "))
}

fn table(rows: &Rows) -> String {
    let mut table =
        "| Component | Environment | Version | Changes | Status |\n|:--|:--|:--|:--|:--|"
            .to_owned();
    for Row { facts, .. } in &rows.0 {
        let place = format!("**{}**", words(&facts.environment));
        let environment = link(&place, facts.environment_url.as_deref());
        let status = link(&capital(facts.outcome.word()), facts.url.as_deref());
        // The duration of a run that is still applying, or never finished, is unknown.
        let took = duration_text(std::time::Duration::from_secs(facts.seconds));
        let took = if facts.seconds > 0 { format!(" <sub>{took}</sub>") } else { String::new() };
        table.push_str(&format!(
            "\n| {} | {environment} | {} | {} | {} {status}{took} |",
            words(&facts.component),
            code_cell(&facts.version),
            facts
                .counts
                .as_ref()
                .map_or_else(|| "–".to_owned(), |counts| short_counts(counts, &facts.changes)),
            facts.outcome.icon(),
        ));
    }
    table
}

/// Formats the counts as `+2 ~1 −1`, followed by the number of replacements, imports and moves.
fn short_counts(counts: &PlanCounts, changes: &str) -> String {
    if *counts == PlanCounts::default() {
        return if changes.is_empty() { "–".to_owned() } else { words(changes) };
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
        let space = if shown.is_empty() { "" } else { " " };
        shown.push_str(&format!("{space}<sub>{}</sub>", more.join(", ")));
    }
    shown
}

fn paragraph(alerts: &str) -> String {
    if alerts.is_empty() { String::new() } else { format!("{alerts}\n\n") }
}

fn fold(row: &Row, is_alone: bool) -> String {
    let open = if is_alone && row.body.lines().count() <= MAX_UNFOLDED { " open" } else { "" };
    let Facts { component, environment, changes, outcome, .. } = &row.facts;
    let summary = if changes.is_empty() { outcome.word() } else { changes };
    let title = format!("<b>{} → {}</b>: {}", html(component), html(environment), html(summary));
    format!("<details{open}><summary>{title}</summary>\n\n{}\n\n</details>", row.body)
}

/// Returns the heading of the job summary.
pub(crate) fn summary_heading(report: &Report) -> String {
    let outcome = report.outcome;
    // "Done" says less than the name of the command.
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
        assert!(
            text.contains("aws_sqs_queue.old[0]") && text.contains("For the full list, see"),
            "{text}"
        );
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
