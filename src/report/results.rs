//! The words for what was done to a resource: before an apply, and by its result after it.

use super::{
    Outcome,
    markdown::{code, counted, floor, grouped, words},
    plan::{PlanReport, PlannedResource},
    reasons::Reason,
};
use crate::terraform::output::{changes::ChangeAction, results::ResourceOutcome};

/// The number of resources that the alert names. The changes below it have all of them.
const NAMED: usize = 20;
/// In bytes. The log has the whole error.
const ERROR: usize = 600;

/// Returns what happens to resources, to follow their address or number: "will be destroyed", or
/// after the apply "was deleted, not recreated".
pub(super) fn phrase(it: &PlannedResource, outcome: Outcome, count: usize) -> String {
    let action = participle(it.action);
    let was = if count == 1 { "was" } else { "were" };
    match it.result.as_ref().map(|result| result.outcome) {
        None => format!("{} {action}", outcome.plan_verb(count)),
        Some(ResourceOutcome::Done) => format!("{was} {action}"),
        Some(ResourceOutcome::Failed) => format!("could not be {action}"),
        Some(ResourceOutcome::NotStarted) => format!("{was} to be {action}, not started"),
        Some(ResourceOutcome::Unknown) => format!("might have been {action}"),
        Some(ResourceOutcome::Incomplete) => match it.action {
            ChangeAction::Replace => format!("{was} deleted, and recreated incompletely"),
            _ => format!("{was} {action} incompletely"),
        },
        Some(ResourceOutcome::DeletedNotRecreated) => format!("{was} deleted, not recreated"),
        Some(ResourceOutcome::DeletedUnknown) => {
            format!("{was} deleted, and might have been recreated")
        }
        Some(ResourceOutcome::OldNotDeleted) => {
            format!("{was} recreated, but the old object was not destroyed")
        }
    }
}

fn participle(action: ChangeAction) -> &'static str {
    match action {
        ChangeAction::Create => "created",
        ChangeAction::Update => "updated in-place",
        ChangeAction::Replace => "replaced",
        ChangeAction::Delete => "destroyed",
        ChangeAction::Forget => "removed from the state",
        ChangeAction::Import => "imported",
        ChangeAction::Move => "moved",
    }
}

/// Returns the error of a resource, to follow its phrase; empty if there is none.
pub(super) fn error(it: &PlannedResource) -> String {
    let error = it.result.as_ref().and_then(|result| result.error.as_deref());
    match error {
        Some(error) => format!(": {}", words(&error[..floor(error, ERROR)])),
        None => String::new(),
    }
}

/// Returns the line above the diff: what is or was done, why, and what concerns security.
pub(super) fn heading(it: &PlannedResource, outcome: Outcome) -> String {
    let mut heading = match &it.result {
        Some(_) => format!("{} {}", it.label(), phrase(it, Outcome::Failed, 1)),
        None if outcome.is_past() => format!("{} {}", it.label(), phrase(it, outcome, 1)),
        None => it.title.clone(),
    };
    // Terraform's title of a move has the address before it.
    let is_new = |reason: &&Reason| {
        !it.moved_from.as_ref().is_some_and(|from| heading.contains(from))
            || !reason.text().starts_with("moved from")
    };
    let reasons: Vec<String> = it.reasons.iter().filter(is_new).map(Reason::text).collect();
    if !reasons.is_empty() {
        heading.push_str(&format!(" ({})", reasons.join(", ")));
    }
    if let (ChangeAction::Update, Some(holds)) = (it.action, &it.stateful) {
        heading.push_str(&format!(" [data: {holds}]"));
    }
    if !it.security.is_empty() {
        let marks = it.security.join(", ").replace('`', "");
        heading.push_str(&format!(" [security: {marks}]"));
    }
    // A value of the plan cannot begin a line of its own.
    heading.replace(['\n', '\r'], " ")
}

/// Returns what an apply did, in a line per resource that it did not change completely, and a
/// line that counts all.
pub(crate) fn open_results(plan: &PlanReport) -> Vec<String> {
    let is_open = |it: &&PlannedResource| {
        it.result.as_ref().is_some_and(|result| result.outcome != ResourceOutcome::Done)
    };
    let line = |it: &PlannedResource| {
        let error = it.result.as_ref().and_then(|result| result.error.as_deref());
        let error = error.and_then(|error| error.lines().next());
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        format!("{} {}{error}", it.label(), phrase(it, Outcome::Failed, 1))
    };
    let open = plan.resources.iter().filter(is_open).map(line);
    open.chain(summary(plan)).collect()
}

/// Returns the results in numbers: "1 deleted, not recreated; 2 changed, 1 not started". None
/// before an apply, and if it had no resources.
pub(super) fn summary(plan: &PlanReport) -> Option<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut results: Vec<(ResourceOutcome, &PlannedResource)> =
        plan.resources.iter().filter_map(|it| Some((it.result.as_ref()?.outcome, it))).collect();
    results.sort_by_key(|(outcome, _)| *outcome);
    for (outcome, it) in results {
        let what = match outcome {
            ResourceOutcome::DeletedNotRecreated => "deleted and not recreated",
            ResourceOutcome::DeletedUnknown => "deleted and perhaps recreated",
            ResourceOutcome::Incomplete => "incomplete",
            ResourceOutcome::OldNotDeleted => "recreated with the old object left",
            ResourceOutcome::Failed => "failed",
            ResourceOutcome::Unknown => "with an unknown result",
            ResourceOutcome::NotStarted => "not started",
            ResourceOutcome::Done => match it.action {
                ChangeAction::Replace => "replaced",
                ChangeAction::Delete => "destroyed",
                ChangeAction::Forget => "forgotten",
                ChangeAction::Update => "changed",
                ChangeAction::Create => "added",
                ChangeAction::Import => "imported",
                ChangeAction::Move => "moved",
            },
        };
        match counts.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => counts.push((what, 1)),
        }
    }
    let shown: Vec<String> =
        counts.iter().map(|(what, count)| format!("{} {what}", grouped(*count))).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Returns an alert with what an apply did that did not end well. The losses have an alert of their
/// own. Empty before an apply, and after a complete one.
pub(super) fn alert(plan: &PlanReport, place: &str) -> String {
    let of = |it: &PlannedResource| it.result.as_ref().map(|result| result.outcome);
    let is_open = |it: &&PlannedResource| of(it).is_some_and(|it| it != ResourceOutcome::Done);
    let open: Vec<&PlannedResource> = plan.resources.iter().filter(is_open).collect();
    let (Some(summary), false) = (summary(plan), open.is_empty()) else { return String::new() };
    if open.len() == plan.resources.len()
        && open.iter().all(|it| of(it) == Some(ResourceOutcome::NotStarted))
    {
        return format!("> [!CAUTION]\n> {place}: **nothing was changed**: no change was started.");
    }
    let mut alert = format!("> [!CAUTION]\n> {place}: the apply is incomplete: **{summary}**.");
    let others: Vec<&&PlannedResource> = open.iter().filter(|it| !it.is_loss()).collect();
    if !others.is_empty() {
        alert.push_str("\n>");
    }
    for it in others.iter().take(NAMED) {
        let what = phrase(it, Outcome::Failed, 1);
        alert.push_str(&format!("\n> - {} {what}{}", code(&it.label()), error(it)));
    }
    match others.len().saturating_sub(NAMED) {
        0 => alert,
        more => format!("{alert}\n> - … and {}, shown below", counted(more, "more resource")),
    }
}
