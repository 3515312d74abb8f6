//! The program that the tests run: Terraform, or with CDFLOW_TEST_TOOL=tofu a stand-in for
//! OpenTofu, which is the real Terraform under another name and version.

use super::Sandbox;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

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
            "#!/bin/sh\nif [ \"$1\" = version ]; then\n  echo '{{\"terraform_version\": \
             \"{VERSION}\"}}'\n  exit\nfi\nexec terraform \"$@\"\n"
        );
        // Another thread of the test might run it at once.
        let temporary: PathBuf =
            tempfile::Builder::new().tempfile_in(&folder).unwrap().into_temp_path().keep().unwrap();
        fs::write(&temporary, script).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(temporary, program).unwrap();
    }
    folder
}
