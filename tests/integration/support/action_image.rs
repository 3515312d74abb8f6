//! The Action's image, made once from the Dockerfile of the repository.
//!
//! Its base images come from this machine, because no registry is reached here. Debian's place
//! takes one of the machine's own packages whose `apt-get` does nothing. Rust's place takes a
//! busybox whose `cargo` does nothing: an engine without BuildKit runs that stage too, although
//! nothing of it is used.

use super::{Lab, Runner, Sandbox, in_repository};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// For each program that makes it.
const PATIENCE: Duration = Duration::from_secs(600);
const FULL: &str = "cdflow-action:test";
const SLIM: &str = "cdflow-action:test-slim";

/// With Terraform.
pub(crate) fn full(lab: &Lab) -> &'static str {
    make(lab);
    FULL
}

/// Without Terraform.
pub(crate) fn slim(lab: &Lab) -> &'static str {
    make(lab);
    SLIM
}

fn make(lab: &Lab) {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let sandbox = Sandbox::new();
        base(lab, &sandbox, "test-rust", "busybox", |root| {
            let cargo = "#!/bin/sh\nmkdir -p target/release && touch target/release/cdflow\n";
            script(&root.join("bin/cargo"), cargo);
        });
        base(lab, &sandbox, "test-terraform", "scratch", |root| {
            copy(&found("terraform"), &root.join("bin/terraform"))
        });
        base(lab, &sandbox, "test-debian", "scratch", |root| packages(lab, &sandbox, root));
        let context = sandbox.work().join("context");
        let files = [
            "Dockerfile",
            ".dockerignore",
            "Cargo.toml",
            "Cargo.lock",
            "src/main.rs",
            "image/root",
        ];
        for file in files {
            copy(&in_repository(file), &context.join(file));
        }
        let strip = ["--strip-all", env!("CARGO_BIN_EXE_cdflow"), "cdflow"];
        Runner::new("objcopy", strip, &sandbox).cwd(&context).run().success();
        for (name, target) in [(SLIM, &["--target", "slim"][..]), (FULL, &[])] {
            let mut build = Runner::new("docker", ["build", "--tag", name], &sandbox).args(target);
            for argument in [
                "RUST_IMAGE=test-rust",
                "TERRAFORM_IMAGE=test-terraform",
                "PACKAGES_IMAGE=test-debian",
                "BINARY=prebuilt",
                "VERSION=1.2.3",
            ] {
                build = build.args(["--build-arg", argument]);
            }
            build.arg(".").cwd(&context).timeout(PATIENCE).in_lab(lab).run().success();
        }
    });
}

/// This machine's packages as a Debian in which `image/root` finds them, and nothing to install.
fn packages(lab: &Lab, sandbox: &Sandbox, root: &Path) {
    let program = in_repository("image/root");
    let arguments = [root.to_str().unwrap(), "dpkg"];
    Runner::new(program, arguments, sandbox).timeout(PATIENCE).run().success();
    // The shell prefers this one.
    script(&root.join("usr/local/bin/apt-get"), "#!/bin/sh\n");
    let trusted = root.join("etc/ssl/certs/ca-certificates.crt");
    let of_lab = [Path::new("/etc/ssl/certs/ca-certificates.crt"), &trusted];
    Runner::new("cp", of_lab, sandbox).in_lab(lab).run().success();
    let (database, recorded) = (Path::new("/var/lib/dpkg/info"), root.join("var/lib/dpkg"));
    fs::create_dir(recorded.join("info")).unwrap();
    let mut status = String::new();
    for entry in fs::read_dir(recorded.join("status.d")).unwrap().map(Result::unwrap) {
        status += &(fs::read_to_string(entry.path()).unwrap() + "\n");
    }
    fs::write(recorded.join("status"), status).unwrap();
    fs::remove_dir_all(recorded.join("status.d")).unwrap();
    for entry in fs::read_dir(database).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap();
        if entry.extension().is_some_and(|it| it == "list") || name == "format" {
            copy(&entry, &recorded.join("info").join(name));
        }
    }
}

/// An image of a folder, and of another image below it.
fn base(lab: &Lab, sandbox: &Sandbox, name: &str, below: &str, furnish: impl FnOnce(&Path)) {
    let folder = sandbox.work().join(name);
    fs::create_dir_all(&folder).unwrap();
    furnish(&folder.join("root"));
    fs::write(folder.join("Dockerfile"), format!("FROM {below}\nCOPY root /\n")).unwrap();
    Runner::new("docker", ["build", "--tag", name, "."], sandbox)
        .cwd(&folder)
        .timeout(PATIENCE)
        .in_lab(lab)
        .run()
        .success();
}

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|it| it.is_file())
        .expect(program)
}
