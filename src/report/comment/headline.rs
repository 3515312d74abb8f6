//! The verdict of the whole comment in one line: may this be merged, and why, or what happened.

use std::collections::BTreeSet;

use super::facts::Facts;
use crate::report::{
    Outcome,
    markdown::{capital, grouped, words},
    verdict::Verdict,
};

/// How many rows are named one by one.
const NAMED: usize = 3;

/// What a safe plan is followed by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Next {
    Merge,
    Deploy,
}

/// Returns a line such as "Do not merge: aslive failed; live plans the same changes", without its
/// heading mark.
///
/// After the merge, and for rows of pull requests that are merged, the words are about what
/// happened. `outdated` are the rows whose plan is not current.
pub(in crate::report) fn headline(
    rows: &[&Facts],
    outdated: &BTreeSet<usize>,
    next: Next,
) -> String {
    let verdicts: Vec<Verdict> =
        rows.iter().enumerate().map(|(at, row)| with_age(row, outdated.contains(&at))).collect();
    let of = |verdict: Verdict| -> Vec<&Facts> {
        let all = rows.iter().zip(&verdicts).filter(|(_, of)| **of == verdict);
        all.map(|(row, _)| *row).collect()
    };
    let text = Text { rows, is_before: is_before_merge(rows) };
    let worst = verdicts.iter().min().copied().unwrap_or(Verdict::Unchanged);
    let (icon, head, reason) = match worst {
        Verdict::Blocked => {
            let head = match (text.is_before, next) {
                (true, Next::Merge) => "Do not merge",
                (true, Next::Deploy) => "Do not deploy",
                (false, _) => "Blocked",
            };
            ("⛔", head, text.blocked(&of(Verdict::Blocked)))
        }
        Verdict::Waiting => {
            let head = match (text.is_before, next) {
                (true, Next::Merge) => "Wait before merging",
                _ => "Waiting",
            };
            ("⏳", head, text.verb(&of(Verdict::Waiting), "is applying", "are applying"))
        }
        Verdict::Review | Verdict::Safe if !text.is_before => {
            let planned = [of(Verdict::Review), of(Verdict::Safe)].concat();
            let are = text.changes_of(&planned);
            ("⏳", "Waiting", format!("planned and not deployed: {are}"))
        }
        Verdict::Review => {
            let stale = rows.iter().enumerate().any(|(at, _)| outdated.contains(&at));
            let note = if stale { "; a plan is not current" } else { "" };
            let head = match next {
                Next::Merge => "Review before merging",
                Next::Deploy => "Review before deploying",
            };
            ("⚠️", head, text.changes_of(&of(Verdict::Review)) + note)
        }
        Verdict::Safe => {
            let safe = text.changes_of(&of(Verdict::Safe));
            let head = match next {
                Next::Merge => "Safe to merge",
                Next::Deploy => "Safe to deploy",
            };
            ("✅", head, format!("nothing is destroyed or replaced: {safe}"))
        }
        Verdict::Done => return text.done(&of(Verdict::Done)),
        Verdict::Unchanged => {
            let head = match (text.is_before, next) {
                (true, Next::Merge) => "Safe to merge: no changes",
                _ => "No changes",
            };
            return format!("✅ {head}: {}{}", text.names(rows), merging(rows, next));
        }
    };
    format!("{icon} {head}: {reason}{}", merging(rows, next))
}

/// Returns what merging does, as the workflow of an open pull request says; empty if none says it.
fn merging(rows: &[&Facts], next: Next) -> String {
    let is_open = rows.iter().any(|row| row.context.before_merge == Some(true));
    let is_merged = rows.iter().any(|row| row.context.before_merge == Some(false));
    let mut named: Vec<&String> = Vec::new();
    for environment in rows.iter().flat_map(|row| &row.context.merge_deploys) {
        if !named.contains(&environment) {
            named.push(environment);
        }
    }
    if next != Next::Merge || !is_open || is_merged || named.is_empty() {
        return String::new();
    }
    format!(". Merging deploys to {}", listed(named.iter().map(|name| words(name)).collect()))
}

/// Returns the verdict of a row. A plan that is not current is not safe.
pub(super) fn with_age(row: &Facts, is_outdated: bool) -> Verdict {
    match row.verdict() {
        Verdict::Safe if is_outdated => Verdict::Review,
        verdict => verdict,
    }
}

/// Whether the words are about a merge. What ran for a pull request that is closed decides.
fn is_before_merge(rows: &[&Facts]) -> bool {
    let known = || rows.iter().filter_map(|row| row.context.before_merge);
    let plans = |row: &&&Facts| matches!(row.outcome, Outcome::Planned | Outcome::NoChanges);
    match known().any(|is_before| !is_before) {
        true => false,
        false => known().next().is_some() || rows.iter().find(plans).is_some(),
    }
}

struct Text<'a> {
    rows: &'a [&'a Facts],
    is_before: bool,
}

impl Text<'_> {
    /// Names a row by its environment, and by its component if there are several.
    fn name(&self, row: &Facts) -> String {
        let is_one_component = self.rows.iter().all(|other| other.component == row.component);
        match is_one_component && self.rows.len() > 1 {
            true => words(&row.environment),
            false => place(row),
        }
    }

    /// Returns "a", "a and b", "a, b and c", or "a, b, c and 4 more".
    fn names(&self, rows: &[&Facts]) -> String {
        listed(rows.iter().map(|row| self.name(row)).collect())
    }

    fn verb(&self, rows: &[&Facts], one: &str, many: &str) -> String {
        format!("{} {}", self.names(rows), if rows.len() == 1 { one } else { many })
    }

    /// Returns why the comment is blocked, and which plans do the same as what failed.
    fn blocked(&self, blocked: &[&Facts]) -> String {
        let with = |outcome: Outcome| -> Vec<&Facts> {
            blocked.iter().filter(|row| row.outcome == outcome).copied().collect()
        };
        let kinds = [
            (Outcome::Failed, "failed", "failed"),
            (Outcome::Unfinished, "did not finish", "did not finish"),
            (Outcome::Interrupted, "was interrupted", "were interrupted"),
            (Outcome::Refused, "was refused", "were refused"),
        ];
        let mut parts: Vec<String> = kinds
            .iter()
            .map(|(outcome, one, many)| (with(*outcome), one, many))
            .filter(|(rows, ..)| !rows.is_empty())
            .map(|(rows, one, many)| self.verb(&rows, one, many))
            .collect();
        let has_lost = |row: &&&Facts| row.risk.already_lost > 0;
        let lost: Vec<&Facts> = blocked.iter().filter(has_lost).copied().collect();
        match lost.len() {
            0 => {}
            all if all == blocked.len() => parts.push("data was lost".to_owned()),
            _ => parts.push(format!("data was lost in {}", self.names(&lost))),
        }
        let refused = with(Outcome::Planned);
        if !refused.is_empty() {
            parts.push(format!("a deploy to {} would be refused", self.names(&refused)));
        }
        let same: Vec<&Facts> = self
            .rows
            .iter()
            .filter(|row| matches!(row.verdict(), Verdict::Review | Verdict::Safe))
            .filter(|row| blocked.iter().any(|failed| row.has_changes_of(failed)))
            .copied()
            .collect();
        if !same.is_empty() {
            parts.push(self.verb(&same, "plans the same changes", "plan the same changes"));
        }
        parts.join("; ")
    }

    /// Returns "live (1 to replace, 2 to add)", with rows of the same changes together.
    fn changes_of(&self, rows: &[&Facts]) -> String {
        let mut groups: Vec<Vec<&Facts>> = Vec::new();
        for row in rows {
            match groups
                .iter_mut()
                .find(|group| group.first().is_some_and(|first| first.has_changes_of(row)))
            {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        let more = groups.len().saturating_sub(NAMED);
        let mut parts: Vec<String> = groups
            .iter()
            .take(if more > 1 { NAMED } else { groups.len() })
            .filter_map(|group| group.first().map(|first| (group, first)))
            .map(|(group, first)| {
                let same = match group.len() {
                    1 => "",
                    2 => "both ",
                    _ => "each ",
                };
                format!("{} ({same}{})", self.names(group), counts(first))
            })
            .collect();
        if more > 1 {
            let rest = groups.iter().skip(NAMED).map(Vec::len).sum();
            parts.push(format!("{} more", grouped(rest)));
        }
        parts.join(", ")
    }

    fn done(&self, done: &[&Facts]) -> String {
        let mut kinds: Vec<Outcome> = Vec::new();
        for row in done {
            if !kinds.contains(&row.outcome) {
                kinds.push(row.outcome);
            }
        }
        let parts: Vec<String> = kinds
            .iter()
            .map(|outcome| {
                let rows: Vec<&Facts> =
                    done.iter().filter(|row| row.outcome == *outcome).copied().collect();
                let what = match rows.iter().any(|row| !row.changes.is_empty()) {
                    true => self.changes_of(&rows),
                    false => self.names(&rows),
                };
                format!("{}: {what}", outcome.word())
            })
            .collect();
        let icon = done.first().map_or("✅", |row| row.outcome.icon());
        format!("{icon} {}", capital(&parts.join("; ")))
    }
}

/// Returns the counts of a row with its risks.
fn counts(row: &Facts) -> String {
    let changes = if row.changes.is_empty() { "changes unknown" } else { row.changes.as_str() };
    match row.risk.words() {
        risk if risk.is_empty() => words(changes),
        risk => format!("{risk}; {}", words(changes)),
    }
}

/// Returns the place of a row for headings and text.
pub(super) fn place(row: &Facts) -> String {
    format!("{} → {}", words(&row.component), words(&row.environment))
}

/// Joins at most some names, and counts the others.
fn listed(names: Vec<String>) -> String {
    // "and 1 more" would be as long as the name.
    let shown = if names.len() > NAMED + 1 { NAMED } else { names.len() };
    let rest = names.len() - shown;
    let (named, last) = match rest {
        0 => names.split_at(names.len().saturating_sub(1)),
        _ => names.split_at(shown),
    };
    let last = match (rest, last.first()) {
        (0, Some(last)) => last.clone(),
        (rest, _) => format!("{} more", grouped(rest)),
    };
    match named.is_empty() {
        true => last,
        false => format!("{} and {last}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{Guard, Report, samples},
        terraform::output::changes::ChangeAction,
    };

    fn facts(environment: &str, outcome: Outcome) -> Facts {
        let mut report = Report { outcome, ..samples::small_plan() };
        report.environment = Some(environment.to_owned());
        if outcome == Outcome::NoChanges {
            report.plan = None;
        }
        Facts::of(&report).unwrap()
    }

    fn safe(environment: &str) -> Facts {
        let mut report = samples::small_plan();
        report.environment = Some(environment.to_owned());
        let plan = report.plan.as_mut().unwrap();
        plan.counts = crate::report::plan::PlanCounts { add: 2, ..Default::default() };
        plan.resources.retain(|it| it.action == ChangeAction::Create);
        Facts::of(&report).unwrap()
    }

    fn after_merge(mut facts: Facts) -> Facts {
        facts.context.before_merge = Some(false);
        facts
    }

    fn line(rows: &[Facts]) -> String {
        let rows: Vec<&Facts> = rows.iter().collect();
        headline(&rows, &BTreeSet::new(), Next::Merge).replace('\u{200b}', "")
    }

    #[test]
    fn before_the_merge_the_line_says_whether_to_merge() {
        let counts = "data loss in 2 resources, 1 with data changed in place; 1 to replace, 1 to \
                      destroy, 2 to change, 1 to add";
        let refused = Facts { is_refused: true, ..facts("live", Outcome::Planned) };
        for (rows, says) in [
            (
                vec![facts("live", Outcome::Planned)],
                format!("⚠️ Review before merging: checkout → live ({counts})"),
            ),
            (
                vec![facts("aslive", Outcome::Planned), facts("live", Outcome::Planned)],
                format!("⚠️ Review before merging: aslive and live (both {counts})"),
            ),
            (
                vec![safe("ci"), facts("live", Outcome::Planned)],
                format!("⚠️ Review before merging: live ({counts})"),
            ),
            (
                vec![safe("ci"), facts("live", Outcome::NoChanges)],
                "✅ Safe to merge: nothing is destroyed or replaced: ci (2 to add)".to_owned(),
            ),
            (
                vec![facts("ci", Outcome::NoChanges), facts("live", Outcome::NoChanges)],
                "✅ Safe to merge: no changes: ci and live".to_owned(),
            ),
            (
                vec![facts("aslive", Outcome::Failed), facts("live", Outcome::Planned)],
                "⛔ Do not merge: aslive failed; live plans the same changes".to_owned(),
            ),
            (
                vec![facts("aslive", Outcome::Failed), safe("live")],
                "⛔ Do not merge: aslive failed".to_owned(),
            ),
            (
                vec![refused, safe("ci")],
                "⛔ Do not merge: a deploy to live would be refused".to_owned(),
            ),
            (
                vec![facts("a", Outcome::Applying), facts("live", Outcome::Planned)],
                "⏳ Wait before merging: a is applying".to_owned(),
            ),
            (
                vec![facts("pr-1", Outcome::Deployed), safe("live")],
                "✅ Safe to merge: nothing is destroyed or replaced: live (2 to add)".to_owned(),
            ),
        ] {
            assert_eq!(line(&rows).replace("\\-", "-"), says);
        }
    }

    #[test]
    fn after_the_merge_the_line_says_what_happened() {
        let done = |environment, outcome| after_merge(facts(environment, outcome));
        let counts = "data loss in 2 resources, 1 with data changed in place; 1 replaced, 1 \
                      destroyed, 2 changed, 1 added";
        for (rows, says) in [
            (vec![done("ci", Outcome::Deployed)], format!("✅ Deployed: checkout → ci ({counts})")),
            (
                vec![done("ci", Outcome::Deployed), done("live", Outcome::Deployed)],
                format!("✅ Deployed: ci and live (both {counts})"),
            ),
            (
                vec![done("ci", Outcome::Deployed), safe("live")],
                "⏳ Waiting: planned and not deployed: live (2 to add)".to_owned(),
            ),
            (
                vec![done("ci", Outcome::Failed), facts("live", Outcome::Planned)],
                "⛔ Blocked: ci failed; live plans the same changes".to_owned(),
            ),
            (
                vec![done("ci", Outcome::Applying)],
                "⏳ Waiting: checkout → ci is applying".to_owned(),
            ),
        ] {
            assert_eq!(line(&rows), says);
        }
    }

    #[test]
    fn what_merging_does_is_said_before_the_merge() {
        let with = |mut facts: Facts, before_merge, named: &[&str]| {
            facts.context.before_merge = before_merge;
            facts.context.merge_deploys = named.iter().map(|name| (*name).to_owned()).collect();
            facts
        };
        let open = |environment, outcome, named: &[&str]| {
            with(facts(environment, outcome), Some(true), named)
        };
        let planned = Outcome::Planned;
        for (rows, ends) in [
            (vec![open("live", planned, &["live"])], ". Merging deploys to live"),
            (
                vec![open("ci", Outcome::Failed, &[]), open("live", planned, &["ci", "live"])],
                ": ci failed; live plans the same changes. Merging deploys to ci and live",
            ),
            (
                vec![open("ci", Outcome::NoChanges, &["ci"])],
                "no changes: checkout → ci. Merging deploys to ci",
            ),
            (vec![open("live", planned, &[])], "2 to change, 1 to add)"),
            (vec![with(facts("live", planned), None, &["live"])], "2 to change, 1 to add)"),
            (vec![with(facts("live", Outcome::Failed), Some(false), &["live"])], "live failed"),
        ] {
            let shown = line(&rows);
            assert!(shown.ends_with(ends), "{ends}: {shown}");
        }
    }

    #[test]
    fn what_a_failed_apply_has_destroyed_is_said() {
        let row = Facts::of(&samples::failed()).unwrap();
        assert_eq!(
            line(&[row.clone(), facts("ci", Outcome::Failed)]),
            "⛔ Do not merge: live and ci failed; data was lost in live"
        );
        assert_eq!(line(&[row]), "⛔ Do not merge: checkout → live failed; data was lost");
    }

    #[test]
    fn many_rows_are_counted() {
        let rows: Vec<Facts> =
            (0..12).map(|n| facts(&format!("e{n}"), Outcome::Interrupted)).collect();
        assert_eq!(line(&rows), "⛔ Do not merge: e0, e1, e2 and 9 more were interrupted");
        let rows: Vec<Facts> = (0..4).map(|n| facts(&format!("e{n}"), Outcome::Failed)).collect();
        assert_eq!(line(&rows), "⛔ Do not merge: e0, e1, e2 and e3 failed");
    }

    #[test]
    fn a_guard_and_an_old_plan_are_never_safe() {
        let refuses = Guard::Refuses("no".to_owned());
        let report = Report { guard: Some(refuses), ..samples::small_plan() };
        assert_eq!(Facts::of(&report).unwrap().verdict(), Verdict::Blocked);
        let row = safe("live");
        let shown = headline(&[&row], &BTreeSet::from([0]), Next::Merge);
        let says = "⚠️ Review before merging: checkout → live (2 to add); a plan is not current";
        assert_eq!(shown, says);
    }
}
