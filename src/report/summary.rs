//! The job summary, which `--report-markdown` also writes as a file: one run with its full plan.

use super::{
    Outcome, PLAN_BEFORE, Report,
    body::{self, change_summary},
    comment::verdict_lines,
    markdown::{capital, code_cell, fence, html, link},
};

/// In bytes. GitHub allows 1 MiB per step; this leaves room for what others add.
pub(super) const LIMIT: usize = 1_000_000;
/// In lines. A plan that is not longer is shown unfolded.
const MAX_UNFOLDED: usize = 60;

/// Renders the summary in at most `limit` bytes, with Terraform's plan text if it fits.
///
/// The page of a command without a report, such as `status`, is rendered as it is.
pub(super) fn render(report: &Report, limit: usize) -> String {
    let is_page = report.command.is_empty() && report.failure.is_none();
    if let Some(page) = report.page.as_ref().filter(|page| is_page && page.len() < limit) {
        return format!("{page}\n");
    }
    let alerts = body::alerts(report, limit / 2);
    let parts = [heading(report), verdict_lines(report), table(report), alerts];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let mut top = parts.collect::<Vec<_>>().join("\n\n") + "\n\n";
    if let Some(page) = report.page.as_ref().filter(|page| top.len() + page.len() < limit) {
        return format!("{top}{page}\n");
    }
    let full_report = "the job log";
    let Some(plan) = report.plan.as_ref().filter(|plan| !plan.text.is_empty()) else {
        top.push_str(&body::body(report, limit.saturating_sub(top.len()), full_report));
        return top + "\n";
    };
    let text = fence("", &plan.text);
    let room = limit.saturating_sub(top.len() + text.len() + 200);
    // The sorted, coloured changes repeat Terraform's text: both are shown only if the plan is not
    // huge.
    let has_room_for_both = text.len() * 3 + 20_000 < limit;
    if has_room_for_both {
        top.push_str(&body::body(report, room, full_report));
        let open = if plan.text.lines().count() <= MAX_UNFOLDED && plan.resources.is_empty() {
            " open"
        } else {
            ""
        };
        let title = match plan.was_applied(report.outcome) && plan.has_changes {
            true => PLAN_BEFORE,
            false => "Terraform plan",
        };
        return format!(
            "{top}\n\n<details{open}><summary>{title}</summary>\n\n{text}\n\n</details>\n"
        );
    }
    top.push_str(&body::body(report, limit.saturating_sub(top.len() + 1), full_report));
    top + "\n"
}

fn heading(report: &Report) -> String {
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

fn table(report: &Report) -> String {
    let run = report.run.as_ref().and_then(|run| run.url.as_deref());
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    // Otherwise, the line about the versions has it.
    add("Version", report.version.as_deref().filter(|_| !report.has_row()).map(code_cell));
    let planned = report.plan.as_ref().map(|plan| change_summary(plan, report.outcome));
    let was_applied = report.plan.as_ref().is_some_and(|plan| plan.was_applied(report.outcome));
    let planned = planned.map(|summary| match report.outcome {
        Outcome::Planned | Outcome::NoChanges | Outcome::Refreshed => summary,
        _ if was_applied => summary,
        _ => format!("{summary} (planned)"),
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
    // A Markdown table must have a head: the first row.
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
    fn differences_are_a_list_and_fixes_are_not() {
        let mut report = samples::small_plan();
        report.failure = Some(crate::report::RunFailure {
            reason: "refused",
            exit: 3,
            text: "the plan is another one: these changes differ:\n  - a.b: create\n  - a.c: \
                   destroy\n  -> open a pull request"
                .to_owned(),
        });
        // Without the marks that keep words from being links.
        let shown = render(&report, LIMIT).replace('\u{200b}', "");
        let expected = "differ:\n> - a.b: create\n> - a.c: destroy\n>\n> → open a pull request";
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn a_small_plan_is_shown_as_terraform_printed_it() {
        let report = samples::small_plan();
        assert!(render(&report, LIMIT).contains(&report.plan.unwrap().text));
    }
}
