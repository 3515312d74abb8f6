//! Two commands at one environment at the same time. Whatever the order: the state is complete, the
//! ledger is true, what is deployed has its release, no lock is left, and the next deploy works.
//!
//! `make test` tries some pairs once; `make races` tries every pair 20 times and prints the
//! figures. With CDFLOW_TEST_RACES_DONE, it leaves out so many pairs.

use crate::preview::{NUMBER, Pause, for_pull_request, furnished, project, scheduled};
use crate::support::github::GitHub;
use crate::support::{Aws, Invariants, Output, Project, Runner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest delay of a request to the store, and of the second command, in milliseconds.
const STORE_DELAY: u64 = 150;
const HEAD_START: u64 = 2500;
/// So many pairs are raced at the same time, each with a component of its own.
const LANES: usize = 8;

/// Each with the environment that it changes.
const COMMANDS: [(&str, &str); 9] = [
    ("deploy", "ci"),
    ("destroy", "ci"),
    ("rollback", "ci"),
    ("adopt", "ci"),
    ("unlock", "ci"),
    ("prune", "ci"),
    ("up", "pr-7"),
    ("down", "pr-7"),
    ("reap", "pr-7"),
];
/// The pairs of `make test`: those that were wrong once, and those that people meet.
const SOME: [[&str; 2]; 3] = [["deploy", "prune"], ["deploy", "destroy"], ["up", "down"]];

fn environment_of(command: &str) -> &'static str {
    COMMANDS.iter().find(|(name, _)| *name == command).unwrap().1
}

/// xorshift: the same delays for the same seed, which a failure prints.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A component with two releases in a store that answers late.
struct Track {
    aws: Aws,
    project: Project,
    github: GitHub,
    runs: u64,
}

impl Track {
    fn new() -> Self {
        let aws = Aws::new("races");
        let project = furnished(Project::aws("shop", &aws), "{}");
        let github = GitHub::start();
        github.world().pull_request(NUMBER, &project.head());
        let track = Self { aws, project, github, runs: 0 };
        track.slow(STORE_DELAY);
        track
    }

    fn slow(&self, milliseconds: u64) {
        for bucket in [self.aws.release_bucket(), self.aws.state_bucket()] {
            #[expect(clippy::cast_precision_loss, reason = "some hundred milliseconds")]
            let seconds = milliseconds as f64 / 1000.0;
            self.aws.rule(json!({ "matching": format!(" /{bucket}"), "random-delay": seconds }));
        }
    }

    fn invariants(&self) -> Invariants<'_> {
        Invariants { aws: &self.aws, project: &self.project }
    }

    /// Release 1 is deployed to `ci`, after release 2 if one of the commands goes back to it. The
    /// preview is up if one of them is about it.
    fn prepare(&mut self, pair: [&str; 2]) {
        for version in ["1", "2"] {
            if !self.invariants().has_release(version) {
                self.project.release(version);
            }
        }
        if pair.contains(&"rollback") {
            self.project.cdflow(["deploy", "ci", "2", "--allow-downgrade"]).run().success();
        }
        self.project.cdflow(["deploy", "ci", "1", "--allow-downgrade"]).run().success();
        if pair.iter().any(|command| environment_of(command) == "pr-7") {
            self.runner("up").run().success();
        }
    }

    fn runner(&mut self, command: &str) -> Runner {
        self.runs += 1;
        if command == "up" || command == "down" {
            let head = self.project.head();
            self.github.world().pull_request(NUMBER, &head).is_open = command == "up";
        }
        let (project, github, run) = (&self.project, &self.github, self.runs);
        let pull_request = |arguments: &[&str]| {
            for_pull_request(project, github, NUMBER, &project.head(), run, arguments)
        };
        match command {
            "deploy" => project.cdflow(["deploy", "ci", "2", "--allow-downgrade"]),
            "destroy" => project.cdflow(["destroy", "ci", "--confirm", "ci"]),
            "rollback" => project.cdflow(["rollback", "ci"]),
            "adopt" => {
                let from = format!("s3://{}/legacy.tfstate", self.aws.state_bucket());
                project.cdflow(["adopt", "ci", "1", "--from", &from])
            }
            "unlock" => project.cdflow(["unlock", "ci"]),
            "prune" => project.cdflow(["prune", "--keep", "0", "--older-than", "0s"]),
            "up" => pull_request(&["preview", "up", "--platform-config", "platform-config"]),
            "down" => pull_request(&["preview", "down"]),
            _ => scheduled(project, github, &["preview", "reap"]),
        }
    }
}

/// Runs both at once and returns what is broken afterwards.
fn race(track: &mut Track, pair: [&str; 2], random: &mut Random) -> (Vec<String>, [Output; 2]) {
    let first = track.runner(pair[0]).spawn();
    std::thread::sleep(Duration::from_millis(random.below(HEAD_START)));
    let second = track.runner(pair[1]).spawn();
    let outputs = [first.wait(), second.wait()];
    let environments = BTreeSet::from(pair.map(environment_of));
    let mut broken: Vec<String> = environments
        .iter()
        .flat_map(|environment| track.invariants().broken(environment))
        .collect();
    for output in &outputs {
        if output.stderr.contains("panicked") || output.stderr.contains("defect") {
            broken.push("a run has a defect".to_owned());
        }
    }
    (broken, outputs)
}

/// Races a pair some times and returns what was broken.
fn race_pair(track: &mut Track, pair: [&str; 2], tries: usize, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut failures = Vec::new();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in 0..tries {
        track.prepare(pair);
        let (broken, outputs) = race(track, pair, &mut random);
        *codes.entry(format!("{} {}", outputs[0].code, outputs[1].code)).or_default() += 1;
        if !broken.is_empty() {
            failures.push(format!(
                "{pair:?}, seed {seed}, try {attempt}: {broken:?}\n{}\n{}",
                outputs[0], outputs[1]
            ));
        }
    }
    let broken = failures.len();
    eprintln!(
        "{:8} and {:8}: {tries} tries, {broken} broken, exit codes {codes:?}",
        pair[0], pair[1]
    );
    failures
}

/// Races the pairs, some of them at the same time, because the runs wait for most of theirs.
fn race_all(pairs: &[[&str; 2]], tries: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("CDFLOW_TEST_SEED").map_or(now, |seed| seed.parse().unwrap());
    eprintln!("seed {seed} (CDFLOW_TEST_SEED)");
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut failures = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(pair) = pairs.get(index) else { break };
            // A new one for each pair: what is stored costs time with each try.
            let mut track = Track::new();
            failures.extend(race_pair(&mut track, *pair, tries, seed + index as u64));
            // The next deploy works.
            track.prepare(["deploy", "up"]);
        }
        failures
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES.min(pairs.len())).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    let tries = tries * pairs.len();
    eprintln!("{} pairs, {tries} tries, {} with a broken invariant", pairs.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn two_commands_at_once_break_nothing() {
    match std::env::var("CDFLOW_TEST_RACES") {
        Ok(tries) => {
            // A run that was stopped can go on with the pairs that are left.
            let done = std::env::var("CDFLOW_TEST_RACES_DONE").map_or(0, |it| it.parse().unwrap());
            race_all(&every_pair()[done..], tries.parse().unwrap());
        }
        Err(_) => race_all(&SOME, 1),
    }
}

fn every_pair() -> Vec<[&'static str; 2]> {
    let names = COMMANDS.map(|(command, _)| command);
    let with = |one: usize| (one..names.len()).map(move |other| [names[one], names[other]]);
    (0..names.len()).flat_map(with).collect()
}

const PRUNE: [&str; 5] = ["prune", "--keep", "0", "--older-than", "0s"];

/// Deletes the release while its first deploy plans.
#[test]
fn a_release_that_is_pruned_during_its_deploy_is_not_applied() {
    let project = Project::local("greeting");
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle(event, context): return {}\n").commit("A function");
    project.release("1");
    let pause = Pause::new(&project);
    let mut running = project.cdflow(["deploy", "ci", "1"]).env("PATH", &pause.path).spawn();
    running.wait_until("plan", |_| pause.is_waiting(1));
    project.cdflow(PRUNE).run().success().stderr_has("Deleted 1 of 1 release(s)");
    pause.end();
    let output = running.wait();
    output.fails(2).stderr_has("release 1 was deleted while this deploy prepared it");
    assert_eq!(project.ledger("ci"), ["deploy 1 failed"]);
    assert!(project.state("ci").is_none());
    project.release("1");
    project.cdflow(["deploy", "ci", "1", "--new-environment"]).run().success();
}

/// The same with a preview, whose release another version of the same pull request replaces.
#[test]
fn a_preview_whose_release_is_pruned_is_not_applied() {
    let project = project("{}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    let pause = Pause::new(&project);
    let up = ["preview", "up", "--platform-config", "platform-config"];
    let runner = for_pull_request(&project, &github, NUMBER, &project.head(), 1, &up);
    let mut running = runner.env("PATH", &pause.path).spawn();
    running.wait_until("plan", |_| pause.is_waiting(1));
    project.cdflow(PRUNE).run().success().stderr_has("Deleted 1 of 1 release(s)");
    pause.end();
    running.wait().fails(2).stdout_has("was deleted while this deploy prepared it");
    assert!(project.state("pr-7").is_none());
    assert_eq!(project.ledger("pr-7").len(), 1);
}

/// The mark of a deletion that is in progress stops a deploy; that of a run which died does not.
#[test]
fn a_deploy_waits_for_a_deletion() {
    let project = Project::local("greeting");
    project.release("1");
    let mark = project.bundle("1").parent().unwrap().join("deleting/greeting-1.zip");
    fs::create_dir(mark.parent().unwrap()).unwrap();
    fs::write(&mark, "a run\n").unwrap();
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output
        .fails(2)
        .stderr_has("release 1 is being deleted")
        .stderr_has("deleting/greeting-1.zip: a run marked it at 20")
        .stderr_has("-> if that run was killed, deploy again after 20");
    assert_eq!(project.ledger("ci"), ["deploy 1 failed"]);
    project
        .release("1")
        .stderr_has("warning: release 1 is marked for deletion: a run marked it at 20");
    let hours_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    fs::File::options().write(true).open(&mark).unwrap().set_modified(hours_ago).unwrap();
    project.cdflow(["deploy", "ci", "1", "--new-environment"]).run().success();
    project.release("1").lacks("marked for deletion");
    // A deletion makes a new mark in place of that of a run which died, and leaves a release that
    // another run deletes.
    project.release("2");
    let mark = project.bundle("2").parent().unwrap().join("deleting/greeting-2.zip");
    fs::write(&mark, "a run\n").unwrap();
    let output = project.cdflow(PRUNE).run();
    output.success().stderr_has("release 2: another run deletes it");
    assert!(project.bundle("2").exists() && mark.exists());
    fs::File::options().write(true).open(&mark).unwrap().set_modified(hours_ago).unwrap();
    project.cdflow(PRUNE).run().success().stderr_has("Deleted 1 of 2 release(s)");
    assert!(!project.bundle("2").exists() && !mark.exists());
    // Prune keeps what is deployed, and takes no mark for a release.
    project.cdflow(PRUNE).run().success().stderr_has("No release to delete: 1 release(s)");
    // The first mark is of a release that exists, and the second of one that might be deleted now.
    let marks = mark.parent().unwrap();
    let [dead, live] = ["greeting-3.zip", "greeting-4.zip"].map(|name| marks.join(name));
    for path in [&dead, &live] {
        fs::write(path, "a run\n").unwrap();
    }
    fs::File::options().write(true).open(&dead).unwrap().set_modified(hours_ago).unwrap();
    let says = "remove 1 mark(s) that killed deletions have left of deleted releases";
    project.cdflow(PRUNE).arg("--dry-run").run().success().stderr_has(&format!("would {says}"));
    assert!(dead.exists());
    project.cdflow(PRUNE).run().success().stderr_has(&says.replace("remove", "removed"));
    assert!(!dead.exists() && live.exists());
    assert_eq!(fs::read_dir(marks).unwrap().count(), 2, "that of release 1 stays");
    project.cdflow(PRUNE).run().success().lacks("mark(s)");
}
