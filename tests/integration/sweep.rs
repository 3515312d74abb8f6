//! A cancel, or a lost answer, at every request to AWS: whenever it comes, the state is saved and
//! has what is real, the lock is free or named, the ledger has the end of the run, nothing is half
//! published, no upload is open, and the next run works.
//!
//! `make test` tries some requests; `make sweep` tries every request and prints the figures. With
//! CDFLOW_TEST_SWEEP=7, it tries every seventh.

use crate::aws_state::with_locks;
use crate::support::{Aws, DEV, Invariants, Output, Project, Runner};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::time::Duration;

/// How long the request at which the signal arrives waits for its answer, in seconds.
const HOLD: f64 = 0.4;
/// `make test` tries about this number of requests of each command.
const SOME: usize = 3;

const RELEASE: &str = "release";
/// A release that is uploaded in several parts.
const LARGE: &str = "large release";
const DEPLOY: &str = "deploy";
const DESTROY: &str = "destroy";

/// What happens at a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// SIGINT, and AWS gets the request afterwards.
    Interrupted,
    /// SIGTERM after AWS has carried out the request, and before it answers.
    Terminated,
    /// AWS carries it out, and the answer is lost.
    Lost,
    /// SIGTERM, then AWS carries it out, and the answer is lost.
    LostAndTerminated,
    /// SIGKILL.
    Killed,
}

const EVENTS: [Event; 4] =
    [Event::Interrupted, Event::Terminated, Event::Lost, Event::LostAndTerminated];

impl Event {
    fn rule(self) -> Value {
        match self {
            Self::Interrupted | Self::Killed => json!({ "delay": HOLD }),
            Self::Terminated => json!({ "hold": HOLD }),
            Self::Lost => json!({ "lost": 500 }),
            Self::LostAndTerminated => json!({ "delay": HOLD, "lost": 500 }),
        }
    }

    fn signal(self) -> Option<Signal> {
        match self {
            Self::Interrupted => Some(Signal::SIGINT),
            Self::Terminated | Self::LostAndTerminated => Some(Signal::SIGTERM),
            Self::Lost => None,
            Self::Killed => Some(Signal::SIGKILL),
        }
    }

    fn loses(self) -> bool {
        [Self::Lost, Self::LostAndTerminated].contains(&self)
    }

    fn is_expected(self, code: i32) -> bool {
        match self {
            Self::Interrupted => [0, 130].contains(&code),
            Self::Terminated | Self::LostAndTerminated => [0, 143].contains(&code),
            Self::Lost => code == 0,
            Self::Killed => code == 137,
        }
    }
}

/// A kind of lock, and of what is deployed.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    lockfile: Option<bool>,
    table: bool,
    /// A parameter of the AWS provider; otherwise a file that a provisioner makes.
    has_provider: bool,
}

const BOTH: Kind =
    Kind { name: "lock file and table", lockfile: Some(true), table: true, has_provider: false };
const KINDS: [Kind; 4] = [
    BOTH,
    Kind { name: "lock file", lockfile: None, table: false, has_provider: false },
    Kind { name: "lock table", lockfile: Some(false), table: true, has_provider: false },
    Kind { name: "AWS provider, both", has_provider: true, ..BOTH },
];

struct Track {
    aws: Aws,
    project: Project,
    kind: Kind,
    /// The version of the next release.
    version: usize,
}

impl Track {
    fn new(kind: Kind) -> Self {
        let (aws, project) = with_locks("sweep", kind.lockfile, kind.table);
        let project = if kind.has_provider { project.with_aws_provider() } else { project };
        let track = Self { aws, project, kind, version: 1000 };
        if kind.has_provider {
            // The name of the test, for `Invariants::objects`.
            let name = format!("/{}/${{var.env}}/greeting", track.aws.name());
            let project = &track.project;
            project.edit(
                "infra/main.tf",
                "/${var.release[\"component\"]}/${var.env}/greeting",
                &name,
            );
            let value = "\"${var.greeting}, version ${var.release[\"version\"]}\"";
            project.edit("infra/main.tf", "value = var.greeting", &format!("value = {value}"));
        } else {
            fs::create_dir(track.file().parent().unwrap()).unwrap();
            let counted = format!(
                "\nresource \"terraform_data\" \"counted\" {{\n  input = \"{}\"\n\n  \
                 provisioner \"local-exec\" {{\n    command = \"touch \
                 '${{self.output}}'\"\n  }}\n\n  \
                 provisioner \"local-exec\" {{\n    when    = destroy\n    command = \"rm -f \
                 '${{self.output}}'\"\n  }}\n}}\n",
                track.file().display()
            );
            track.project.append("infra/main.tf", &counted);
        }
        track.project.commit("Something that is real");
        track.project.release_unchecked("0");
        track
    }

    /// What the provisioner makes, and removes at the end.
    fn file(&self) -> std::path::PathBuf {
        self.project.sandbox().work().join("real/counted")
    }

    fn invariants(&self) -> Invariants<'_> {
        Invariants { aws: &self.aws, project: &self.project }
    }

    fn runner(&self, command: &str) -> Runner {
        match command {
            DEPLOY => self.project.cdflow(["deploy", "ci", "0"]),
            DESTROY => self.project.cdflow(["destroy", "ci", "--confirm", "ci"]),
            _ => self.project.releasing(&self.version.to_string()),
        }
    }

    /// Makes what the command needs: `destroy` something to destroy, `deploy` nothing deployed, and
    /// a release sources of its own, in every second case with parts that no other release has.
    fn prepare(&mut self, command: &str) {
        let invariants = self.invariants();
        if [DEPLOY, DESTROY].contains(&command) {
            if invariants.deployed("ci").is_some() || invariants.resources("ci") > 0 {
                self.project.cdflow(["destroy", "ci", "0", "--confirm", "ci"]).run().success();
            }
            if command == DESTROY {
                self.runner(DEPLOY).run().success();
            }
            return;
        }
        self.version += 1;
        let big = self.project.path("infra/big.bin");
        let is_old = self.version.is_multiple_of(2) && big.exists();
        match command {
            LARGE if !is_old => {
                let random = fs::File::open("/dev/urandom").unwrap();
                let mut file = fs::File::create(&big).unwrap();
                std::io::copy(&mut random.take(9 << 20), &mut file).unwrap();
            }
            RELEASE if big.exists() => fs::remove_file(&big).unwrap(),
            _ => {}
        }
        self.project
            .write("config/aslive.json", &format!("{{\"greeting\": \"{}\"}}", self.version));
        self.project.commit("Another release");
    }

    /// Runs a command in which this happens at the request `at`; None if it has fewer requests.
    fn run(&self, command: &str, event: Event, at: usize) -> Option<Output> {
        let mut rule = event.rule();
        rule["matching"] = self.aws.name().into();
        rule["at"] = at.into();
        self.aws.rule(rule);
        let mut is_reached = false;
        let output = self.runner(command).spawn().watch(|running| {
            if is_reached {
                return;
            }
            is_reached = self.aws.matched(self.aws.name()) >= at;
            match (is_reached, event.signal()) {
                (true, Some(signal)) => running.signal(signal),
                (true, None) => {}
                // moto has other work than to answer this.
                (false, _) => std::thread::sleep(Duration::from_millis(40)),
            }
        });
        is_reached |= event.signal().is_none() && self.aws.matched(self.aws.name()) >= at;
        self.aws.rule(json!({ "matching": self.aws.name(), "times": 0 }));
        is_reached.then_some(output)
    }

    /// What is real and neither in the state nor named as unknown; and what a run that succeeded
    /// says is there and is not.
    fn unreal(&self, command: &str, output: &Output) -> Vec<String> {
        let said = format!("{}{}", output.stdout, output.stderr);
        let mut broken = match self.kind.has_provider {
            true => self.invariants().unnamed(&said, &BTreeSet::new()),
            false => Vec::new(),
        };
        let (is_real, is_managed) = match self.kind.has_provider {
            true => {
                let name = format!("/{}/ci/greeting", self.aws.name());
                let is_real = self.aws.parameters(DEV).contains(&name);
                (is_real, self.invariants().managed().contains(&name))
            }
            false => {
                let state = self.invariants().state("ci").unwrap_or_default();
                (self.file().exists(), String::from_utf8_lossy(&state).contains("\"counted\""))
            }
        };
        if is_real && !is_managed && !self.kind.has_provider {
            broken.push("what a provisioner made is real and not in the state".to_owned());
        }
        let should = command == DEPLOY;
        if output.code == 0
            && [DEPLOY, DESTROY].contains(&command)
            && (is_real, is_managed) != (should, should)
        {
            broken.push(format!("real: {is_real}, in the state: {is_managed}, after {command}"));
        }
        broken
    }

    /// What is wrong after the run, as sentences.
    fn broken(&self, command: &str, event: Event, output: &Output) -> Vec<String> {
        let invariants = self.invariants();
        let mut broken = invariants.contradictions("ci", None);
        if output.stderr.contains("panicked") || output.stderr.contains("defect") {
            broken.push("a defect".to_owned());
        }
        // The next run removes what a killed one has left.
        if event != Event::Killed {
            broken.extend(invariants.left("ci"));
            broken.extend(self.unreal(command, output));
        }
        if !event.is_expected(output.code) {
            broken.push(format!("exit code {}", output.code));
        }
        if [RELEASE, LARGE].contains(&command) && event != Event::Killed {
            let is_there = invariants.has_release(&self.version.to_string());
            let says_so = output.code == 0 || output.stderr.contains("is published");
            if is_there != says_so {
                broken.push(format!("published: {is_there}, and the run says: {says_so}"));
            }
        }
        broken
    }

    /// Releases the locks that the run has named, as their owner does who has read the log.
    fn release_named(&self, output: &Output) -> usize {
        let locks = self.invariants().locks();
        let mut ids: Vec<&str> = locks.iter().map(|lock| lock.id.as_str()).collect();
        ids.dedup();
        ids.retain(|id| output.stderr.contains(&format!("cdflow unlock ci --force {id}")));
        for id in &ids {
            self.project.cdflow(["unlock", "ci", "--force", id]).run().success();
        }
        ids.len()
    }

    /// Runs the command without any trouble. On a busy machine Terraform can give up a request for
    /// its lock, and then meets it: the run says so, and is repeated without that lock.
    fn again(&self, command: &str) -> (Output, usize) {
        let next = self.runner(command).run();
        match next.code {
            8 if next.stderr.contains("this run might have taken it") => {
                let named = self.release_named(&next);
                (self.runner(command).run(), named)
            }
            _ => (next, 0),
        }
    }
}

/// What came of a command.
#[derive(Default)]
struct Swept {
    points: usize,
    /// Locks that were left and named.
    named: usize,
    bad: Vec<String>,
}

/// Tries every `step`th request of a command. A track that was broken is replaced, because the next
/// runs would meet what the first one did.
fn sweep(
    track: &mut Track,
    command: &str,
    step: usize,
    events: &dyn Fn(usize) -> Vec<Event>,
) -> Swept {
    let mut swept = Swept::default();
    for turn in 0.. {
        let at = 1 + turn * step;
        for event in events(turn) {
            track.prepare(command);
            let Some(output) = track.run(command, event, at) else { return swept };
            swept.points += 1;
            let named = track.release_named(&output);
            swept.named += named;
            let mut broken = track.broken(command, event, &output);
            if named > 0 && event.loses() {
                broken.retain(|it| !it.starts_with("exit code"));
            }
            let (next, named) = track.again(command);
            swept.named += named;
            if next.code == 0 {
                let then = track.invariants().broken("ci").into_iter();
                let then = then.chain(track.unreal(command, &next));
                broken.extend(then.map(|it| format!("after the next run: {it}")));
            } else {
                broken.push("the next run fails".to_owned());
            }
            if !broken.is_empty() {
                let what = format!("{}: {command}, {event:?} at request {at}", track.kind.name);
                let found = format!("{what}: {broken:?}\n{output}\nthen: {next}");
                eprintln!("{found}");
                swept.bad.push(found);
                *track = Track::new(track.kind);
            }
        }
    }
    swept
}

/// The events at each request of a complete sweep: with both locks every event, and otherwise a
/// cancel and one other, in turn; with the provider, which is slow, one in turn.
fn events(kind: Kind, command: &str, turn: usize) -> Vec<Event> {
    let other = EVENTS[1 + turn % 3];
    match () {
        () if command == LARGE => [&EVENTS[..], &[Event::Killed]].concat(),
        () if kind.has_provider => vec![EVENTS[turn % 4]],
        () if kind.name == BOTH.name => EVENTS.to_vec(),
        () => vec![Event::Interrupted, other],
    }
}

fn sweep_kind(kind: Kind, step: usize) -> Vec<String> {
    let mut track = Track::new(kind);
    // The provider makes a release slow, and no other one.
    let commands: &[&str] =
        if kind.has_provider { &[DEPLOY, DESTROY] } else { &[RELEASE, LARGE, DEPLOY, DESTROY] };
    let mut bad = Vec::new();
    for command in commands {
        let swept = sweep(&mut track, command, step, &|turn| events(kind, command, turn));
        print(kind, command, &swept);
        bad.extend(swept.bad);
    }
    bad
}

fn print(kind: Kind, command: &str, swept: &Swept) {
    let Swept { points, named, bad } = swept;
    let (name, bad) = (kind.name, bad.len());
    eprintln!("{name}: {command}: {points} points, {named} locks left and named, {bad} bad");
}

/// Some requests of each command, with another event at each.
fn sweep_some() -> Vec<String> {
    let mut track = Track::new(BOTH);
    let mut bad = Vec::new();
    for (number, command) in [LARGE, DEPLOY, DESTROY].into_iter().enumerate() {
        track.prepare(command);
        track.aws.rule(json!({ "matching": track.aws.name(), "at": usize::MAX }));
        track.runner(command).run().success();
        let step = track.aws.matched(track.aws.name()) / SOME + 1;
        let swept = sweep(&mut track, command, step, &|turn| {
            let is_killed = command == LARGE && turn == SOME / 2;
            vec![if is_killed { Event::Killed } else { EVENTS[(turn + number) % 4] }]
        });
        print(BOTH, command, &swept);
        bad.extend(swept.bad);
    }
    bad
}

#[test]
fn a_cancel_at_any_request_breaks_nothing() {
    let bad = match std::env::var("CDFLOW_TEST_SWEEP") {
        Err(_) => sweep_some(),
        Ok(step) => {
            let step = step.parse().unwrap();
            // The runs wait for most of their time, so the kinds are tried at once.
            std::thread::scope(|scope| {
                let sweeps: Vec<_> =
                    KINDS.iter().map(|kind| scope.spawn(|| sweep_kind(*kind, step))).collect();
                sweeps.into_iter().flat_map(|sweep| sweep.join().unwrap()).collect()
            })
        }
    };
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// The answer to Terraform's write of its lock is lost, and Terraform meets its own lock.
#[test]
fn an_apply_that_meets_its_own_lock_names_it_after_a_cancel() {
    let mut track = Track::new(BOTH);
    track.prepare(DESTROY);
    let state = track.invariants().state("ci");
    let lock =
        format!("PUT /{}/platform/shop/ci/terraform.tfstate.tflock", track.aws.state_bucket());
    // The plan takes the first one.
    track.aws.rule(json!({ "matching": lock, "at": 2, "delay": HOLD, "lost": 500 }));
    let mut is_sent = false;
    let output = track.runner(DESTROY).spawn().watch(|running| {
        if !is_sent && track.aws.matched(&lock) >= 2 {
            is_sent = true;
            running.signal(Signal::SIGTERM);
        }
    });
    output
        .fails(143)
        .stderr_has(
            "error: cancelled at the start of apply; nothing was applied: the state of `ci`",
        )
        .lacks("saved the state");
    assert_eq!(track.invariants().state("ci"), state);
    assert_eq!(track.release_named(&output), 1, "{output}");
    track.runner(DESTROY).run().success();
    assert_eq!(track.invariants().broken("ci"), [""; 0]);
}
