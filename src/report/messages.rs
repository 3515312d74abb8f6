//! What a run says apart from its plan, as alerts: failure, deploy guards, review, warnings.

use super::{
    Guard, Outcome, PlanReport, Report, hooks,
    markdown::{floor, words},
};

/// In bytes. More of an error is not shown.
const ERROR_LIMIT: usize = 6_000;

/// Returns the alerts, most important first. `place` names component and environment.
pub(super) fn of(report: &Report, place: &str) -> String {
    let parts = [
        failure(report, place),
        guard(report, place),
        hooks::show(&report.hooks, place),
        reviewed(report, place),
        only_release(report, place),
        warnings(report, place),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn failure(report: &Report, place: &str) -> String {
    let Some(failure) = &report.failure else { return String::new() };
    let kind = if report.outcome == Outcome::Interrupted { "WARNING" } else { "CAUTION" };
    // Errors are worded for the log, where they follow Terraform's output.
    let text =
        failure.text.replace("see Terraform's output above", "see Terraform's output in the log");
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    alert(
        kind,
        &format!("{place}**{}** (exit code {})", report.outcome.word(), failure.exit),
        &text,
    )
}

/// Returns the result of the deploy guards, if they had one: a reviewer needs it before the merge.
fn guard(report: &Report, place: &str) -> String {
    match &report.guard {
        Some(Guard::Refuses(why)) => {
            alert("CAUTION", &format!("{place}: a deploy **would be refused**"), why)
        }
        Some(Guard::Allowed(what)) => alert("WARNING", place, what),
        None => String::new(),
    }
}

fn only_release(report: &Report, place: &str) -> String {
    let said = report.plan.as_ref().and_then(PlanReport::said_of_release);
    said.map_or_else(String::new, |text| alert("NOTE", place, &text))
}

fn reviewed(report: &Report, place: &str) -> String {
    report.reviewed.as_ref().map_or_else(String::new, |text| alert("NOTE", place, text))
}

fn warnings(report: &Report, place: &str) -> String {
    let shown = report.warnings.iter().map(|text| alert("WARNING", place, text));
    shown.collect::<Vec<_>>().join("\n\n")
}

/// Formats an error as an alert. Its first line is the message, the others are items of a list or
/// fixes.
fn alert(kind: &str, head: &str, text: &str) -> String {
    let mut lines = text.lines();
    let what = lines.next().unwrap_or_default();
    let mut shown = format!("> [!{kind}]\n> {head}: {}", words(&what[..floor(what, ERROR_LIMIT)]));
    for line in lines.take(20) {
        let line = line.trim();
        let (mark, line) = match line.strip_prefix("- ") {
            Some(item) => ("\n> - ", item),
            None => ("\n>\n> → ", line.trim_start_matches("->").trim()),
        };
        shown.push_str(&format!("{mark}{}", words(&line[..floor(line, 1_000)])));
    }
    shown
}
