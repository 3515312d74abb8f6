//! Terraform's code and its output.

use std::{fs, path::Path};

use super::{check_error, text};
use crate::terraform::{
    code::{declarations::Declarations, files::Dialect, lockfile, modules},
    output::{
        events::ApplyProgress,
        failure::{OutputLines, TerraformStep},
    },
};

/// Terraform reads the first three, OpenTofu reads the next three instead, and both read the rest.
const FILES: [&str; 8] = [
    "main.tf",
    "x_override.tf",
    "main.tf.json",
    "main.tofu",
    "x_override.tofu",
    "main.tofu.json",
    "terraform.tfvars",
    lockfile::FILE,
];

/// The text as code, override, values, JSON, lock file and module index. Places are lines of it,
/// and both programs find the same names.
pub fn hcl(bytes: &[u8]) {
    let text = text(bytes);
    let folder = tempfile::tempdir().expect("a folder");
    for name in FILES {
        fs::write(folder.path().join(name), text.as_bytes()).expect("a file");
    }
    let root = fs::canonicalize(folder.path()).expect("a folder");
    let lines = text.matches('\n').count() + 1;
    assert_eq!(
        declared(&root, lines, Dialect::Terraform),
        declared(&root, lines, Dialect::OpenTofu)
    );
    if let Ok(locked) = lockfile::read(&folder.path().join(lockfile::FILE)) {
        lockfile::check_kept(&locked, &locked).expect("the same file");
    }
    for index in [
        modules::index_for_bundle(&text, Path::new("components/app")),
        modules::index_from_reference(&text),
    ] {
        match index {
            Ok(index) => drop(serde_json::from_slice::<serde_json::Value>(&index).expect("JSON")),
            Err(error) => check_error(&error),
        }
    }
}

/// Returns the names of the variables and modules that a program reads; None after an error.
/// OpenTofu accepts no module whose source is not a literal.
fn declared(root: &Path, lines: usize, dialect: Dialect) -> Option<Vec<String>> {
    let found = match Declarations::read(root, "infra", dialect) {
        Ok(found) => found,
        Err(error) => {
            check_error(&error);
            return None;
        }
    };
    let places = found.variables.iter().map(|it| &it.place);
    for place in places.chain(found.modules.iter().map(|it| &it.place)) {
        let line = place.rsplit_once(':').map_or(Ok(1), |(_, line)| line.parse());
        assert!(line.is_ok_and(|line| (1..=lines).contains(&line)), "{place}");
    }
    if let Err(error) = found.required_versions() {
        check_error(&error);
        assert!(error.to_string().starts_with("infra/"), "{error}");
    }
    assert!(found.unknown_requirements().iter().all(|it| it.starts_with("infra/")));
    if let Err(error) = found.check_overrides() {
        check_error(&error);
    }
    match modules::local(root, root, dialect) {
        Ok(_) => assert!(dialect == Dialect::Terraform || found.computed_modules.is_empty()),
        Err(error) => check_error(&error),
    }
    let names = found.variables.iter().map(|it| &it.name);
    Some(names.chain(found.modules.iter().map(|it| &it.name)).cloned().collect())
}

/// Each line as an event of an apply, and all of them as what a failed command printed.
pub fn terraform_output(bytes: &[u8]) {
    let text = text(bytes);
    let mut progress = ApplyProgress::new(true);
    for line in text.lines() {
        let _ = progress.line(line);
    }
    let _ = (progress.diagnostics(), progress.begun(false), progress.begun(true));
    let lines = OutputLines::from_text(&text);
    let _ = lines.diagnostics();
    for step in [TerraformStep::InitAtDeploy, TerraformStep::Plan, TerraformStep::Apply] {
        check_error(&lines.error(step, "live"));
    }
}
