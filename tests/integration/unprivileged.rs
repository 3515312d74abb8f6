//! In the Action's container cdflow is root, and the programs that run code of others are not:
//! Terraform with its providers and provisioners, hooks, git.

use crate::support::{Job, Lab, Project, RUNNER, in_repository};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Tries what only root, or a member of the socket's group, may do. It prints `can …` for each
/// success.
const PROBE: &str = r#"
echo "user $(id -u) groups $(id -G)"
grep -E '^(NoNewPrivs|CapPrm|CapEff|CapAmb):' /proc/self/status | tr '\t' ' '
cat /proc/1/environ > /dev/null 2>&1 && echo "can read the environment"
ls /proc/1/fd > /dev/null 2>&1 && echo "can see open files"
[ -w /var/run/docker.sock ] && echo "can use the engine"
(echo 'A=b' >> /github/file_commands/set_output_1) 2> /dev/null && echo "can write outputs"
(echo 'a' >> /etc/passwd) 2> /dev/null && echo "can change the container"
(echo 'a' > /github/workspace/made) 2> /dev/null && echo "can write the checkout"
env | sed -n 's/^\([A-Za-z_-]*\)=.*/has \1/p'
true
"#;

/// What only root can do.
const ABILITIES: [&str; 5] =
    ["read the environment", "see open files", "use the engine", "write outputs", "change the"];

fn with_provisioner(project: &Project, script: &str) {
    let script = script.replace("${", "$${").replace('%', "%%");
    project.append(
        "infra/main.tf",
        &format!(
            "resource \"terraform_data\" \"code\" {{\n  provisioner \"local-exec\" {{\n    \
             command = <<-EOT\n{script}\nEOT\n  }}\n}}\n"
        ),
    );
    project.commit("Code of others");
}

/// The folder of releases and states belongs to the runner's user, as one in the checkout does.
fn job<'a>(lab: &'a Lab, project: &'a Project) -> Job<'a> {
    let job = Job::new(lab, project).mounted(&project.store(), "/github/store");
    chown(project.store(), Some(RUNNER), Some(RUNNER)).unwrap();
    job
}

fn release(job: &Job<'_>) {
    let inputs = [("command", "release"), ("version", "1"), ("platform-config", "platform-config")];
    job.step(&inputs).run().success();
}

const DEPLOY: [(&str, &str); 3] =
    [("command", "deploy"), ("environment", "live"), ("version", "1")];

fn not_the_runners(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    entries
        .filter(|it| it.metadata().unwrap().uid() != RUNNER)
        .map(walkdir::DirEntry::into_path)
        .collect()
}

fn state(project: &Project) -> PathBuf {
    project.store().join("state/platform").join(project.name()).join("live/terraform.tfstate")
}

#[test]
fn terraform_is_not_root() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    with_provisioner(&project, PROBE);
    let job = job(lab, &project).env([
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token"),
        ("GITHUB_TOKEN", "github-token"),
        ("DATADOG_API_KEY", "datadog"),
    ]);
    release(&job);
    let deploy = job.step(&[&DEPLOY[..], &[("pass-environment", "DATADOG_API_KEY")]].concat());
    let output = deploy.run();
    // The states belong to the runner's user, who is then Terraform's as well, without its group.
    output
        .success()
        .stdout_has("Deployed greeting 1 to live: 2 added")
        .stdout_has(&format!("user {RUNNER} groups 65532"))
        .stdout_has("NoNewPrivs: 1")
        .stdout_has("CapPrm: 0000000000000000")
        .stdout_has("CapEff: 0000000000000000")
        .stdout_has("CapAmb: 0000000000000000")
        .stdout_has("has DATADOG_API_KEY")
        .lacks("CDFLOW_PROGRAM_USER")
        .lacks("has GITHUB_")
        .lacks("has ACTIONS_")
        .lacks("has INPUT_");
    for ability in &ABILITIES[..3] {
        output.lacks(&format!("(local-exec): can {ability}"));
    }
    output.lacks("(local-exec): can change the");
    let told: Value = serde_json::from_str(&job.outputs()["terraform-outputs"]).unwrap();
    assert_eq!(told["greeting"], "Good day from live.local.example, version 1");
    let saved = fs::metadata(state(&project)).unwrap();
    assert_eq!(not_the_runners(&project.store()), [""; 0].map(PathBuf::from));
    assert_eq!(saved.uid(), RUNNER);
    fs::remove_file(project.path("made")).unwrap();
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
    job.step(&[("command", "destroy"), ("environment", "live"), ("confirm", "live")])
        .run()
        .success();

    // The same probe as root can do it all, so the probe is not blind.
    let root = deploy.env("CDFLOW_PROGRAM_USER", "root").run();
    root.success()
        .stdout_has("::warning::CDFLOW_PROGRAM_USER is `root`")
        .stdout_has("user 0 groups");
    for ability in ABILITIES {
        root.stdout_has(&format!("(local-exec): can {ability}"));
    }
    job.step(&DEPLOY).env("CDFLOW_PROGRAM_USER", "nobody").run().fails(2).stdout_has("not a user");
}

/// A state that only root can reach is no reason for Terraform to be root. A cancel reaches it, and
/// the state is saved.
#[test]
fn a_cancel_reaches_a_terraform_that_is_not_root() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    with_provisioner(
        &project,
        "id -u\n(echo a > /github/workspace/made) 2> /dev/null || echo 'checkout is closed'\n\
         (echo a >> /github/file_commands/set_output_1) 2> /dev/null || echo 'outputs are closed'\n\
         echo waiting\nsleep 100",
    );
    let job = Job::new(lab, &project).mounted(&project.store(), "/github/store");
    release(&job);
    // As an earlier version of cdflow left it.
    fs::create_dir_all(state(&project).parent().unwrap()).unwrap();
    for folder in ["state", "state/platform", "state/platform/greeting"] {
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(project.store().join(folder), closed).unwrap();
    }
    let mut running = job.step(&DEPLOY).spawn();
    running.wait_for("(local-exec): waiting");
    running.signal(Signal::SIGINT);
    running
        .wait()
        .fails(130)
        .stdout_has("(local-exec): 65532")
        .stdout_has("(local-exec): checkout is closed")
        .stdout_has("(local-exec): outputs are closed")
        .stdout_has("cancelled during apply: Terraform stopped and saved the state");
    let saved = fs::read_to_string(state(&project)).unwrap();
    assert!(saved.contains("\"greeting\""), "{saved}");
    assert_eq!(fs::metadata(state(&project)).unwrap().uid(), 65532);
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
}

/// cdflow rescues a state as root: a link in its place would lead it to what Terraform can't read.
#[test]
fn a_link_in_place_of_a_state_is_not_followed() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    with_provisioner(&project, "ln -s /proc/1/environ errored.tfstate\nexit 1");
    let job = job(lab, &project).env([("SECRET_OF_THE_STEP", "not-for-terraform")]);
    release(&job);
    let output = job.step(&DEPLOY).run();
    output.fails(7).stdout_has("it is a link or not a file").lacks("not-for-terraform");
    for place in [project.store(), project.dir()] {
        for entry in walkdir::WalkDir::new(place).into_iter().map(Result::unwrap) {
            let content = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&content);
            let is_source = entry.path().starts_with(project.path("infra"));
            assert!(is_source || !text.contains("SECRET_OF_THE_STEP"), "{entry:?}");
        }
    }
}

#[test]
fn a_hook_is_not_root() {
    let lab = Lab::get();
    let project = Project::local("hooked");
    project.edit_json("account-scheme.json", |scheme| scheme["image-registry"] = Lab::LOCAL.into());
    project.edit("cdflow.yml", "type: infrastructure", "type: docker");
    project.write("Dockerfile", "FROM busybox\nCOPY message /\n").write("message", "hello\n");
    let script = format!(
        "#!/bin/sh\necho \"checks $1\"\n{PROBE}\ngit config core.sshCommand 'touch /etc/git-ran'\n"
    );
    project.write("on-docker-build", &script);
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.path("on-docker-build"), executable).unwrap();
    project.commit("A hook");
    // A program in git's configuration, for a file that differs from its commit.
    let config = project.path(".git/config");
    let filter = "[filter \"spy\"]\n\tclean = \"id -u > .git/spy; cat\"\n";
    fs::write(&config, fs::read_to_string(&config).unwrap() + filter).unwrap();
    fs::write(project.path(".git/info/attributes"), "message filter=spy\n").unwrap();
    project.write("message", "hallo\n");
    let job = job(lab, &project).env([("GITHUB_TOKEN", "github-token")]);
    let release = [
        ("command", "release"),
        ("version", "1"),
        ("platform-config", "platform-config"),
        ("github-token", "github-token"),
    ];
    let output = job.step(&release).run();
    output
        .success()
        .stdout_has(&format!("checks {}/hooked:1", Lab::LOCAL))
        .stdout_has(&format!("user {RUNNER} groups 65532"))
        .stdout_has("NoNewPrivs: 1")
        .stdout_has("can write the checkout")
        .stdout_has("Released hooked 1")
        .lacks("has GITHUB_")
        .lacks("has INPUT_")
        .lacks("has DOCKER_HOST");
    for ability in &ABILITIES[..3] {
        output.lacks(&format!("can {ability}"));
    }
    output.lacks("can change the");
    assert!(!project.path(".git/spy").exists(), "cdflow has run the filter of the checkout");
    // What it built belongs to the runner's user.
    assert_eq!(fs::read_to_string(project.path("made")).unwrap(), "a\n");
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
    // Plain git runs it.
    project.git(["-c", "safe.directory=*", "status", "--porcelain"]);
    assert!(project.path(".git/spy").exists());
}

/// ssh refuses users without an entry, and the number must be the same in both places.
#[test]
fn the_image_names_the_user() {
    let file = fs::read_to_string(in_repository("Dockerfile")).unwrap();
    let user = file.lines().find_map(|line| line.strip_prefix("ENV CDFLOW_PROGRAM_USER=")).unwrap();
    assert!(file.contains(&format!("'cdflow:x:{user}:{user}:")), "{file}");
    let page = fs::read_to_string(in_repository("docs/github-actions.md")).unwrap();
    assert!(page.contains(&format!("user {user}")));
}
