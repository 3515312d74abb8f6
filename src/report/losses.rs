//! What a plan destroys or replaces: every single one, in as much room as there is.

use std::collections::BTreeMap;

use super::{
    markdown::{block, code, counted, grouped},
    plan::{PlanReport, PlannedResource},
};
use crate::terraform::output::changes::ChangeAction;

/// So many are named in the alert itself; all of them stand in the list below it.
const IN_ALERT: usize = 10;

/// Hidden lines around the long list, so that it can be taken out when a comment has too many rows.
const LIST_BEGINS: &str = "<!-- cdflow:list -->";
const LIST_ENDS: &str = "<!-- cdflow:list-end -->";

/// An alert and, if need be, a list; empty when nothing is lost.
pub(super) fn show(plan: &PlanReport, place: &str, is_past: bool, limit: usize) -> String {
    let losses: Vec<&PlannedResource> = plan.losses().collect();
    if losses.is_empty() {
        return String::new();
    }
    // What is done needs nobody's caution any more.
    let kind = if is_past { "NOTE" } else { "CAUTION" };
    let mut alert = format!("> [!{kind}]\n> {place}: {}\n>", headline(&losses, is_past));
    for loss in losses.iter().take(IN_ALERT) {
        alert.push_str(&format!("\n> - {} {}", code(&loss.address), what(loss.action, is_past)));
    }
    if losses.len() > IN_ALERT {
        alert.push_str(&format!(
            "\n> - … and {} more, listed below",
            grouped(losses.len() - IN_ALERT)
        ));
        let list = list(&losses, limit.saturating_sub(alert.len() + 200));
        alert.push_str(&format!(
            "\n\n{LIST_BEGINS}\n<details><summary>All {} that are destroyed or replaced</summary>\n\n```diff\n{list}\n```\n\n</details>\n{LIST_ENDS}",
            counted(losses.len(), "resource")
        ));
    }
    alert
}

/// Alerts that another run wrote, in less room: without the list.
pub(super) fn shrink(alerts: &str, limit: usize, whole: &str) -> String {
    match (alerts.find(LIST_BEGINS), alerts.find(LIST_ENDS)) {
        (Some(begins), Some(ends)) if begins < ends && alerts.len() > limit => {
            let after = &alerts[ends + LIST_ENDS.len()..];
            format!("{}_The list is in {whole}._{after}", &alerts[..begins])
        }
        _ => alerts.to_owned(),
    }
}

fn headline(losses: &[&PlannedResource], is_past: bool) -> String {
    let replaced = losses.iter().filter(|it| it.action == ChangeAction::Replace).count();
    let destroyed = losses.len() - replaced;
    let part = |count: usize, verb: &str| match (count, is_past) {
        (0, _) => None,
        (1, false) => Some(format!("**1 resource is {verb}**")),
        (count, false) => Some(format!("**{} resources are {verb}**", grouped(count))),
        (1, true) => Some(format!("**1 resource was {verb}**")),
        (count, true) => Some(format!("**{} resources were {verb}**", grouped(count))),
    };
    let parts = [part(replaced, "replaced"), part(destroyed, "destroyed")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ") + "."
}

fn what(action: ChangeAction, is_past: bool) -> &'static str {
    match (action, is_past) {
        (ChangeAction::Replace, false) => "is destroyed and made anew",
        (ChangeAction::Replace, true) => "was destroyed and made anew",
        (_, false) => "is destroyed",
        (_, true) => "was destroyed",
    }
}

/// One per line; where that does not fit, the instances of one resource share a line; at the very last they are only counted.
fn list(losses: &[&PlannedResource], limit: usize) -> String {
    let fits = |lines: Vec<String>| {
        let list = inside_fence(&lines.join("\n"));
        (list.len() <= limit).then_some(list)
    };
    fits(losses.iter().map(|it| format!("{} {}", sign(it.action), it.address)).collect())
        .or_else(|| fits(together(losses)))
        .or_else(|| fits(by_kind(losses)))
        .unwrap_or_else(|| format!("- {}", counted(losses.len(), "resource")))
}

/// The fence of the list has three backticks; an address never needs one.
fn inside_fence(text: &str) -> String {
    block(text).replace('`', "'")
}

fn sign(action: ChangeAction) -> &'static str {
    if action == ChangeAction::Replace { "! -/+" } else { "-" }
}

/// `aws_x.y[0-4999] (5,000)`, `aws_x.z["a", "b"]`.
fn together(losses: &[&PlannedResource]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for loss in losses {
        let (base, key) = split(&loss.address);
        groups.entry((sign(loss.action), base)).or_default().push(key);
    }
    let lines = groups.into_iter().map(|((sign, base), keys)| match keys.as_slice() {
        [""] => format!("{sign} {base}"),
        keys => format!("{sign} {base}[{}] ({})", ranges(keys), grouped(keys.len())),
    });
    lines.collect()
}

/// The address without its last key, and that key.
fn split(address: &str) -> (&str, &str) {
    let Some(inner) = address.strip_suffix(']') else { return (address, "") };
    let at = if inner.ends_with('"') {
        inner.find("[\"").filter(|_| inner.matches("[\"").count() == 1)
    } else {
        inner.rfind('[')
    };
    at.map_or((address, ""), |at| (&inner[..at], &inner[at + 1..]))
}

/// Numbers in a row become a range.
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

/// `- 1,204 aws_instance in module.fleet`
fn by_kind(losses: &[&PlannedResource]) -> Vec<String> {
    let mut kinds: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for loss in losses {
        *kinds.entry((sign(loss.action), kind(&loss.address))).or_default() += 1;
    }
    kinds
        .into_iter()
        .map(|((sign, kind), count)| format!("{sign} {} {kind}", grouped(count)))
        .collect()
}

fn kind(address: &str) -> String {
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
            show(&plan, "a → live", false, 10_000),
            "> [!CAUTION]\n> a → live: **1 resource is replaced**, **1 resource is destroyed**.\n>\n> - `a.c` is destroyed and made anew\n> - `a.b` is destroyed"
        );
        assert_eq!(show(&of(std::iter::empty()), "a", false, 100), "");
    }

    #[test]
    fn thousands_are_all_told_in_the_room_there_is() {
        let instances = of((0..5_000).map(|n| format!("aws_sqs_queue.q[{n}]")));
        let all = show(&instances, "a", false, 200_000);
        assert!((0..5_000).all(|n| all.contains(&format!("\n- aws_sqs_queue.q[{n}]\n"))));
        let shared = show(&instances, "a", false, 20_000);
        assert!(
            shared.len() <= 20_000 && shared.contains("- aws_sqs_queue.q[0-4999] (5,000)"),
            "{shared}"
        );
        let others =
            of((0..5_000).map(|n| format!("module.m[\"{n}\"].aws_sqs_queue.queue_number_{n}")));
        let counted = show(&others, "a", false, 20_000);
        assert!(counted.len() <= 20_000 && counted.contains("- 5,000 in module.m"), "{counted}");
    }
}
