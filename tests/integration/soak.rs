//! A component that lives under faults: AWS and GitHub fail at random, runs are cancelled at random
//! times. After each run eight invariants hold, and in the end everything works.
//!
//! `make test` lives through a few runs without a provider; `make soak` does it for 20 minutes with
//! the AWS provider and prints the figures.

use crate::preview::{NUMBER, for_pull_request, furnished};
use crate::races::Random;
use crate::support::github::{Fault, GitHub};
use crate::support::{Aws, DEV, Invariants, Output, Project, Runner};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The runs of `make test`.
const RUNS: u64 = 4;
/// Of a hundred runs so many get a signal, within the first so many milliseconds.
const SIGNALLED: u64 = 20;
const SIGNAL_WITHIN: u64 = 8000;
const SECRET: &str = "soak-Qm7xVt4ZpLw9";
const ENVIRONMENTS: [&str; 2] = ["ci", "pr-7"];
const SLOW_DOWN: &str =
    "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";

struct Life {
    aws: Aws,
    project: Project,
    github: GitHub,
    random: Random,
    runs: u64,
    /// Parameters that exist and are in no state, because a run has named them.
    named: BTreeSet<String>,
    /// The first ETag of each release.
    releases: BTreeMap<String, String>,
    codes: BTreeMap<String, BTreeMap<i32, u64>>,
}

impl Life {
    fn new(seed: u64, has_provider: bool) -> Self {
        let aws = Aws::new("soak");
        let project = Project::aws(aws.name(), &aws);
        let project = if has_provider { project.with_aws_provider() } else { project };
        let project = furnished(project, "{}");
        project.append(
            "infra/main.tf",
            "\nvariable \"secrets\" {\n  type = map(string)\n}\n\nresource \"terraform_data\" \
             \"secret\" {\n  input = lookup(var.secrets, \"token\", \"\")\n}\n",
        );
        project.append("cdflow.yml", "secrets: [ssm]\n");
        project.commit("Use a secret");
        for environment in ENVIRONMENTS {
            let name = format!("/cdflow/{environment}/{}/token", aws.name());
            let parameter = json!({"Name": name, "Value": SECRET, "Type": "SecureString"});
            aws.call(DEV, "ssm", "put_parameter", parameter);
        }
        let github = GitHub::start();
        github.world().pull_request(NUMBER, &project.head());
        project.release("1");
        Self {
            aws,
            project,
            github,
            random: Random::new(seed),
            runs: 0,
            named: BTreeSet::new(),
            releases: BTreeMap::new(),
            codes: BTreeMap::new(),
        }
    }

    fn faults(&self, are_on: bool) {
        let times = if are_on { u64::from(u32::MAX) } else { 0 };
        let name = self.aws.name();
        for (matching, chance, mut rule) in [
            (name.to_owned(), 0.06, json!({ "status": 503, "body": SLOW_DOWN })),
            (format!("/{name}-releases"), 0.03, json!({ "status": 500, "body": "" })),
            (format!("/{name}-state"), 0.03, json!({ "hold": 1.5 })),
        ] {
            rule["matching"] = matching.into();
            rule["chance"] = chance.into();
            rule["times"] = times.into();
            self.aws.rule(rule);
        }
        let refusal = |status| Fault::Answer { status, headers: vec![], message: "Server Error" };
        let faults = vec![refusal(502), refusal(503), Fault::HangUp, Fault::Late(800)];
        match are_on {
            true => self.github.weather(self.runs, 10, faults),
            false => self.github.world().weather = None,
        }
    }

    fn runner(&mut self, command: &str) -> Runner {
        self.runs += 1;
        self.github.world().pull_request(NUMBER, &self.project.head()).is_open = command != "down";
        let (project, run) = (&self.project, self.runs);
        let version = (1000 + run).to_string();
        let arguments: Vec<&str> = match command {
            "release" => vec!["release", &version, "--platform-config", "platform-config"],
            "deploy" => vec!["deploy", "ci", "1"],
            "destroy" => vec!["destroy", "ci", "--confirm", "ci"],
            "up" => vec!["preview", "up", "--platform-config", "platform-config"],
            _ => vec!["preview", "down"],
        };
        for_pull_request(project, &self.github, NUMBER, &project.head(), run, &arguments)
    }

    fn live(&mut self) -> Result<(), String> {
        let commands = ["release", "deploy", "deploy", "destroy", "up", "up", "down"];
        let command = commands[usize::try_from(self.random.below(7)).unwrap()];
        if command == "destroy" && self.invariants().ledger("ci").is_empty() {
            return Ok(());
        }
        self.faults(true);
        let signal = (self.random.below(100) < SIGNALLED)
            .then(|| Duration::from_millis(self.random.below(SIGNAL_WITHIN)));
        let began = Instant::now();
        let mut is_signalled = false;
        let output = self.runner(command).spawn().watch(|running| {
            if !is_signalled && signal.is_some_and(|after| began.elapsed() >= after) {
                is_signalled = true;
                running.signal(Signal::SIGINT);
            }
        });
        self.faults(false);
        *self.codes.entry(command.to_owned()).or_default().entry(output.code).or_default() += 1;
        let broken = self.broken(&output);
        match broken.is_empty() {
            true => Ok(()),
            false => Err(format!("run {}, {command}: {broken:?}\n{output}", self.runs)),
        }
    }

    fn invariants(&self) -> Invariants<'_> {
        Invariants { aws: &self.aws, project: &self.project }
    }

    /// Every invariant that does not hold after a run.
    fn broken(&mut self, output: &Output) -> Vec<String> {
        let mut broken: Vec<String> = self.unnamed(output);
        broken.extend(self.locks(output));
        broken.extend(self.changed_releases());
        broken.extend(self.secrets(output));
        let comments = self.github.world().comments.len();
        if comments > 1 {
            broken.push(format!("{comments} comments"));
        }
        let uploads = self.aws.unfinished_uploads(&self.aws.release_bucket());
        if !uploads.is_empty() {
            broken.push(format!("open uploads: {uploads:?}"));
        }
        broken.extend(self.processes());
        broken.extend(self.deployments());
        if output.stderr.contains("panicked") || output.code == 1 {
            broken.push("a defect".to_owned());
        }
        broken
    }

    /// Real parameters that neither a state has nor the run has named.
    fn unnamed(&mut self, output: &Output) -> Vec<String> {
        let mut broken = Vec::new();
        let has_address =
            format!("{}{}", output.stdout, output.stderr).contains("aws_ssm_parameter.greeting");
        for environment in ENVIRONMENTS {
            let name = format!("/{}/{environment}/greeting", self.aws.name());
            let is_real = self.aws.parameters(DEV).contains(&name);
            let key = format!("platform/{}/{environment}/terraform.tfstate", self.aws.name());
            let bucket = self.aws.state_bucket();
            let is_in_state = self.aws.keys(&bucket).contains(&key)
                && self.aws.get_json(&bucket, &key)["resources"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|resource| resource["type"] == "aws_ssm_parameter");
            if !is_real || is_in_state {
                self.named.remove(&name);
            } else if self.named.contains(&name) || has_address {
                // As its owner does who has read the log.
                self.aws.call(DEV, "ssm", "delete_parameter", json!({ "Name": name }));
                self.named.insert(name);
            } else {
                broken.push(format!("{name} is in no state and was not named"));
            }
        }
        broken
    }

    /// Locks that are left and not named. Those that are named are released, as the log advises.
    fn locks(&self, output: &Output) -> Vec<String> {
        let bucket = self.aws.state_bucket();
        let keys = self.aws.keys(&bucket);
        let mut broken = Vec::new();
        for key in keys.iter().filter(|key| key.ends_with(".tflock")) {
            let id = self.aws.get_json(&bucket, key)["ID"].as_str().unwrap().to_owned();
            if !output.stderr.contains(&id) && !output.stdout.contains(&id) {
                broken.push(format!("the lock {key} ({id}) is left and not named"));
            }
            self.aws.delete(&bucket, key);
        }
        broken
    }

    fn changed_releases(&mut self) -> Vec<String> {
        let bucket = self.aws.release_bucket();
        let keys = self.aws.keys(&bucket);
        let mut broken = Vec::new();
        for key in keys.into_iter().filter(|key| key.ends_with(".zip")) {
            let etag = self.aws.head(&bucket, &key).unwrap()["ETag"].as_str().unwrap().to_owned();
            let first = self.releases.entry(key.clone()).or_insert_with(|| etag.clone());
            if *first != etag {
                broken.push(format!("{key} has changed"));
            }
        }
        broken
    }

    fn secrets(&self, output: &Output) -> Vec<String> {
        let bodies: Vec<String> =
            self.github.world().comments.values().map(|comment| comment.body.clone()).collect();
        [&output.stdout, &output.stderr]
            .into_iter()
            .chain(&bodies)
            .filter(|text| text.contains(SECRET))
            .map(|_| "a secret is shown".to_owned())
            .collect()
    }

    /// Programs of the run that are left.
    fn processes(&self) -> Vec<String> {
        let folder = self.project.sandbox().tmp().display().to_string();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter(|it| it.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
            .filter_map(|it| std::fs::read_link(it.path().join("cwd")).ok())
            .filter(|cwd| cwd.to_string_lossy().starts_with(&folder))
            .map(|cwd| format!("a process is left in {}", cwd.display()))
            .collect()
    }

    fn deployments(&self) -> Vec<String> {
        let world = self.github.world();
        let state = |statuses: &[Value]| {
            statuses.last().map_or(String::new(), |it| it["state"].as_str().unwrap().to_owned())
        };
        world
            .deployments
            .values()
            .map(|it| (it.environment.clone(), state(&it.statuses)))
            .filter(|(_, state)| ["queued", "in_progress", "pending"].contains(&state.as_str()))
            .map(|(environment, state)| format!("the deployment of {environment} is {state}"))
            .collect()
    }
}

#[test]
fn a_component_lives_under_faults() {
    let seed = std::env::var("CDFLOW_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
    let seconds: Option<u64> =
        std::env::var("CDFLOW_TEST_SOAK").ok().map(|seconds| seconds.parse().unwrap());
    let began = Instant::now();
    let mut life = Life::new(seed, seconds.is_some());
    let mut bad = Vec::new();
    let mut rounds = 0;
    while seconds.map_or(rounds < RUNS, |limit| began.elapsed().as_secs() < limit) {
        rounds += 1;
        bad.extend(life.live().err());
    }
    for (command, codes) in &life.codes {
        eprintln!("{command}: exit codes {codes:?}");
    }
    eprintln!("{rounds} runs in {} s, {} bad (seed {seed})", began.elapsed().as_secs(), bad.len());
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    // Without faults everything works.
    for command in ["deploy", "up", "down", "destroy"] {
        life.runner(command).run().success();
    }
    assert!(life.aws.parameters(DEV).iter().all(|name| !name.ends_with("/greeting")));
    let left = life.aws.keys(&life.aws.state_bucket());
    assert!(left.is_empty(), "{left:?}");
}
