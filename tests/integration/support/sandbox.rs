//! The folders that one test owns.

use super::{Mirror, Scrub};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// `home/` and `tmp/` of the programs that a test runs, `work/` for its files, and the Terraform
/// CLI configuration that they get: a mirror with nothing in it, so that Terraform never asks a
/// registry. Gone with its last clone.
#[derive(Clone)]
pub(crate) struct Sandbox {
    root: Arc<TempDir>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("cdflow-test-").tempdir().unwrap();
        for folder in ["home", "tmp", "work", "no-mirror"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let sandbox = Self { root: Arc::new(root) };
        fs::write(sandbox.cli_config(), Mirror::configuration(&sandbox.root().join("no-mirror")))
            .unwrap();
        sandbox
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// `TMPDIR` of the programs. What a run leaves behind is found here.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root().join("tmp")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// The Terraform CLI configuration without any provider.
    pub(crate) fn cli_config(&self) -> PathBuf {
        self.root().join("terraform.rc")
    }

    /// Every file under `tmp()`, relative to it and sorted: a run that cleaned up leaves none.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        files_under(&self.tmp())
    }

    pub(crate) fn scrub(&self) -> Scrub {
        Scrub::default()
            .path(&self.tmp(), "[TMP]")
            .path(&self.home(), "[HOME]")
            .path(&self.work(), "[WORK]")
            .path(self.root(), "[SANDBOX]")
    }
}

/// The files below a folder, relative to it, with `/`, sorted. A folder that does not exist has
/// none.
pub(crate) fn files_under(folder: &Path) -> Vec<String> {
    walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned())
        .collect()
}
