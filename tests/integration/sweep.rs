//! A cancel at every request to AWS: whenever it arrives, the state is saved, the lock is free, the
//! ledger has the end of the run, nothing is half published, and the next run works.
//!
//! `make test` tries some points; `make sweep` tries every point and prints the figures.

use crate::aws_state::{table_rows, with_locks};
use crate::support::{Aws, Invariants, Output, Project, Runner};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

/// How long the request at which the signal arrives waits for its answer, in seconds.
const HOLD: f64 = 0.4;
/// `make test` tries about so many points of each command.
const SOME: usize = 3;

const COMMANDS: [&str; 3] = ["release", "deploy", "destroy"];

struct Track {
    aws: Aws,
    project: Project,
    table: bool,
}

fn runner(project: &Project, command: &str, version: usize) -> Runner {
    let version = version.to_string();
    match command {
        "release" => project.releasing(&version),
        "deploy" => project.cdflow(["deploy", "ci", "0"]),
        _ => project.cdflow(["destroy", "ci", "--confirm", "ci"]),
    }
}

/// Makes what the command needs: `destroy` something to destroy, `deploy` nothing deployed.
fn prepare(track: &Track, command: &str) {
    let Track { aws, project, .. } = track;
    let invariants = Invariants { aws, project };
    if invariants.deployed("ci").is_some() || invariants.resources("ci") > 0 {
        project.cdflow(["destroy", "ci", "--confirm", "ci"]).run().success();
    }
    if command == "destroy" {
        project.deploy("ci", "0");
    }
}

/// Runs with a SIGINT at the request `at`; None if the run has fewer requests.
fn cancelled(aws: &Aws, run: Runner, at: usize) -> Option<Output> {
    aws.rule(json!({ "matching": aws.name(), "at": at, "delay": HOLD }));
    let mut is_reached = false;
    let output = run.spawn().watch(|running| {
        if is_reached {
            return;
        }
        is_reached = aws.matched(aws.name()) >= at;
        match is_reached {
            true => running.signal(Signal::SIGINT),
            // moto has other work than to answer this.
            false => std::thread::sleep(Duration::from_millis(40)),
        }
    });
    is_reached.then_some(output)
}

/// What is wrong after the run, as sentences.
fn broken(track: &Track, command: &str, version: usize, output: &Output) -> Vec<String> {
    let Track { aws, project, table } = track;
    let invariants = Invariants { aws, project };
    let mut broken = invariants.broken("ci");
    if ![0, 130].contains(&output.code) {
        broken.push(format!("exit code {}", output.code));
    }
    if output.stderr.contains("panicked") || output.stderr.contains("defect") {
        broken.push("a defect".to_owned());
    }
    if *table {
        let locks = table_rows(aws).into_iter().filter(|row| !row.ends_with("-md5"));
        broken.extend(locks.map(|row| format!("a row of the lock table is left: {row}")));
    }
    if command == "release" {
        let is_there = invariants.has_release(&version.to_string());
        let says_so = output.code == 0 || output.stderr.contains("is published");
        if is_there != says_so {
            broken.push(format!("published: {is_there}, and the run says: {says_so}"));
        }
    }
    broken
}

/// Tries every `step`th point of a command; returns how many points, and what was broken. A track
/// that was broken is replaced, because the next runs would meet what the first one did.
fn sweep(new: &dyn Fn() -> Track, command: &str, step: usize) -> (usize, Vec<String>) {
    let mut track = new();
    let (mut points, mut bad) = (0, Vec::new());
    let mut at = 1;
    loop {
        prepare(&track, command);
        let version = 1000 + at;
        let run = runner(&track.project, command, version);
        let Some(output) = cancelled(&track.aws, run, at) else { break };
        points += 1;
        let broken = broken(&track, command, version, &output);
        let next = runner(&track.project, command, version).run();
        if !broken.is_empty() || next.code != 0 {
            let found = format!("{command}, request {at}: {broken:?}\n{output}\nthen: {next}");
            eprintln!("{found}");
            bad.push(found);
            track = new();
        }
        at += step;
    }
    (points, bad)
}

fn sweep_all(lock: &str, lockfile: Option<bool>, table: bool, is_complete: bool) -> Vec<String> {
    let new = || {
        let (aws, project) = with_locks("sweep", lockfile, table);
        project.release("0");
        Track { aws, project, table }
    };
    let mut bad = Vec::new();
    for command in COMMANDS {
        let step = match is_complete {
            true => 1,
            false => {
                let track = new();
                prepare(&track, command);
                track.aws.rule(json!({ "matching": track.aws.name(), "at": usize::MAX }));
                runner(&track.project, command, 999).run().success();
                track.aws.matched(track.aws.name()) / SOME + 1
            }
        };
        let (points, broken) = sweep(&new, command, step);
        eprintln!("{lock}: {command}: {points} points, {} bad", broken.len());
        bad.extend(broken);
    }
    bad
}

#[test]
fn a_cancel_at_any_request_breaks_nothing() {
    let kinds = [
        ("lock file and table", Some(true), true),
        ("lock file", None, false),
        ("lock table", Some(false), true),
    ];
    let is_complete = std::env::var("CDFLOW_TEST_SWEEP").is_ok();
    let tried = if is_complete { &kinds[..] } else { &kinds[..1] };
    // The runs wait for most of their time, so the kinds are tried at once.
    let bad: Vec<String> = std::thread::scope(|scope| {
        let sweeps: Vec<_> = tried
            .iter()
            .map(|(lock, lockfile, table)| {
                scope.spawn(|| sweep_all(lock, *lockfile, *table, is_complete))
            })
            .collect();
        sweeps.into_iter().flat_map(|sweep| sweep.join().unwrap()).collect()
    });
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}
