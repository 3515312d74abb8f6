//! What a program that Terraform starts during an apply can see: environment, credentials, our
//! private folder.

use super::runner::python_path;
use super::sandbox::files_under;
use super::{Project, in_repository};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

pub(crate) struct Probe {
    folder: PathBuf,
}

impl Probe {
    /// Adds a `terraform_data.probe`, which looks around when it is made, after `depends_on`.
    pub(crate) fn add(project: &Project, depends_on: &str) -> Self {
        let folder = project.sandbox().work().join("seen");
        let (python, script) = (python_path(), in_repository("tests/integration/support/probe.py"));
        let command =
            format!("'{}' -I '{}' '{}'", python.display(), script.display(), folder.display());
        let resource = format!(
            "\nresource \"terraform_data\" \"probe\" {{\n  depends_on = [{depends_on}]\n\n  \
            provisioner \"local-exec\" {{\n    \
             command = \"{command}\"\n  }}\n}}\n"
        );
        project.append("infra/main.tf", &resource).commit("Look around");
        Self { folder }
    }

    #[track_caller]
    fn noted(&self, name: &str) -> Value {
        serde_json::from_str(
            &fs::read_to_string(self.folder.join(name)).expect("the probe did not run"),
        )
        .unwrap()
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.noted("environment.json")).unwrap()
    }

    /// What the credentials endpoint answers.
    pub(crate) fn provider(&self) -> Value {
        self.noted("provider.json")
    }

    /// Asked a second time.
    pub(crate) fn provider_again(&self) -> Value {
        self.noted("provider-again.json")
    }

    /// Asked without the token.
    pub(crate) fn stranger(&self) -> Value {
        self.noted("stranger.json")
    }

    /// What the profile's `credential_process` prints.
    pub(crate) fn backend(&self) -> Value {
        self.noted("backend.json")
    }

    /// Path in TMPDIR to mode, in Python's octal, without the providers.
    pub(crate) fn modes(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.noted("modes.json")).unwrap()
    }

    /// The files that were in TMPDIR, unzipped where they are zips (as the saved plan is), without
    /// the providers.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for name in files_under(&self.folder.join("tmp")) {
            let bytes = fs::read(self.folder.join("tmp").join(&name)).unwrap();
            if let Ok(mut archive) = zip::ZipArchive::new(std::io::Cursor::new(&bytes)) {
                for at in 0..archive.len() {
                    let mut entry = archive.by_index(at).unwrap();
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).unwrap();
                    found.push((format!("{name}!{}", entry.name().unwrap()), content));
                }
            }
            found.push((name, bytes));
        }
        found
    }
}
