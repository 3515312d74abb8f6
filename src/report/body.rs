//! What stands below the row of an environment, or in the job summary: dangers, failure, the changes, outputs.
//!
//! The changes are one block of code in which each resource begins with a line `# …`; nothing else in it does. So they can be
//! cut once more, by a run that knows of more rows and nothing of this one.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Guard, Outcome, PastRun, Report, losses,
    markdown::{block, code, code_cell, counted, cut_lines, fence, floor, link, words},
    past_run::time,
    plan::PlanReport,
};
use crate::base::units::duration_text;

/// Before the block of changes.
pub(super) const CHANGES: &str = "<!-- cdflow:changes -->";
/// Before the line that says what was cut.
pub(super) const CUT: &str = "<!-- cdflow:cut -->";
/// Less of a resource is of no use.
const LEAST_PER_RESOURCE: usize = 320;
const ERROR_LIMIT: usize = 6_000;
const OUTPUT_LIMIT: usize = 400;
const OUTPUTS_LIMIT: usize = 8_000;

/// Dangers, failures, and how long a preview stands; in about `limit` bytes.
pub(super) fn alerts(report: &Report, limit: usize) -> String {
    let place = place(report);
    let losses = report
        .plan
        .as_ref()
        .map(|plan| losses::show(plan, &place, report.outcome.is_past(), limit));
    let parts = [
        failure(report, &place),
        guard(report, &place),
        lifetime(report),
        unfinished(report),
        in_flight(report),
        losses.unwrap_or_default(),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The changes, the outputs and the small print, in `limit` bytes. `whole` is where what is cut can be read.
pub(super) fn body(report: &Report, limit: usize, whole: &str) -> String {
    let after: Vec<String> =
        [outputs(report), facts(report)].into_iter().filter(|part| !part.is_empty()).collect();
    let room = limit.saturating_sub(after.iter().map(|part| part.len() + 2).sum());
    let changes = report
        .plan
        .as_ref()
        .map(|plan| changes(plan, room, whole))
        .filter(|changes| !changes.is_empty());
    changes.into_iter().chain(after).collect::<Vec<_>>().join("\n\n")
}

fn place(report: &Report) -> String {
    let named = [&report.component, &report.environment].map(|name| name.as_deref().map(words));
    named.into_iter().flatten().collect::<Vec<_>>().join(" → ")
}

/// "1 to replace, 2 to destroy, 3 to add"; replacements are not told twice.
pub(super) fn story(plan: &PlanReport, outcome: Outcome) -> String {
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
    let told = numbers.iter().zip(verbs).filter(|(count, _)| **count > 0);
    let told: Vec<String> =
        told.map(|(count, verb)| format!("{} {verb}", super::markdown::grouped(*count))).collect();
    match (told.is_empty(), plan.has_changes) {
        (false, _) => told.join(", "),
        (true, true) => "outputs only".to_owned(),
        (true, false) => "no changes".to_owned(),
    }
}

fn failure(report: &Report, place: &str) -> String {
    let Some(failure) = &report.failure else { return String::new() };
    let kind = if report.outcome == Outcome::Interrupted { "WARNING" } else { "CAUTION" };
    // Errors are worded for the log, where Terraform has just spoken.
    let text =
        failure.text.replace("Terraform's words are above", "Terraform's words are in the log");
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    alert(
        kind,
        &format!("{place}**{}** (exit code {})", report.outcome.word(), failure.exit),
        &text,
    )
}

/// What a reviewer must know before the merge, and what everybody should after it.
fn guard(report: &Report, place: &str) -> String {
    match &report.guard {
        Some(Guard::Refuses(why)) => {
            alert("CAUTION", &format!("{place}: a deploy **would be refused**"), why)
        }
        Some(Guard::Allowed(what)) => alert("WARNING", place, what),
        None => String::new(),
    }
}

/// The words of an error: what, and what to do.
fn alert(kind: &str, head: &str, text: &str) -> String {
    let mut lines = text.lines();
    let what = lines.next().unwrap_or_default();
    let mut shown = format!("> [!{kind}]\n> {head}: {}", words(&what[..floor(what, ERROR_LIMIT)]));
    for hint in lines.take(20) {
        let hint = hint.trim().trim_start_matches("->").trim();
        shown.push_str(&format!("\n>\n> → {}", words(&hint[..floor(hint, 1_000)])));
    }
    shown
}

/// A run before this one that never came to an end, if this one has not settled what it left.
fn unfinished(report: &Report) -> String {
    let has_applied = report.outcome.is_past() || report.outcome == Outcome::Applying;
    let of_here = |it: &&PastRun| {
        Some(&it.environment) == report.environment.as_ref() && it.outcome == Outcome::Unfinished
    };
    match (report.past.iter().find(of_here), &report.component) {
        (Some(before), Some(component)) if !has_applied => before.alert(component),
        _ => String::new(),
    }
}

fn in_flight(report: &Report) -> String {
    if report.in_flight.is_empty() {
        return String::new();
    }
    let names = report
        .in_flight
        .iter()
        .take(20)
        .map(|address| format!("\n> - {}", code(address)))
        .collect::<String>();
    format!(
        "> [!WARNING]\n> {} under way when Terraform ended, and may exist without being in the state:\n>{names}",
        if report.in_flight.len() == 1 {
            "1 resource was".to_owned()
        } else {
            format!("{} were", counted(report.in_flight.len(), "resource"))
        }
    )
}

/// The block of changes, and what had to be left out of it.
fn changes(plan: &PlanReport, limit: usize, whole: &str) -> String {
    let mut items: Vec<String> = plan
        .resources
        .iter()
        .map(|it| block(&format!("# {}\n{}", it.title, it.diff)).trim_end().to_owned())
        .collect();
    if !plan.outputs.is_empty() {
        items.push(block(&format!("# Outputs\n{}", plan.outputs)));
    }
    if items.is_empty() { String::new() } else { assemble(&items, limit, 0, whole) }
}

/// `hidden` are missing already.
fn assemble(items: &[String], limit: usize, hidden: usize, whole: &str) -> String {
    let note = |count: usize| {
        format!("{CUT}\n_{} not shown here: see {whole}._", counted(count, "more change"))
    };
    let kept = fit(items, limit.saturating_sub(200 + whole.len()));
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

/// Room is spent per resource: all are shown as long as each can have a little; then the first ones.
fn fit(items: &[String], limit: usize) -> Vec<String> {
    let separators = 2 * items.len();
    let limit = limit.saturating_sub(separators);
    let share = share(items, limit);
    if share >= LEAST_PER_RESOURCE {
        return items.iter().map(|item| cut_lines(item, share)).collect();
    }
    let mut left = limit;
    let mut kept = Vec::new();
    for item in items {
        let item = cut_lines(item, LEAST_PER_RESOURCE);
        if item.len() + 2 > left {
            break;
        }
        left -= item.len() + 2;
        kept.push(item);
    }
    kept
}

/// The most that each may have so that all together keep the limit.
fn share(items: &[String], limit: usize) -> usize {
    let mut sizes: Vec<usize> = items.iter().map(String::len).collect();
    sizes.sort_unstable();
    let mut left = limit;
    for (at, size) in sizes.iter().enumerate() {
        let each = left / (sizes.len() - at);
        if *size > each {
            return each;
        }
        left -= size;
    }
    usize::MAX
}

/// A body that another run wrote, in less room.
pub(super) fn shrink(body: &str, limit: usize, whole: &str) -> String {
    let Some(parts) = BodyParts::of(body).filter(|_| body.len() > limit) else {
        return body.to_owned();
    };
    let around = parts.before.len() + parts.after.len() + 4;
    let changes = assemble(&parts.items, limit.saturating_sub(around), parts.hidden, whole);
    let joined = [parts.before.trim_end(), &changes, parts.after.trim_start()];
    joined.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// A body around its block of changes.
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
    let mut shown = "| output | value |\n|---|---|".to_owned();
    for (name, value) in &report.terraform_outputs {
        let text = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
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

/// Of a preview that is there: where, since when, how it ends, and what keeps or ends it. Whoever reviews the change needs it first.
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
        "> [!NOTE]\n> Preview **{place}**{version}, deployed {}.\n>\n> - It goes",
        time(preview.deployed)
    );
    shown.push_str(" when the pull request is closed");
    if let Some(ttl) = preview
        .ttl_seconds
        .and_then(|seconds| i64::try_from(seconds).ok())
        .map(SignedDuration::from_secs)
    {
        let when = preview
            .deployed
            .checked_add(ttl)
            .map(|at| format!(", about {}", time(at)))
            .unwrap_or_default();
        shown.push_str(&format!(
            ", or {} after its last deploy{when}\n> - To keep it: the label {} keeps it after that; each push starts the time anew",
            span(ttl),
            code(&preview.keep_label)
        ));
    }
    let down = code(&format!("cdflow preview down --pull-request {}", preview.pull_request));
    shown + &format!("\n> - To end it now: close the pull request, or {down}")
}

/// Whole days and hours as people say them.
fn span(span: SignedDuration) -> String {
    let hours = usize::try_from(span.as_secs() / 3600).unwrap_or_default();
    match (span.as_secs() % 3600, hours % 24) {
        (0, 0) if hours > 0 => counted(hours / 24, "day"),
        (0, _) if hours > 0 => counted(hours, "hour"),
        _ => duration_text(span.unsigned_abs()),
    }
}

/// The small print.
fn facts(report: &Report) -> String {
    let mut facts = Vec::new();
    if let Some(url) = &report.environment_url {
        facts.push(link("Open the environment", Some(url)));
    }
    if let Some(commit) = &report.commit {
        facts.push(format!("commit {}", code(&commit[..floor(commit, 7)])));
    }
    if let Some(digest) = &report.release_digest {
        facts.push(format!("release digest {}", code(&digest[..floor(digest, 12)])));
    }
    if let Some(serial) = report.state_serial {
        facts.push(format!("state serial {serial}"));
    }
    if report.seconds > 0 {
        facts.push(duration_text(std::time::Duration::from_secs(report.seconds)));
    }
    if let Some(run) = &report.run {
        facts.push(link("log of the run", run.url.as_deref()));
    }
    if facts.is_empty() { String::new() } else { format!("<sub>{}</sub>", facts.join(" · ")) }
}

pub(super) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
