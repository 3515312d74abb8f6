//! The resources that a plan destroys or replaces: all of them, in the room there is. Those whose
//! loss is a loss of data come first, with what protects them.

use std::collections::BTreeMap;

use super::{
    Outcome,
    addresses::{Collapsed, collapse, split},
    markdown::{code, counted, fence, grouped, words},
    plan::{PlanReport, PlannedResource},
    reasons::prose,
    results::{error, phrase},
};
use crate::terraform::output::changes::ChangeAction;

/// The number of resources that each alert itself names. A folded list below has all of them.
const IN_ALERT: usize = 10;

/// Hidden lines around that list, so that a run can remove it if a comment has too many rows.
const LIST_START: &str = "<!-- cdflow:list -->";
const LIST_END: &str = "<!-- cdflow:list-end -->";
/// The hidden line before alerts that such a list follows.
const NAMED: &str = "<!-- cdflow:named -->";

/// What precedes the protection of a store: its last line.
const PROTECTION: &str = "<br>";

/// Returns the alerts and, if they are too short for all, a list. Empty if nothing is destroyed.
/// `limit` is in bytes.
pub(super) fn show(plan: &PlanReport, place: &str, outcome: Outcome, limit: usize) -> String {
    let losses: Vec<&PlannedResource> = plan.losses().collect();
    let (data, others): (Vec<_>, Vec<_>) =
        losses.iter().copied().partition(|it| it.stateful.is_some());
    let has_all = data.len() <= IN_ALERT && others.len() <= IN_ALERT;
    let alerts = [of_data(&data, place, outcome), of_others(&others, place, outcome, &data)];
    let alerts: Vec<String> = alerts.into_iter().filter(|alert| !alert.is_empty()).collect();
    let mut shown = alerts.join("\n\n");
    if !has_all {
        shown.insert_str(0, &format!("{NAMED}\n"));
        let list = list(&losses, limit.saturating_sub(shown.len() + 200));
        shown.push_str(&format!(
            "\n\n{LIST_START}\n\
             <details><summary>All {} to be destroyed or replaced</summary>\n\n\
             {}\n\n</details>\n{LIST_END}",
            counted(losses.len(), "resource"),
            fence("diff", &list)
        ));
    }
    shown
}

/// Before an apply, and after one that did not end well, a loss needs attention. After a complete
/// one it is a warning.
fn kind(outcome: Outcome) -> &'static str {
    if outcome.is_past() { "WARNING" } else { "CAUTION" }
}

fn of_data(losses: &[&PlannedResource], place: &str, outcome: Outcome) -> String {
    if losses.is_empty() {
        return String::new();
    }
    let headline = headline(losses, outcome, |it| it.stateful.as_deref().unwrap_or_default());
    let mut alert = format!("> [!{}]\n> {place}: **data loss**: {headline}.\n>", kind(outcome));
    for loss in losses.iter().take(IN_ALERT) {
        let holds = words(loss.stateful.as_deref().unwrap_or_default());
        alert.push_str(&format!(
            "\n> - {holds} {}{}{PROTECTION}{}",
            code(&loss.label()),
            story(loss, outcome),
            protection(loss)
        ));
    }
    alert + &more(losses.len())
}

fn of_others(
    losses: &[&PlannedResource],
    place: &str,
    outcome: Outcome,
    data: &[&PlannedResource],
) -> String {
    if losses.is_empty() {
        return String::new();
    }
    let noun = if data.is_empty() { "resource" } else { "other resource" };
    let headline = headline(losses, outcome, |_| noun);
    let mut alert = format!("> [!{}]\n> {place}: {headline}.\n>", kind(outcome));
    for loss in losses.iter().take(IN_ALERT) {
        alert.push_str(&format!("\n> - {}{}", code(&loss.label()), story(loss, outcome)));
    }
    alert + &more(losses.len())
}

fn more(losses: usize) -> String {
    match losses.saturating_sub(IN_ALERT) {
        0 => String::new(),
        more => format!("\n> - … and {} more, listed below", grouped(more)),
    }
}

/// Returns what happens to a resource, and why or with which error.
fn story(loss: &PlannedResource, outcome: Outcome) -> String {
    let what = phrase(loss, outcome, 1);
    let why = match error(loss) {
        error if !error.is_empty() => error,
        _ if loss.reasons.is_empty() => String::new(),
        _ => {
            let reasons: Vec<String> = loss.reasons.iter().map(|it| it.markdown()).collect();
            format!(": {}", reasons.join(", "))
        }
    };
    format!(" {what}{why}")
}

/// Returns what protects the object by the values of the plan.
fn protection(loss: &PlannedResource) -> String {
    let join = |parts: &[String]| parts.iter().map(|it| prose(it)).collect::<Vec<_>>().join(", ");
    let protects = if loss.result.is_some() { "protected" } else { "protects" };
    match (loss.protected_by.is_empty(), loss.unprotected.is_empty()) {
        (true, true) => format!("**Nothing in the plan {protects} it**"),
        (true, false) => format!("**Nothing {protects} it**: {}", join(&loss.unprotected)),
        (false, true) => format!("Protection: {}", join(&loss.protected_by)),
        (false, false) => {
            format!("Protection: {}; but {}", join(&loss.protected_by), join(&loss.unprotected))
        }
    }
}

/// Shortens alerts that another run wrote, if they have more than `limit` bytes: the instances of a
/// resource share a line of the list, and then each store has only its address and what happens.
pub(super) fn shrink(alerts: &str, limit: usize) -> String {
    let shown = with_short_list(alerts, limit);
    if shown.len() <= limit {
        return shown;
    }
    let item = |line: &str| {
        let (item, _) = line.rsplit_once(PROTECTION)?;
        let (_, address) = item.strip_prefix("> - ")?.split_once('`')?;
        Some(format!("> - `{address}"))
    };
    let short = shown.lines().map(|line| item(line).unwrap_or_else(|| line.to_owned()));
    short.collect::<Vec<_>>().join("\n")
}

fn with_short_list(alerts: &str, limit: usize) -> String {
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

/// Removes the resources that alerts name, if a list has all of them.
pub(super) fn without_named(alerts: &str) -> String {
    let Some((before, list, after)) = parts(alerts) else { return alerts.to_owned() };
    let Some((others, named)) = before.split_once(NAMED) else { return alerts.to_owned() };
    let heads = named.lines().filter(|line| !line.starts_with("> - "));
    let heads = heads.collect::<Vec<_>>().join("\n");
    format!("{others}{NAMED}{heads}\n{LIST_START}{list}\n{LIST_END}{after}")
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

/// Counts the losses of each kind: "**1 database will be replaced**, **2 queues will be
/// destroyed**".
fn headline<'l>(
    losses: &[&'l PlannedResource],
    outcome: Outcome,
    noun: impl Fn(&'l PlannedResource) -> &'l str,
) -> String {
    let mut groups: Vec<(&PlannedResource, &str, String, usize)> = Vec::new();
    for &loss in losses {
        let (noun, what) = (noun(loss), phrase(loss, outcome, 1));
        match groups.iter_mut().find(|(_, known, how, _)| (*known, how) == (noun, &what)) {
            Some((.., count)) => *count += 1,
            None => groups.push((loss, noun, what, 1)),
        }
    }
    let parts = groups.iter().map(|(loss, noun, _, count)| {
        let number = match noun.strip_suffix("ry") {
            Some(stem) if *count > 1 => format!("{} {stem}ries", grouped(*count)),
            _ => counted(*count, noun),
        };
        format!("**{number} {}**", phrase(loss, outcome, *count))
    });
    parts.collect::<Vec<_>>().join(", ")
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
