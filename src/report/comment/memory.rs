//! What a row keeps of its plan, in the hidden data of the comment: enough to find rows with the
//! same changes, and to compare the next plan of the row with this one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    base::digest::Sha256,
    report::{
        Report,
        markdown::grouped,
        plan::{PlanCounts, PlannedResource},
    },
    terraform::output::changes::ChangeAction,
};

/// How many changes are kept. Of a larger plan, only the counts are compared.
const KEPT: usize = 100;
/// In characters: an action, a digest of the address, and one of the changed values.
const ITEM: usize = 1 + LABEL + CONTENT;
const LABEL: usize = 4;
const CONTENT: usize = 2;

/// The changes of a plan, as digests. Text from a comment that people edited is compared like any
/// other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// Equal for plans that change the same resources to the same values.
    pub(super) digest: String,
    /// One item of [`ITEM`] characters per change; empty if the plan has more than [`KEPT`].
    #[serde(skip_serializing_if = "String::is_empty")]
    items: String,
    pub(super) changes: usize,
}

impl Memory {
    /// Returns None for a report without a plan, or with a plan without changes.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let plan = report.plan.as_ref().filter(|plan| plan.has_changes)?;
        let context = &report.context;
        let names = [
            &report.environment,
            &report.version,
            &context.deployed,
            &context.account_id,
            &context.account_alias,
            &context.region,
        ];
        let names: Vec<&str> = names.into_iter().filter_map(Option::as_deref).collect();
        let mut items = String::new();
        let mut whole = String::new();
        for resource in &plan.resources {
            let content = content(resource, &names);
            if plan.resources.len() <= KEPT {
                items.push(letter(resource.action));
                items.push_str(&digest(&resource.label(), LABEL));
                items.push_str(&digest(&content, CONTENT));
            }
            whole.push_str(&format!(
                "{} {}\n{content}\n",
                letter(resource.action),
                resource.label()
            ));
        }
        whole.push_str(&marked_lines(&plan.outputs, &names));
        Some(Self { digest: digest(&whole, 12), items, changes: plan.resources.len() })
    }

    /// Returns how the plan of a row differs from the `earlier` one of the same row, in words.
    pub(super) fn since(
        &self,
        earlier: &Self,
        counts: Option<PlanCounts>,
        earlier_counts: Option<PlanCounts>,
    ) -> Option<String> {
        if self.digest == earlier.digest {
            return Some("the same changes".to_owned());
        }
        match (self.parsed(), earlier.parsed()) {
            (Some(now), Some(then)) => Some(compared(&now, &then)),
            _ => counted(counts?, earlier_counts?),
        }
    }

    /// Returns action and content by address. None if the plan has too many changes, or the text
    /// is not cdflow's.
    fn parsed(&self) -> Option<BTreeMap<&str, (char, &str)>> {
        if !self.items.is_ascii()
            || !self.items.len().is_multiple_of(ITEM)
            || self.items.len() / ITEM != self.changes
        {
            return None;
        }
        let items = (0..self.changes).map(|at| &self.items[at * ITEM..(at + 1) * ITEM]);
        let parsed = items.map(|item| {
            (&item[1..=LABEL], (item.chars().next().unwrap_or_default(), &item[1 + LABEL..]))
        });
        Some(parsed.collect())
    }
}

fn compared(now: &BTreeMap<&str, (char, &str)>, then: &BTreeMap<&str, (char, &str)>) -> String {
    let action = |of: &BTreeMap<&str, (char, &str)>, label: &str| of.get(label).map(|it| it.0);
    let (mut gone, mut new, mut other) = (Vec::new(), Vec::new(), 0);
    for (label, (letter, _)) in then {
        if action(now, label) != Some(*letter) {
            gone.push(*letter);
        }
    }
    for (label, (letter, content)) in now {
        match then.get(label) {
            Some((before, _)) if before != letter => new.push(*letter),
            None => new.push(*letter),
            Some((_, before)) => other += usize::from(before != content),
        }
    }
    let mut parts: Vec<String> = named(&gone).into_iter().map(|it| format!("{it} gone")).collect();
    parts.extend(named(&new).into_iter().map(|it| format!("{it} new")));
    if other > 0 {
        parts.push(format!("{} with other values", grouped(other)));
    }
    match parts.is_empty() {
        // Outputs are compared only by the digest.
        true => "other outputs".to_owned(),
        false => parts.join(", "),
    }
}

/// Returns "1 destroy" and "2 additions", most dangerous first.
fn named(letters: &[char]) -> Vec<String> {
    let count = |letter: char| letters.iter().filter(|it| **it == letter).count();
    let counts = NAMES.iter().map(|(letter, one, many)| (count(*letter), *one, *many));
    let counts = counts.filter(|(count, ..)| *count > 0);
    let named = counts.map(|(count, one, many)| {
        format!("{} {}", grouped(count), if count == 1 { one } else { many })
    });
    named.collect()
}

const NAMES: [(char, &str, &str); 7] = [
    ('r', "replacement", "replacements"),
    ('d', "destroy", "destroys"),
    ('f', "removal from the state", "removals from the state"),
    ('u', "change in place", "changes in place"),
    ('c', "addition", "additions"),
    ('i', "import", "imports"),
    ('m', "move", "moves"),
];

fn letter(action: ChangeAction) -> char {
    match action {
        ChangeAction::Replace => 'r',
        ChangeAction::Delete => 'd',
        ChangeAction::Forget => 'f',
        ChangeAction::Update => 'u',
        ChangeAction::Create => 'c',
        ChangeAction::Import => 'i',
        ChangeAction::Move => 'm',
    }
}

/// Compares two plans of which at least one is too large to keep, by their counts.
fn counted(now: PlanCounts, then: PlanCounts) -> Option<String> {
    let kinds = [
        (now.replace, then.replace, "to replace"),
        (
            now.destroy - now.replace.min(now.destroy),
            then.destroy - then.replace.min(then.destroy),
            "to destroy",
        ),
        (now.forget, then.forget, "to forget"),
        (now.change, then.change, "to change"),
        (now.add - now.replace.min(now.add), then.add - then.replace.min(then.add), "to add"),
    ];
    let differing = kinds.iter().filter(|(now, then, _)| now != then);
    let parts: Vec<String> = differing
        .map(|(now, then, what)| match now > then {
            true => format!("{} more {what}", grouped(now - then)),
            false => format!("{} fewer {what}", grouped(then - now)),
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns what a change does, without what differs between environments: the identifiers of
/// existing objects and the `names` of environment, account and version.
fn content(resource: &PlannedResource, names: &[&str]) -> String {
    match resource.action {
        // Only old values, which the next one does not have.
        ChangeAction::Delete | ChangeAction::Forget => String::new(),
        _ => marked_lines(&resource.diff, names),
    }
}

fn marked_lines(diff: &str, names: &[&str]) -> String {
    let mut lines = String::new();
    for line in diff.lines().filter(|line| line.starts_with(['+', '-', '!'])) {
        // The old value is the identifier of an existing object.
        let line = match (line.split_once(" = "), line.contains("-> (known after apply)")) {
            (Some((name, _)), true) => name.trim_end(),
            _ => line,
        };
        lines.push_str(&without(line, names));
        lines.push('\n');
    }
    lines
}

/// Replaces `names` where they are whole words.
fn without(line: &str, names: &[&str]) -> String {
    let mut line = line.to_owned();
    for name in names.iter().filter(|name| name.len() > 1) {
        let mut out = String::new();
        let mut rest = line.as_str();
        while let Some(at) = rest.find(name) {
            let (before, after) = (&rest[..at], &rest[at + name.len()..]);
            let is_word = !before.ends_with(char::is_alphanumeric)
                && !after.starts_with(char::is_alphanumeric);
            out.push_str(before);
            out.push_str(if is_word { "\u{1}" } else { name });
            rest = after;
        }
        out.push_str(rest);
        line = out;
    }
    line
}

/// Returns the first characters of a digest, of the letters and digits of Base64.
fn digest(text: &str, characters: usize) -> String {
    let text = Sha256::of(text.as_bytes()).base64();
    text.chars().filter(char::is_ascii_alphanumeric).take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::redact::Redactor,
        report::plan::tests::{change, plan},
        report::samples,
    };

    fn memory(changes: &[(&str, ChangeAction)]) -> Memory {
        let changes = changes.iter().map(|(address, action)| change(address, *action)).collect();
        let plan = Some(plan("", changes, &Redactor::default()));
        Memory::of(&Report { plan, ..Report::default() }).unwrap()
    }

    fn since(now: &Memory, then: &Memory) -> String {
        now.since(then, None, None).unwrap()
    }

    #[test]
    fn plans_are_compared_by_address_and_action() {
        let then = memory(&[
            ("a.gone", ChangeAction::Delete),
            ("a.same", ChangeAction::Update),
            ("a.worse", ChangeAction::Update),
        ]);
        let now = memory(&[
            ("a.new", ChangeAction::Create),
            ("a.other", ChangeAction::Create),
            ("a.same", ChangeAction::Update),
            ("a.worse", ChangeAction::Replace),
        ]);
        assert_eq!(
            since(&now, &then),
            "1 destroy gone, 1 change in place gone, 1 replacement new, 2 additions new"
        );
        assert_eq!(since(&then, &then), "the same changes");
    }

    #[test]
    fn values_count_and_names_of_places_do_not() {
        let plan_of = |environment: &str, diff: &str| {
            let mut report = samples::small_plan();
            report.environment = Some(environment.to_owned());
            report.plan.as_mut().unwrap().resources[0].diff = diff.to_owned();
            Memory::of(&report).unwrap()
        };
        let live = plan_of("live", "! id = \"db-1\" -> (known after apply)\n! name = \"live-db\"");
        let aslive =
            plan_of("aslive", "! id = \"db-2\" -> (known after apply)\n! name = \"aslive-db\"");
        assert_eq!(live.digest, aslive.digest);
        let other = plan_of("live", "! id = \"db-1\" -> (known after apply)\n! name = \"db\"");
        assert_ne!(live.digest, other.digest);
        assert_eq!(since(&other, &live), "1 with other values");
    }

    #[test]
    fn a_large_plan_is_compared_by_its_counts() {
        let (then, now) = (samples::large_plan(400, 12), samples::large_plan(400, 10));
        let counts = |report: &Report| report.plan.as_ref().map(|plan| plan.counts);
        let [then_kept, now_kept] = [&then, &now].map(|report| Memory::of(report).unwrap());
        assert!(now_kept.items.is_empty());
        assert_eq!(
            now_kept.since(&then_kept, counts(&now), counts(&then)).unwrap(),
            "2 fewer to destroy, 2 more to add"
        );
    }

    #[test]
    fn edited_text_is_not_compared() {
        let odd = Memory { digest: "x".to_owned(), items: "äöü".to_owned(), changes: 1 };
        assert_eq!(odd.since(&memory(&[("a.b", ChangeAction::Create)]), None, None), None);
    }
}
