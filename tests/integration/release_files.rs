//! What the release workflow publishes for people to download, packed by the workflow's own script
//! with an engine that has the program of this build.

use crate::support::{Runner, Sandbox, in_repository};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const WORKFLOW: &str = ".github/workflows/release.yml";
/// `docker cp` takes long for a program without optimisation, so a text takes its place there.
const DOCKER: &str = r#"#!/bin/sh
set -eu
case "$1" in
create) echo container ;;
cp) echo GLIBC_2.34 >"$3" ;;
rm | rmi) ;;
run)
    as="--rm --user $(id -u) --volume $PWD/man:/man --entrypoint /usr/local/bin/cdflow"
    [ "$*" = "run $as image@digest man /man" ]
    exec PROGRAM man "$PWD/man"
    ;;
*) exit 1 ;;
esac
"#;

fn script(name: &str) -> String {
    let text = fs::read_to_string(in_repository(WORKFLOW)).unwrap();
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    let steps = workflow["jobs"]["publish"]["steps"].as_array().unwrap().clone();
    let step = steps.into_iter().find(|step| step["name"].as_str() == Some(name));
    step.unwrap()["run"].as_str().unwrap().to_owned()
}

#[test]
fn the_manual_pages_are_published() {
    let sandbox = Sandbox::new();
    let programs = sandbox.root().join("programs");
    fs::create_dir(&programs).unwrap();
    let docker = programs.join("docker");
    fs::write(&docker, DOCKER.replace("PROGRAM", env!("CARGO_BIN_EXE_cdflow"))).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let run = |script: &str| {
        let runner = Runner::new("bash", ["-e", "-c", script], &sandbox).env("PATH", &path);
        let step = [("TAG", "v1.2.3"), ("IMAGE", "image"), ("DIGEST", "digest")];
        runner.envs(step).run()
    };
    let program = in_repository("image/glibc");
    run(&format!("mkdir image && cp '{}' image", program.display())).success();
    run(&script("The binaries and the manual pages, out of the images")).success();
    let listed = run("tar --list --file cdflow-v1.2.3-man.tar.gz");
    let pages: Vec<&str> = listed.success().stdout.lines().collect();
    for page in ["man/cdflow.1", "man/cdflow-deploy.1", "man/cdflow-preview-up.1"] {
        assert!(pages.contains(&page), "{pages:?}");
    }
    run("sha256sum --check SHA256SUMS").success().stdout_has("man.tar.gz: OK");
    // All of it is published, with and without an existing release.
    let publish = script("Pin the image and the binaries, publish, move the major tag");
    let files = "cdflow-\"$TAG\"-*.tar.gz SHA256SUMS";
    let of = |verb: &str| publish.lines().any(|line| line.contains(verb) && line.contains(files));
    assert!(of("gh release create") && of("gh release upload"), "{publish}");
}

/// Checks that the program of a release is published before the commit that pins it.
const GH: &str = r#"#!/bin/sh
set -eu
case "$1 $2" in
"auth setup-git") ;;
"release create") git ls-remote --tags origin >before; echo "$@" >published ;;
*) exit 1 ;;
esac
"#;

#[test]
fn the_commit_of_a_release_pins_the_image_and_the_programs() {
    let sandbox = Sandbox::new();
    let programs = sandbox.root().join("programs");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("gh"), GH).unwrap();
    fs::set_permissions(programs.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let run = |script: &str| {
        let step = [
            ("TAG", "v1.2.3"),
            ("IMAGE", "ghcr.io/org/cdflow-action"),
            ("DIGEST", "sha256:0a1b"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "org/cdflow-action"),
        ];
        Runner::new("bash", ["-e", "-c", script], &sandbox).env("PATH", &path).envs(step).run()
    };
    let repository = in_repository("");
    run(&format!(
        "git init --quiet --bare ../origin
        git init --quiet . && git remote add origin ../origin
        cp -r '{0}/runner' '{0}/action.yml' .
        git add --all && git -c user.name=a -c user.email=a commit --quiet --message Code
        for architecture in amd64 arm64; do
            echo $architecture >cdflow
            tar --create --gzip --file cdflow-$TAG-linux-$architecture.tar.gz cdflow
        done
        rm cdflow && echo man >cdflow-$TAG-man.tar.gz && echo sums >SHA256SUMS",
        repository.display()
    ))
    .success();
    run(&script("Pin the image and the binaries, publish, move the major tag")).success();
    run("cat before").success().stdout_is("");
    run("cat published").success().stdout_has("cdflow-v1.2.3-linux-arm64.tar.gz");
    let pinned = run("git clone --quiet --branch v1 ../origin ../pinned
        cd ../pinned && git rev-parse HEAD action-v1.2.3 | sort --unique | wc --lines
        grep image: action.yml && cat runner/pinned.json");
    pinned
        .success()
        .stdout_has("1\n")
        .stdout_has("image: docker://ghcr.io/org/cdflow-action@sha256:0a1b")
        .stdout_has("https://github.com/org/cdflow-action/releases/download/v1.2.3")
        // The sums of the two programs.
        .stdout_has("d54d20eadbec9c9c")
        .stdout_has("c1669e1d8edca987");
}

/// The release workflow checks that no binary needs a newer glibc than this.
#[test]
fn the_oldest_glibc_is_the_same_everywhere() {
    let read = |file: &str| fs::read_to_string(in_repository(file)).unwrap();
    let workflow = read(".github/workflows/release.yml");
    let check = "image/glibc cdflow ";
    let version = workflow.lines().find_map(|line| line.trim().strip_prefix(check)).unwrap();
    let says = format!("Linux with glibc {version} or newer");
    for file in ["runner/main.js", "docs/github-actions.md"] {
        assert!(read(file).contains(&says), "{file}: {says}");
    }
    let sandbox = Sandbox::new();
    let program = sandbox.work().join("cdflow");
    for (content, fails_with) in [
        ("\0GLIBC_2.2.5\0GLIBC_2.34\0", None),
        ("\0GLIBC_2.9\0GLIBC_2.100\0", Some("needs glibc 2.100, which is newer than 2.34")),
        ("a static program", Some("names no version of glibc")),
    ] {
        fs::write(&program, content).unwrap();
        let arguments = [program.to_str().unwrap(), "2.34"];
        let output = Runner::new(in_repository("image/glibc"), arguments, &sandbox).run();
        match fails_with {
            None => {
                output.success();
            }
            Some(text) => {
                output.fails(1).stderr_has(text);
            }
        }
    }
}
