//! The job summary, and the same as a file: one run, with all of its plan.

use super::{
    Outcome, Report,
    body::{self, story},
    comment::render::heading_of,
    markdown::{code_cell, fence, link},
};

/// Less than a mebibyte by what GitHub and other steps may add.
pub(super) const LIMIT: usize = 1_000_000;
/// A shorter plan is shown unfolded.
const SHORT: usize = 60;

/// In at most `limit` bytes: with Terraform's own plan text, or, where that is too long, as much as there is room for.
pub(super) fn render(report: &Report, limit: usize) -> String {
    let is_page = report.command.is_empty() && report.failure.is_none();
    if let Some(page) = report.page.as_ref().filter(|page| is_page && page.len() < limit) {
        return format!("{page}\n");
    }
    let alerts = body::alerts(report, limit / 2);
    let mut top = format!("{}\n\n{}\n\n{alerts}\n\n", heading_of(report), facts(report));
    if let Some(page) = report.page.as_ref().filter(|page| top.len() + page.len() < limit) {
        return format!("{top}{page}\n");
    }
    let whole = "the job's log";
    let Some(plan) = report.plan.as_ref().filter(|plan| !plan.text.is_empty()) else {
        top.push_str(&body::body(report, limit.saturating_sub(top.len()), whole));
        return top + "\n";
    };
    let text = fence("", &plan.text);
    let room = limit.saturating_sub(top.len() + text.len() + 200);
    // The same words once more, sorted and coloured, have room only if the plan is not huge.
    let comfortable = text.len() * 3 + 20_000 < limit;
    if comfortable {
        top.push_str(&body::body(report, room, whole));
        let open = if plan.text.lines().count() <= SHORT && plan.resources.is_empty() {
            " open"
        } else {
            ""
        };
        return format!(
            "{top}\n\n<details{open}><summary>The plan in Terraform's words</summary>\n\n{text}\n\n</details>\n"
        );
    }
    top.push_str(&body::body(report, limit.saturating_sub(top.len() + 1), whole));
    top + "\n"
}

fn facts(report: &Report) -> String {
    let run = report.run.as_ref().and_then(|run| run.url.as_deref());
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    add("Version", report.version.as_deref().map(code_cell));
    let planned = report.plan.as_ref().map(|plan| story(plan, report.outcome));
    let planned = planned.map(|told| match report.outcome {
        Outcome::Deployed
        | Outcome::Destroyed
        | Outcome::Planned
        | Outcome::NoChanges
        | Outcome::Refreshed => told,
        _ => format!("{told} (planned)"),
    });
    add("Changes", planned);
    add("Release", report.release_key.as_deref().map(code_cell));
    add("Release digest", report.release_digest.as_deref().map(code_cell));
    add("Image", report.image_id.as_deref().map(code_cell));
    add("Function", report.lambda_key.as_deref().map(code_cell));
    add(
        "Run",
        report.run.as_ref().map(|it| link(&format!("{}, attempt {}", it.id, it.attempt), run)),
    );
    let lines: Vec<String> =
        rows.iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
    // A table needs a head: the first of its facts.
    match lines.split_first() {
        Some((head, rest)) => [&[head.clone(), "|:--|:--|".to_owned()], rest].concat().join("\n"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_plan_of_three_megabytes_keeps_the_limit() {
        let report = samples::large_plan(5_000, 300);
        let plan = report.plan.as_ref().unwrap();
        assert!(plan.text.len() > 3_000_000, "{}", plan.text.len());
        let text = render(&report, LIMIT);
        assert!(text.len() <= LIMIT, "{}", text.len());
        assert!(plan.losses().all(|loss| text.contains(&loss.address)));
        assert!(render(&report, usize::MAX / 8).contains(&plan.text));
    }

    #[test]
    fn a_small_plan_is_there_in_terraforms_words() {
        let report = samples::small_plan();
        assert!(render(&report, LIMIT).contains(&report.plan.unwrap().text));
    }
}
