//! A component that lives under faults: AWS and GitHub fail at random, answers are lost, runs are
//! cancelled at random times. After each run the invariants of docs/guarantees.md hold, the next
//! deploy works, and in the end everything works.
//!
//! `make test` lives through a few runs without a provider; `make soak` does it for 20 minutes with
//! the AWS provider and prints the figures.

use crate::aws_state::with_locks;
use crate::preview::{NUMBER, for_pull_request, furnished};
use crate::races::Random;
use crate::support::github::{Fault, GitHub};
use crate::support::{Aws, DEV, Invariants, Output, PROD, Project, RELEASE, Runner};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The runs of `make test`.
const RUNS: u64 = 4;
/// Of a hundred runs, this number gets a signal, within the first milliseconds of this number.
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
    has_provider: bool,
    runs: u64,
    /// Objects that were in no state, and that a run has named.
    named: BTreeSet<String>,
    /// Deployments on GitHub without an end, of runs that say so.
    unended: BTreeSet<u64>,
    /// How many locks were left and named.
    named_locks: u64,
    /// The first ETag of each release.
    releases: BTreeMap<String, String>,
    codes: BTreeMap<String, BTreeMap<i32, u64>>,
}

impl Life {
    fn new(seed: u64, has_provider: bool) -> Self {
        let (aws, _) = with_locks("soak", None, true);
        let project = Project::aws(aws.name(), &aws);
        let project = if has_provider { project.with_aws_provider() } else { project };
        let project = furnished(project, "{}");
        if has_provider {
            let value = "\"${var.greeting}, version ${var.release[\"version\"]}\"";
            project.edit("infra/main.tf", "value = var.greeting", &format!("value = {value}"));
            let topic = "\nresource \"aws_sns_topic\" \"news\" {\n  name = \
                         \"${var.release[\"component\"]}-${var.env}\"\n}\n";
            project.append("infra/main.tf", topic);
        }
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
        for version in ["1", "2"] {
            project.release(version);
        }
        Self {
            aws,
            project,
            github,
            random: Random::new(seed),
            has_provider,
            runs: 0,
            named: BTreeSet::new(),
            unended: BTreeSet::new(),
            named_locks: 0,
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
            (format!("/{name}-state/"), 0.02, json!({ "lost": 500 })),
            (format!("/{name}-releases/"), 0.02, json!({ "lost": 500 })),
            // Calls about the parameters of the component.
            (format!("\"/{name}/"), 0.05, json!({ "lost": 500 })),
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
        let version = (1000 + self.runs).to_string();
        let arguments: Vec<&str> = match command {
            "release" => vec!["release", &version, "--platform-config", "platform-config"],
            "deploy" => {
                let other = ["1", "2"][usize::try_from(self.random.below(2)).unwrap()];
                vec!["deploy", "ci", other, "--allow-downgrade"]
            }
            "destroy" => vec!["destroy", "ci", "--confirm", "ci"],
            "up" => vec!["preview", "up", "--platform-config", "platform-config"],
            _ => vec!["preview", "down"],
        };
        let (project, run) = (&self.project, self.runs);
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
        let mut broken = self.broken(&output);
        broken.extend(self.next(command));
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
        for environment in ENVIRONMENTS {
            broken.extend(self.invariants().contradictions(environment, None));
        }
        broken.extend(self.changed_releases());
        broken.extend(self.secrets(output));
        let comments = self.github.world().comments.len();
        if comments > 1 {
            broken.push(format!("{comments} comments"));
        }
        broken.extend(self.invariants().open_uploads());
        broken.extend(self.processes());
        broken.extend(self.deployments(output));
        if output.stderr.contains("panicked") || output.code == 1 {
            broken.push("a defect".to_owned());
        }
        broken
    }

    /// The next deploy works, without faults. In half of the cases it is only planned, so that what
    /// the run has left meets faults, too.
    fn next(&mut self, command: &str) -> Vec<String> {
        let next = if ["up", "down"].contains(&command) { "up" } else { "deploy" };
        let is_planned = self.random.below(2) == 0;
        let more: &[&str] = if is_planned { &["--plan-only"] } else { &[] };
        let output = self.runner(next).args(more).run();
        let mut broken = match output.code {
            0 => self.broken(&output),
            _ => vec![format!("{next} fails: {output}")],
        };
        if !is_planned && self.has_provider {
            let environment = if next == "up" { "pr-7" } else { "ci" };
            broken.extend(self.missing(environment));
        }
        broken.into_iter().map(|it| format!("next: {it}")).collect()
    }

    /// What a deploy that succeeded has to have made, and is not real with the deployed version.
    fn missing(&self, environment: &str) -> Option<String> {
        let version = self.invariants().deployed(environment)?;
        let name = format!("/{}/{environment}/greeting", self.aws.name());
        let parameter = self.aws.try_call(DEV, "ssm", "get_parameter", json!({ "Name": name }));
        let value = parameter.map(|it| it["Parameter"]["Value"].as_str().unwrap().to_owned());
        let is_right = value.as_ref().is_ok_and(|it| it.ends_with(&format!(", version {version}")));
        (!is_right).then(|| format!("{version} is deployed, and {name} is {value:?}"))
    }

    /// The objects that the test itself has made.
    fn ours(&self) -> BTreeSet<String> {
        let name = self.aws.name();
        ENVIRONMENTS.map(|environment| format!("/cdflow/{environment}/{name}/token")).into()
    }

    /// Real objects that neither a state has nor a run has named. Those that are named are deleted,
    /// as their owner does who has read the log.
    fn unnamed(&mut self, output: &Output) -> Vec<String> {
        let said = format!("{}{}", output.stdout, output.stderr);
        let mut known = self.ours();
        known.extend(self.named.clone());
        let broken = self.invariants().unnamed(&said, &known);
        for name in self.invariants().orphans(&self.ours()) {
            let is_topic = name.starts_with("arn:aws:sns:");
            let (service, method, field) = match is_topic {
                true => ("sns", "delete_topic", "TopicArn"),
                false => ("ssm", "delete_parameter", "Name"),
            };
            self.aws.call(DEV, service, method, json!({ field: name }));
            self.named.insert(name);
        }
        broken
    }

    /// Locks that are left and not named. Those that are named are released, as the log advises.
    fn locks(&mut self, output: &Output) -> Vec<String> {
        let mut broken = Vec::new();
        for lock in self.invariants().locks() {
            let is_named = !lock.id.is_empty()
                && [&output.stderr, &output.stdout].iter().any(|text| text.contains(&lock.id));
            match is_named {
                true => self.named_locks += 1,
                false => {
                    broken.push(format!(
                        "the lock {} ({}) is left and not named",
                        lock.place, lock.id
                    ));
                }
            }
            self.invariants().remove(&lock);
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

    /// Deployments without an end, unless the run says that GitHub did not answer in time.
    fn deployments(&mut self, output: &Output) -> Vec<String> {
        let state = |statuses: &[Value]| {
            statuses.last().map_or(String::new(), |it| it["state"].as_str().unwrap().to_owned())
        };
        let is_open = |state: &str| ["queued", "in_progress", "pending"].contains(&state);
        let world = self.github.world();
        let all = world.deployments.iter().map(|(id, it)| (*id, state(&it.statuses)));
        let mut open: BTreeMap<u64, String> = all.filter(|(_, state)| is_open(state)).collect();
        open.retain(|id, _| !self.unended.contains(id));
        if output.stdout.contains("GitHub might show this deployment wrongly") {
            self.unended.extend(std::mem::take(&mut open).into_keys());
        }
        open.into_iter().map(|(id, state)| format!("deployment {id} is {state}")).collect()
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
    eprintln!(
        "{rounds} runs under faults, each with a next deploy, in {} s, {} bad; left and named: {} \
         object(s), {} lock(s), {} deployment(s) (seed {seed})",
        began.elapsed().as_secs(),
        bad.len(),
        life.named.len(),
        life.named_locks,
        life.unended.len()
    );
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    // Without faults everything works.
    for command in ["deploy", "up", "down", "destroy"] {
        life.runner(command).run().success();
    }
    assert_eq!(life.invariants().objects(), life.ours());
    let left = life.aws.keys(&life.aws.state_bucket());
    assert!(left.is_empty() && life.invariants().locks().is_empty(), "{left:?}");
}

/// The check itself: an orphan is found in any account, whatever a plan shows.
#[test]
fn an_orphan_is_found_unless_it_is_named() {
    let aws = Aws::new("orphans");
    let project = Project::aws(aws.name(), &aws);
    let invariants = Invariants { aws: &aws, project: &project };
    let none = BTreeSet::new();
    assert_eq!(invariants.unnamed("", &none), [""; 0]);
    let name = format!("/{}/ci/greeting", aws.name());
    let parameter = json!({ "Name": name, "Value": "Hello", "Type": "String" });
    aws.call(DEV, "ssm", "put_parameter", parameter);
    let topic = json!({ "Name": format!("{}-ci", aws.name()) });
    let topic =
        aws.call(PROD, "sns", "create_topic", topic)["TopicArn"].as_str().unwrap().to_owned();
    let says = |name: &str| format!("{name} is in no state and was not named");
    let both = [says(&name), says(&topic)];
    let plan = format!(
        "  # aws_ssm_parameter.greeting will be created\n  + name = \"{name}\"\n\
         aws_ssm_parameter.greeting: Creation complete after 0s [id={name}]\n"
    );
    for said in ["", &plan] {
        assert_eq!(invariants.unnamed(said, &none), both);
    }
    let named = format!("{plan}  aws_ssm_parameter.greeting (create): name = \"{name}\"\n");
    assert_eq!(invariants.unnamed(&named, &none), both[1..]);
    assert_eq!(invariants.unnamed("", &BTreeSet::from([topic.clone()])), both[..1]);
    // A data source only reads the object.
    for (mode, left) in [("data", &both[..]), ("managed", &both[..1])] {
        let instances = json!([{ "attributes": { "arn": topic } }]);
        let resources = json!([{ "mode": mode, "type": "aws_sns_topic", "instances": instances }]);
        let state = json!({ "version": 4, "resources": resources }).to_string();
        aws.put(&aws.state_bucket(), "copies/terraform.tfstate", state.as_bytes());
        assert_eq!(invariants.unnamed("", &none), left);
    }
}

/// The same of ledger, state, lock table and releases, each of which says something else.
#[test]
fn every_contradiction_is_found() {
    let (aws, project) = with_locks("contradictions", None, true);
    let invariants = Invariants { aws: &aws, project: &project };
    let run = |number: u64, action: &str, version: &str, outcome: &str| {
        let key = format!("platform/shop/ledger/ci/{}", 9_999_999_999 - number);
        let start = json!({ "action": action, "version": version }).to_string();
        aws.put(&aws.release_bucket(), &format!("{key}.start.json"), start.as_bytes());
        let end = json!({ "outcome": outcome }).to_string();
        aws.put(&aws.release_bucket(), &format!("{key}.end.json"), end.as_bytes());
    };
    let key = "platform/shop/ci/terraform.tfstate";
    let state = |version: &str| {
        let output = json!({ "greeting": { "value": format!("Hello, version {version}") } });
        let state = json!({ "version": 4, "outputs": output, "resources": [{}] }).to_string();
        aws.put(&aws.state_bucket(), key, state.as_bytes());
        state
    };
    let finds = |texts: &[&str]| {
        let found = invariants.broken("ci");
        let is_all = texts.iter().all(|text| found.iter().any(|it| it.contains(text)));
        assert!(found.len() == texts.len() && is_all, "{texts:?}: {found:?}");
    };
    finds(&[]);
    let first = state("1");
    finds(&["nothing was deployed, and the state has 1 resource(s)", "the state has 1, and the"]);
    assert_eq!(invariants.contradictions("ci", Some(first.as_bytes())), [""; 0]);
    run(1, "deploy", "1", "succeeded");
    finds(&["1 is deployed in ci without a release"]);
    aws.put(&aws.release_bucket(), &project.release_key("1"), b"a bundle");
    finds(&[]);
    state("2");
    finds(&["1 is deployed, and the state has {\"2\"}", "the state has 2, and the ledger"]);
    // A run that failed might have changed something.
    run(2, "deploy", "2", "failed");
    finds(&[]);
    run(3, "destroy", "1", "succeeded");
    finds(&["destroyed, and the state has 1 resource(s)", "the state has 2, and the ledger []"]);
    aws.delete(&aws.state_bucket(), key);
    finds(&[]);
    run(4, "deploy", "1", "succeeded");
    finds(&["1 is deployed in ci: empty state", "1 is deployed, and the state has {}"]);
    state("1");
    invariants.lock("ci", "5f3c");
    finds(&[
        "a lock is left: platform/shop/ci/terraform.tfstate.tflock (5f3c)",
        "ci/terraform.tfstate (5f3c)",
    ]);
    for lock in invariants.locks() {
        invariants.remove(&lock);
    }
    finds(&[]);
    let id = json!({ "S": format!("{}/{key}-md5", aws.state_bucket()) });
    let item = json!({ "LockID": id, "Digest": { "S": "0cc175b9c0f1b6a831c399e269772661" } });
    let table = format!("{}-locks", aws.name());
    aws.call(RELEASE, "dynamodb", "put_item", json!({ "TableName": table, "Item": item }));
    finds(&["the digest of platform/shop/ci/terraform.tfstate is 0cc175b9"]);
}
