//! `make demo` on a machine without Terraform.

use crate::support::{Runner, Sandbox, ToolMirror, in_repository, path_but_terraform};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn the_demo_runs_from_a_mirror() {
    let sandbox = Sandbox::new();
    let mirror = ToolMirror::new(&sandbox, &["1.11.4"]);
    let checkout = sandbox.work().join("checkout");
    for part in ["demo", "examples/infrastructure-component"] {
        copy(&in_repository(part), &checkout.join(part));
    }
    fs::copy(in_repository("Makefile"), checkout.join("Makefile")).unwrap();
    // Whoever signs a mirror's files with a key of their own adds it there.
    let scheme = checkout.join("examples/infrastructure-component/account-scheme.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&scheme).unwrap()).unwrap();
    content["terraform-mirror-keys"] = json!([mirror.public_key()]);
    fs::write(&scheme, content.to_string()).unwrap();
    // The binary is built already.
    let path = path_but_terraform(&sandbox);
    let cargo = Path::new(&path).join("cargo");
    fs::remove_file(&cargo).unwrap();
    fs::write(&cargo, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_cdflow")).parent().unwrap().parent().unwrap();

    let demo = Runner::new("make", ["--silent", "demo"], &sandbox).cwd(&checkout);
    let output = demo
        .env("PATH", &path)
        .env("CARGO_TARGET_DIR", built)
        .env("CDFLOW_TERRAFORM_MIRROR", mirror.address())
        .run();
    output
        .success()
        .stdout_has("make demo: Terraform is not in PATH: cdflow downloads it from file:/")
        .stderr_has("Destroyed greeting in ci");
    assert_eq!(output.stderr.matches("download terraform 1.11.4 from the mirror").count(), 1);
    assert_eq!(sandbox.left_behind(), [""; 0]);
    assert!(!sandbox.home().join(".cache").exists());
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
