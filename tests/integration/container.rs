//! The container Action, started as a runner starts it: its image, a release's life in it, and a cancelled step.

use crate::support::{Aws, Job, Lab, Project};
use nix::sys::signal::Signal;
use serde_json::json;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_release_lives_in_containers() {
    let (lab, aws) = (Lab::get(), Aws::new("container"));
    let project = Project::aws("greeting", &aws);
    let job = Job::new(lab, &project).env(aws.env());
    let release = [("command", "release"), ("version", "1"), ("platform-config", "platform-config")];
    let output = job.step(&release).run();
    output.success().stdout_has("Released greeting 1").lacks("warning");
    let output = job.step(&release).run();
    output.success().stdout_has("Already released");
    let output = job.step(&[("command", "deploy"), ("environment", "live"), ("version", "1")]).run();
    output.success().stdout_has("Deployed greeting 1 to live: 1 added");
    let output = job.step(&[("command", "status")]).run();
    output.success().stdout_has("live");
    let output = job.step(&[("command", "destroy"), ("environment", "live"), ("confirm", "live")]).run();
    output.success().stdout_has("Destroyed greeting in live");
    assert_eq!(job.not_the_runners(), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(job.git(&["status", "--porcelain"]), "");
}

/// The runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later it kills `docker run`, and then starts the clean-up; a tenth of
/// these times here. Terraform needs longer to save its state.
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

    let output = step.post().run();
    output
        .success()
        .stdout_has("The step was cancelled, and is still at work")
        .stdout_has("Interrupt received")
        .stdout_has("cancelled during apply: Terraform stopped and saved the state")
        .stdout_has("::warning::the cancelled step has ended")
        .stdout_has("exit code 130")
        .lacks("Two interrupts");
    assert_eq!(lab.docker(["ps", "--all", "--quiet", "--filter", &format!("name={}", step.name())]), "");
    let saved = aws.get_json(&aws.state_bucket(), state);
    let names: Vec<&str> =
        saved["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"greeting"), "{saved}");
    assert_eq!(aws.head(&aws.state_bucket(), &format!("{state}.tflock")), None);
    job.step(&[("command", "status")]).run().success().stdout_has("deploy of 1 was interrupted");
}

/// Nothing is waited for that has ended, nor said of it, with or without an engine; and what can't be asked is told.
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
    // Killed, with nobody to tell how: the machine was out of memory, or the container's end came before the clean-up.
    let killed = step.post().env("STATE_container", &"ab".repeat(32));
    killed.run().success().stdout_has("::warning::the step was killed, and its container has ended since");
    let unasked = killed.env("DOCKER_HOST", "unix:///nowhere");
    unasked
        .run()
        .success()
        .stdout_has("may still be at work in its container: the Docker engine at unix:///nowhere does not answer");
}

/// In a network of its own a container is called by its ID; the engine's socket is not always there.
#[test]
fn a_step_leaves_its_container_to_the_clean_up() {
    let lab = Lab::get();
    let project = Project::local("greeting");
    project.append("infra/main.tf", SLOW).commit("Slow");
    let job = Job::new(lab, &project).mounted(&project.store(), "/github/store");
    job.step(&[("command", "release"), ("version", "1"), ("platform-config", "platform-config")]).run().success();
    let step = job.step(&[("command", "deploy"), ("environment", "live"), ("version", "1")]);
    let mut running = step.command("bridge").spawn();
    running.wait_for("): waiting");
    assert_eq!(job.state()["container"], lab.docker(["inspect", "--format", "{{.Id}}", step.name()]));
    running.signal(Signal::SIGTERM);
    running.wait().fails(143);
    assert_eq!(job.state()["container"], "");
}

/// Its apply waits after the greeting until it is stopped.
const SLOW: &str = r#"
resource "terraform_data" "slow" {
  depends_on = [terraform_data.greeting]
  provisioner "local-exec" {
    command = "echo waiting; sleep 100"
  }
}
"#;
