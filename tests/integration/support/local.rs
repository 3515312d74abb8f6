//! What a project without AWS keeps in its store, read back; and the check that a refused run
//! changed nothing.

use super::project::TEAM;
use super::{Output, Project, Runner, tool};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything that a run could have changed.
#[derive(PartialEq, Eq)]
pub(crate) struct Snapshot {
    store: BTreeMap<String, Vec<u8>>,
    checkout: BTreeMap<String, Vec<u8>>,
}

impl Project {
    pub(crate) fn state_file(&self, environment: &str) -> PathBuf {
        self.store()
            .join("state")
            .join(TEAM)
            .join(self.name())
            .join(environment)
            .join("terraform.tfstate")
    }

    /// None when the environment has no state.
    pub(crate) fn state(&self, environment: &str) -> Option<Value> {
        let text = fs::read_to_string(self.state_file(environment)).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// `<type>.<name>` of the resources in the state, sorted.
    pub(crate) fn resources(&self, environment: &str) -> Vec<String> {
        let state = self.state(environment).unwrap_or_default();
        let mut found: Vec<String> = state["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|resource| {
                format!(
                    "{}.{}",
                    resource["type"].as_str().unwrap(),
                    resource["name"].as_str().unwrap()
                )
            })
            .collect();
        found.sort();
        found
    }

    /// An output's value by the state.
    pub(crate) fn output_of(&self, environment: &str, name: &str) -> Value {
        self.state(environment).unwrap_or_default()["outputs"][name]["value"].clone()
    }

    pub(crate) fn ledger_folder(&self, environment: &str) -> PathBuf {
        self.store().join("releases").join(TEAM).join(self.name()).join("ledger").join(environment)
    }

    /// Each run in an environment's ledger, oldest first: `deploy 1 succeeded`, `destroy 1
    /// unfinished`.
    pub(crate) fn ledger(&self, environment: &str) -> Vec<String> {
        self.ledger_entries(environment)
            .iter()
            .map(|(start, end)| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let outcome =
                    end.as_ref().map_or("unfinished".to_owned(), |end| text(&end["outcome"]));
                format!("{} {} {outcome}", text(&start["action"]), text(&start["version"]))
            })
            .collect()
    }

    /// Start and end of each run, oldest first.
    pub(crate) fn ledger_entries(&self, environment: &str) -> Vec<(Value, Option<Value>)> {
        let folder = self.ledger_folder(environment);
        let read = |name: &str| -> Option<Value> {
            Some(serde_json::from_str(&fs::read_to_string(folder.join(name)).ok()?).unwrap())
        };
        let mut countdowns: Vec<String> = super::sandbox::files_under(&folder)
            .iter()
            .filter_map(|name| name.strip_suffix(".start.json").map(str::to_owned))
            .collect();
        countdowns.sort_by(|a, b| b.cmp(a));
        let entry = |countdown: &String| {
            (
                read(&format!("{countdown}.start.json")).unwrap(),
                read(&format!("{countdown}.end.json")),
            )
        };
        countdowns.iter().map(entry).collect()
    }

    /// `cdflow release VERSION` with the project's platform config, about to be run.
    pub(crate) fn releasing(&self, version: &str) -> Runner {
        let run = self.cdflow(["release", version, "--platform-config", "platform-config"]);
        if self.is_valid() { run } else { run.arg("--no-validate") }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { store: contents(&self.store()), checkout: contents(&self.dir()) }
    }

    /// The program refuses: this exit code, each of these texts on standard error, and nothing
    /// written or left anywhere.
    #[track_caller]
    pub(crate) fn refuses(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        code: i32,
        says: &[&str],
    ) -> Output {
        self.refuses_run(self.cdflow(arguments), code, says)
    }

    /// As `refuses`, for a run that is prepared already.
    #[track_caller]
    pub(crate) fn refuses_run(&self, runner: Runner, code: i32, says: &[&str]) -> Output {
        let before = self.snapshot();
        let output = runner.run();
        output.fails(code);
        for text in says {
            output.stderr_has(text);
        }
        output.lacks("panicked").lacks("backtrace").lacks("defect");
        self.unchanged_since(&before, &output);
        output
    }

    #[track_caller]
    pub(crate) fn unchanged_since(&self, before: &Snapshot, output: &Output) {
        let after = self.snapshot();
        assert_eq!(names(&before.store), names(&after.store), "the store has changed\n{output}");
        assert_eq!(
            names(&before.checkout),
            names(&after.checkout),
            "the checkout has changed\n{output}"
        );
        assert!(*before == after, "the content of a file has changed\n{output}");
        self.left_nothing(output);
    }

    /// Neither a file nor a folder is left in TMPDIR, and nothing of Terraform's in the checkout,
    /// which is as committed.
    #[track_caller]
    pub(crate) fn left_no_trace(&self, output: &Output) {
        self.left_nothing(output);
        assert!(!self.path("infra/.terraform").exists(), "`.terraform` in the checkout\n{output}");
        assert_eq!(
            self.git(["status", "--porcelain", "--ignored"]),
            "",
            "the checkout has changed\n{output}"
        );
    }

    #[track_caller]
    fn left_nothing(&self, output: &Output) {
        let left: Vec<_> = fs::read_dir(self.sandbox().tmp())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{output}");
    }

    /// A PATH whose tool does what `cases` (of a shell's `case "$1" in`) say, and is the real one
    /// in all other cases (`$real`).
    pub(crate) fn terraform_but(&self, cases: &str) -> String {
        let path = tool::path(self.sandbox());
        let real = std::env::split_paths(&path)
            .map(|folder| folder.join(tool::program()))
            .find(|file| file.is_file());
        let real = real.expect("terraform is not in PATH: CONTRIBUTING.md says how to get it");
        let folder = self.sandbox().root().join("bin");
        fs::create_dir_all(&folder).unwrap();
        let script = format!(
            "#!/bin/bash\nreal={}\ncase \"$1\" in\n{cases}\nesac\nexec \"$real\" \"$@\"\n",
            real.display()
        );
        let program = folder.join(tool::program());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:{path}", folder.display())
    }
}

/// A file of a bundle.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

/// What a zip holds, by name.
pub(crate) fn entries(zip: &Path) -> BTreeMap<String, Entry> {
    let mut archive = zip::ZipArchive::new(fs::File::open(zip).unwrap()).unwrap();
    (0..archive.len())
        .map(|number| {
            let mut file = archive.by_index(number).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (
                file.name().unwrap().into_owned(),
                Entry { mode: file.unix_mode().unwrap_or(0), bytes },
            )
        })
        .collect()
}

/// Every file below a folder, links not followed, `.git` left out.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files =
        super::sandbox::files_under(folder).into_iter().filter(|name| !name.starts_with(".git/"));
    files.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap_or_default())).collect()
}

fn names(files: &BTreeMap<String, Vec<u8>>) -> Vec<&String> {
    files.keys().collect()
}
