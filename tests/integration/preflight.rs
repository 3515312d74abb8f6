//! A release whose image or zip has gone is refused before anything is planned.

use crate::support::{Aws, Lab, Project, REGION, RELEASE, Reference};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::fs;

fn function(project: Project) -> Project {
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project
        .write("src/handler.py", "def handle(event, context):\n    return 1\n")
        .commit("A function");
    project
}

#[test]
fn a_zip_that_is_gone_stops_a_deploy_and_a_rollback_but_no_destroy() {
    let project = function(Project::local("gone"));
    project.release("1");
    project
        .write("src/handler.py", "def handle(event, context):\n    return 2\n")
        .commit("Another");
    project.release("2");
    project.deploy("live", "1").lacks("still there");
    project.deploy("live", "2");
    let zip = |version: &str| project.store().join("lambda").join(project.release_key(version));
    fs::remove_file(zip("1")).unwrap();
    let gone = format!("{}` of release 1 no longer exists", project.release_key("1"));
    let says = ["the function's zip `file:", gone.as_str(), "cdflow release VERSION"];
    for arguments in [
        ["deploy", "live", "1", "--allow-downgrade"].as_slice(),
        &["deploy", "live", "1", "--plan-only"],
        &["rollback", "live"],
    ] {
        let output = project.refuses(arguments.iter().copied(), 2, &says);
        output.lacks("==> Plan");
    }
    // A new environment is not even begun.
    project.refuses(["deploy", "ci", "1"], 2, &says);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "deploy 2 succeeded"]);
    project.cdflow(["deploy", "live", "1", "--refresh-only"]).run().success();

    fs::remove_file(zip("2")).unwrap();
    project.cdflow(["destroy", "live", "--confirm", "live"]).run().success();
}

#[test]
fn a_zip_in_s3_that_is_gone_is_named_and_one_that_is_hidden_is_no_reason_to_stop() {
    let aws = Aws::new("zip-gone");
    let project = function(Project::aws("gone", &aws));
    project.release("1");
    project.deploy("ci", "1").lacks("still there");
    let (bucket, key) = (aws.lambda_bucket(), project.release_key("1"));
    aws.rule(json!({ "matching": format!("/{bucket}/{key}"), "times": 2, "status": 403,
        "body": "<Error><Code>AccessDenied</Code><Message>said the test</Message></Error>" }));
    let what = format!("the function's zip `s3://{bucket}/{key}`");
    let hidden = format!("cannot check whether {what} still exists");
    project.deploy("ci", "1").stderr_has(&hidden).stderr_has("AccessDenied");
    aws.delete(&bucket, &key);
    project.refuses(["deploy", "ci", "1"], 2, &[&format!("{what} of release 1 no longer exists")]);
}

#[test]
fn an_image_that_ecr_has_no_more_stops_a_deploy() {
    let aws = Aws::new("image-gone");
    let project = Project::aws("gone", &aws);
    let repository = aws.name();
    aws.call(RELEASE, "ecr", "create_repository", json!({ "repositoryName": repository }));
    let digest = format!("sha256:{}", "a".repeat(64));
    let manifest = json!({ "schemaVersion": 2, "layers": [], "config": { "size": 1 } }).to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    aws.call(
        RELEASE,
        "ecr",
        "put_image",
        json!({ "repositoryName": repository, "imageManifest": manifest,
            "imageManifestMediaType": media_type,
            "imageTag": "1", "imageDigest": digest }),
    );
    let image = format!("{RELEASE}.dkr.ecr.{REGION}.amazonaws.com/{repository}@{digest}");
    Reference::new(&project, "1").data("image_id", &image).upload(&aws);
    project.deploy("ci", "1").lacks("still there");
    let ids = json!([{ "imageDigest": digest }]);
    aws.call(
        RELEASE,
        "ecr",
        "batch_delete_image",
        json!({ "repositoryName": repository, "imageIds": ids }),
    );
    let gone = format!("the image `{image}` of release 1 no longer exists");
    project
        .refuses(["deploy", "ci", "1"], 2, &[&gone, "release again, as a new version"])
        .lacks("==> Plan");
}

#[test]
fn an_image_in_another_registry_is_looked_for_there() {
    let lab = Lab::get();
    let project = Project::local("elsewhere");
    let digest = lab.push("public/preflight", "1", "content");
    let local = format!("{}/public/preflight@{digest}", Lab::LOCAL);
    let tokens = format!("{}/public/preflight@{digest}", Lab::TOKENS);
    let private = format!("{}/private@{digest}", Lab::TOKENS);
    for (version, image) in [("1", &local), ("2", &tokens), ("3", &private)] {
        Reference::new(&project, version).data("image_id", image).publish();
    }
    let deploy =
        |version: &str| project.cdflow(["deploy", "ci", version, "--allow-downgrade"]).in_lab(lab);
    deploy("1").run().success().lacks("still there");
    deploy("2").run().success().lacks("still there");
    let warning = format!("cannot check whether the image `{private}` still exists");
    deploy("3").run().success().stderr_has(&warning).stderr_has("docker login registry.test");
    lab.delete_image("public/preflight", &digest);
    for (version, image) in [("1", local), ("2", tokens)] {
        let gone = format!("the image `{image}` of release {version} no longer exists");
        project.refuses_run(deploy(version), 2, &[&gone]).lacks("==> Plan");
    }
}

/// The login is the one that Docker's own configuration has.
#[test]
fn a_registry_that_lets_only_some_in_is_asked_with_docker_s_login() {
    let lab = Lab::get();
    let project = Project::local("private");
    let digest = lab.push("preflight-private", "1", "content");
    let image = format!("{}/preflight-private@{digest}", Lab::TOKENS);
    Reference::new(&project, "1").data("image_id", &image).publish();
    let password = BASE64.encode(format!("{}:{}", Lab::USER, Lab::PASSWORD));
    let folder = project.sandbox().home().join(".docker");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("config.json"),
        json!({ "auths": { Lab::TOKENS: { "auth": password } } }).to_string(),
    )
    .unwrap();
    project
        .cdflow(["deploy", "ci", "1"])
        .in_lab(lab)
        .run()
        .success()
        .lacks("still there")
        .lacks(Lab::PASSWORD);
    lab.delete_image("preflight-private", &digest);
    let gone = format!("the image `{image}` of release 1 no longer exists");
    project.refuses_run(project.cdflow(["deploy", "ci", "1"]).in_lab(lab), 2, &[&gone]);
}
