//! The resources that a plan destroys or replaces: all of them, in the room there is.

use std::collections::BTreeMap;

use super::{
    Outcome,
    addresses::{Collapsed, collapse, split},
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

/// Shortens the list in alerts that another run wrote, if they have more than `limit` bytes: the
/// instances of a resource then share a line.
pub(super) fn shrink(alerts: &str, limit: usize) -> String {
    let Some((before, list, after)) = parts(alerts).filter(|_| alerts.len() > limit) else {
        return alerts.to_owned();
    };
    let is_line = |line: &&str| SIGNS.iter().any(|sign| line.starts_with(&format!("{sign} ")));
    let lines: Vec<&str> = list.lines().collect();
    let (Some(first), Some(last)) =
        (lines.iter().position(&is_line), lines.iter().rposition(is_line))
    else {
        return alerts.to_owned();
    };
    let mut shown: Vec<String> = lines[..first].iter().map(|line| (*line).to_owned()).collect();
    for sign in SIGNS {
        let of_sign = lines.iter().filter_map(|line| line.strip_prefix(&format!("{sign} ")));
        shown.extend(by_resource(sign, &of_sign.map(str::to_owned).collect::<Vec<_>>()));
    }
    shown.extend(lines[last + 1..].iter().map(|line| (*line).to_owned()));
    format!("{before}{LIST_START}{}\n{LIST_END}{after}", shown.join("\n"))
}

/// Removes the list from alerts.
pub(super) fn without_list(alerts: &str, full_report: &str) -> String {
    match parts(alerts) {
        Some((before, _, after)) => {
            format!("{before}_For the full list, see {full_report}._{after}")
        }
        None => alerts.to_owned(),
    }
}

/// Splits alerts into what is before, in and after the list.
fn parts(alerts: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = alerts.split_once(LIST_START)?;
    let (list, after) = rest.split_once(LIST_END)?;
    Some((before, list.trim_end(), after))
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
        .or_else(|| fits(collapsed(losses)))
        .or_else(|| fits(by_type(losses)))
        .unwrap_or_else(|| format!("- {}", counted(losses.len(), "resource")))
}

fn collapsed(losses: &[&PlannedResource]) -> Vec<String> {
    let of = |name: &'static str| -> Vec<String> {
        let labels = losses.iter().filter(|it| sign(it.action) == name).map(|it| it.label());
        by_resource(name, &labels.collect::<Vec<_>>())
    };
    SIGNS.map(of).concat()
}

/// How lines of the list start.
const SIGNS: [&str; 2] = ["! -/+", "-"];

fn sign(action: ChangeAction) -> &'static str {
    if action == ChangeAction::Replace { SIGNS[0] } else { SIGNS[1] }
}

/// Formats lines such as `- aws_x.y[0…4999] (5,000)` and `- aws_x.z["a", "b"] (2)`.
fn by_resource(sign: &str, labels: &[String]) -> Vec<String> {
    let line = |it: Collapsed| match it.count {
        1 => format!("{sign} {}", it.address),
        count => format!("{sign} {} ({})", it.address, grouped(count)),
    };
    collapse(labels).into_iter().map(line).collect()
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
            shared.len() <= 20_000 && shared.contains("- aws_sqs_queue.q[0…4999] (5,000)"),
            "{shared}"
        );
        let others =
            of((0..5_000).map(|n| format!("module.m[\"{n}\"].aws_sqs_queue.queue_number_{n}")));
        let counted = show(&others, "a", Outcome::Planned, 20_000);
        assert!(counted.len() <= 20_000 && counted.contains("- 5,000 in module.m"), "{counted}");
    }
}
