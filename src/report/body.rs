//! The section of an environment, in the comment and in the job summary: alerts, changes, outputs.
//!
//! The changes are one code block. In it, only the first line of each resource begins with `# `. So
//! a later run, which has more rows to fit in and knows nothing about this one, can cut it again.

use jiff::SignedDuration;

use super::{
    Outcome, PastRun, Report, losses,
    markdown::{block, code, code_cell, counted, cut_lines, fence, floor, link, time, words},
    messages,
    plan::PlanReport,
    results, security,
};
use crate::{base::units::duration_text, terraform::output::unknown::UnknownChange};

/// The hidden line before the block of changes.
pub(super) const CHANGES: &str = "<!-- cdflow:changes -->";
/// The hidden line before the note that says how many changes are not shown.
pub(super) const CUT: &str = "<!-- cdflow:cut -->";
/// In bytes. Less of a resource would not be useful.
const MIN_PER_RESOURCE: usize = 320;
/// How many changes without an answer are shown. The log has all.
const SHOWN: usize = 20;
const OUTPUT_LIMIT: usize = 400;
const OUTPUTS_LIMIT: usize = 8_000;

/// Returns the parts that are never folded: failure, guards, preview lifetime, destroyed resources.
/// `limit` is the approximate size in bytes.
pub(super) fn alerts(report: &Report, limit: usize) -> String {
    let place = place(report);
    let of_plan =
        |alert: &dyn Fn(&PlanReport) -> String| report.plan.as_ref().map(alert).unwrap_or_default();
    let parts = [
        messages::of(report, &place),
        lifetime(report),
        unfinished(report),
        unknown_changes(report),
        of_plan(&|plan| results::alert(plan, &place)),
        of_plan(&|plan| losses::show(plan, &place, report.outcome, limit)),
        of_plan(&|plan| security::alert(plan, &place)),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// Returns the changes, the outputs and the details, in at most `limit` bytes.
/// `full_report` names or links the place that has what is cut.
pub(super) fn body(report: &Report, limit: usize, full_report: &str) -> String {
    let after: Vec<String> =
        [outputs(report), details(report)].into_iter().filter(|part| !part.is_empty()).collect();
    let room = limit.saturating_sub(after.iter().map(|part| part.len() + 2).sum());
    let changes = report
        .plan
        .as_ref()
        .map(|plan| changes(plan, report.outcome, room, full_report))
        .filter(|changes| !changes.is_empty());
    changes.into_iter().chain(after).collect::<Vec<_>>().join("\n\n")
}

fn place(report: &Report) -> String {
    let named = [&report.component, &report.environment].map(|name| name.as_deref().map(words));
    named.into_iter().flatten().collect::<Vec<_>>().join(" → ")
}

/// Returns "1 to replace, 2 to destroy, 3 to add"; a replacement is counted only once.
pub(super) fn change_summary(plan: &PlanReport, outcome: Outcome) -> String {
    if let Some(summary) = results::summary(plan) {
        return summary;
    }
    let counts = &plan.counts;
    let verbs: [&str; 7] = match outcome.is_past() {
        false => {
            ["to replace", "to destroy", "to forget", "to change", "to add", "to import", "to move"]
        }
        true => ["replaced", "destroyed", "forgotten", "changed", "added", "imported", "moved"],
    };
    let numbers = [
        counts.replace,
        counts.destroy.saturating_sub(counts.replace),
        counts.forget,
        counts.change,
        counts.add.saturating_sub(counts.replace),
        counts.import,
        counts.moved,
    ];
    let parts = numbers.iter().zip(verbs).filter(|(count, _)| **count > 0);
    let parts: Vec<String> =
        parts.map(|(count, verb)| format!("{} {verb}", super::markdown::grouped(*count))).collect();
    match (parts.is_empty(), plan.has_changes) {
        (false, _) => parts.join(", "),
        (true, true) => "outputs only".to_owned(),
        (true, false) => "no changes".to_owned(),
    }
}

/// Returns the alert of an earlier run that did not finish, unless this run applied since.
fn unfinished(report: &Report) -> String {
    let has_applied = report.outcome.is_past() || report.outcome == Outcome::Applying;
    let is_here = |it: &&PastRun| {
        Some(&it.environment) == report.environment.as_ref() && it.outcome == Outcome::Unfinished
    };
    match (report.past.iter().find(is_here), &report.component) {
        (Some(earlier), Some(component)) if !has_applied => earlier.alert(component),
        _ => String::new(),
    }
}

/// Names the changes without an answer, and shows how to import what they might have created.
fn unknown_changes(report: &Report) -> String {
    let unknown = &report.unknown_changes;
    if unknown.is_empty() {
        return String::new();
    }
    let named: String =
        unknown.iter().take(SHOWN).map(|it| format!("\n> - {}", code(&it.describe()))).collect();
    let more = match unknown.len() > SHOWN {
        true => format!("\n> - … and {} more, in the log", unknown.len() - SHOWN),
        false => String::new(),
    };
    let head = match unknown.len() {
        1 => "1 change might have been made, and the state does not show it".to_owned(),
        many => format!("{many} changes might have been made, and the state does not show it"),
    };
    let alert = format!("> [!WARNING]\n> {head}:\n>{named}{more}");
    let blocks: Vec<String> =
        unknown.iter().filter_map(UnknownChange::import_block).take(SHOWN).collect();
    match blocks.is_empty() {
        true => alert,
        false => format!(
            "{alert}\n\nIf they exist, import what was created before the next deploy:\n\n{}",
            fence("hcl", &blocks.join("\n\n"))
        ),
    }
}

/// Returns the block of changes, with a note if some are not shown.
fn changes(plan: &PlanReport, outcome: Outcome, limit: usize, full_report: &str) -> String {
    let mut items: Vec<String> = plan
        .resources
        .iter()
        .map(|it| block(&format!("# {}\n{}", results::heading(it, outcome), it.diff)))
        .map(|item| item.trim_end().to_owned())
        .collect();
    if !plan.outputs.is_empty() {
        items.push(block(&format!("# Outputs\n{}", plan.outputs)));
    }
    if items.is_empty() { String::new() } else { assemble(&items, limit, 0, full_report) }
}

/// `hidden` is the number of changes that an earlier cut removed.
fn assemble(items: &[String], limit: usize, hidden: usize, full_report: &str) -> String {
    let note = |count: usize| {
        format!("{CUT}\n_{} not shown: see {full_report}._", counted(count, "more change"))
    };
    let kept = fit(items, limit.saturating_sub(200 + full_report.len()));
    let hidden = hidden + items.len() - kept.len();
    let mut shown = if kept.is_empty() {
        String::new()
    } else {
        format!("{CHANGES}\n{}", fence("diff", &kept.join("\n\n")))
    };
    if hidden > 0 {
        if !shown.is_empty() {
            shown.push_str("\n\n");
        }
        shown.push_str(&note(hidden));
    }
    shown
}

/// Cuts the items so that together they have at most `limit` bytes.
///
/// Every item gets the same share. If that is less than [`MIN_PER_RESOURCE`], only the first items
/// stay.
fn fit(items: &[String], limit: usize) -> Vec<String> {
    let separators = 2 * items.len();
    let limit = limit.saturating_sub(separators);
    let share = share(items, limit);
    if share >= MIN_PER_RESOURCE {
        return items.iter().map(|item| cut_lines(item, share)).collect();
    }
    let mut room = limit;
    let mut kept = Vec::new();
    for item in items {
        let item = cut_lines(item, MIN_PER_RESOURCE);
        if item.len() + 2 > room {
            break;
        }
        room -= item.len() + 2;
        kept.push(item);
    }
    kept
}

/// Returns the maximum size of an item, in bytes, with which all items together keep the limit.
fn share(items: &[String], limit: usize) -> usize {
    let mut sizes: Vec<usize> = items.iter().map(String::len).collect();
    sizes.sort_unstable();
    let mut room = limit;
    for (at, size) in sizes.iter().enumerate() {
        let each = room / (sizes.len() - at);
        if *size > each {
            return each;
        }
        room -= size;
    }
    usize::MAX
}

/// Cuts a body that another run wrote to about `limit` bytes.
pub(super) fn shrink(body: &str, limit: usize, full_report: &str) -> String {
    let Some(parts) = BodyParts::of(body).filter(|_| body.len() > limit) else {
        return body.to_owned();
    };
    let around = parts.before.len() + parts.after.len() + 4;
    let changes = assemble(&parts.items, limit.saturating_sub(around), parts.hidden, full_report);
    let joined = [parts.before.trim_end(), &changes, parts.after.trim_start()];
    joined.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// A body, split at its block of changes.
struct BodyParts<'a> {
    before: &'a str,
    items: Vec<String>,
    hidden: usize,
    after: &'a str,
}

impl<'a> BodyParts<'a> {
    fn of(body: &'a str) -> Option<Self> {
        let (before, rest) = body.split_once(&format!("{CHANGES}\n"))?;
        let (opening, rest) = rest.split_once('\n')?;
        let ticks = opening.strip_suffix("diff")?;
        let (inside, after) = rest.split_once(&format!("\n{ticks}"))?;
        let (hidden, after) = match after.trim_start().strip_prefix(&format!("{CUT}\n_")) {
            Some(note) => {
                let (note, after) = note.split_once('\n').unwrap_or((note, ""));
                let digits = note
                    .chars()
                    .take_while(|c| c.is_ascii_digit() || *c == ',')
                    .filter(|c| *c != ',');
                (digits.collect::<String>().parse().unwrap_or(0), after)
            }
            None => (0, after),
        };
        let mut items: Vec<String> = Vec::new();
        for line in inside.lines() {
            match items.last_mut() {
                Some(item) if !line.starts_with("# ") => {
                    item.push('\n');
                    item.push_str(line);
                }
                _ => items.push(line.to_owned()),
            }
        }
        items.iter_mut().for_each(|item| item.truncate(item.trim_end().len()));
        Some(Self { before, items, hidden, after })
    }
}

fn outputs(report: &Report) -> String {
    if report.terraform_outputs.is_empty() && report.sensitive_outputs.is_empty() {
        return String::new();
    }
    let mut shown = "| Output | Value |\n|:--|:--|".to_owned();
    for (name, value) in &report.terraform_outputs {
        let text = value.as_str().unwrap_or_else(|| value.to_string());
        let cut = &text[..floor(&text, OUTPUT_LIMIT)];
        let dots = if cut.len() < text.len() { " …" } else { "" };
        shown.push_str(&format!("\n| {} | {}{dots} |", code_cell(name), code_cell(cut)));
        if shown.len() > OUTPUTS_LIMIT {
            shown.push_str("\n| … | |");
            break;
        }
    }
    for name in report.sensitive_outputs.iter().take(50) {
        shown.push_str(&format!("\n| {} | _sensitive_ |", code_cell(name)));
    }
    shown
}

/// Returns the address of a deployed preview, when it will be removed, and how to keep or remove
/// it. It comes early because reviewers need it first.
fn lifetime(report: &Report) -> String {
    let Some(preview) = report.preview.as_ref().filter(|_| report.outcome == Outcome::Deployed)
    else {
        return String::new();
    };
    let place = match &report.environment_url {
        Some(url) => link(&words(url), Some(url)),
        None => words(report.environment.as_deref().unwrap_or_default()),
    };
    let version = report
        .version
        .as_deref()
        .map(|version| format!(", version {}", code(version)))
        .unwrap_or_default();
    let mut shown = format!(
        "> [!NOTE]\n> Preview **{place}**{version}, deployed {}.\n>\n\
         > - It is removed when the pull request is closed",
        time(preview.deployed)
    );
    if let Some(ttl) = preview
        .ttl_seconds
        .and_then(|seconds| i64::try_from(seconds).ok())
        .map(SignedDuration::from_secs)
    {
        let when = preview
            .deployed
            .checked_add(ttl)
            .map(|at| format!(" (about {})", time(at)))
            .unwrap_or_default();
        shown.push_str(&format!(
            ", or {} after its last deploy{when}\n\
             > - To keep it longer, add the label {}; each push also restarts this period",
            span(ttl),
            code(&preview.keep_label)
        ));
    }
    let down = code(&format!("cdflow preview down --pull-request {}", preview.pull_request));
    shown + &format!("\n> - To remove it now, close the pull request or run {down}")
}

/// Formats whole days and hours as "3 days" or "36 hours", and anything else as "1m 30s".
fn span(span: SignedDuration) -> String {
    let hours = usize::try_from(span.as_secs() / 3600).unwrap_or_default();
    match (span.as_secs() % 3600, hours % 24) {
        (0, 0) if hours > 0 => counted(hours / 24, "day"),
        (0, _) if hours > 0 => counted(hours, "hour"),
        _ => duration_text(span.unsigned_abs()),
    }
}

/// Returns the last line of the section, in small print.
fn details(report: &Report) -> String {
    let mut details = Vec::new();
    if let Some(url) = &report.environment_url {
        details.push(link("Open the environment", Some(url)));
    }
    if let Some(digest) = &report.release_digest {
        details.push(format!("release digest {}", code(&digest[..floor(digest, 12)])));
    }
    if let Some(serial) = report.state_serial {
        details.push(format!("state serial {serial}"));
    }
    if details.is_empty() { String::new() } else { format!("<sub>{}</sub>", details.join(" · ")) }
}
