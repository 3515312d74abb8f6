//! What is done with images beside building them: `doctor` looks where they go.

use crate::support::{Aws, Lab, Project, Runner};
use serde_json::json;

/// Where images are the smallest there are.
fn furnished(project: Project) -> Project {
    project.edit("cdflow.yml", "type: infrastructure", "type: docker");
    project.write("Dockerfile", "FROM scratch\nCOPY message /\n").write("message", "hello\n").commit("An image");
    project
}

fn on_aws(name: &str, aws: &Aws) -> Project {
    furnished(Project::aws(name, aws))
}

fn in_lab(project: &Project, arguments: &[&str]) -> Runner {
    project.cdflow(arguments).in_lab(Lab::get())
}

fn release(project: &Project, version: &str) -> crate::support::Output {
    in_lab(project, &["release", version, "--platform-config", "platform-config"]).run()
}

#[test]
fn doctor_looks_at_the_engine_and_at_who_may_push() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-doctor"));
    let project = on_aws("docker-doctor", &aws);
    let image = format!("{}/docker-doctor", Lab::ecr());
    let new = in_lab(&project, &["doctor"]).run();
    new.stdout_has(&format!("at {}, BuildKit", lab.docker_host()));
    new.stdout_has(&format!("{image} does not exist: the first release makes it"));
    release(&project, "1").success();
    let uploads = format!("POST {}/v2/docker-doctor/blobs/uploads/", Lab::ecr());
    in_lab(&project, &["doctor"]).run().stdout_has(&format!("{image}, and we may push to it"));
    lab.rule(json!({ "matching": uploads, "times": 1, "status": 403 }));
    let refused = in_lab(&project, &["doctor"]).run();
    refused.fails(4).stdout_has("problem  image repository").stdout_has("allowed to push to `docker-doctor`");
    let without = in_lab(&project, &["doctor"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").run();
    without.fails(2).stdout_has("problem  docker engine").stdout_has("does not answer");

    let local = Project::local("docker-doctor-local");
    local.edit_json("account-scheme.json", |scheme| scheme["image-registry"] = Lab::LOCAL.into());
    let local = furnished(local);
    in_lab(&local, &["doctor"]).run().stdout_has("localhost:5000/docker-doctor-local, and we may push to it");
}
