//! What a plan costs from Terraform's output to the reports, for four times as many resources. It
//! may grow as much as the plan, not as its square.

use std::{hint::black_box, time::Duration};

use nix::sys::resource::{UsageWho, getrusage};

use super::*;
use crate::{
    report::{
        comment::{
            render::render,
            rows::{self, Row, Rows},
        },
        summary,
    },
    terraform::output::{
        events::ApplyProgress,
        plan_document,
        results::{ApplyEnd, results},
        unknown::unknown,
    },
};

const SMALL_SIZE: usize = 2_500;
const TIMES: usize = 4;
/// A square would be 16 times the time. The rest is for a busy machine.
const MOST: u32 = 8;
/// Less cannot be compared: on a busy machine, a step of 10 ms has needed 120.
const NOISE: Duration = Duration::from_millis(250);

/// The processor time that this thread has used.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let time = |it: nix::sys::time::TimeVal| {
        Duration::new(it.tv_sec().unsigned_abs(), it.tv_usec() as u32 * 1000)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// The name of a step, and its time.
type Steps = Vec<(&'static str, Duration)>;

fn step<T>(steps: &mut Steps, name: &'static str, work: impl FnOnce() -> T) -> T {
    let began = used();
    let done = black_box(work());
    steps.push((name, used() - began));
    done
}

fn address(number: usize) -> String {
    match number % 2 {
        0 => format!("aws_sqs_queue.q[{number}]"),
        _ => format!("module.m[\"k{number}\"].aws_db_instance.d"),
    }
}

/// A plan that replaces every fifth resource and updates the others. Each has a sensitive value.
fn printed(size: usize) -> (String, PlanText) {
    let mut json = "{\"format_version\":\"1.2\",\"resource_changes\":[".to_owned();
    let mut text = "Terraform used the selected providers to generate the following plan.\n\n\
                    Terraform will perform the following actions:\n"
        .to_owned();
    for number in 0..size {
        let (address, kind) = (address(number), ["aws_sqs_queue", "aws_db_instance"][number % 2]);
        let quoted = serde_json::json!(address);
        let actions = match number % 5 {
            0 => "\"delete\",\"create\"",
            _ => "\"update\"",
        };
        let comma = if number == 0 { "" } else { "," };
        json.push_str(&format!(
            "{comma}{{\"address\":{quoted},\"type\":\"{kind}\",\"change\":{{\"actions\":[{actions}],\
             \"before\":{{\"id\":\"i-{number}\",\"size\":1,\"pw\":\"before-{number}-x9\"}},\
             \"after\":{{\"id\":\"i-{number}\",\"size\":2,\"pw\":\"before-{number}-x9\"}},\
             \"before_sensitive\":{{\"pw\":true}},\"after_sensitive\":{{\"pw\":true}}}}}}"
        ));
        let verb = if number % 5 == 0 { "must be replaced" } else { "will be updated in-place" };
        text.push_str(&format!(
            "\n  # {address} {verb}\n  ~ resource \"{kind}\" \"x\" {{\n        id   = \
             \"i-{number}\"\n      ~ size = 1 -> 2\n        # note before-{number}-x9\n    }}\n"
        ));
    }
    let mut kept = PlanText::default();
    text.push_str("\nPlan: some.\n");
    text.lines().for_each(|line| kept.push(line));
    (json + "]}", kept)
}

/// An apply in which all changes begin before the first one ends, and each fails with an error.
fn events(size: usize) -> Vec<String> {
    let hook = |number: usize| {
        let address = serde_json::json!(address(number));
        format!("\"hook\":{{\"resource\":{{\"addr\":{address}}},\"action\":\"update\"}}")
    };
    let of = |kind: &str, rest: String| {
        format!("{{\"@level\":\"info\",\"@message\":\"m\",\"type\":\"{kind}\",{rest}}}")
    };
    let starts = (0..size).map(|number| of("apply_start", hook(number)));
    let ends = (0..size).rev().map(|number| of("apply_errored", hook(number)));
    let errors = (0..size).map(|number| {
        let address = serde_json::json!(address(number));
        of(
            "diagnostic",
            format!(
                "\"diagnostic\":{{\"severity\":\"error\",\"summary\":\"no\",\
                 \"detail\":\"api error {number}\",\"address\":{address}}}"
            ),
        )
    });
    starts.chain(ends).chain(errors).collect()
}

fn steps(size: usize) -> Steps {
    let mut steps = Vec::new();
    let (json, text) = printed(size);
    let redactor = Redactor::default();
    let changes = step(&mut steps, "parse", || Changes::parse(&mut json.as_bytes()).unwrap());
    assert_eq!((changes.resources.len(), changes.sensitive.len()), (size, size));
    step(&mut steps, "learn secrets", || {
        let known = changes.sensitive.iter().filter(|it| redactor.add(it)).count();
        assert_eq!(known, size);
        redactor.finds("")
    });
    let masked = step(&mut steps, "mask the text", || redactor.apply(text.whole()).into_owned());
    assert_eq!(masked.matches("# note ***").count(), size);
    step(&mut steps, "mask the document", || plan_document::masked(&json, &redactor).unwrap());
    let mut plan =
        step(&mut steps, "sort the plan", || PlanReport::of(&changes, &text, true, &[], &redactor));
    let lines = events(size);
    let mut applying = ApplyProgress::new(false);
    step(&mut steps, "follow the apply", || {
        lines.iter().filter_map(|line| applying.line(line)).count()
    });
    let begun = step(&mut steps, "how changes ended", || applying.begun(false));
    assert_eq!(begun.len(), size);
    let (is_in_state, errors) = (|_: &str| true, applying.errors());
    let is_in_state: Option<&dyn Fn(&str) -> bool> = Some(&is_in_state);
    let unknown = step(&mut steps, "unknown changes", || unknown(&begun, &changes, is_in_state));
    let end =
        ApplyEnd { begun: &begun, errors, unknown: &unknown, is_complete: false, is_in_state };
    let results = step(&mut steps, "results", || results(&changes, &end));
    plan.set_results(&results, &redactor);
    let report = Report { plan: Some(plan), ..report("deploy", "live", Outcome::Failed) };
    step(&mut steps, "summary", || summary::render(&report, summary::LIMIT));
    step(&mut steps, "whole report", || summary::render(&report, usize::MAX / 8));
    step(&mut steps, "comment", || {
        let rows = Row::of(&report).into_iter().fold(Rows::default(), rows::merge);
        render(&rows, rows::LIMIT)
    });
    steps
}

#[test]
fn a_plan_of_ten_thousand_resources_costs_four_times_one_of_2500() {
    let (small, large) = (steps(SMALL_SIZE), steps(SMALL_SIZE * TIMES));
    let mut bad = Vec::new();
    for ((name, small), (_, large)) in small.into_iter().zip(large) {
        if large > small * MOST + NOISE {
            bad.push(format!("{name}: {small:?} became {large:?}"));
        }
    }
    assert!(bad.is_empty(), "these do not grow with the plan alone: {bad:#?}");
}
