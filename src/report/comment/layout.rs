//! The order of the rows in a comment: what needs a person first, the same changes together, and
//! rows without changes last.

use std::collections::BTreeSet;

use super::{
    facts::Facts,
    headline::{place, with_age},
    rows::{Row, Rows},
};
use crate::report::{
    Outcome,
    run_context::{RunContext, Shared},
    verdict::Verdict,
};

/// Positions are those in `Rows`.
pub(super) struct Layout {
    /// Rows with changes or alerts, most severe first. Rows of a group plan the same changes.
    pub(super) groups: Vec<Vec<usize>>,
    /// Rows without changes and alerts.
    pub(super) quiet: Vec<usize>,
    /// Rows whose plan is for an earlier commit than that of another row, or older than a change of
    /// the environment.
    pub(super) outdated: BTreeSet<usize>,
    /// What the context of each row has in common.
    pub(super) shared: Shared,
}

impl Layout {
    pub(super) fn of(rows: &Rows) -> Self {
        let outdated = outdated(rows);
        let verdict = |at: usize, row: &Row| with_age(&row.facts, outdated.contains(&at));
        let mut sorted: Vec<(Verdict, usize, &Row)> =
            rows.0.iter().enumerate().map(|(at, row)| (verdict(at, row), at, row)).collect();
        sorted.sort_by_key(|(verdict, at, row)| (*verdict, !has_losses(&row.facts), *at));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut quiet = Vec::new();
        for (verdict, at, row) in sorted {
            if row.alerts.is_empty() && !row.has_changes() {
                quiet.push(at);
                continue;
            }
            let is_plan = matches!(verdict, Verdict::Review | Verdict::Safe);
            let same = groups.iter_mut().find(|group| {
                let first = group.first().and_then(|first| rows.0.get(*first));
                let is_current = |at: &usize| !outdated.contains(at);
                is_plan
                    && is_current(&at)
                    && group.iter().all(is_current)
                    && first.is_some_and(|first| repeats(row, first))
            });
            match same {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        quiet.sort_unstable();
        let contexts: Vec<&RunContext> = rows.0.iter().map(|row| &row.facts.context).collect();
        let shared = Shared::of(&contexts);
        Self { groups, quiet, outdated, shared }
    }

    /// Returns the row above a planned one that has, or had, the same changes.
    pub(super) fn same_above<'r>(&self, at: usize, rows: &'r Rows) -> Option<&'r Facts> {
        let facts = &rows.0.get(at)?.facts;
        let order = self.groups.iter().flatten();
        let above =
            order.take_while(|it| **it != at).filter_map(|it| Some(&rows.0.get(*it)?.facts));
        let is_plan = facts.outcome == Outcome::Planned;
        above.filter(|_| is_plan).find(|other| facts.has_changes_of(other))
    }
}

/// Whether a planned row says the same as the `first` row of a group.
fn repeats(row: &Row, first: &Row) -> bool {
    row.facts.outcome == Outcome::Planned
        && first.facts.outcome == Outcome::Planned
        && row.facts.has_changes_of(&first.facts)
        && row.facts.verdict() == first.facts.verdict()
        && without_place(row) == without_place(first)
}

/// Returns the alerts of a row without its name.
fn without_place(row: &Row) -> String {
    row.alerts.replace(&place(&row.facts), "")
}

fn has_losses(facts: &Facts) -> bool {
    facts.counts.is_some_and(|counts| counts.destroy > 0 || counts.replace > 0)
}

fn outdated(rows: &Rows) -> BTreeSet<usize> {
    let open = |row: &&Row| row.facts.context.before_merge == Some(true);
    let run = |row: &Row| (row.facts.run, row.facts.attempt);
    let with_commit = rows.0.iter().filter(open).filter(|row| row.facts.context.commit.is_some());
    let newest = with_commit.max_by_key(|row| run(row));
    let is_for_earlier = |row: &Row, newest: &Row| {
        row.facts.outcome == Outcome::Planned
            && row.facts.context.before_merge == Some(true)
            && row.facts.context.commit != newest.facts.context.commit
            && row.facts.context.commit.is_some()
            && run(row) < run(newest)
    };
    let is_outdated = |row: &Row| {
        row.facts.outdated_by.is_some()
            || row.facts.newer_commit.is_some()
            || newest.is_some_and(|newest| is_for_earlier(row, newest))
    };
    let all = rows.0.iter().enumerate().filter(|(_, row)| is_outdated(row));
    all.map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        LastStart,
        comment::{
            head::Head,
            render::render,
            rows::{self, LIMIT, merge, tests::row},
        },
    };

    fn shown(rows: &Rows) -> String {
        render(rows, LIMIT).replace('\u{200b}', "")
    }

    #[test]
    fn a_plan_for_an_earlier_commit_is_not_current() {
        let mut later = row("a", "live", 2, 1);
        later.facts.context.commit = Some("b".repeat(40));
        let rows = merge(merge(Rows::default(), row("a", "ci", 1, 1)), later);
        let text = shown(&rows);
        let note = "**This plan is not current**: the pull request has a newer commit.";
        assert_eq!(text.matches(note).count(), 1, "{text}");
        assert_eq!(Layout::of(&rows).outdated, BTreeSet::from([0]));
        // A plan that is not current is in no group.
        assert_eq!(Layout::of(&rows).groups.len(), 2);
    }

    #[test]
    fn a_plan_before_a_change_of_its_environment_is_not_current() {
        let mut rows = merge(merge(Rows::default(), row("a", "ci", 1, 1)), row("a", "live", 1, 1));
        let start = |environment: &str, started: &str| LastStart {
            environment: environment.to_owned(),
            version: "43".to_owned(),
            is_destroy: false,
            started: started.parse().unwrap(),
            state_serial: None,
        };
        let starts = [start("ci", "2026-11-22T09:00:00Z"), start("live", "2026-11-20T09:00:00Z")];
        rows.mark_outdated("b", &starts);
        assert!(Layout::of(&rows).outdated.is_empty());
        rows.mark_outdated("a", &starts);
        let text = shown(&rows);
        let note = "**This plan is not current**: a deploy of 43 began at 2026\\-11\\-22 09:00 \
                    UTC, after this plan.";
        assert_eq!(text.matches(note).count(), 1, "{text}");
        assert!(rows.has(&row("a", "ci", 1, 1)), "the run does not write again");
    }

    #[test]
    fn a_plan_from_another_state_is_not_current() {
        let mut rows = merge(merge(Rows::default(), row("a", "ci", 1, 1)), row("a", "live", 1, 1));
        let state = |environment: &str, serial| LastStart {
            environment: environment.to_owned(),
            version: "41".to_owned(),
            is_destroy: false,
            started: "2026-11-20T09:00:00Z".parse().unwrap(),
            state_serial: serial,
        };
        // Both plans started from serial 117.
        rows.mark_outdated("a", &[state("ci", Some(117)), state("live", Some(119))]);
        assert_eq!(Layout::of(&rows).outdated, BTreeSet::from([1]));
        let note = "**This plan is not current**: the state has serial 119 now, and this plan \
                    started from serial 117.";
        assert_eq!(shown(&rows).matches(note).count(), 1, "{}", shown(&rows));
        rows.mark_outdated("a", &[state("ci", None)]);
        assert!(Layout::of(&rows).outdated.is_empty());
    }

    #[test]
    fn a_plan_before_the_newest_commit_is_not_current() {
        let mut planned = row("a", "live", 1, 1);
        planned.facts.context.base_branch = Some("main".to_owned());
        planned.facts.context.base_commit = Some("b".repeat(40));
        let commit = planned.facts.context.commit.clone().unwrap();
        let mut rows = merge(Rows::default(), planned.clone());
        let base = |sha: &str| Some(("main".to_owned(), sha.repeat(40)));
        rows.mark_moved(&Head { commit: commit.clone(), base: base("b") });
        assert_eq!(rows.0, [planned.clone()]);
        rows.mark_moved(&Head { commit: "d".repeat(40), base: base("b") });
        assert_eq!(Layout::of(&rows).outdated, BTreeSet::from([0]));
        let url = format!("https://github.com/acme/checkout/commit/{}", "d".repeat(40));
        let note = format!(
            "**This plan is not current**: the pull request has a newer commit: [`ddddddd`]({url})."
        );
        assert!(shown(&rows).contains(&note), "{}", shown(&rows));
        assert!(rows.has(&planned), "the run does not write again");
        assert_eq!(rows::parse(&render(&rows, LIMIT)), Some(rows.clone()));
        // A base branch that has moved is a note: the plan is still one of the newest commit.
        rows.mark_moved(&Head { commit: commit.clone(), base: base("e") });
        assert!(Layout::of(&rows).outdated.is_empty());
        let note = "The base branch main has moved since this plan, to [`eeeeeee`](";
        assert!(shown(&rows).contains(note), "{}", shown(&rows));
        let other = Some(("release".to_owned(), "f".repeat(40)));
        rows.mark_moved(&Head { commit, base: other });
        assert_eq!(rows.0, [planned]);
    }

    #[test]
    fn a_plan_with_the_changes_of_a_failed_run_says_so() {
        let mut failed = row("a", "aslive", 1, 1);
        failed.facts.outcome = Outcome::Failed;
        let planned = row("a", "live", 1, 1);
        let rows = merge(merge(Rows::default(), failed), planned);
        let text = shown(&rows);
        let fold = "<details><summary>The same 5 changes as aslive</summary>";
        assert_eq!(text.matches(fold).count(), 1, "{text}");
        let cell = "| **live** | the same 5 changes as aslive |";
        assert_eq!(text.matches(cell).count(), 1, "{text}");
        assert_eq!(rows::parse(&render(&rows, LIMIT)), Some(rows));
        // Nothing is above the first row.
        let alone = merge(Rows::default(), row("a", "live", 1, 1));
        assert!(!shown(&alone).contains("the same"), "{}", shown(&alone));
    }

    #[test]
    fn the_same_changes_share_a_section() {
        let rows = merge(merge(Rows::default(), row("a", "aslive", 1, 1)), row("a", "live", 1, 1));
        assert_eq!(Layout::of(&rows).groups, [[0, 1]]);
        let text = shown(&rows);
        assert!(
            text.contains("#### ⚠️ a → aslive, a → live: review, the same 5 changes\n"),
            "{text}"
        );
        assert_eq!(rows::parse(&render(&rows, LIMIT)), Some(rows));
    }
}
