//! Two commands at one environment at the same time. Whatever the order: the state is complete, the
//! ledger is true, what is deployed has its release, no lock is left, and the next deploy works.
//!
//! Before a pair is raced, each of its commands does its whole work alone: a pair of which one
//! command could only fail would prove nothing.
//!
//! `make test` tries some pairs once; `make races` tries every pair 20 times and prints the
//! figures. With CDFLOW_TEST_RACES_DONE, it leaves out that number of pairs; with
//! CDFLOW_TEST_RACES_OF=adopt,unlock, it tries only the pairs with one of these commands.

use crate::aws_state::with_locks;
use crate::preview::{NUMBER, Pause, for_pull_request, furnished, scheduled};
use crate::support::github::GitHub;
use crate::support::{Aws, Invariants, Output, Project, Runner};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest delay of a request to the store, and of the second command, in milliseconds.
const STORE_DELAY: u64 = 150;
const HEAD_START: u64 = 2500;
/// How many pairs are raced at the same time, each with a component of its own.
const LANES: usize = 8;

const COMMANDS: [&str; 9] =
    ["deploy", "destroy", "rollback", "adopt", "unlock", "prune", "up", "down", "reap"];
/// The pairs of `make test`: those that were wrong once, and those that people meet.
const SOME: [Pair; 4] =
    [["deploy", "prune"], ["deploy", "destroy"], ["up", "down"], ["adopt", "unlock"]];
/// The lock of a run that was killed.
const DEAD: &str = "5f3c8b9a-1111-2222-3333-444455556666";
const ORIGINAL: &str = "legacy/shop.tfstate";

type Pair = [&'static str; 2];

/// Both commands are about this environment: that of a preview if one of them is.
fn environment_of(pair: Pair) -> &'static str {
    match pair.iter().any(|command| ["up", "down", "reap"].contains(command)) {
        true => "pr-7",
        false => "ci",
    }
}

/// Whether one of them needs something that is deployed.
fn needs_deployed(pair: Pair) -> bool {
    pair.iter().any(|command| ["destroy", "rollback", "down", "reap"].contains(command))
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

/// A component with two releases, a lock file and a lock table, for one pair of commands.
struct Track {
    aws: Aws,
    project: Project,
    github: GitHub,
    runs: u64,
    pair: Pair,
    environment: &'static str,
    /// The state that `adopt` copies.
    original: Vec<u8>,
    /// How many releases were made for `prune`.
    pruned: u64,
}

impl Track {
    fn new(pair: Pair) -> Self {
        let (aws, project) = with_locks("races", None, true);
        let project = furnished(project, "{}");
        let github = GitHub::start();
        github.world().pull_request(NUMBER, &project.head());
        let environment = environment_of(pair);
        let original = Vec::new();
        let (runs, pruned) = (0, 0);
        let mut track = Self { aws, project, github, runs, pair, environment, original, pruned };
        track.release();
        if pair.contains(&"adopt") {
            track.deploy("1");
            track.original = track.invariants().state(environment).unwrap();
            let bucket = track.original_bucket();
            track.aws.create_bucket(&bucket);
            track.aws.put(&bucket, ORIGINAL, &track.original);
        }
        track
    }

    fn original_bucket(&self) -> String {
        format!("{}-original", self.aws.name())
    }

    /// Makes the store answer late.
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

    fn adopted(&self) -> Option<&[u8]> {
        (!self.original.is_empty()).then_some(&self.original)
    }

    /// Releases what is missing of the two releases.
    fn release(&self) {
        for version in ["1", "2"] {
            if !self.invariants().has_release(version) {
                self.project.release(version);
            }
        }
    }

    fn deploy(&self, version: &str) {
        let run = ["deploy", self.environment, version, "--allow-downgrade"];
        self.project.cdflow(run).run().success();
    }

    /// Makes what both commands need: release 1 is deployed, after release 2 if one of them goes
    /// back to it; or nothing is, if one of them is `adopt`, which replaces no other state. If a
    /// pair needs both, what is deployed has the state that is to be adopted, in a later version.
    fn prepare(&mut self) {
        self.release();
        let environment = self.environment;
        if self.pair.contains(&"adopt") {
            if self.invariants().resources(environment) > 0 {
                let run = ["destroy", environment, "1", "--confirm", environment];
                self.project.cdflow(run).run().success();
            }
            if needs_deployed(self.pair) {
                let adopt = self.runner("adopt");
                adopt.run().success().stderr_has("copied to s3://");
            }
        }
        if !self.pair.contains(&"adopt") || needs_deployed(self.pair) {
            if self.pair.contains(&"rollback") {
                self.deploy("2");
            }
            self.deploy("1");
            if environment == "pr-7" {
                self.runner("up").run().success();
            }
        }
        if self.pair.contains(&"prune") {
            self.release_for_prune();
        }
    }

    /// The release that a command is about. `prune` keeps what was ever deployed, so that each try
    /// needs a release of its own.
    fn version(&self) -> String {
        match self.pair.contains(&"prune") {
            true => (100 + self.pruned).to_string(),
            false => "2".to_owned(),
        }
    }

    /// Makes a release and a commit that were never deployed.
    fn release_for_prune(&mut self) {
        self.pruned += 1;
        let head = self.project.commit("Another");
        self.github.world().pull_requests.get_mut(&NUMBER).unwrap().head_sha = head;
        self.project.release(&self.version());
    }

    /// Locks the environment as a killed run does, if one of the commands is to release that.
    fn lock(&self) {
        if self.pair.contains(&"unlock") {
            self.invariants().lock(self.environment, DEAD);
        }
    }

    fn runner(&mut self, command: &str) -> Runner {
        self.runs += 1;
        if ["up", "down", "reap"].contains(&command) {
            let head = self.project.head();
            self.github.world().pull_request(NUMBER, &head).is_open = command == "up";
        }
        let (project, github, run) = (&self.project, &self.github, self.runs);
        let (environment, version) = (self.environment, self.version());
        let pull_request = |arguments: &[&str]| {
            for_pull_request(project, github, NUMBER, &project.head(), run, arguments)
        };
        match command {
            "deploy" => project.cdflow(["deploy", environment, &version, "--allow-downgrade"]),
            "destroy" => project.cdflow(["destroy", environment, "--confirm", environment]),
            "rollback" => project.cdflow(["rollback", environment]),
            "adopt" => {
                let from = format!("s3://{}/{ORIGINAL}", self.original_bucket());
                // What it plans afterwards can be deleted by `prune`; it needs no other release.
                let version = if self.pair.contains(&"prune") { &version } else { "1" };
                project.cdflow(["adopt", environment, version, "--from", &from])
            }
            "unlock" => project.cdflow(["unlock", environment, "--force", DEAD]),
            "prune" => project.cdflow(PRUNE),
            "up" => pull_request(&["preview", "up", "--platform-config", "platform-config"]),
            "down" => pull_request(&["preview", "down"]),
            _ => scheduled(project, github, &["preview", "reap"]),
        }
    }

    /// What a command says that has done its whole work.
    fn done(&self, command: &str) -> String {
        let environment = self.environment;
        match command {
            "deploy" => format!("Deployed shop {} to {environment}", self.version()),
            "destroy" | "down" => format!("Destroyed shop in {environment}: 1 destroyed"),
            "rollback" => format!("Deployed shop 2 to {environment}"),
            "adopt" if needs_deployed(self.pair) => "already at s3://".to_owned(),
            "adopt" => "copied to s3://".to_owned(),
            "unlock" => format!("Released the lock {DEAD} of the state of {environment}"),
            "prune" => "Deleted ".to_owned(),
            "up" => "Deployed shop pr-7-".to_owned(),
            _ => "Destroyed 1 of 1 preview(s)".to_owned(),
        }
    }

    /// Each command alone does its whole work.
    fn control(&mut self) {
        for (at, command) in self.pair.into_iter().enumerate() {
            if at == 1 && command == self.pair[0] {
                continue;
            }
            self.prepare();
            if command == "unlock" {
                self.lock();
            }
            let output = self.runner(command).run();
            let said = format!("{}{}", output.stdout, output.stderr);
            output.success();
            assert!(said.contains(&self.done(command)), "{:?}: {output}", self.pair);
            self.is_well(&format!("{command} alone"));
        }
    }

    #[track_caller]
    fn is_well(&self, after: &str) {
        let broken = self.broken();
        assert!(broken.is_empty(), "{:?}, {after}: {broken:?}", self.pair);
    }

    fn broken(&self) -> Vec<String> {
        let mut broken = self.invariants().contradictions(self.environment, self.adopted());
        broken.extend(self.invariants().left(self.environment));
        broken
    }

    /// Runs both at once and returns what is broken afterwards. If one of them releases a lock, the
    /// other waits for it, and in half of the tries as well.
    fn race(&mut self, random: &mut Random) -> (Vec<String>, [Output; 2]) {
        let is_patient = self.pair.contains(&"unlock") || random.below(2) == 0;
        let order = match random.below(2) {
            0 => self.pair,
            _ => [self.pair[1], self.pair[0]],
        };
        let mut start = |command: &str| {
            let waits = ["deploy", "destroy", "rollback", "up", "down"].contains(&command);
            let more: &[&str] = if waits && is_patient { &["--lock-timeout", "1m"] } else { &[] };
            self.runner(command).args(more).spawn()
        };
        let first = start(order[0]);
        std::thread::sleep(Duration::from_millis(random.below(HEAD_START)));
        let second = start(order[1]);
        let outputs = [first.wait(), second.wait()];
        let mut broken = self.broken();
        for output in &outputs {
            if output.stderr.contains("panicked") || [1, 101].contains(&output.code) {
                broken.push("a run has a defect".to_owned());
            }
            // Terraform's words if its lock is not the one that it finds.
            if output.stderr.contains("releasing the state lock") {
                broken.push("the lock of a run was released under it".to_owned());
            }
        }
        let [first, second] = outputs;
        let outputs = if order == self.pair { [first, second] } else { [second, first] };
        (broken, outputs)
    }

    /// Deploys as a person would next, and returns what is broken then.
    fn next(&mut self) -> Vec<String> {
        self.release();
        let run = ["deploy", self.environment, "1", "--allow-downgrade"];
        let output = self.project.cdflow(run).run();
        if output.code != 0 {
            return vec![format!("the next deploy fails: {output}")];
        }
        let mut broken = self.invariants().broken(self.environment);
        if self.invariants().deployed(self.environment).as_deref() != Some("1") {
            broken.push("the next deploy is not in the ledger".to_owned());
        }
        broken.into_iter().map(|it| format!("after the next deploy: {it}")).collect()
    }
}

/// What came of the tries of a pair.
#[derive(Default)]
struct Tries {
    failures: Vec<String>,
    codes: BTreeMap<String, usize>,
    /// In how many both commands succeeded.
    both: usize,
}

/// Races a pair some times, after each of its commands has worked alone.
fn race_pair(pair: Pair, tries: usize, seed: u64) -> Tries {
    let mut random = Random::new(seed);
    let mut found = Tries::default();
    // A new one for each pair: what is stored costs time with each try.
    let mut track = Track::new(pair);
    track.control();
    for attempt in 0..tries {
        track.prepare();
        track.lock();
        track.slow(STORE_DELAY);
        let (mut broken, outputs) = track.race(&mut random);
        track.slow(0);
        for lock in track.invariants().locks() {
            track.invariants().remove(&lock);
        }
        broken.extend(track.next());
        let codes = [outputs[0].code, outputs[1].code];
        *found.codes.entry(format!("{} {}", codes[0], codes[1])).or_default() += 1;
        found.both += usize::from(codes == [0, 0]);
        if !broken.is_empty() {
            found.failures.push(format!(
                "{pair:?}, seed {seed}, try {attempt}: {broken:?}\n{}\n{}",
                outputs[0], outputs[1]
            ));
            // The next try would meet what this one left.
            track = Track::new(pair);
        }
    }
    eprintln!(
        "{:8} and {:8}: each works alone; {tries} tries, {} broken, exit codes {:?}",
        pair[0],
        pair[1],
        found.failures.len(),
        found.codes
    );
    found
}

/// Races the pairs, some of them at the same time, because the runs wait for most of theirs.
fn race_all(pairs: &[Pair], tries: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("CDFLOW_TEST_SEED").map_or(now, |seed| seed.parse().unwrap());
    eprintln!("seed {seed} (CDFLOW_TEST_SEED)");
    let next = AtomicUsize::new(0);
    let lane = || {
        let mut found = Tries::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(pair) = pairs.get(index) else { break };
            let tried = race_pair(*pair, tries, seed + index as u64);
            found.failures.extend(tried.failures);
            found.both += tried.both;
        }
        found
    };
    let found: Vec<Tries> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES.min(pairs.len())).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let both: usize = found.iter().map(|it| it.both).sum();
    let failures: Vec<String> = found.into_iter().flat_map(|it| it.failures).collect();
    eprintln!(
        "{} pairs, {} tries, {} with a broken invariant; both commands succeeded in {both}",
        pairs.len(),
        tries * pairs.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn two_commands_at_once_break_nothing() {
    match std::env::var("CDFLOW_TEST_RACES") {
        Ok(tries) => {
            // A run that was stopped can go on with the pairs that are left.
            let done = std::env::var("CDFLOW_TEST_RACES_DONE").map_or(0, |it| it.parse().unwrap());
            race_all(&chosen()[done..], tries.parse().unwrap());
        }
        Err(_) => race_all(&SOME, 1),
    }
}

/// Every pair, or those with a command of CDFLOW_TEST_RACES_OF.
fn chosen() -> Vec<Pair> {
    let of = std::env::var("CDFLOW_TEST_RACES_OF").unwrap_or_default();
    let of: Vec<&str> = of.split(',').filter(|command| !command.is_empty()).collect();
    assert!(of.iter().all(|command| COMMANDS.contains(command)), "{of:?} of {COMMANDS:?}");
    let mut pairs = every_pair();
    pairs.retain(|pair| of.is_empty() || pair.iter().any(|command| of.contains(command)));
    pairs
}

fn every_pair() -> Vec<Pair> {
    let with = |one: usize| (one..COMMANDS.len()).map(move |it| [COMMANDS[one], COMMANDS[it]]);
    (0..COMMANDS.len()).flat_map(with).collect()
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
    let project = crate::preview::project("{}");
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
