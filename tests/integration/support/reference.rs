//! Releases as the reference program makes them: cdflow still deploys those.

use super::{Aws, Project, in_repository, python};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A release of a project's checkout, with the project's platform config and raw account scheme.
pub(crate) struct Reference<'project> {
    project: &'project Project,
    version: String,
    data: Value,
}

impl<'project> Reference<'project> {
    pub(crate) fn new(project: &'project Project, version: &str) -> Self {
        Self { project, version: version.to_owned(), data: json!({}) }
    }

    /// Adds to `release.json`.
    pub(crate) fn data(mut self, key: &str, value: &str) -> Self {
        self.data[key] = value.into();
        self
    }

    /// Writes the bundle to this file.
    pub(crate) fn build(&self, zip: &Path) {
        let project = self.project;
        let wanted = json!({
            "zip": zip,
            "component": project.name(),
            "version": self.version,
            "team": super::project::TEAM,
            "commit": project.head(),
            "checkout": project.dir(),
            "scheme": project.scheme(),
            "platform_config": [project.path("platform-config")],
            "data": self.data,
        });
        let script = in_repository("tests/integration/support/reference_bundle.py");
        let run = python(project.sandbox(), [script]).stdin(wanted.to_string());
        match project.mirror() {
            Some(mirror) => run.providers(mirror),
            None => run,
        }
        .run()
        .success();
    }

    /// Builds it and puts it into the release store of the local scheme.
    pub(crate) fn publish(&self) -> PathBuf {
        let bundle = self.project.bundle(&self.version);
        fs::create_dir_all(bundle.parent().unwrap()).unwrap();
        self.build(&bundle);
        bundle
    }

    /// Builds it and uploads it, with the metadata that the reference gives it.
    pub(crate) fn upload(&self, aws: &Aws) -> String {
        let zip = self.project.sandbox().root().join("reference.zip");
        self.build(&zip);
        let key = self.project.release_key(&self.version);
        let metadata = BTreeMap::from([(
            "cdflow_image_digest".to_owned(),
            "cdflow-commands@sha256:0".to_owned(),
        )]);
        aws.upload(&aws.release_bucket(), &key, &zip, &metadata);
        key
    }
}
