//! A workflow, run as GitHub would run it: each job has a checkout of its own and a token with its
//! permissions, each step of cdflow its inputs, and `needs`, `if` and `matrix` decide what runs.

use super::expression::{evaluate, expand, is_true, shown};
use super::github::{GitHub, REPOSITORY, REPOSITORY_ID};
use super::{
    Aws, Issuer, Lab, Mirror, Output, Runner, Sandbox, entries_of_runner, git, in_repository,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The newest commit that a run is for, and what is outside of it.
pub(crate) struct Origin<'a> {
    /// Cloned by `actions/checkout`.
    pub(crate) repository: PathBuf,
    pub(crate) github: &'a GitHub,
    /// `vars` of the repository.
    pub(crate) vars: Value,
    pub(crate) aws: Option<(&'a Aws, &'a Issuer)>,
    /// Where Terraform finds providers.
    pub(crate) providers: Option<&'a Mirror>,
    pub(crate) lab: Option<&'a Lab>,
}

/// What starts a run.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) payload: Value,
    pub(crate) sha: String,
    /// `refs/heads/main`
    pub(crate) reference: String,
}

/// One step of cdflow that ran.
pub(crate) struct Ran {
    /// `deploy (live)`
    pub(crate) job: String,
    pub(crate) command: String,
    /// Its `aws-role-to-assume`.
    pub(crate) role: String,
    /// Whom GitHub's token is for.
    pub(crate) subject: String,
    pub(crate) output: Output,
}

/// Runs all jobs, one after the other. A job whose `if` is false does not run.
pub(crate) fn run(file: &str, text: &str, event: &Event, number: u64, at: &Origin<'_>) -> Vec<Ran> {
    let workflow: Value = serde_saphyr::from_str(text).unwrap();
    assert!(is_started(&workflow["on"], event), "{file} does not run for {}", event.name);
    let (mut ran, mut ended) = (Vec::new(), Map::new());
    let jobs = workflow["jobs"].as_object().unwrap();
    while ended.len() < jobs.len() {
        let is_ready = |job: &Value| needs(job).iter().all(|name| ended.contains_key(name));
        let next = jobs.iter().find(|(name, job)| !ended.contains_key(*name) && is_ready(job));
        let (name, job) = next.unwrap_or_else(|| panic!("{file}: `needs` lead nowhere"));
        let mut outputs = Map::new();
        // A job that needs one that did not run does not run either.
        let is_skipped = needs(job).iter().any(|name| ended[name]["result"] == "skipped");
        let mut run = Job { file, event, number, at, outputs: Map::new(), workflow: &workflow };
        let context = run.context(&json!({}), &Value::Object(ended.clone()));
        // GitHub reads the matrix only then.
        let is_met = job["if"].as_str().is_none_or(|it| is_true(&evaluate(it, &context)));
        if is_skipped || !is_met {
            ended.insert(name.clone(), json!({ "outputs": {}, "result": "skipped" }));
            continue;
        }
        let rows = rows(&job["strategy"]["matrix"], &context);
        assert!(!rows.is_empty(), "{file}: GitHub fails a job with an empty matrix");
        let total = rows.len();
        for matrix in rows {
            let mut context = run.context(&matrix, &Value::Object(ended.clone()));
            context["strategy"] = json!({ "job-total": total });
            run.outputs = Map::new();
            let label: Vec<String> = matrix.as_object().unwrap().values().map(shown).collect();
            let label = match label.is_empty() {
                true => name.clone(),
                false => format!("{name} ({})", label.join(", ")),
            };
            let (steps, given) = run.steps(job, context, &label);
            ran.extend(steps);
            outputs.extend(given);
        }
        ended.insert(name.clone(), json!({ "outputs": outputs, "result": "success" }));
    }
    ran
}

/// Every ref pattern of the examples is a name, or the one for versions.
fn is_started(on: &Value, event: &Event) -> bool {
    let filter = match on {
        Value::String(name) => return name == event.name,
        Value::Object(events) if events.contains_key(event.name) => &on[event.name],
        _ => return false,
    };
    let (kind, name) = event.reference.rsplit_once('/').unwrap();
    let listed = |key: &str| filter[key].as_array();
    match (kind, listed("branches"), listed("tags")) {
        ("refs/heads", Some(branches), _) => branches.contains(&Value::from(name)),
        ("refs/tags", _, Some(tags)) => {
            tags == &[Value::from("v[0-9]+.[0-9]+.[0-9]+")] && name.starts_with('v')
        }
        _ => match listed("types") {
            Some(types) => types.contains(&event.payload["action"]),
            None => true,
        },
    }
}

fn needs(job: &Value) -> Vec<String> {
    match &job["needs"] {
        Value::Array(names) => names.iter().map(shown).collect(),
        Value::String(name) => vec![name.clone()],
        _ => Vec::new(),
    }
}

/// The combinations of a matrix. One empty row, if there is none.
fn rows(matrix: &Value, context: &Value) -> Vec<Value> {
    let mut rows = vec![Map::new()];
    for (key, values) in matrix.as_object().into_iter().flatten() {
        let values = values.as_str().map_or_else(|| values.clone(), |it| expand(it, context));
        let with = |row: &Map<String, Value>, value: &Value| {
            let mut row = row.clone();
            row.insert(key.clone(), value.clone());
            row
        };
        let values = values.as_array().unwrap();
        rows = rows.iter().flat_map(|row| values.iter().map(|it| with(row, it))).collect();
    }
    rows.into_iter().map(Value::Object).collect()
}

struct Job<'a> {
    file: &'a str,
    event: &'a Event,
    number: u64,
    at: &'a Origin<'a>,
    /// Of the steps that have an `id`.
    outputs: Map<String, Value>,
    workflow: &'a Value,
}

impl Job<'_> {
    fn context(&self, matrix: &Value, needs: &Value) -> Value {
        json!({
            "github": { "event": self.event.payload, "repository": REPOSITORY,
                        "event_name": self.event.name, "sha": self.event.sha,
                        "ref": self.event.reference },
            "vars": self.at.vars, "matrix": matrix, "needs": needs, "steps": {},
        })
    }

    /// Returns the steps of cdflow, and the outputs of the job.
    fn steps(
        &mut self,
        job: &Value,
        mut context: Value,
        label: &str,
    ) -> (Vec<Ran>, Map<String, Value>) {
        let sandbox = Sandbox::new();
        let workspace = sandbox.work().join("workspace");
        fs::create_dir(&workspace).unwrap();
        let token =
            format!("ghs_tokenOfTheJob{:022}", self.at.github.calls() + self.number as usize);
        let permissions = self.permissions(job);
        let scopes: Vec<(String, &str)> = permissions
            .iter()
            .map(|(name, level)| (name.replace('-', "_"), level.as_str()))
            .collect();
        let scopes: Vec<(&str, &str)> =
            scopes.iter().map(|(name, it)| (name.as_str(), *it)).collect();
        self.at.github.world().token(&token, "github-actions[bot]", &scopes);
        context["github"]["token"] = Value::from(token);
        // Images go to the registry of the account scheme: ECR, or one on localhost.
        let is_local = self.at.lab.is_some() && self.at.aws.is_none();
        if is_local {
            // The registry of `localhost:5000` is there only as a service.
            assert_eq!(job["services"]["registry"]["ports"], json!(["5000:5000"]));
        }
        let mut ran = Vec::new();
        for step in job["steps"].as_array().unwrap() {
            if step["if"].as_str().is_some_and(|it| !is_true(&evaluate(it, &context))) {
                continue;
            }
            if let Some(script) = step["run"].as_str() {
                let outputs = self.script(&sandbox, &workspace, step, script, &context);
                self.keep(step, outputs, &mut context);
                continue;
            }
            let uses = step["uses"].as_str().expect("a step uses an action or runs a script");
            let with = self.with(step, &context);
            let action = uses.split('@').next().unwrap();
            match action {
                "actions/checkout" => self.check_out(&sandbox, &workspace, &with),
                "org/cdflow-action" | "org/cdflow-action/runner" => {
                    if action == "org/cdflow-action" {
                        // In its container, `localhost` is the container.
                        assert!(!is_local, "{}: no registry there", self.file);
                    }
                    let command = with["command"].clone();
                    let role = with["aws-role-to-assume"].clone();
                    let subject = self.subject(job, &context);
                    let may_vouch = permissions.get("id-token").is_some_and(|it| it == "write");
                    let (output, outputs) =
                        self.step(&sandbox, &workspace, with, &context, may_vouch);
                    self.keep(step, outputs, &mut context);
                    ran.push(Ran { job: label.to_owned(), command, role, subject, output });
                }
                _ => panic!("{}: an unknown action `{uses}`", self.file),
            }
        }
        let given = job["outputs"].as_object().into_iter().flatten();
        let given =
            given.map(|(name, text)| (name.clone(), expand(text.as_str().unwrap(), &context)));
        (ran, given.collect())
    }

    /// Keeps the outputs of a step that has an `id`, for the expressions after it.
    fn keep(&mut self, step: &Value, outputs: Map<String, Value>, context: &mut Value) {
        if let Some(id) = step["id"].as_str() {
            self.outputs.insert(id.to_owned(), json!({ "outputs": outputs }));
            context["steps"] = Value::Object(self.outputs.clone());
        }
    }

    /// A script, with the shell and the options of GitHub's runner.
    fn script(
        &self,
        sandbox: &Sandbox,
        workspace: &Path,
        step: &Value,
        script: &str,
        context: &Value,
    ) -> Map<String, Value> {
        assert!(!script.contains("${{"), "{}: an expression in a script", self.file);
        let output = sandbox.work().join("script-output");
        fs::write(&output, "").unwrap();
        let given = step["env"].as_object().into_iter().flatten();
        let given = given
            .map(|(name, text)| (name.as_str(), shown(&expand(text.as_str().unwrap(), context))));
        let runner = Runner::new("bash", ["-e", "-c", script], sandbox).cwd(workspace);
        runner.envs(given).env("GITHUB_OUTPUT", &output).run().success();
        let outputs = fs::read_to_string(&output).unwrap();
        let outputs = outputs.lines().map(|line| line.split_once('=').expect("name=value"));
        outputs.map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
    }

    /// The `sub` of the token that GitHub's issuer gives to the job.
    fn subject(&self, job: &Value, context: &Value) -> String {
        let part = match (job["environment"].as_str(), self.event.name) {
            (Some(environment), _) => {
                format!("environment:{}", shown(&expand(environment, context)))
            }
            (None, "pull_request") => "pull_request".to_owned(),
            (None, _) => format!("ref:{}", self.event.reference),
        };
        format!("repo:{REPOSITORY}:{part}")
    }

    /// Those of the job replace those of the workflow.
    fn permissions(&self, job: &Value) -> BTreeMap<String, String> {
        let given = [&job["permissions"], &self.workflow["permissions"]];
        let given = given.into_iter().find_map(Value::as_object).expect("each example has them");
        given.iter().map(|(name, level)| (name.clone(), shown(level))).collect()
    }

    /// The inputs of a step, and the defaults of action.yml, as texts.
    fn with(&self, step: &Value, context: &Value) -> BTreeMap<String, String> {
        let mut with = BTreeMap::new();
        if step["uses"].as_str().unwrap().contains("cdflow-action") {
            let action = fs::read_to_string(in_repository("action.yml")).unwrap();
            let action: Value = serde_saphyr::from_str(&action).unwrap();
            for (name, input) in action["inputs"].as_object().unwrap() {
                let default = input["default"].as_str().unwrap_or_default();
                with.insert(name.clone(), shown(&expand(default, context)));
            }
        }
        for (name, value) in step["with"].as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.clone(), |text| expand(text, context));
            with.insert(name.clone(), shown(&text));
        }
        with
    }

    /// One commit, as GitHub's action gets it; with `fetch-depth: 0`, also those before it.
    fn check_out(&self, sandbox: &Sandbox, workspace: &Path, with: &BTreeMap<String, String>) {
        assert_eq!(with["persist-credentials"], "false", "{}", self.file);
        let sha = with.get("ref").unwrap_or(&self.event.sha);
        let from = self.at.repository.to_str().unwrap();
        let depth: &[&str] = if with.get("fetch-depth").is_some_and(|it| it == "0") {
            &[]
        } else {
            &["--depth", "1"]
        };
        for arguments in [
            vec!["init", "--quiet", "."],
            vec!["remote", "add", "origin", "https://github.com/acme/checkout.git"],
            [&["fetch", "--quiet"], depth, &[from, sha]].concat(),
            vec!["checkout", "--quiet", "--detach", sha],
        ] {
            git(sandbox, workspace, arguments).run().success();
        }
    }

    /// One step of cdflow, with its outputs.
    fn step(
        &self,
        sandbox: &Sandbox,
        workspace: &Path,
        with: BTreeMap<String, String>,
        context: &Value,
        may_vouch: bool,
    ) -> (Output, Map<String, Value>) {
        let file = |name: &str, text: &str| {
            let path = sandbox.work().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let event = file("event.json", &context["github"]["event"].to_string());
        let [output, summary] = ["output", "summary"].map(|name| file(name, ""));
        let (kind, name) = self.event.reference.rsplit_once('/').unwrap();
        // By `env`: the shell that leads into the laboratory drops names with hyphens.
        let mut words: Vec<String> = with
            .iter()
            .map(|(name, text)| format!("INPUT_{}={text}", name.to_uppercase()))
            .collect();
        words.push(env!("CARGO_BIN_EXE_cdflow").to_owned());
        let mut runner = Runner::new("env", words, sandbox)
            .cwd(workspace)
            .envs(self.at.github.env())
            .env("CI", "true")
            .env("GITHUB_EVENT_NAME", self.event.name)
            .env("GITHUB_EVENT_PATH", &event)
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_REF", &self.event.reference)
            .env("GITHUB_REF_NAME", name)
            .env("GITHUB_REF_TYPE", if kind == "refs/tags" { "tag" } else { "branch" })
            .env("GITHUB_REPOSITORY_ID", REPOSITORY_ID.to_string())
            .env("GITHUB_RUN_ATTEMPT", "1")
            .env("GITHUB_RUN_ID", format!("9{}", self.number))
            .env("GITHUB_RUN_NUMBER", self.number.to_string())
            .env("GITHUB_SHA", &self.event.sha)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_WORKSPACE", workspace);
        if let Some((aws, issuer)) = self.at.aws {
            let keys = ["AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"];
            runner = runner.envs(aws.env().into_iter().filter(|(name, _)| keys.contains(name)));
            if may_vouch {
                runner = runner.envs(issuer.env());
            }
        }
        if let Some(providers) = self.at.providers {
            runner = runner.providers(providers).timeout(Duration::from_secs(600));
        }
        if let Some(lab) = self.at.lab {
            runner = runner.in_lab(lab);
        }
        let ran = runner.run();
        let outputs = entries_of_runner(&fs::read_to_string(&output).unwrap());
        (ran, outputs.into_iter().map(|(name, text)| (name, Value::from(text))).collect())
    }
}
