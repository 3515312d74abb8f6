//! The program that the tests run: Terraform, or with CDFLOW_TEST_TOOL=tofu a stand-in for
//! OpenTofu, which is the real Terraform under another name and version.

use super::{Sandbox, platform};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What `tofu version` says.
const VERSION: &str = "1.10.6";

fn is_tofu() -> bool {
    match std::env::var("CDFLOW_TEST_TOOL").as_deref() {
        Err(_) | Ok("terraform") => false,
        Ok("tofu") => true,
        Ok(other) => panic!("CDFLOW_TEST_TOOL is `{other}`, not `terraform` or `tofu`"),
    }
}

/// As a bundle's manifest names the program.
pub(crate) fn name() -> &'static str {
    if is_tofu() { "opentofu" } else { "terraform" }
}

/// The file name of the program.
pub(crate) fn program() -> &'static str {
    if is_tofu() { "tofu" } else { "terraform" }
}

/// What a cdflow.yml needs besides, as a line.
pub(crate) fn setting() -> &'static str {
    if is_tofu() { "opentofu-version: \">= 1.7.0\"\n" } else { "" }
}

/// PATH, and before it the stand-in. It runs whatever `terraform` is in PATH then.
pub(crate) fn path(sandbox: &Sandbox) -> String {
    let path = std::env::var("PATH").unwrap();
    match is_tofu() {
        true => format!("{}:{path}", stand_in(sandbox).display()),
        false => path,
    }
}

/// The folder with the stand-in.
pub(crate) fn stand_in(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.root().join("stand-in");
    let program = folder.join("tofu");
    if !program.exists() {
        fs::create_dir_all(&folder).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$1 $2\" in\n'version -json')\n  echo '{}'\n  exit;;\nversion*)\n  \
             printf 'OpenTofu v%s\\non %s\\n' {VERSION} {}\n  exit;;\nesac\n\
             exec terraform \"$@\"\n",
            version_answer(VERSION),
            platform()
        );
        // Another thread of the test might run it at once.
        let temporary: PathBuf =
            tempfile::Builder::new().tempfile_in(&folder).unwrap().into_temp_path().keep().unwrap();
        write_program(&temporary, &script);
        fs::rename(temporary, program).unwrap();
    }
    folder
}

/// A PATH whose `tofu` is the stand-in, with shell commands before and after it.
pub(crate) fn stand_in_between(sandbox: &Sandbox, before: &str, after: &str) -> String {
    let program = stand_in(sandbox).join("tofu");
    let folder = sandbox.root().join("stand-in-between");
    fs::create_dir_all(&folder).unwrap();
    let program = program.display();
    let script = format!("#!/bin/sh\n{before}\n'{program}' \"$@\"\ncode=$?\n{after}\nexit $code\n");
    write_program(&folder.join("tofu"), &script);
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// What OpenTofu answers to `version -json`, in a folder without providers
/// (internal/command/views/version.go).
pub(super) fn version_answer(version: &str) -> String {
    let platform = platform();
    let answer = json!({
        "terraform_version": version, "platform": platform, "provider_selections": {},
    });
    answer.to_string()
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
