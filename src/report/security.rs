//! The changes of a plan that concern security, by the rules of `security.json`.

use super::{
    markdown::{code, counted},
    plan::{PlanReport, PlannedResource},
    reasons::prose,
};
use crate::terraform::output::results::ResourceOutcome;

/// The number of resources that the alert names. The changes below it mark all of them.
const NAMED: usize = 10;

/// Returns an alert. Empty if no rule applies. The rules are not complete, which the documents say.
pub(super) fn alert(plan: &PlanReport, place: &str) -> String {
    let was_made = |it: &&PlannedResource| {
        let outcome = it.result.as_ref().map(|result| result.outcome);
        !matches!(outcome, Some(ResourceOutcome::NotStarted | ResourceOutcome::Failed))
    };
    let marked: Vec<&PlannedResource> =
        plan.resources.iter().filter(|it| !it.security.is_empty()).filter(was_made).collect();
    if marked.is_empty() {
        return String::new();
    }
    let count = counted(marked.len(), "security-relevant change");
    let mut alert = format!("> [!WARNING]\n> {place}: **{count}**:\n>");
    for it in marked.iter().take(NAMED) {
        let marks: Vec<String> = it.security.iter().map(|mark| prose(mark)).collect();
        alert.push_str(&format!("\n> - {}: {}", code(&it.label()), marks.join(", ")));
    }
    match marked.len().saturating_sub(NAMED) {
        0 => alert,
        more => format!("{alert}\n> - … and {}, marked below", counted(more, "more change")),
    }
}
