//! What must be true of a component on S3 after any run, whatever happened to the run.

use super::{Aws, DEV, PROD, Project, RELEASE};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The text before the version in every value that the components of these tests make of it.
const BEFORE_VERSION: &str = ", version ";

/// What components could make in AWS: service, listing, its field, and the name in an item.
const OBJECTS: [(&str, &str, &str, &str); 6] = [
    ("ssm", "describe_parameters", "Parameters", "Name"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sqs", "list_queues", "QueueUrls", ""),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
];

/// Of the component of `project`, whose releases and states are in `aws`.
pub(crate) struct Invariants<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) project: &'a Project,
}

/// A lock of a state that exists: a lock file, or a row of the lock table.
pub(crate) struct Lock {
    /// The key of the lock file, or the `LockID` of the row.
    pub(crate) place: String,
    is_row: bool,
    /// The id in its JSON; empty if it has none.
    pub(crate) id: String,
}

/// A run in the ledger.
struct Run {
    action: String,
    version: String,
    /// None: it has no end.
    outcome: Option<String>,
}

impl Run {
    fn is_settled(&self) -> bool {
        let changes = ["deploy", "destroy"].contains(&self.action.as_str());
        changes && self.outcome.as_deref() == Some("succeeded")
    }
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

    /// The newest runs, the newest first, up to the last success and with it.
    fn newest(&self, environment: &str) -> Vec<Run> {
        let read = |key: &String| self.aws.get_json(&self.aws.release_bucket(), key);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut runs = Vec::new();
        for (start, end) in self.ledger(environment).iter().rev() {
            let start = read(start);
            let outcome = end.as_ref().map(|end| text(&read(end)["outcome"]));
            let (action, version) = (text(&start["action"]), text(&start["version"]));
            runs.push(Run { action, version, outcome });
            if runs.last().is_some_and(Run::is_settled) {
                break;
            }
        }
        runs
    }

    /// The version of the last success, unless that was a destroy.
    pub(crate) fn deployed(&self, environment: &str) -> Option<String> {
        let last = self.newest(environment).pop().filter(Run::is_settled)?;
        (last.action == "deploy").then_some(last.version)
    }

    fn state_key(&self, environment: &str) -> String {
        format!("platform/{}/{environment}/terraform.tfstate", self.project.name())
    }

    /// The bytes of the state.
    pub(crate) fn state(&self, environment: &str) -> Option<Vec<u8>> {
        let (bucket, key) = (self.aws.state_bucket(), self.state_key(environment));
        self.aws.keys(&bucket).contains(&key).then(|| self.aws.get(&bucket, &key))
    }

    /// How many resources the state has; 0 without a state.
    pub(crate) fn resources(&self, environment: &str) -> usize {
        self.state(environment).map_or(0, |state| resources_of(&state))
    }

    /// Every lock that exists, of any environment.
    pub(crate) fn locks(&self) -> Vec<Lock> {
        let id = |info: &[u8]| {
            let info: Value = serde_json::from_slice(info).unwrap_or_default();
            info["ID"].as_str().unwrap_or_default().to_owned()
        };
        let bucket = self.aws.state_bucket();
        let keys = self.aws.keys(&bucket).into_iter().filter(|key| key.ends_with(".tflock"));
        let files = keys.map(|key| Lock {
            id: id(&self.aws.get(&bucket, &key)),
            place: key,
            is_row: false,
        });
        let rows = self.rows().into_iter().filter(|row| row["Digest"].is_null());
        let rows = rows.map(|row| Lock {
            place: row["LockID"]["S"].as_str().unwrap().to_owned(),
            is_row: true,
            id: id(row["Info"]["S"].as_str().unwrap_or_default().as_bytes()),
        });
        files.chain(rows).collect()
    }

    pub(crate) fn remove(&self, lock: &Lock) {
        match (lock.is_row, self.table()) {
            (true, Some(table)) => {
                let key = json!({ "LockID": { "S": lock.place } });
                let args = json!({ "TableName": table, "Key": key });
                self.aws.call(RELEASE, "dynamodb", "delete_item", args);
            }
            _ => self.aws.delete(&self.aws.state_bucket(), &lock.place),
        }
    }

    /// Locks the state of an environment as a run does that was killed.
    pub(crate) fn lock(&self, environment: &str, id: &str) {
        let (bucket, key) = (self.aws.state_bucket(), self.state_key(environment));
        let path = format!("{bucket}/{key}");
        let info = json!({
            "ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": "ada@build-7",
            "Version": "1.11.4", "Created": "2026-11-20T10:00:00.123456789Z", "Path": path,
        });
        let info = info.to_string();
        self.aws.put(&bucket, &format!("{key}.tflock"), info.as_bytes());
        if let Some(table) = self.table() {
            let row = json!({ "LockID": { "S": path }, "Info": { "S": info } });
            let args = json!({ "TableName": table, "Item": row });
            self.aws.call(RELEASE, "dynamodb", "put_item", args);
        }
    }

    /// The lock table of the account scheme.
    fn table(&self) -> Option<String> {
        let scheme = self.aws.get_json(&self.aws.scheme_bucket(), "account-scheme.json");
        Some(scheme["terraform-backend-s3-dynamodb-table"].as_str()?.to_owned())
    }

    /// The rows of the lock table.
    fn rows(&self) -> Vec<Value> {
        let Some(table) = self.table() else { return Vec::new() };
        let rows = self.aws.call(RELEASE, "dynamodb", "scan", json!({ "TableName": table }));
        rows["Items"].as_array().unwrap().clone()
    }

    /// The invariants that do not hold, as sentences.
    pub(crate) fn broken(&self, environment: &str) -> Vec<String> {
        let mut broken = self.contradictions(environment, None);
        broken.extend(self.left(environment));
        broken
    }

    /// What runs that have ended have left: a run without an end, a mark, a lock, an upload, a
    /// file.
    pub(crate) fn left(&self, environment: &str) -> Vec<String> {
        let mut broken = Vec::new();
        let unfinished = self.ledger(environment).iter().filter(|(_, end)| end.is_none()).count();
        if unfinished > 0 {
            broken.push(format!("{unfinished} run(s) without an end in {environment}"));
        }
        let keys = self.aws.keys(&self.aws.release_bucket());
        for key in keys.iter().filter(|key| key.contains("/deleting/")) {
            broken.push(format!("a mark is left: {key}"));
        }
        for Lock { place, id, .. } in self.locks() {
            broken.push(format!("a lock is left: {place} ({id})"));
        }
        broken.extend(self.open_uploads());
        let left = self.project.sandbox().left_behind();
        if !left.is_empty() {
            broken.push(format!("files are left: {left:?}"));
        }
        broken
    }

    /// Multipart uploads that no run will complete.
    pub(crate) fn open_uploads(&self) -> Option<String> {
        let buckets = [self.aws.release_bucket(), self.aws.state_bucket()];
        let open: Vec<String> =
            buckets.iter().flat_map(|bucket| self.aws.unfinished_uploads(bucket)).collect();
        (!open.is_empty()).then(|| format!("uploads are left: {open:?}"))
    }

    /// Where ledger, state, lock table and releases of an environment say different things.
    /// `adopted` is the state that `adopt` copies: as long as the environment has exactly this one,
    /// no run has deployed it, and the ledger knows nothing of it.
    pub(crate) fn contradictions(&self, environment: &str, adopted: Option<&[u8]>) -> Vec<String> {
        let state = self.state(environment);
        let mut broken: Vec<String> = self.digest(environment).into_iter().collect();
        if state.is_some() && state.as_deref() == adopted {
            return broken;
        }
        let state = state.unwrap_or_default();
        let (resources, versions) = (resources_of(&state), versions_of(&state));
        let runs = self.newest(environment);
        let last = runs.last().filter(|run| run.is_settled());
        let unsettled = &runs[..runs.len() - usize::from(last.is_some())];
        let might = |action: &str| unsettled.iter().any(|run| run.action == action);
        let deployed = last.filter(|run| run.action == "deploy");
        match deployed {
            Some(Run { version, .. }) => {
                if !self.has_release(version) {
                    broken
                        .push(format!("{version} is deployed in {environment} without a release"));
                }
                if resources == 0 && !might("destroy") {
                    broken.push(format!("{version} is deployed in {environment}: empty state"));
                }
                if unsettled.is_empty() && !versions.iter().eq([version]) {
                    broken.push(format!("{version} is deployed, and the state has {versions:?}"));
                }
            }
            None if resources > 0 && !might("deploy") => {
                let says = last.map_or("nothing was deployed", |_| "destroyed");
                broken.push(format!("{says}, and the state has {resources} resource(s)"));
            }
            None => {}
        }
        let tried: Vec<&String> =
            unsettled.iter().chain(deployed).map(|run| &run.version).collect();
        for version in versions.iter().filter(|version| !tried.contains(version)) {
            broken.push(format!("the state has {version}, and the ledger {tried:?}"));
        }
        broken
    }

    /// The names of the real objects, in every account, that bear the name of the test.
    pub(crate) fn objects(&self) -> BTreeSet<String> {
        let listed = |(account, service, method, field, name): (&str, &str, &str, &str, &str)| {
            let items = self.aws.list(account, service, method, field, json!({}));
            let names = items.into_iter().map(|item| {
                let item = if name.is_empty() { &item } else { &item[name] };
                item.as_str().unwrap().to_owned()
            });
            names.filter(|it| it.contains(self.aws.name())).collect::<Vec<_>>()
        };
        let accounts = [RELEASE, DEV, PROD].into_iter();
        let kinds = accounts.flat_map(|account| {
            OBJECTS.map(|(service, method, field, name)| (account, service, method, field, name))
        });
        kinds.flat_map(listed).collect()
    }

    /// The names, ids and ARNs of the resources in every state, copies of states included.
    pub(crate) fn managed(&self) -> BTreeSet<String> {
        let bucket = self.aws.state_bucket();
        let states = self.aws.keys(&bucket).into_iter().map(|key| self.aws.get(&bucket, &key));
        let mut found = BTreeSet::new();
        for state in states {
            let state: Value = serde_json::from_slice(&state).unwrap_or_default();
            let none = Vec::new();
            let resources = state["resources"].as_array().unwrap_or(&none).iter();
            let instances = resources
                .filter(|resource| resource["mode"] == "managed")
                .flat_map(|resource| resource["instances"].as_array().unwrap());
            for attributes in instances.map(|instance| &instance["attributes"]) {
                let names = ["name", "id", "arn"].into_iter();
                let names = names.filter_map(|name| attributes[name].as_str());
                found.extend(names.map(str::to_owned));
            }
        }
        found
    }

    /// Real objects that no state has. `ours` are those that the test itself has made.
    pub(crate) fn orphans(&self, ours: &BTreeSet<String>) -> Vec<String> {
        let managed = self.managed();
        let mut objects = self.objects();
        objects.retain(|name| !managed.contains(name) && !ours.contains(name));
        objects.into_iter().collect()
    }

    /// Orphans that no message of a run names, as sentences.
    pub(crate) fn unnamed(&self, said: &str, ours: &BTreeSet<String>) -> Vec<String> {
        let orphans = self.orphans(ours).into_iter();
        let unnamed = orphans.filter(|name| !names_as_unknown(said, name));
        unnamed.map(|name| format!("{name} is in no state and was not named")).collect()
    }

    /// A digest in the lock table that is not that of the state: Terraform would refuse the state.
    fn digest(&self, environment: &str) -> Option<String> {
        let (bucket, key) = (self.aws.state_bucket(), self.state_key(environment));
        let id = format!("{bucket}/{key}-md5");
        let rows = self.rows();
        let row = rows.iter().find(|row| row["LockID"]["S"] == json!(id))?;
        let digest = row["Digest"]["S"].as_str().unwrap_or_default();
        let Some(head) = self.aws.head(&bucket, &key) else {
            return Some(format!("the lock table has the digest of {key}, which does not exist"));
        };
        // S3's ETag of an object that was sent in one part is its MD5.
        let etag = head["ETag"].as_str().unwrap().trim_matches('"');
        (digest != etag).then(|| format!("the digest of {key} is {digest}, its MD5 {etag}"))
    }
}

/// Whether the messages of a run name an object as one that might have been created. A plan that
/// only shows the resource does not count.
pub(crate) fn names_as_unknown(said: &str, name: &str) -> bool {
    let name = format!("\"{name}\"");
    said.lines().any(|line| line.contains("(create): ") && line.contains(&name))
}

fn resources_of(state: &[u8]) -> usize {
    let state: Value = serde_json::from_slice(state).unwrap_or_default();
    state["resources"].as_array().map_or(0, Vec::len)
}

/// The versions that the values of a state name, in outputs and resources.
fn versions_of(state: &[u8]) -> BTreeSet<String> {
    let state: Value = serde_json::from_slice(state).unwrap_or_default();
    let mut texts = Vec::new();
    strings(&state["outputs"], &mut texts);
    strings(&state["resources"], &mut texts);
    let versions = texts.iter().filter_map(|text| text.rsplit_once(BEFORE_VERSION));
    versions.map(|(_, version)| version.to_owned()).collect()
}

fn strings<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        _ => {}
    }
}
