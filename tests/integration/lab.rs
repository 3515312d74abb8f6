//! The laboratory, tested: an engine, ECR and registries that behave as the real ones do.

use crate::support::{Aws, Lab, REGION, RELEASE, Runner, Sandbox, descendants};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn create_repository(aws: &Aws, mutability: &str) -> String {
    let name = aws.name().to_owned();
    aws.call(
        RELEASE,
        "ecr",
        "create_repository",
        json!({ "repositoryName": name, "imageTagMutability": mutability }),
    );
    name
}

/// `docker login` of a configuration in a sandbox, which pushes with it.
fn docker_as_aws(sandbox: &Sandbox, lab: &Lab, arguments: &[&str]) -> Runner {
    let password = format!("{RELEASE}-auth-token");
    let login = ["login", "--username", "AWS", "--password-stdin", &Lab::ecr()];
    Runner::new("docker", login, sandbox).in_lab(lab).stdin(password).run().success();
    Runner::new("docker", arguments, sandbox).in_lab(lab)
}

#[test]
fn an_image_is_built_run_and_pushed_and_ecr_knows_it() {
    let (lab, aws, sandbox) = (Lab::get(), Aws::new("image"), Sandbox::new());
    let repository = create_repository(&aws, "MUTABLE");
    fs::write(sandbox.work().join("Dockerfile"), "FROM busybox\nRUN echo made > /made\n").unwrap();
    let image = format!("{}/{repository}:1", Lab::ecr());
    Runner::new("docker", ["build", "--tag", &image, "."], &sandbox).in_lab(lab).run().success();
    assert_eq!(lab.docker(["run", "--rm", &image, "cat", "/made"]), "made");

    lab.try_docker(["push", &image]).fails(1).stderr_has("no basic auth credentials");
    docker_as_aws(&sandbox, lab, &["push", &image]).run().success();
    assert_eq!(lab.registry_tags(&repository), ["1"]);
    let digest = lab.manifest(&repository, "1").unwrap().digest;
    let known =
        aws.call(RELEASE, "ecr", "describe_images", json!({ "repositoryName": repository }));
    assert_eq!(known["imageDetails"][0]["imageDigest"], digest);
    assert_eq!(known["imageDetails"][0]["imageTags"], json!(["1"]));
    let by_digest = format!("{}/{repository}@{digest}", Lab::ecr());
    docker_as_aws(&sandbox, lab, &["pull", &by_digest]).run().success();

    // What ECR has deleted is gone for everybody.
    let gone = json!({ "repositoryName": repository, "imageIds": [{ "imageDigest": digest }] });
    aws.call(RELEASE, "ecr", "batch_delete_image", gone);
    docker_as_aws(&sandbox, lab, &["pull", &image])
        .run()
        .fails(1)
        .stderr_has("Requested image not found");
}

#[test]
fn ecr_takes_no_tag_twice_where_tags_are_immutable_and_makes_no_repository() {
    let (lab, aws, sandbox) = (Lab::get(), Aws::new("immutable"), Sandbox::new());
    let image = |repository: &str| format!("{}/{repository}:1", Lab::ecr());
    let missing = image(&format!("{}-missing", aws.name()));
    lab.docker(["tag", "busybox", &missing]);
    docker_as_aws(&sandbox, lab, &["push", &missing])
        .run()
        .fails(1)
        .stderr_has("does not exist in the registry");

    let image = image(&create_repository(&aws, "IMMUTABLE"));
    lab.docker(["tag", "busybox", &image]);
    docker_as_aws(&sandbox, lab, &["push", &image]).run().success();
    fs::write(sandbox.work().join("Dockerfile"), "FROM busybox\nRUN touch /other\n").unwrap();
    Runner::new("docker", ["build", "--tag", &image, "."], &sandbox).in_lab(lab).run().success();
    docker_as_aws(&sandbox, lab, &["push", &image])
        .run()
        .fails(1)
        .stderr_has("because the repository is immutable");
}

#[test]
fn a_registry_that_wants_tokens_wants_them() {
    let lab = Lab::get();
    let digest = lab.push("public/tokens", "1", "content");
    let get = |url: &str, authorization: &str| {
        lab.http(
            json!({ "url": url, "headers": { "Authorization": authorization, "Accept": "*/*" } }),
        )
    };
    let manifest = format!("https://{}/v2/public/tokens/manifests/{digest}", Lab::TOKENS);
    let refused = get(&manifest, "");
    assert_eq!(refused["status"], 401);
    let challenge = "Bearer realm=\"https://registry.test/token\",service=\"registry.test\",\
                     scope=\"repository:public/tokens:pull\"";
    assert_eq!(refused["headers"]["www-authenticate"], challenge);
    let token = get(
        "https://registry.test/token?service=registry.test&scope=repository:public/tokens:pull",
        "",
    );
    let token: Value = serde_json::from_str(token["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        get(&manifest, &format!("Bearer {}", token["token"].as_str().unwrap()))["status"],
        200
    );
    let private = "https://registry.test/token?scope=repository:private/x:pull";
    let known = BASE64.encode(format!("{}:{}", Lab::USER, Lab::PASSWORD));
    assert_eq!(get(private, "")["status"], 401);
    assert_eq!(get(private, &format!("Basic {known}"))["status"], 200);
    let refresh = format!("grant_type=refresh_token&refresh_token={}", Lab::REFRESH_TOKEN);
    assert_eq!(
        lab.http(
            json!({ "method": "POST", "url": "https://registry.test/token", "body": refresh })
        )["status"],
        200
    );
}

#[test]
fn a_rule_makes_a_registry_fail_and_cuts_a_push() {
    let (lab, aws, sandbox) = (Lab::get(), Aws::new("fault"), Sandbox::new());
    let repository = create_repository(&aws, "MUTABLE");
    let image = format!("{}/{repository}:1", Lab::ecr());
    lab.docker(["tag", "busybox", &image]);
    let manifest = format!("PUT {}/v2/{repository}/manifests/", Lab::ecr());
    lab.rule(json!({ "matching": manifest, "times": 1, "status": 403,
            "body": "{\"errors\":[{\"code\":\"DENIED\"}]}" }));
    docker_as_aws(&sandbox, lab, &["push", &image]).run().fails(1).stderr_has("denied");
    lab.rule(json!({ "matching": manifest, "cut": true }));
    docker_as_aws(&sandbox, lab, &["push", &image]).run().fails(1).stderr_has("EOF");
    assert!(lab.registry_tags(&repository).is_empty());
    assert!(lab.requests(&manifest).len() >= 2);
}

#[test]
fn what_was_pushed_can_be_looked_at_and_deleted() {
    let lab = Lab::get();
    let digest = lab.push("looked-at", "1", "content");
    assert_eq!(lab.registry_tags("looked-at"), ["1"]);
    assert_eq!(lab.config("looked-at", "1")["config"]["Labels"]["label"], "content");
    lab.delete_image("looked-at", &digest);
    assert!(lab.manifest("looked-at", &digest).is_none());
    assert!(lab.registry_tags("never-pushed").is_empty());
}

#[test]
fn nothing_outside_is_reached_and_nothing_outside_is_changed() {
    let lab = Lab::get();
    let host = fs::read_to_string("/etc/hosts").unwrap();
    assert!(!host.contains(&Lab::ecr()), "{host}");
    lab.try_docker(["pull", "alpine"]).fails(1);
    let aws = Aws::new("in-lab");
    let seen = Runner::new("cat", ["/proc/self/mounts"], &Sandbox::new()).run();
    seen.success().lacks("cdflow-test-lab-");
    let url = format!("{}/moto-api/", aws.endpoint());
    assert_eq!(lab.http(json!({ "url": url }))["status"], 200, "{REGION}");
}

/// As after the death of the test process: it ends when the pipe to it closes.
#[test]
fn it_ends_with_all_that_it_started() {
    let lab = Lab::start();
    let processes = descendants(i32::try_from(lab.pid()).unwrap());
    assert!(processes.len() >= 4, "{processes:?}");
    let folder = lab.folder().to_owned();
    drop(lab);
    let is_gone = |pid: &i32| !Path::new(&format!("/proc/{pid}/exe")).exists();
    let began = std::time::Instant::now();
    while !processes.iter().all(is_gone) || folder.exists() {
        assert!(began.elapsed().as_secs() < 30, "{processes:?}, {}", folder.display());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
