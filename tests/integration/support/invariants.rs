//! What must be true of a component on S3 after any run, whatever happened to the run.

use super::{Aws, Project};
use serde_json::Value;

/// Of the component of `project`, whose releases and states are in `aws`.
pub(crate) struct Invariants<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) project: &'a Project,
}

impl Invariants<'_> {
    pub(crate) fn has_release(&self, version: &str) -> bool {
        self.aws.keys(&self.aws.release_bucket()).contains(&self.project.release_key(version))
    }

    /// Start and end of each run, oldest first.
    pub(crate) fn ledger(&self, environment: &str) -> Vec<(Value, Option<Value>)> {
        let bucket = self.aws.release_bucket();
        let keys = self.aws.keys(&bucket);
        let prefix = format!("platform/{}/ledger/{environment}/", self.project.name());
        let read = |name: String| self.aws.get_json(&bucket, &format!("{prefix}{name}"));
        let end = |number: &str| {
            let name = format!("{number}.end.json");
            keys.contains(&format!("{prefix}{name}")).then(|| read(name))
        };
        let mut starts: Vec<&str> = keys
            .iter()
            .filter_map(|key| key.strip_prefix(&prefix)?.strip_suffix(".start.json"))
            .collect();
        starts.reverse();
        starts.iter().map(|it| (read(format!("{it}.start.json")), end(it))).collect()
    }

    /// The version of the last success, unless that was a destroy.
    pub(crate) fn deployed(&self, environment: &str) -> Option<String> {
        let ledger = self.ledger(environment);
        let (start, _) = ledger.iter().rev().find(|(start, end)| {
            end.as_ref().is_some_and(|end| end["outcome"] == "succeeded")
                && ["deploy", "destroy"].contains(&start["action"].as_str().unwrap())
        })?;
        (start["action"] == "deploy").then(|| start["version"].as_str().unwrap().to_owned())
    }

    /// How many resources the state has; 0 without a state.
    pub(crate) fn resources(&self, environment: &str) -> usize {
        let key = format!("platform/{}/{environment}/terraform.tfstate", self.project.name());
        let bucket = self.aws.state_bucket();
        match self.aws.keys(&bucket).contains(&key) {
            true => self.aws.get_json(&bucket, &key)["resources"].as_array().unwrap().len(),
            false => 0,
        }
    }

    /// The invariants that do not hold, as sentences.
    pub(crate) fn broken(&self, environment: &str) -> Vec<String> {
        let mut broken = Vec::new();
        let unfinished = self.ledger(environment).iter().filter(|(_, end)| end.is_none()).count();
        if unfinished > 0 {
            broken.push(format!("{unfinished} run(s) without an end in {environment}"));
        }
        let keys = self.aws.keys(&self.aws.release_bucket());
        let states = self.aws.keys(&self.aws.state_bucket());
        for key in keys.iter().filter(|key| key.contains("/deleting/")) {
            broken.push(format!("a mark is left: {key}"));
        }
        for key in states.iter().filter(|key| key.ends_with(".tflock")) {
            broken.push(format!("a lock is left: {key}"));
        }
        let uploads = self.aws.unfinished_uploads(&self.aws.release_bucket());
        if !uploads.is_empty() {
            broken.push(format!("uploads are left: {uploads:?}"));
        }
        let left = self.project.sandbox().left_behind();
        if !left.is_empty() {
            broken.push(format!("files are left: {left:?}"));
        }
        let resources = self.resources(environment);
        match self.deployed(environment) {
            Some(version) if !self.has_release(&version) => {
                broken.push(format!("{version} is deployed in {environment} and has no release"));
            }
            Some(version) if resources == 0 => {
                broken.push(format!("{version} is deployed in {environment} with an empty state"));
            }
            _ => {}
        }
        broken
    }
}
