//! What is done with images beside building them: `prune` deletes those of old releases, `doctor`
//! looks where they go.

use crate::support::{Aws, Lab, Project, RELEASE, Runner};
use serde_json::json;

/// Where images are the smallest there are.
fn furnished(project: Project) -> Project {
    project.edit("cdflow.yml", "type: infrastructure", "type: docker");
    project
        .write("Dockerfile", "FROM scratch\nCOPY message /\n")
        .write("message", "hello\n")
        .commit("An image");
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

/// An image that two releases share goes with the second; one that is called `latest` stays.
#[test]
fn the_images_of_releases_that_are_pruned_go_with_them() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-prune"));
    let project = on_aws("docker-prune", &aws);
    for version in ["1", "2", "3"] {
        project.write("message", version).commit(version);
        release(&project, version).success();
    }
    in_lab(&project, &["deploy", "ci", "2"]).run().success();
    let tags = || {
        let images = aws.list(
            RELEASE,
            "ecr",
            "list_images",
            "imageIds",
            json!({ "repositoryName": "docker-prune" }),
        );
        let mut tags: Vec<String> =
            images.iter().map(|image| image["imageTag"].as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    };
    assert_eq!(tags(), ["1", "2", "3", "latest"]);
    let prune = ["prune", "--keep", "0", "--older-than", "0s"];
    let output = in_lab(&project, &[&prune[..], &["--dry-run"]].concat()).run();
    let listed = format!("  {}/docker-prune:1\n", Lab::ecr());
    output
        .success()
        .stderr_has("Would delete 2 of 3")
        .stdout_has(&listed)
        .lacks("docker-prune:2\n")
        .lacks("latest");
    assert_eq!(tags().len(), 4);

    // The bundle goes first: a run that can't delete the image leaves no release without one, and
    // says what is left.
    let repository = format!("arn:aws:ecr:eu-west-1:{RELEASE}:repository/docker-prune");
    let deletion = "BatchDeleteImage {\"repositoryName\":\"docker-prune\"";
    aws.rule(json!({ "matching": deletion, "times": 1, "status": 400,
        "body": "{\"__type\": \"AccessDeniedException\", \"message\": \"said the test\"}" }));
    let output = in_lab(&project, &prune).run();
    output
        .fails(4)
        .stderr_has("`ecr:BatchDeleteImage`")
        .stderr_has(&repository)
        .stderr_has("docker-prune:1` manually");
    assert_eq!(
        aws.keys(&aws.release_bucket()).iter().filter(|key| key.ends_with(".zip")).count(),
        2
    );
    in_lab(&project, &prune).run().success().stderr_has("Deleted 1 of 2");
    assert_eq!(tags(), ["1", "2", "latest"]);
    in_lab(&project, &["deploy", "ci", "2"]).run().success();
    assert!(lab.manifest("docker-prune", "latest").is_some());
}

#[test]
fn doctor_looks_at_the_engine_and_at_who_may_push() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-doctor"));
    let project = on_aws("docker-doctor", &aws);
    let image = format!("{}/docker-doctor", Lab::ecr());
    let new = in_lab(&project, &["doctor"]).run();
    new.stdout_has(&format!("at {}, BuildKit", lab.docker_host()));
    new.stdout_has(&format!("{image} does not exist yet: the first release creates it"));
    release(&project, "1").success();
    let uploads = format!("POST {}/v2/docker-doctor/blobs/uploads/", Lab::ecr());
    in_lab(&project, &["doctor"]).run().stdout_has(&format!("{image}, push allowed"));
    lab.rule(json!({ "matching": uploads, "times": 1, "status": 403 }));
    let refused = in_lab(&project, &["doctor"]).run();
    refused
        .fails(4)
        .stdout_has("problem  image repository")
        .stdout_has("allowed to push to `docker-doctor`");
    let without =
        in_lab(&project, &["doctor"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").run();
    without.fails(2).stdout_has("problem  docker engine").stdout_has("does not answer");

    let local = Project::local("docker-doctor-local");
    // In the laboratory nobody is at this port.
    local.edit_json("account-scheme.json", |scheme| {
        scheme["image-registry"] = "localhost:5999".into()
    });
    let local = furnished(local);
    let absent = in_lab(&local, &["doctor"]).run();
    absent.fails(2).stdout_has("cannot push images to `localhost:5999/docker-doctor-local`");
    absent.stdout_has(
        "start a registry, because nothing listens there: docker run --detach --publish \
        127.0.0.1:5999:5000 registry:2",
    );
    local.edit("account-scheme.json", "localhost:5999", Lab::LOCAL);
    in_lab(&local, &["doctor"])
        .run()
        .stdout_has("localhost:5000/docker-doctor-local, push allowed");
}
