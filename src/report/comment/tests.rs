//! What holds for the comment about any plans: every loss is named, every fact of the context is
//! there, and the limits are kept.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    render::render,
    rows::{LIMIT, Row, Rows, merge, parse},
};
use crate::{
    base::redact::Redactor,
    report::{
        Outcome, Report, RunContext, RunRef,
        addresses::tests::expand,
        plan::tests::{change, plan},
    },
    terraform::output::changes::ChangeAction,
};

/// The plan of a row: an outcome, resources without an index, and resources with several.
#[derive(Clone, Debug)]
struct Sample {
    outcome: Outcome,
    single: Vec<(usize, ChangeAction)>,
    indexed: Vec<(usize, usize, ChangeAction)>,
    lines: usize,
}

fn action() -> impl Strategy<Value = ChangeAction> {
    use ChangeAction::*;
    proptest::sample::select(vec![Replace, Delete, Delete, Forget, Update, Create, Import, Move])
}

fn sample() -> impl Strategy<Value = Sample> {
    use Outcome::*;
    let outcomes = vec![Planned, Planned, Planned, Deployed, Failed, Applying, Interrupted];
    (
        proptest::sample::select(outcomes),
        proptest::collection::vec((0_usize..400, action()), 0..20),
        proptest::collection::vec((0_usize..9, 2_usize..120, action()), 0..4),
        0_usize..60,
    )
        .prop_map(|(outcome, single, indexed, lines)| Sample {
            outcome,
            single,
            indexed,
            lines,
        })
}

/// Returns a report in which every fact is unique to the row with this number.
fn report(number: usize, sample: &Sample) -> Report {
    let mut changes = std::collections::BTreeMap::new();
    for (name, action) in &sample.single {
        let address = format!("module.service.aws_dynamodb_table.table_{name}");
        changes.insert(address, *action);
    }
    for (name, count, action) in &sample.indexed {
        for index in 0..*count {
            changes.insert(format!("aws_sqs_queue.queue_{name}[{index}]"), *action);
        }
    }
    let changes = changes.iter().map(|(address, action)| change(address, *action)).collect();
    let mut planned = plan("", changes, &Redactor::default());
    for resource in &mut planned.resources {
        resource.diff = "+     attribute = \"of the resource\"\n".repeat(sample.lines);
    }
    Report {
        component: Some(format!("component-{}", number % 3)),
        environment: Some(format!("environment-{number}")),
        version: Some(format!("{number}-proposed")),
        outcome: sample.outcome,
        plan: Some(planned),
        seconds: 10,
        ended: Some("2026-11-21T12:00:00Z".parse().unwrap()),
        run: Some(RunRef {
            id: number as u64,
            attempt: 1,
            url: Some(format!("https://github.com/a/b/actions/runs/{number}")),
        }),
        context: RunContext {
            commit: Some(format!("{number:07}{}", "c".repeat(33))),
            pull_request: Some(7),
            repository: Some("https://github.com/a/b".to_owned()),
            actor: Some(format!("actor{number}")),
            account_alias: Some(format!("alias{number}")),
            account_id: Some(format!("{number:012}")),
            region: Some(format!("region{number}")),
            deployed: Some(format!("{number}-deployed")),
            tool: Some(format!("terraform {number}x")),
            planned_serial: Some(1_000 + number as u64),
            before_merge: Some(true),
            ..RunContext::default()
        },
        ..Report::default()
    }
}

/// Returns the addresses that a row names in alerts and lists, with each one of a range.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(item) = line.strip_prefix("> - ") {
            let codes = item.split('`').enumerate().filter(|(at, _)| at % 2 == 1);
            codes.for_each(|(_, address)| found.extend(expand(address)));
        } else if let Some(item) = line.strip_prefix("- ").or(line.strip_prefix("! -/+ ")) {
            let (address, _) = item.split_once(" (").unwrap_or((item, ""));
            found.extend(expand(address));
        }
    }
    found
}

/// Whether the alerts of its row name each loss, alone or in a range of its resource.
fn check_losses(text: &str, report: &Report) -> Result<(), TestCaseError> {
    let named = named(text);
    for loss in report.plan.as_ref().unwrap().losses() {
        let label = loss.label();
        prop_assert!(named.contains(&label), "{label} is missing: {text}");
    }
    Ok(())
}

fn check_context(text: &str, number: usize, outcome: Outcome) -> Result<(), TestCaseError> {
    let deployed = format!("`{number}-deployed`");
    let facts = [
        format!("commit [`{number:07}`](https://github.com/a/b/commit/{number:07}"),
        "pull request [#7](https://github.com/a/b/pull/7)".to_owned(),
        format!("by actor{number} "),
        format!("account `{number:012}` (alias{number}), region{number}"),
        format!("`{number}-proposed`"),
        format!("Terraform {number}x"),
        format!("state serial {}", 1_000 + number),
        "2026-11-21 12:00 UTC".to_owned(),
        format!("[run log](https://github.com/a/b/actions/runs/{number})"),
        deployed,
    ];
    for fact in facts {
        prop_assert!(text.contains(&fact), "{fact:?} is missing ({outcome:?}): {text}");
    }
    Ok(())
}

/// Whether no heading skips a level.
fn check_headings(text: &str) -> Result<(), TestCaseError> {
    let mut is_code = false;
    let mut last = 2;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let level = line.chars().take_while(|c| *c == '#').count();
        if !is_code && level > 0 && line.chars().nth(level) == Some(' ') {
            prop_assert!(level <= last + 1, "{line}");
            last = level;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_loss_and_no_fact_is_cut(samples in proptest::collection::vec(sample(), 1..13)) {
        let reports: Vec<Report> =
            samples.iter().enumerate().map(|(number, it)| report(number, it)).collect();
        let rows = reports.iter().filter_map(Row::of).fold(Rows::default(), merge);
        let text = render(&rows, LIMIT);
        prop_assert!(text.len() <= LIMIT, "{}", text.len());
        let read = parse(&text).unwrap_or_default().0;
        prop_assert_eq!(read.len(), samples.len());
        let verdict = text.lines().next().unwrap_or_default();
        prop_assert!(verdict.starts_with("### ") && verdict.chars().count() < 1_000, "{}", verdict);
        check_headings(&text)?;
        let plain = text.replace('\u{200b}', "").replace("\\-", "-");
        for (number, report) in reports.iter().enumerate() {
            let environment = report.environment.as_ref();
            let own = read.iter().find(|row| Some(&row.facts.environment) == environment);
            check_losses(own.map(|row| row.alerts.as_str()).unwrap_or_default(), report)?;
            check_context(&plain, number, report.outcome)?;
        }
    }
}
