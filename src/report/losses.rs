//! The resources that a plan destroys or replaces: all of them, in the room there is. Those whose
//! loss is a loss of data come first, with what protects them.

use super::{
    Outcome,
    addresses::{Collapsed, collapse},
    loss_list::{SIGNS, by_resource, list},
    markdown::{code, counted, fence, grouped, words},
    plan::{PlanReport, PlannedResource},
    reasons::prose,
    results::{error, phrase},
};

/// The number of lines of each alert. A folded list below has all resources.
const IN_ALERT: usize = 10;
/// In bytes: the addresses of a line.
const IN_LINE: usize = 400;

/// Hidden lines around that list, so that a run can remove it if a comment has too many rows.
const LIST_START: &str = "<!-- cdflow:list -->";
const LIST_END: &str = "<!-- cdflow:list-end -->";
/// The hidden line before alerts that such a list follows.
const NAMED: &str = "<!-- cdflow:named -->";

/// What precedes the protection of a store: its last line.
const PROTECTION: &str = "<br>";

/// Returns the alerts and, if they do not name each resource by its address, a list. Empty if
/// nothing is destroyed. `limit` is in bytes.
pub(super) fn show(plan: &PlanReport, place: &str, outcome: Outcome, limit: usize) -> String {
    let losses: Vec<&PlannedResource> = plan.losses().collect();
    let (data, others): (Vec<_>, Vec<_>) =
        losses.iter().copied().partition(|it| it.stateful.is_some());
    let alerts = [of_data(&data, place, outcome), of_others(&others, place, outcome, &data)];
    let is_any = |is: fn(&Lines) -> bool| alerts.iter().any(|(_, lines)| is(lines));
    let (is_cut, is_short) = (is_any(|it| it.left_out > 0), is_any(|it| it.has_ranges));
    let shown: Vec<&str> = alerts.iter().map(|(text, _)| text.as_str()).collect();
    let mut shown = shown.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n\n");
    if is_cut {
        shown.insert_str(0, &format!("{NAMED}\n"));
    }
    if is_cut || is_short {
        let list = list(&losses, limit.saturating_sub(shown.len() + 200));
        let resources = counted(losses.len(), "resource");
        let title = match outcome {
            _ if outcome.is_past() => format!("{resources}, destroyed or replaced"),
            _ => format!("{resources} to be destroyed or replaced"),
        };
        shown.push_str(&format!(
            "\n\n{LIST_START}\n<details><summary>All {title}</summary>\n\n\
             {}\n\n</details>\n{LIST_END}",
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

fn of_data(losses: &[&PlannedResource], place: &str, outcome: Outcome) -> (String, Lines) {
    if losses.is_empty() {
        return Default::default();
    }
    let headline = headline(losses, outcome, |it| it.stateful.as_deref().unwrap_or_default());
    let alert = format!("> [!{}]\n> {place}: **data loss**: {headline}.\n>", kind(outcome));
    let lines = Lines::of(losses, outcome, |loss, count, names| {
        let holds = loss.stateful.as_deref().unwrap_or_default();
        let holds = match count {
            1 => words(holds),
            _ => words(&plural(count, holds)),
        };
        let story = story(loss, outcome, count);
        format!("{holds} {names}{story}{PROTECTION}{}", protection(loss, count))
    });
    (alert + &lines.text, lines)
}

fn of_others(
    losses: &[&PlannedResource],
    place: &str,
    outcome: Outcome,
    data: &[&PlannedResource],
) -> (String, Lines) {
    if losses.is_empty() {
        return Default::default();
    }
    let noun = if data.is_empty() { "resource" } else { "other resource" };
    let headline = headline(losses, outcome, |_| noun);
    let alert = format!("> [!{}]\n> {place}: {headline}.\n>", kind(outcome));
    let lines = Lines::of(losses, outcome, |loss, count, names| {
        let number = if count == 1 { String::new() } else { plural(count, "resource") + " " };
        format!("{number}{names}{}", story(loss, outcome, count))
    });
    (alert + &lines.text, lines)
}

/// The lines of an alert. Resources about which the same is said share one.
#[derive(Default)]
struct Lines {
    text: String,
    /// How many resources have no address in them.
    left_out: usize,
    /// Whether some addresses are only in a range, such as `a.b[0…23]`.
    has_ranges: bool,
}

impl Lines {
    /// `line` gets one of the resources, their number and their addresses.
    fn of(
        losses: &[&PlannedResource],
        outcome: Outcome,
        line: impl Fn(&PlannedResource, usize, &str) -> String,
    ) -> Self {
        let said =
            |it: &PlannedResource| (it.stateful.clone(), story(it, outcome, 1), protection(it, 1));
        let mut groups: Vec<(_, Vec<&PlannedResource>)> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for &loss in losses {
            let at = *known.entry(said(loss)).or_insert_with(|| {
                groups.push((loss, Vec::new()));
                groups.len() - 1
            });
            if let Some((_, members)) = groups.get_mut(at) {
                members.push(loss);
            }
        }
        let mut lines = Self::default();
        for (first, members) in groups.iter().take(IN_ALERT) {
            let names = lines.names(members);
            lines.text.push_str(&format!("\n> - {}", line(first, members.len(), &names)));
        }
        let more: usize = groups.iter().skip(IN_ALERT).map(|(_, members)| members.len()).sum();
        if more > 0 {
            lines.text.push_str(&format!("\n> - … and {} more, listed below", grouped(more)));
        }
        lines.left_out += more;
        lines
    }

    /// Returns the addresses of a line.
    fn names(&mut self, members: &[&PlannedResource]) -> String {
        let labels: Vec<String> = members.iter().map(|it| it.label()).collect();
        let mut all = collapse(&labels);
        if all.iter().any(|it| it.count > 1 && it.address.len() > IN_LINE) {
            // Many keys that are no numbers.
            let one = |address: String| Collapsed { address, count: 1 };
            all = labels.into_iter().map(one).collect();
        }
        let mut room = IN_LINE;
        let fits = |it: &&Collapsed| {
            let is_first = room == IN_LINE;
            let fits = is_first || it.address.len() <= room;
            room = room.saturating_sub(it.address.len().max(1));
            fits
        };
        let shown: Vec<&Collapsed> = all.iter().take(IN_ALERT).take_while(fits).collect();
        self.has_ranges |= shown.iter().any(|it| it.count > 1 && it.address.contains('…'));
        let rest = members.len() - shown.iter().map(|it| it.count).sum::<usize>();
        self.left_out += rest;
        let names: Vec<String> = shown.iter().map(|it| code(&it.address)).collect();
        match rest {
            0 => names.join(", "),
            _ => format!("{} and {} more, listed below,", names.join(", "), grouped(rest)),
        }
    }
}

/// Returns a number with its noun, such as "2 registries".
fn plural(count: usize, noun: &str) -> String {
    match noun.strip_suffix("ry") {
        Some(stem) if count > 1 => format!("{} {stem}ries", grouped(count)),
        _ => counted(count, noun),
    }
}

/// Returns what happens to a resource, and why or with which error.
fn story(loss: &PlannedResource, outcome: Outcome, count: usize) -> String {
    let what = phrase(loss, outcome, count);
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

/// Returns what protects each object by the values of the plan.
fn protection(loss: &PlannedResource, count: usize) -> String {
    let join = |parts: &[String]| parts.iter().map(|it| prose(it)).collect::<Vec<_>>().join(", ");
    let protects = if loss.result.is_some() { "protected" } else { "protects" };
    let it = if count == 1 { "it" } else { "them" };
    match (loss.protected_by.is_empty(), loss.unprotected.is_empty()) {
        (true, true) => format!("**Nothing in the plan {protects} {it}**"),
        (true, false) => format!("**Nothing {protects} {it}**: {}", join(&loss.unprotected)),
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
        let (what, address) = item.strip_prefix("> - ")?.split_once('`')?;
        // The number of resources that share the line.
        let what = if what.starts_with(|c: char| c.is_ascii_digit()) { what } else { "" };
        Some(format!("> - {what}`{address}"))
    };
    let short = shown.lines().map(|line| item(line).unwrap_or_else(|| line.to_owned()));
    short.collect::<Vec<_>>().join("\n")
}

fn with_short_list(alerts: &str, limit: usize) -> String {
    let Some((before, list, after)) = parts(alerts).filter(|_| alerts.len() > limit) else {
        return alerts.to_owned();
    };
    if !alerts.contains(NAMED) {
        // The list only repeats the ranges of the alerts one by one.
        return format!("{}{}", before.trim_end(), after);
    }
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
        format!("**{} {}**", plural(*count, noun), phrase(loss, outcome, *count))
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::redact::Redactor,
        report::plan::tests::{change, plan},
        terraform::output::changes::ChangeAction,
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
    fn what_is_said_of_several_is_said_once() {
        let instances = (0..24).map(|n| format!("aws_sqs_queue.old[{n}]"));
        let others = ["aws_lb.a", "aws_lb.b", "aws_sqs_queue.legacy"].map(str::to_owned);
        let shown = show(&of(instances.chain(others)), "a", Outcome::Planned, 10_000);
        let alerts = "> [!CAUTION]\n> a: **data loss**: **25 queues will be destroyed**.\n>\n\
            > - 25 queues `aws_sqs_queue.old[0…23]`, `aws_sqs_queue.legacy` will be destroyed<br>\
            **Nothing in the plan protects them**\n\n\
            > [!CAUTION]\n> a: **2 other resources will be destroyed**.\n>\n\
            > - 2 resources `aws_lb.a`, `aws_lb.b` will be destroyed\n\n";
        assert!(shown.starts_with(alerts), "{shown}");
        assert!(shown.contains("<summary>All 27 resources to be destroyed or replaced</summary>"));
        assert!(
            (0..24).all(|n| shown.contains(&format!("\n- aws_sqs_queue.old[{n}]\n"))),
            "{shown}"
        );
        // The alerts have every address, so the list goes first.
        let short = shrink(&shown, shown.len() - 1);
        assert_eq!(short, alerts.trim_end());
        assert!(
            shrink(&shown, 100).contains("> - 25 queues `aws_sqs_queue.old[0…23]`, "),
            "{shown}"
        );
        assert_eq!(without_named(&shown), shown);
    }

    #[test]
    fn another_reason_or_protection_has_its_own_line() {
        let mut plan = of(["a.b[0]", "a.b[1]", "a.b[2]", "a.b[3]"].into_iter().map(str::to_owned));
        for it in &mut plan.resources {
            it.stateful = Some("database".to_owned());
        }
        plan.resources[1].protected_by = vec!["final snapshot".to_owned()];
        plan.resources[3].stateful = Some("table".to_owned());
        let shown = show(&plan, "a", Outcome::Planned, 10_000);
        for line in [
            "> - 2 databases `a.b[0, 2]` will be destroyed<br>\
             **Nothing in the plan protects them**",
            "> - database `a.b[1]` will be destroyed<br>Protection: final snapshot",
            "> - table `a.b[3]` will be destroyed<br>**Nothing in the plan protects it**",
        ] {
            assert_eq!(shown.lines().filter(|it| *it == line).count(), 1, "{line}: {shown}");
        }
        assert!(!shown.contains("<details>"), "each address is shown: {shown}");
    }

    #[test]
    fn an_address_can_be_copied_from_the_list() {
        let hostile = of((0..11).map(|n| format!("a.b[\"`x```{n}\"]{}", "y".repeat(60))));
        let shown = show(&hostile, "a", Outcome::Planned, 10_000);
        assert!(shown.contains(&format!("\n- a.b[\"`x```7\"]{}\n", "y".repeat(60))), "{shown}");
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
