//! The resources that a plan destroys or replaces: all of them, in the room there is.

use std::collections::BTreeMap;

use super::{
    Outcome,
    markdown::{code, counted, fence, grouped},
    plan::{PlanReport, PlannedResource},
};
use crate::terraform::output::changes::ChangeAction;

/// The number of resources that the alert itself names. A folded list below it has all of them.
const IN_ALERT: usize = 10;

/// Hidden lines around that list, so that a run can remove it if a comment has too many rows.
const LIST_START: &str = "<!-- cdflow:list -->";
const LIST_END: &str = "<!-- cdflow:list-end -->";

/// Returns an alert and, if it is too short for all, a list. Empty if nothing is destroyed.
/// `limit` is in bytes.
pub(super) fn show(plan: &PlanReport, place: &str, outcome: Outcome, limit: usize) -> String {
    let losses: Vec<&PlannedResource> = plan.losses().collect();
    if losses.is_empty() {
        return String::new();
    }
    // After the apply, a warning would come too late.
    let kind = if outcome.is_past() { "NOTE" } else { "CAUTION" };
    let mut alert = format!("> [!{kind}]\n> {place}: {}\n>", headline(&losses, outcome));
    for loss in losses.iter().take(IN_ALERT) {
        let what = if loss.action == ChangeAction::Replace { "replaced" } else { "destroyed" };
        let (address, verb) = (code(&loss.label()), outcome.plan_verb(1));
        alert.push_str(&format!("\n> - {address} {verb} {what}"));
    }
    if losses.len() > IN_ALERT {
        alert.push_str(&format!(
            "\n> - … and {} more, listed below",
            grouped(losses.len() - IN_ALERT)
        ));
        let list = list(&losses, limit.saturating_sub(alert.len() + 200));
        alert.push_str(&format!(
            "\n\n{LIST_START}\n\
             <details><summary>All {} to be destroyed or replaced</summary>\n\n\
             {}\n\n</details>\n{LIST_END}",
            counted(losses.len(), "resource"),
            fence("diff", &list)
        ));
    }
    alert
}

/// Removes the list from alerts that another run wrote, if they have more than `limit` bytes.
pub(super) fn shrink(alerts: &str, limit: usize, full_report: &str) -> String {
    match (alerts.find(LIST_START), alerts.find(LIST_END)) {
        (Some(start), Some(end)) if start < end && alerts.len() > limit => {
            let after = &alerts[end + LIST_END.len()..];
            format!("{}_For the full list, see {full_report}._{after}", &alerts[..start])
        }
        _ => alerts.to_owned(),
    }
}

fn headline(losses: &[&PlannedResource], outcome: Outcome) -> String {
    let replaced = losses.iter().filter(|it| it.action == ChangeAction::Replace).count();
    let parts = [(replaced, "replaced"), (losses.len() - replaced, "destroyed")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| {
        format!("**{} {} {what}**", counted(*count, "resource"), outcome.plan_verb(*count))
    });
    parts.collect::<Vec<_>>().join(", ") + "."
}

/// Lists one resource per line.
///
/// If that exceeds `limit` bytes, the instances of a resource share a line; if that is still too
/// long, they are counted per type or module, and in the end all together.
fn list(losses: &[&PlannedResource], limit: usize) -> String {
    let fits = |lines: Vec<String>| {
        let list = lines.join("\n");
        (list.len() <= limit).then_some(list)
    };
    fits(losses.iter().map(|it| format!("{} {}", sign(it.action), it.label())).collect())
        .or_else(|| fits(by_resource(losses)))
        .or_else(|| fits(by_type(losses)))
        .unwrap_or_else(|| format!("- {}", counted(losses.len(), "resource")))
}

fn sign(action: ChangeAction) -> &'static str {
    if action == ChangeAction::Replace { "! -/+" } else { "-" }
}

/// Formats lines such as `- aws_x.y[0-4999] (5,000)` and `- aws_x.z["a", "b"] (2)`.
fn by_resource(losses: &[&PlannedResource]) -> Vec<String> {
    let labels: Vec<String> = losses.iter().map(|loss| loss.label()).collect();
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (loss, label) in losses.iter().zip(&labels) {
        let (base, key) = split(label);
        groups.entry((sign(loss.action), base)).or_default().push(key);
    }
    let lines = groups.into_iter().map(|((sign, base), keys)| match keys.as_slice() {
        [""] => format!("{sign} {base}"),
        keys => format!("{sign} {base}[{}] ({})", ranges(keys), grouped(keys.len())),
    });
    lines.collect()
}

/// Splits an address into the part before its last instance key, and that key without brackets.
fn split(address: &str) -> (&str, &str) {
    let Some(inner) = address.strip_suffix(']') else { return (address, "") };
    let at = if inner.ends_with('"') {
        inner.find("[\"").filter(|_| inner.matches("[\"").count() == 1)
    } else {
        inner.rfind('[')
    };
    at.map_or((address, ""), |at| (&inner[..at], &inner[at + 1..]))
}

/// Formats instance keys; consecutive numbers become a range, such as `0-4999`.
fn ranges(keys: &[&str]) -> String {
    let Some(mut numbers) =
        keys.iter().map(|key| key.parse::<u64>().ok()).collect::<Option<Vec<_>>>()
    else {
        return keys.join(", ");
    };
    numbers.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs =
        runs.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    runs.collect::<Vec<_>>().join(", ")
}

/// Formats lines such as `- 1,204 aws_instance` and `- 12 in module.fleet`.
fn by_type(losses: &[&PlannedResource]) -> Vec<String> {
    let mut kinds: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for loss in losses {
        *kinds.entry((sign(loss.action), type_or_module(&loss.address))).or_default() += 1;
    }
    kinds
        .into_iter()
        .map(|((sign, kind), count)| format!("{sign} {} {kind}", grouped(count)))
        .collect()
}

fn type_or_module(address: &str) -> String {
    let (base, _) = split(address);
    let mut parts = base.split('.');
    match parts.next() {
        Some("module") => {
            let module =
                parts.next().unwrap_or_default().split('[').next().unwrap_or_default().to_owned();
            format!("in module.{module}")
        }
        kind => kind.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::redact::Redactor,
        report::plan::tests::{change, plan},
    };

    fn of(addresses: impl Iterator<Item = String>) -> PlanReport {
        plan(
            "",
            addresses.map(|address| change(&address, ChangeAction::Delete)).collect(),
            &Redactor::default(),
        )
    }

    #[test]
    fn few_are_named_in_the_alert() {
        let plan = plan(
            "",
            vec![change("a.b", ChangeAction::Delete), change("a.c", ChangeAction::Replace)],
            &Redactor::default(),
        );
        assert_eq!(
            show(&plan, "a → live", Outcome::Planned, 10_000),
            "> [!CAUTION]\n\
             > a → live: **1 resource will be replaced**, **1 resource will be destroyed**.\n\
             >\n> - `a.c` will be replaced\n> - `a.b` will be destroyed"
        );
        assert_eq!(show(&of(std::iter::empty()), "a", Outcome::Planned, 100), "");
    }

    #[test]
    fn an_address_can_be_copied_from_the_list() {
        let hostile = of((0..11).map(|n| format!("a.b[\"`x```{n}\"]")));
        let shown = show(&hostile, "a", Outcome::Planned, 10_000);
        assert!(shown.contains("\n- a.b[\"`x```7\"]\n"), "{shown}");
        assert_eq!(shown.matches("\n````diff\n").count(), 1, "the fence is longer: {shown}");
        assert_eq!(shown.matches("\n````\n").count(), 1, "{shown}");
    }

    #[test]
    fn thousands_are_all_listed_within_the_limit() {
        let instances = of((0..5_000).map(|n| format!("aws_sqs_queue.q[{n}]")));
        let all = show(&instances, "a", Outcome::Planned, 200_000);
        assert!((0..5_000).all(|n| all.contains(&format!("\n- aws_sqs_queue.q[{n}]\n"))));
        let shared = show(&instances, "a", Outcome::Planned, 20_000);
        assert!(
            shared.len() <= 20_000 && shared.contains("- aws_sqs_queue.q[0-4999] (5,000)"),
            "{shared}"
        );
        let others =
            of((0..5_000).map(|n| format!("module.m[\"{n}\"].aws_sqs_queue.queue_number_{n}")));
        let counted = show(&others, "a", Outcome::Planned, 20_000);
        assert!(counted.len() <= 20_000 && counted.contains("- 5,000 in module.m"), "{counted}");
    }
}
