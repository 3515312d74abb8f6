//! Generated folders of code, in which cdflow must find what Terraform finds.

mod initialized;
mod values;
mod variables;

use std::{collections::BTreeMap, fmt, fs, path::Path};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

/// Files by name. `name/x` is in a folder.
#[derive(Debug)]
struct Folder(BTreeMap<String, Vec<u8>>);

impl Folder {
    fn write(&self) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in &self.0 {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, text)| writeln!(f, "{name}: {:?}", String::from_utf8_lossy(text)))
    }
}

/// Generates as many folders, always the same, and compares each. Returns how many have a file
/// that cdflow cannot parse, which `compare` says.
fn compare_all(
    folders: impl Strategy<Value = Folder>,
    count: usize,
    compare: impl Fn(&Folder) -> bool + Sync,
) -> usize {
    let mut runner = TestRunner::deterministic();
    let folders: Vec<Folder> =
        (0..count).map(|_| folders.new_tree(&mut runner).unwrap().current()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = folders
            .chunks(count.div_ceil(4))
            .map(|part| scope.spawn(|| part.iter().filter(|folder| compare(folder)).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[expect(clippy::disallowed_methods, reason = "the test's own Terraform")]
fn terraform(root: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("terraform");
    command.current_dir(root).env("CHECKPOINT_DISABLE", "1").env_remove("TF_CLI_CONFIG_FILE");
    command
}

/// Returns the diagnostics with this summary, of a plan with these arguments. Other errors fail.
fn diagnostics(root: &Path, summary: &str, arguments: &[String]) -> Vec<String> {
    let output =
        terraform(root).args(["plan", "-json", "-input=false"]).args(arguments).output().unwrap();
    let mut found = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let diagnostic = &event["diagnostic"];
        if diagnostic["severity"] == "error" {
            assert_eq!(diagnostic["summary"], summary, "{line}");
            found.push(diagnostic["detail"].as_str().unwrap().to_owned());
        }
    }
    found
}
