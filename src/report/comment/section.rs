//! The parts of a comment below its table: one section per group of rows, and a fold of the rows
//! without changes.

use super::{
    facts::Facts,
    headline::{place, with_age},
    layout::Layout,
    rows::{FOLD, ROW, Row, Rows},
    table::icon,
};
use crate::report::{
    Outcome, PLAN_BEFORE,
    markdown::{capital, counted, html, words},
    verdict::Verdict,
};

/// In lines. If the comment has one row, a section that is not longer is shown unfolded.
const MAX_UNFOLDED: usize = 100;
/// How many rows without changes are named before their fold is opened.
const NAMED: usize = 8;

/// Returns all sections. What belongs to a row follows the hidden line with its number. Text about
/// several rows follows the number of no row, so that it is not read as part of one.
pub(super) fn sections(rows: &Rows, layout: &Layout) -> String {
    let mut text = String::new();
    for group in &layout.groups {
        let members = group.iter().filter_map(|at| Some((*at, rows.0.get(*at)?)));
        let members: Vec<(usize, &Row)> = members.collect();
        let [(first_at, first), others @ ..] = members.as_slice() else { continue };
        let is_alone = rows.0.len() == 1;
        text.push_str(&format!("\n{}\n", between(rows)));
        if !is_alone {
            text.push_str(&format!("{}\n\n", heading(&members, layout)));
        }
        text.push_str(&contexts(&members, layout, rows));
        text.push_str(&own(*first_at, first, &title(*first_at, first, layout, rows), is_alone));
        for (at, other) in others {
            let summary = format!(
                "<details><summary>{} → {}: {}</summary>",
                html(&other.facts.component),
                html(&other.facts.environment),
                same_changes(&other.facts)
            );
            let changes = format!("Changes: {}", html(&other.facts.changes));
            text.push_str(&format!(
                "\n{}\n{summary}\n\n{}\n{}\n\n</details>\n",
                between(rows),
                own(*at, other, &changes, false),
                between(rows)
            ));
        }
    }
    text + &quiet(rows, layout)
}

/// Returns the hidden line after which nothing belongs to a row.
fn between(rows: &Rows) -> String {
    format!("{ROW}{} -->", rows.0.len())
}

/// Returns what a run wrote: alerts and a fold.
fn own(at: usize, row: &Row, title: &str, is_alone: bool) -> String {
    let alerts = if row.alerts.is_empty() { String::new() } else { format!("{}\n\n", row.alerts) };
    format!("{ROW}{at} -->\n{alerts}{FOLD}\n{}\n", fold(row, title, is_alone))
}

/// Returns the title of the fold with the changes of a row.
fn title(at: usize, row: &Row, layout: &Layout, rows: &Rows) -> String {
    if let Some(other) = layout.same_above(at, rows) {
        let place = match other.component == row.facts.component {
            true => html(&other.environment),
            false => format!("{} → {}", html(&other.component), html(&other.environment)),
        };
        return format!("{} as {place}", capital(&same_changes(&row.facts)));
    }
    match row.facts.changes.as_str() {
        "" => "Details".to_owned(),
        _ if row.facts.is_applied => format!("{PLAN_BEFORE}, with the result of each resource"),
        changes => format!("Changes: {}", html(changes)),
    }
}

fn fold(row: &Row, title: &str, is_alone: bool) -> String {
    let open = if is_alone && row.body.lines().count() <= MAX_UNFOLDED { " open" } else { "" };
    format!("<details{open}><summary>{title}</summary>\n\n{}\n\n</details>", row.body)
}

fn heading(members: &[(usize, &Row)], layout: &Layout) -> String {
    let Some((at, first)) = members.first() else { return String::new() };
    let verdict = with_age(&first.facts, layout.outdated.contains(at));
    let names: Vec<String> = members.iter().map(|(_, row)| place(&row.facts)).collect();
    let same = match members.len() {
        1 => String::new(),
        _ => format!(", {}", same_changes(&first.facts)),
    };
    format!(
        "#### {} {}: {}{same}",
        icon(&first.facts, verdict),
        names.join(", "),
        said(&first.facts, verdict)
    )
}

/// Returns the verdict of a row in words.
fn said(facts: &Facts, verdict: Verdict) -> String {
    match verdict {
        Verdict::Blocked if facts.outcome == Outcome::Planned => {
            "blocked, because a deploy would be refused".to_owned()
        }
        Verdict::Blocked => format!("blocked, {}", facts.outcome.word()),
        Verdict::Review => "review".to_owned(),
        Verdict::Safe => "safe".to_owned(),
        Verdict::Waiting | Verdict::Done | Verdict::Unchanged => facts.outcome.word().to_owned(),
    }
}

/// Returns "the same 5 changes", for a row whose changes are those of another one.
pub(super) fn same_changes(facts: &Facts) -> String {
    match facts.memory.as_ref().map_or(0, |memory| memory.changes) {
        0 => "the same changes".to_owned(),
        1 => "the same change".to_owned(),
        count => format!("the same {}", counted(count, "change")),
    }
}

/// Names a row next to another one, with its component if that differs.
pub(super) fn short_place(facts: &Facts, next_to: &Facts) -> String {
    match facts.component == next_to.component {
        true => words(&facts.environment),
        false => place(facts),
    }
}

/// Returns the lines of context of each row, and how its plan relates to others.
fn contexts(members: &[(usize, &Row)], layout: &Layout, rows: &Rows) -> String {
    let mut text = String::new();
    for (at, row) in members {
        let name = match members.len() {
            1 => String::new(),
            _ => format!("**{}**: ", place(&row.facts)),
        };
        let lines = row.facts.context_lines(layout.shared);
        if !lines.is_empty() {
            text.push_str(&format!("{name}{lines}\n\n"));
        }
        text.push_str(&notes(&row.facts, &name, layout.outdated.contains(at)));
    }
    if rows.0.len() == 1 { text.trim_start().to_owned() } else { text }
}

fn notes(facts: &Facts, name: &str, is_outdated: bool) -> String {
    let mut notes = String::new();
    let newer = || match &facts.newer_commit {
        Some(commit) => format!(": {}", facts.context.commit_link(commit)),
        None => String::new(),
    };
    let why = match &facts.outdated_by {
        Some(story) => Some(words(story)),
        None => is_outdated.then(|| format!("the pull request has a newer commit{}", newer())),
    };
    if let Some(why) = why {
        notes.push_str(&format!("{name}**This plan is not current**: {why}.\n\n"));
    }
    if let (Some(now), Some(branch)) = (&facts.base_moved, &facts.context.base_branch) {
        let now = facts.context.commit_link(now);
        let branch = words(branch);
        notes.push_str(&format!(
            "{name}The base branch {branch} has moved since this plan, to {now}.\n\n"
        ));
    }
    if let Some(since) = &facts.since {
        notes.push_str(&format!("{name}Since the last plan: {}.\n\n", words(since)));
    }
    notes
}

/// Returns one fold with all rows without changes.
fn quiet(rows: &Rows, layout: &Layout) -> String {
    let members: Vec<(usize, &Row)> =
        layout.quiet.iter().filter_map(|at| Some((*at, rows.0.get(*at)?))).collect();
    if members.is_empty() {
        return String::new();
    }
    let is_alone = rows.0.len() == 1;
    let mut text = format!("\n{}\n", between(rows));
    if !is_alone {
        let mut names: Vec<String> = members
            .iter()
            .take(NAMED)
            .map(|(_, row)| {
                format!("{} → {}", html(&row.facts.component), html(&row.facts.environment))
            })
            .collect();
        if members.len() > NAMED {
            names.push(format!("{} more", members.len() - NAMED));
        }
        text.push_str(&format!("<details><summary>No changes: {}</summary>\n\n", names.join(", ")));
    }
    for (at, row) in &members {
        if !is_alone {
            let title = format!("{}: {}", place(&row.facts), row.facts.outcome.word());
            text.push_str(&format!("#### {title}\n\n"));
        }
        text.push_str(&contexts(&[(*at, *row)], layout, rows));
        text.push_str(&own(*at, row, &title(*at, row, layout, rows), is_alone));
        text.push_str(&format!("\n{}\n", between(rows)));
    }
    if is_alone { text } else { text + "</details>\n" }
}
