//! The container Action, started as a runner starts it: its image, a release's life in it, and a
//! cancelled step.

use crate::support::github::{GitHub, REPOSITORY_ID, TOKEN};
use crate::support::{Aws, Job, Lab, Mirror, Project, ToolMirror};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_release_lives_in_containers() {
    let (lab, aws) = (Lab::get(), Aws::new("container"));
    let project = Project::aws("greeting", &aws);
    let job = Job::new(lab, &project).env(aws.env()).event(
        "push",
        "refs/tags/v1.2.3",
        "tag",
        "v1.2.3",
        json!({}),
    );
    let release = job.step(&[("command", "release"), ("platform-config", "platform-config")]);
    release.run().success().stdout_has("Released greeting 1.2.3").lacks("::warning::");
    let outputs = job.outputs();
    assert_eq!(outputs["version"], "1.2.3");
    assert_eq!(outputs["release-digest"].len(), 64);
    assert!(job.summary().contains("greeting: Released"), "{}", job.summary());
    release.run().success().stdout_has("Already released");

    let live = [("environment", "live"), ("version", outputs["version"].as_str())];
    let step = |command: &str, more: &[(&str, &str)]| {
        job.step(&[&[("command", command)], &live[..], more].concat()).run()
    };
    step("deploy", &[]).success().stdout_has("Deployed greeting 1.2.3 to live: 1 added");
    let told: Value = serde_json::from_str(&job.outputs()["terraform-outputs"]).unwrap();
    assert_eq!(told["greeting"], "Good day from live.prod.example, version 1.2.3");
    job.step(&[("command", "status")]).run().success().stdout_has("1.2.3");
    step("destroy", &[("confirm", "live")]).success().stdout_has("Destroyed greeting in live");
    // Nobody but the runner's user owns what is there, and git sees no change.
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
    assert_eq!(job.git(&["status", "--porcelain"]), "");
}

/// The steps of a job share `HOME`, so that one download is enough for them.
#[test]
fn an_image_without_terraform_releases_and_deploys() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    let mirror = ToolMirror::new(project.sandbox(), &[]);
    let version = mirror.add_real(project.sandbox());
    project.edit_json("account-scheme.json", |scheme| {
        scheme["terraform-mirror-keys"] = json!([mirror.public_key()]);
    });
    project.commit("The mirror's key");
    let server = mirror.serve();
    lab.relay(server.address().rsplit(':').next().unwrap().parse().unwrap());
    let job = Job::new(lab, &project)
        .without_terraform()
        .mounted(&project.store(), "/github/store")
        .env([("CDFLOW_TERRAFORM_MIRROR", server.address())]);

    let release =
        [("command", "release"), ("version", "1"), ("platform-config", "platform-config")];
    job.step(&release)
        .run()
        .success()
        .stdout_has(&format!("download terraform {version} from the mirror"))
        .stdout_has("Released greeting 1");
    let live = [("environment", "live"), ("version", "1")];
    job.step(&[&[("command", "deploy")], &live[..]].concat())
        .run()
        .success()
        .stdout_has(&format!("terraform {version} from the cache"))
        .stdout_has("Deployed greeting 1 to live: 1 added");
    job.step(&[("command", "destroy"), ("environment", "live"), ("confirm", "live")])
        .run()
        .success()
        .stdout_has("Destroyed greeting in live");
    assert_eq!(server.asked(".zip").len(), 1);
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
    assert_eq!(job.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_pull_request_is_told_what_would_change() {
    let (lab, aws, github) = (Lab::get(), Aws::new("pull-request"), GitHub::start());
    let project = Project::aws("checkout", &aws);
    let head = project.head();
    github.world().pull_request(7, &head);
    let repository = json!({ "id": REPOSITORY_ID, "full_name": "acme/checkout" });
    let event = json!({ "number": 7, "pull_request": {
        "number": 7, "draft": false, "labels": [], "user": { "login": "ada" },
        "head": { "sha": head, "ref": "change", "repo": repository },
        "base": { "sha": head, "ref": "main", "repo": repository },
    } });
    let job = Job::new(lab, &project).env(aws.env()).github(&github);
    let job = job.event("pull_request", "refs/pull/7/merge", "branch", "7/merge", event);
    job.step(&[("command", "release"), ("platform-config", "platform-config")]).run().success();
    let version = job.outputs()["version"].clone();
    assert_eq!(version, format!("pr-7-{}", &head[..7]));

    let plan = [
        ("command", "deploy"),
        ("environment", "ci"),
        ("version", &version),
        ("plan-only", "true"),
    ];
    let output = job
        .step(&[&plan[..], &[("github-token", TOKEN), ("report-markdown", "report.md")]].concat())
        .run();
    output.success().stdout_has("Planned only: 1 to add").lacks(TOKEN);
    let world = github.world();
    let comments: Vec<_> = world.comments.values().collect();
    assert_eq!(comments.len(), 1, "{output}");
    assert!(comments[0].body.contains("terraform_data.greeting"), "{}", comments[0].body);
    assert!(job.outputs()["comment-url"].contains("/pull/7"), "{:?}", job.outputs());
    assert_eq!(job.outputs()["to-add"], "1");
    assert!(project.path("report.md").exists());
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
}

/// A cache is the one thing that a step leaves in the checkout, and the runner can remove it.
#[test]
fn a_cache_of_providers_belongs_to_the_runner() {
    let lab = Lab::get();
    let mirror = Mirror::tiny_packed();
    let project = Project::local("greeting").with_tiny_provider(mirror.clone());
    let configuration = mirror.cli_config(project.sandbox());
    let job = Job::new(lab, &project)
        .mounted(&project.store(), "/github/store")
        .mounted(mirror.root(), mirror.root())
        .mounted(project.sandbox().root(), project.sandbox().root())
        .env([("TF_CLI_CONFIG_FILE", configuration.to_str().unwrap())]);
    let release = |cache| {
        let inputs =
            [("command", "release"), ("version", "1"), ("platform-config", "platform-config")];
        let more = [("cache-dir", cache), ("no-validate", "true")];
        job.step(&[&inputs[..], &more].concat()).run()
    };
    // As `${{ github.workspace }}` and `${{ runner.temp }}` come out.
    release("/home/runner/work/greeting/greeting/cache")
        .fails(2)
        .stdout_has("which other steps cannot see");
    release(".cache/terraform").success();
    assert!(project.path(".cache/terraform/registry.terraform.io/hashicorp/tiny/1.0.0").is_dir());
    assert_eq!(job.not_the_runners(), [""; 0].map(PathBuf::from));
    assert_eq!(job.git(&["status", "--porcelain"]), "");
}

/// The runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later it kills `docker run`, and then starts
/// the clean-up; a tenth of these times here. Terraform needs longer to save its state.
#[test]
fn a_cancelled_deploy_is_waited_for() {
    let (lab, aws) = (Lab::get(), Aws::new("cancelled"));
    let project = Project::aws("greeting", &aws);
    project.append("infra/main.tf", SLOW).commit("Slow");
    project.release("1");
    let job = Job::new(lab, &project).env(aws.env());
    let step = job.step(&[("command", "deploy"), ("environment", "live"), ("version", "1")]);
    let mut running = step.spawn();
    running.wait_for("): waiting");
    let state = "platform/greeting/live/terraform.tfstate";
    aws.rule(json!({ "matching": format!("PUT /{}/{state}?", aws.state_bucket()), "delay": 6 }));
    running.signal(Signal::SIGINT);
    sleep(Duration::from_millis(750));
    running.signal(Signal::SIGTERM);
    sleep(Duration::from_millis(250));
    running.signal(Signal::SIGKILL);
    running.wait().fails(137);
    assert_eq!(lab.docker(["inspect", "--format", "{{.State.Running}}", step.name()]), "true");

    // Whoever ends the wait is told what that means.
    let mut impatient = step.post().spawn();
    impatient.wait_for("is still running");
    impatient.signal(Signal::SIGINT);
    impatient.wait().fails(7).stdout_has("ends with this job's machine: the wait was cancelled");
    let output = step.post().run();
    output
        .success()
        .stdout_has("The cancelled step is still running")
        .stdout_has("Interrupt received")
        .stdout_has("cancelled during apply: Terraform stopped and saved the state")
        .stdout_has("::warning::the cancelled step ended")
        .stdout_has("exit code 130")
        .lacks("Two interrupts");
    assert_eq!(
        lab.docker(["ps", "--all", "--quiet", "--filter", &format!("name={}", step.name())]),
        ""
    );
    let saved = aws.get_json(&aws.state_bucket(), state);
    let names: Vec<&str> = saved["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"greeting"), "{saved}");
    assert_eq!(aws.head(&aws.state_bucket(), &format!("{state}.tflock")), None);
    job.step(&[("command", "status")]).run().success().stdout_has("deploy of 1 was interrupted");
}

/// Nothing is waited for that has ended, nor said of it, with or without an engine; and what can't
/// be asked is told.
#[test]
fn a_clean_up_with_nothing_to_do_is_silent() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    let job = Job::new(lab, &project);
    let step = job.step(&[("command", "doctor")]);
    step.run();
    assert_eq!(job.state()["container"], "");
    for host in ["unix:///var/run/docker.sock", "unix:///nowhere"] {
        assert_eq!(step.post().env("DOCKER_HOST", host).run().success().stdout, "");
    }
    // Killed, with nobody to tell how: the machine was out of memory, or the container's end came
    // before the clean-up.
    let killed = step.post().env("STATE_container", &"ab".repeat(32));
    killed
        .run()
        .success()
        .stdout_has("::warning::the step was killed, and its container has ended since");
    let unasked = killed.env("DOCKER_HOST", "unix:///nowhere");
    unasked.run().success().stdout_has(
        "its container might still be running: the Docker engine at unix:///nowhere \
        does not answer",
    );
}

/// In a network of its own a container is called by its ID. As its first process cdflow also has to
/// bury what others orphan.
#[test]
fn a_step_leaves_its_container_to_the_clean_up() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    project.append("infra/main.tf", SLOW).commit("Slow");
    let job = Job::new(lab, &project).mounted(&project.store(), "/github/store");
    job.step(&[("command", "release"), ("version", "1"), ("platform-config", "platform-config")])
        .run()
        .success();
    let step = job.step(&[("command", "deploy"), ("environment", "live"), ("version", "1")]);
    let mut running = step.command("bridge").spawn();
    running.wait_for("): waiting");
    assert_eq!(
        job.state()["container"],
        lab.docker(["inspect", "--format", "{{.Id}}", step.name()])
    );
    let buried = "while [ -e /proc/$(cat /tmp/orphan) ]; do sleep 0.1; done";
    lab.docker(["exec", step.name(), "timeout", "60", "sh", "-c", buried]);
    running.signal(Signal::SIGTERM);
    running.wait().fails(143);
    assert_eq!(job.state()["container"], "");
}

/// Its apply leaves an orphan that ends soon, and then waits, after the greeting, until it is
/// stopped.
const SLOW: &str = r#"
resource "terraform_data" "slow" {
  depends_on = [terraform_data.greeting]
  provisioner "local-exec" {
    command = "(sh -c 'echo $$ > /tmp/orphan; sleep 0.3' &); sleep 0.5; echo waiting; sleep 100"
  }
}
"#;
