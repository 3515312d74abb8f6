//! What must be true of a component on S3 after any run, whatever happened to the run.

use super::{Aws, Project};

/// Of the component of `project`, whose releases and states are in `aws`.
pub(crate) struct Invariants<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) project: &'a Project,
}

impl Invariants<'_> {
    pub(crate) fn has_release(&self, version: &str) -> bool {
        self.aws.keys(&self.aws.release_bucket()).contains(&self.project.release_key(version))
    }

    /// The runs in the ledger, oldest first: the keys of start and end.
    pub(crate) fn ledger(&self, environment: &str) -> Vec<(String, Option<String>)> {
        let keys = self.aws.keys(&self.aws.release_bucket());
        let prefix = format!("platform/{}/ledger/{environment}/", self.project.name());
        let runs = keys.iter().filter(|key| key.starts_with(&prefix)).filter_map(|start| {
            let end = format!("{}.end.json", start.strip_suffix(".start.json")?);
            Some((start.clone(), keys.contains(&end).then_some(end)))
        });
        let mut runs: Vec<_> = runs.collect();
        runs.reverse();
        runs
    }

    /// The version of the last success, unless that was a destroy.
    pub(crate) fn deployed(&self, environment: &str) -> Option<String> {
        let read = |key: &String| self.aws.get_json(&self.aws.release_bucket(), key);
        let start = self.ledger(environment).iter().rev().find_map(|(start, end)| {
            let is_success = end.as_ref().is_some_and(|end| read(end)["outcome"] == "succeeded");
            let start = is_success.then(|| read(start))?;
            ["deploy", "destroy"].contains(&start["action"].as_str().unwrap()).then_some(start)
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
