//! Components of type `docker`: an image is built by a real engine, pushed to a registry that
//! stands for ECR, and deployed by its digest.

use crate::support::github::{GitHub, TOKEN};
use crate::support::{
    Aws, Company, Lab, Output, Podman, Project, RELEASE, Runner, Sandbox, git, pull_request_event,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `release` as Terraform gets it.
const SHOW_RELEASE: &str = r#"variable "release" {
  type = map(string)
}

resource "terraform_data" "release" {
  input = var.release
}

output "release" {
  value = terraform_data.release.output
}
"#;

const DOCKERFILE: &str = "FROM busybox\nCOPY message /message\nCMD [\"cat\", \"/message\"]\n";

/// Releases to moto, images to ECR.
fn on_aws(name: &str, aws: &Aws) -> Project {
    furnished(Project::aws(name, aws))
}

/// Releases to a folder, images to a registry on localhost that speaks http.
fn local(name: &str) -> Project {
    let project = Project::local(name);
    project.edit_json("account-scheme.json", |scheme| scheme["image-registry"] = Lab::LOCAL.into());
    furnished(project)
}

fn furnished(project: Project) -> Project {
    project.edit("cdflow.yml", "type: infrastructure", "type: docker");
    project
        .write("infra/main.tf", SHOW_RELEASE)
        .write("Dockerfile", DOCKERFILE)
        .write("message", "hello\n");
    project.commit("An image");
    project
}

fn in_lab(project: &Project, arguments: &[&str]) -> Runner {
    project.cdflow(arguments).in_lab(Lab::get())
}

fn release(project: &Project, version: &str) -> Output {
    in_lab(project, &["release", version]).run()
}

fn hook(project: &Project, script: &str) {
    project.write("on-docker-build", script);
    fs::set_permissions(project.path("on-docker-build"), fs::Permissions::from_mode(0o755))
        .unwrap();
    project.commit("A hook");
}

fn released(project: &Project, version: &str) -> Value {
    in_lab(project, &["inspect", version, "--json"]).run().success().json()["release"].clone()
}

/// Runs what a registry has, fetched anew.
fn run(project: &Project, digest: &str) -> String {
    Lab::get().docker(["run", "--rm", &format!("{}/{}@{digest}", Lab::LOCAL, project.name())])
}

#[test]
fn an_image_is_pushed_to_ecr_and_deployed_by_its_digest() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-life"));
    let project = on_aws("docker-life", &aws);
    let output = release(&project, "1");
    eprintln!("release {:?}", output.elapsed);
    let image = format!("{}/docker-life", Lab::ecr());
    output
        .success()
        .stderr_has(&format!("==> Build the image {image}:1\n"))
        .stderr_has("Released docker-life 1\n");
    assert_eq!(lab.registry_tags("docker-life"), ["1", "latest"]);
    let digest = lab.manifest("docker-life", "1").unwrap().digest;
    assert_eq!(lab.manifest("docker-life", "latest").unwrap().digest, digest);
    let facts = released(&project, "1");
    assert_eq!(
        (&facts["image_id"], &facts["image_tag"]),
        (&json!(format!("{image}@{digest}")), &json!(format!("{image}:1")))
    );
    assert_eq!(run(&project, &digest), "hello");

    let labels = lab.config("docker-life", "1")["config"]["Labels"].clone();
    assert_eq!(labels["org.opencontainers.image.revision"], project.head());
    assert_eq!(labels["org.opencontainers.image.version"], "1");
    assert_eq!(labels["org.opencontainers.image.title"], "docker-life");
    assert_eq!(
        labels["org.opencontainers.image.source"],
        "https://github.com/acme/docker-life.git"
    );
    // One manifest and no index: what AWS Lambda takes.
    let manifest: Value =
        serde_json::from_str(&lab.manifest("docker-life", "1").unwrap().text).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let policy = aws.call(
        RELEASE,
        "ecr",
        "get_repository_policy",
        json!({ "repositoryName": "docker-life" }),
    );
    assert!(policy["policyText"].as_str().unwrap().contains("ecr:BatchGetImage"), "{policy}");

    let output = in_lab(&project, &["deploy", "ci", "1"]).run();
    output.success().stdout_has(&digest).stderr_has("Deployed docker-life 1 to ci");

    // The same tree again, and from another version the same layers.
    let pushes = || lab.requests(&format!("PUT {}/v2/docker-life/", Lab::ecr())).len();
    let before = pushes();
    release(&project, "1").success().stderr_has("Already released");
    assert_eq!(pushes(), before);
    project.write("message", "other\n").commit("Another message");
    release(&project, "1").fails(3).stderr_has("is already published from other sources");
    assert_eq!(pushes(), before);
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn an_image_whose_bundle_never_came_is_taken_over_by_the_next_try() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-adopt"));
    let project = on_aws("docker-adopt", &aws);
    release(&project, "1").success();
    let facts = released(&project, "1");
    aws.delete(&aws.release_bucket(), &project.release_key("1"));
    let before = lab.requests(&format!("PUT {}/v2/docker-adopt/", Lab::ecr())).len();
    let output = release(&project, "1");
    output
        .success()
        .stderr_has("==> Reuse the image")
        .stderr_has("Released docker-adopt 1")
        .lacks("Build the image");
    assert_eq!(lab.requests(&format!("PUT {}/v2/docker-adopt/", Lab::ecr())).len(), before);
    assert_eq!(released(&project, "1"), facts);

    aws.delete(&aws.release_bucket(), &project.release_key("1"));
    project.write("message", "other\n").commit("Another message");
    let label = lab.config("docker-adopt", "1")["config"]["Labels"]["cdflow.source-digest"].clone();
    let output = release(&project, "1");
    output.fails(3).stderr_has(label.as_str().unwrap()).stderr_has("release under a new version");
    release(&project, "2").success();
}

/// Another run, played by the hook, pushes its image while ours is built.
#[test]
fn an_image_that_came_meanwhile_keeps_its_tag() {
    let lab = Lab::get();
    let project = local("docker-race");
    let faster = |label: &str| {
        format!(
            "#!/bin/sh\nset -e\nexport DOCKER_BUILDKIT=0\ndocker tag \"$1\" kept\n\
             printf 'FROM kept\\nENV OTHER=1\\n' | docker build --tag \"$1\" {label} -\n\
             docker push \"$1\"\ndocker tag kept \"$1\"\n"
        )
    };
    hook(&project, &faster(""));
    release(&project, "1").success().stderr_has("another run has pushed it from the same sources");
    let theirs = lab.manifest("docker-race", "1").unwrap().digest;
    assert!(lab.config("docker-race", "1")["config"]["Env"].to_string().contains("OTHER=1"));
    assert_eq!(
        released(&project, "1")["image_id"],
        json!(format!("{}/docker-race@{theirs}", Lab::LOCAL))
    );
    assert_eq!(lab.registry_tags("docker-race"), ["1"]);

    hook(&project, &faster("--label cdflow.source-digest=other"));
    release(&project, "2").fails(3).stderr_has("exists with other content");
    assert!(lab.config("docker-race", "2")["config"]["Env"].to_string().contains("OTHER=1"));
    assert_eq!(project.stored().len(), 1);
}

#[test]
fn a_registry_on_localhost_takes_the_place_of_ecr() {
    let lab = Lab::get();
    let project = local("docker-local");
    release(&project, "1").success();
    let digest = lab.manifest("docker-local", "1").unwrap().digest;
    let output = in_lab(&project, &["deploy", "ci", "1"]).run();
    output.success().stdout_has(&format!("localhost:5000/docker-local@{digest}"));
    assert_eq!(run(&project, &digest), "hello");
}

#[test]
fn what_would_be_built_is_shown_without_an_engine() {
    let project = local("docker-dry");
    project.append(
        "cdflow.yml",
        "docker: {build-args: {V: \"1\"}, platforms: [linux/amd64], target: run}\n",
    );
    project
        .write("Dockerfile", "FROM busybox AS base\nFROM base AS run\nCOPY message /\n")
        .write(".dockerignore", "infra\n");
    project.commit("Settings");
    let output = project
        .cdflow(["release", "1", "--dry-run"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .run();
    output.success().stdout_has("image                  localhost:5000/docker-dry:1\n");
    output.stdout_has("built from             busybox\n").stdout_has("build argument         V\n");
    output
        .stdout_has("target                 run\n")
        .stdout_has("platform               linux/amd64\n");
    output
        .stdout_has("build context           6 B  message\n")
        .lacks("build context         321 B  infra");
}

#[test]
fn without_an_engine_nothing_is_begun() {
    let project = local("docker-absent");
    let output =
        project.cdflow(["release", "1"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").run();
    output.fails(2).stderr_has("unix:///nowhere/docker.sock").stderr_has("set DOCKER_HOST");
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn a_failed_build_shows_its_last_lines() {
    let project = local("docker-fails");
    project
        .write("Dockerfile", "FROM busybox\nRUN echo one && echo two && exit 7\n")
        .commit("It fails");
    for buildkit in ["1", "0"] {
        let output = in_lab(&project, &["release", "1"]).env("DOCKER_BUILDKIT", buildkit).run();
        output
            .fails(11)
            .stderr_has("the image `localhost:5000/docker-fails:1` can't be built")
            .stderr_has("    two");
    }
    assert!(Lab::get().registry_tags("docker-fails").is_empty() && project.stored().is_empty());
    project.remove("Dockerfile").commit("No Dockerfile");
    release(&project, "1").fails(2).stderr_has("/Dockerfile` not found");
}

#[test]
fn the_hook_runs_between_build_and_push() {
    let lab = Lab::get();
    let project = local("docker-hook");
    hook(&project, "#!/bin/sh\necho \"checking $1\"\ndocker run --rm \"$1\"\nexit 3\n");
    let output = release(&project, "1");
    output
        .fails(11)
        .stdout_has("checking localhost:5000/docker-hook:1\n")
        .stdout_has("hello\n")
        .stderr_has("exit code 3");
    assert!(lab.registry_tags("docker-hook").is_empty());
    hook(&project, "#!/bin/sh\nenv\n");
    let output = in_lab(&project, &["release", "1"]).env("GITHUB_TOKEN", "ghs_secret").run();
    output.success().stdout_has("DOCKER_HOST=unix://").lacks("ghs_secret");
    assert_eq!(lab.registry_tags("docker-hook"), ["1", "latest"]);
    fs::set_permissions(project.path("on-docker-build"), fs::Permissions::from_mode(0o644))
        .unwrap();
    release(&project, "2").fails(2).stderr_has("is not an executable file");
}

/// The list is a file of one step, in no layer.
#[test]
fn buildkit_gets_the_certificate_authorities() {
    let project = local("docker-authorities");
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=ca-certificates,target=/ca.pem \
                      if [ -f /ca.pem ]; then tail -n 2 /ca.pem | cut -c 1-20; fi > /end\n\
                      CMD cat /end\n";
    project.write("Dockerfile", dockerfile).commit("Asks for the list");
    let company = Company::start(project.sandbox(), "http://127.0.0.1:9");
    let runner = in_lab(&project, &["release", "1"]).arg("--ca-certificates");
    runner.arg(company.authority()).run().success();
    let digest = |version: &str| Lab::get().manifest("docker-authorities", version).unwrap().digest;
    let pem = company.pem();
    let end: Vec<&str> =
        pem.lines().rev().take(2).map(|line| &line[..line.len().min(20)]).collect();
    assert_eq!(run(&project, &digest("1")).lines().rev().collect::<Vec<_>>(), end);
    // Without the input there is no such file, and the build goes on.
    let uncached = "FROM busybox\nENV OTHER=1\n";
    project.edit("Dockerfile", "FROM busybox\n", uncached).commit("Not from the cache");
    release(&project, "2").success();
    assert_eq!(run(&project, &digest("2")), "");
}

#[test]
fn buildkit_gets_secrets_arguments_and_a_target() {
    let lab = Lab::get();
    let project = local("docker-buildkit");
    project.append(
        "cdflow.yml",
        "docker: {target: run, build-args: {GREETING: \"1.20\"}, secrets: [NPM_TOKEN], cache: \
        inline, platforms: [linux/amd64]}\n",
    );
    let dockerfile = "FROM busybox AS base\nARG GREETING\n\
                      RUN --mount=type=cache,target=/cache echo x >> /cache/n && echo \
                      \"$GREETING\" > /greeting\n\
                      RUN --mount=type=secret,id=NPM_TOKEN echo \"it is $(cat \
                      /run/secrets/NPM_TOKEN)\" && \
                      sha256sum /run/secrets/NPM_TOKEN > /sum\n\
                      FROM base AS run\nCMD cat /greeting /sum\nFROM base\nRUN false\n";
    project.write("Dockerfile", dockerfile).commit("Much");
    release(&project, "1")
        .fails(2)
        .stderr_has("`NPM_TOKEN`")
        .stderr_has("no environment variable has this name");
    let secret = "npm-secret-of-the-build";
    let output = in_lab(&project, &["release", "1", "-vv"]).env("NPM_TOKEN", secret).run();
    output.success().stdout_has("it is ***").lacks(secret);
    let digest = lab.manifest("docker-buildkit", "1").unwrap().digest;
    let said = run(&project, &digest);
    assert!(said.starts_with("1.20\n") && said.ends_with("  /run/secrets/NPM_TOKEN"), "{said}");
    assert!(!lab.config("docker-buildkit", "1").to_string().contains(secret));

    // Of `latest`, by what it says of its own layers.
    // The engine can lose a layer while other tests remove images, so it has several tries.
    let _cache = Lab::own_build_cache();
    let is_cached = ["2", "3", "5", "6", "7"].into_iter().any(|version| {
        lab.docker(["builder", "prune", "--all", "--force"]);
        project.write("message", version).commit("Nothing that is used");
        let output = in_lab(&project, &["release", version]).env("NPM_TOKEN", secret).run();
        let says = "importing cache manifest from localhost:5000/docker-buildkit:latest";
        output.success().stdout_has(says);
        output.stdout.contains("CACHED")
    });
    assert!(is_cached, "each release builds again what `latest` says it has");

    let output = in_lab(&project, &["release", "4"])
        .env("NPM_TOKEN", secret)
        .env("DOCKER_BUILDKIT", "0")
        .run();
    output
        .fails(2)
        .stderr_has("`docker.secrets` needs BuildKit")
        .stderr_has("DOCKER_BUILDKIT says so");
}

#[test]
fn the_classic_builder_builds_as_well() {
    let project = local("docker-classic");
    project.append("cdflow.yml", "docker: {target: run, build-args: {GREETING: hi}}\n");
    let dockerfile = "FROM busybox AS run\nARG GREETING\nRUN echo \"$GREETING\" > /greeting\nCMD \
    cat /greeting\nFROM run\nRUN false\n";
    project.write("Dockerfile", dockerfile).commit("A target");
    let output = in_lab(&project, &["release", "1"]).env("DOCKER_BUILDKIT", "0").run();
    output.success().stdout_has("Step 4/9 : CMD cat /greeting\n");
    assert_eq!(run(&project, &Lab::get().manifest("docker-classic", "1").unwrap().digest), "hi");
}

#[test]
fn a_private_base_image_needs_a_login_which_is_shown_nowhere() {
    let lab = Lab::get();
    lab.push("private/docker-base", "1", "base");
    let project = local("docker-private");
    let dockerfile = format!("FROM {}/private/docker-base:1\nCOPY message /\n", Lab::TOKENS);
    project.write("Dockerfile", &dockerfile).commit("A private base");
    for (version, buildkit) in [("1", "1"), ("2", "0")] {
        let _cache = Lab::own_build_cache();
        // The engine keeps a base image that it has once fetched.
        lab.try_docker(["builder", "prune", "--all", "--force"]);
        lab.try_docker([
            "image",
            "rm",
            "--force",
            &format!("{}/private/docker-base:1", Lab::TOKENS),
        ]);
        let release = || in_lab(&project, &["release", version]).env("DOCKER_BUILDKIT", buildkit);
        release()
            .run()
            .fails(11)
            .stderr_has("if a base image is private, give its registry a login");
        let login = format!("{}:{}", Lab::USER, Lab::PASSWORD);
        let registries = format!("{}=REGISTRY_LOGIN", Lab::TOKENS);
        let output =
            release().args(["--registries", &registries, "-vv"]).env("REGISTRY_LOGIN", login).run();
        output.success().lacks(Lab::PASSWORD);
    }
}

#[test]
fn what_a_registry_refuses_has_its_own_exit_code() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-refused"));
    let project = on_aws("docker-refused", &aws);
    let put = format!("PUT {}/v2/docker-refused/manifests/", Lab::ecr());
    let answer = |status: u16, code: &str| {
        let body = json!({ "errors": [{ "code": code, "message": "of the test" }] }).to_string();
        lab.rule(json!({ "matching": put, "times": 1, "status": status, "body": body }));
    };
    answer(403, "DENIED");
    release(&project, "1")
        .fails(4)
        .stderr_has("cannot push the image")
        .stderr_has("allow this identity to push");
    assert!(aws.keys(&aws.release_bucket()).is_empty());

    // A login that has run out is renewed, and trouble is waited for.
    answer(401, "UNAUTHORIZED");
    answer(503, "UNAVAILABLE");
    release(&project, "1").success().stderr_has("retrying in 1 s");
    assert_eq!(lab.registry_tags("docker-refused"), ["1", "latest"]);
}

#[test]
fn where_tags_are_immutable_nothing_is_latest() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-fixed"));
    let project = on_aws("docker-fixed", &aws);
    project.append("cdflow.yml", "docker: {immutable-tags: true}\n").commit("Immutable");
    release(&project, "1").success().stderr_has("is not moved: tags are immutable");
    assert_eq!(lab.registry_tags("docker-fixed"), ["1"]);
}

#[test]
fn a_cancelled_build_publishes_nothing() {
    let project = local("docker-cancel");
    project.write("Dockerfile", "FROM busybox\nRUN echo begun && sleep 60\n").commit("Slow");
    for buildkit in ["1", "0"] {
        let mut running =
            in_lab(&project, &["release", "1"]).env("DOCKER_BUILDKIT", buildkit).spawn();
        running.wait_for("begun");
        running.signal(Signal::SIGINT);
        let output = running.wait();
        output.fails(130).stderr_has("cancelled while building the image");
        assert!(output.elapsed.as_secs() < 30, "{:?}", output.elapsed);
    }
    assert!(Lab::get().registry_tags("docker-cancel").is_empty() && project.stored().is_empty());
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn a_cancelled_push_publishes_nothing_and_burns_nothing() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-push"));
    let project = on_aws("docker-push", &aws);
    let put = format!("PUT {}/v2/docker-push/manifests/", Lab::ecr());
    lab.rule(json!({ "matching": put, "times": 1, "delay": 20 }));
    let mut running = in_lab(&project, &["release", "1"]).spawn();
    running.wait_until("the push is at its end", |_| !lab.requests(&put).is_empty());
    running.signal(Signal::SIGTERM);
    let output = running.wait();
    output.fails(143).stderr_has("cancelled: the release is not published");
    assert!(output.elapsed.as_secs() < 15, "{:?}", output.elapsed);
    assert!(aws.keys(&aws.release_bucket()).is_empty());
    release(&project, "1").success();
}

#[test]
fn a_component_that_can_be_no_image_and_a_key_of_another_type() {
    let project = local("docker-name");
    let output = in_lab(&project, &["release", "1", "--component", "Docker_Name"]).run();
    output
        .fails(2)
        .stderr_has("invalid component `Docker_Name`: expected 2 to 63 lowercase letters");
    project
        .edit("cdflow.yml", "type: docker", "type: infrastructure")
        .append("cdflow.yml", "docker: {target: x}\n");
    project
        .cdflow(["release", "1"])
        .run()
        .fails(2)
        .stderr_has("`docker` is for components of type `docker`");
}

#[test]
fn what_init_writes_is_built_and_deployed() {
    let (lab, sandbox) = (Lab::get(), Sandbox::new());
    // The one base image of the laboratory, under the name that the scaffold uses.
    lab.docker(["tag", "busybox", "busybox:1.36"]);
    let cdflow = |folder: &Path, arguments: &[&str]| {
        Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &sandbox).cwd(folder).in_lab(lab).run()
    };
    cdflow(&sandbox.work(), &["init", "--type", "docker", "docker-init"]).success();
    let folder = sandbox.work().join("docker-init");
    for arguments in
        [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "First"]]
    {
        git(&sandbox, &folder, arguments).run().success();
    }
    cdflow(&folder, &["release", "1"]).success().lacks("warning");
    let digest = lab.manifest("docker-init", "1").unwrap().digest;
    cdflow(&folder, &["deploy", "ci", "1"]).success().lacks("warning").stdout_has(&digest);
    // The release store lies in the component's folder, and is no part of the image.
    cdflow(&folder, &["release", "1"]).success().stderr_has("Already released");
    cdflow(&folder, &["destroy", "ci", "--confirm", "ci"]).success();
}

/// A step of the workflow of a pull request, or of the default branch.
fn on_actions(project: &Project, github: &GitHub, is_pull_request: bool, version: &str) -> Output {
    let runner = match is_pull_request {
        true => {
            let event = pull_request_event(7, &project.head(), "open", &[]);
            project.for_pull_request(github, &event, 1, &["release", version])
        }
        false => {
            let event = project.sandbox().work().join("push.json");
            let repository = pull_request_event(7, "", "open", &[])["repository"].take();
            fs::write(&event, json!({ "repository": repository }).to_string()).unwrap();
            let runner = project.cdflow(["release", version]).envs(github.env());
            runner
                .env("GITHUB_EVENT_NAME", "push")
                .env("GITHUB_EVENT_PATH", event)
                .env("GITHUB_REF_NAME", "main")
                .env("GITHUB_SHA", project.head())
        }
    };
    runner.in_lab(Lab::get()).run()
}

#[test]
fn what_a_pull_request_built_is_what_is_released_after_the_merge() {
    let (project, lab, github) = (local("docker-once"), Lab::get(), GitHub::start());
    lab.relay(github.url().rsplit(':').next().unwrap().parse().unwrap());
    // No two builds of this are the same.
    project.write("Dockerfile", "FROM busybox\nRUN head -c 16 /dev/urandom > /message\n");
    project.commit("Not reproducible");
    on_actions(&project, &github, true, "pr-7-abcdef0").success().stdout_has("Build the image");
    let built = released(&project, "pr-7-abcdef0");
    project.git(["commit", "--quiet", "--allow-empty", "--message", "Merge"]);
    let merged = on_actions(&project, &github, false, "2");
    let merged = merged.success();
    merged.stdout_has("Reuse the image of pr-7-abcdef0").lacks("Build the image");
    let facts = released(&project, "2");
    assert_eq!(facts["image_id"], built["image_id"]);
    assert_eq!(facts["image_tag"], format!("{}/docker-once:2", Lab::LOCAL));
    assert_eq!(lab.registry_tags("docker-once"), ["2", "latest", "pr-7-abcdef0"]);
    let digest = |tag: &str| lab.manifest("docker-once", tag).unwrap().digest;
    assert_eq!((digest("2"), digest("latest")), (digest("pr-7-abcdef0"), digest("2")));

    // Only of the same tree, and only what a pull request built.
    on_actions(&project, &github, false, "3").success().stdout_has("Reuse the image of pr-7");
    project.write("message", "other\n").commit("Other");
    on_actions(&project, &github, false, "4").success().stdout_has("Build the image");
    on_actions(&project, &github, false, "5").success().stdout_has("Build the image");
    // A release that was deleted is no source.
    project.git(["revert", "--no-edit", "HEAD"]);
    fs::remove_file(project.bundle("pr-7-abcdef0")).unwrap();
    on_actions(&project, &github, false, "6").success().stdout_has("Build the image");
}

/// From the pull request to the deploy: the release of the squashed commit has the image that the
/// pull request built, and only the change that it showed is applied.
#[test]
fn the_image_that_was_reviewed_is_the_one_that_is_deployed() {
    let (project, lab, github) = (local("docker-reviewed"), Lab::get(), GitHub::start());
    lab.relay(github.url().rsplit(':').next().unwrap().parse().unwrap());
    project.write("Dockerfile", "FROM busybox\nRUN head -c 16 /dev/urandom > /message\n");
    project.commit("Not reproducible");
    release(&project, "1-aaaaaaa").success();
    in_lab(&project, &["deploy", "live", "1-aaaaaaa"]).run().success();
    let pull_request = |number: u64, version: &str| {
        let head = project.head();
        github.world().pull_request(number, &head);
        let event = pull_request_event(number, &head, "open", &[]);
        for arguments in [&["release", version][..], &["deploy", "live", version, "--plan-only"]] {
            project
                .for_pull_request(&github, &event, number, arguments)
                .in_lab(lab)
                .run()
                .success();
        }
        github.world().review(number, "grace", "APPROVED");
        project.git(["commit", "--quiet", "--allow-empty", "--message", "Squashed"]);
        let mut world = github.world();
        let merged = world.pull_requests.get_mut(&number).unwrap();
        (merged.is_open, merged.is_merged) = (false, true);
        merged.merge_commit_sha = Some(project.head());
    };
    let deploy = |version: &str| {
        let runner = in_lab(&project, &["deploy", "live", version, "--reviewed"]);
        let runner = runner.envs(github.env()).env("GITHUB_TOKEN", TOKEN);
        runner.env("GITHUB_EVENT_NAME", "push").run()
    };
    let queue = "\nresource \"terraform_data\" \"queue\" {\n  input = \"one\"\n}\n";
    project.append("infra/main.tf", queue);
    project.commit("A queue");
    pull_request(7, "pr-7-abcdef0");
    on_actions(&project, &github, false, "2-bbbbbbb")
        .success()
        .stdout_has("Reuse the image of pr-7-abcdef0");
    deploy("2-bbbbbbb")
        .success()
        .stdout_has("The plan does what pull request #7 showed, approved by grace");
    let reviewed = released(&project, "pr-7-abcdef0")["image_id"].clone();
    let output = ["shell", "live", "--", "terraform", "output", "-json"];
    let deployed = in_lab(&project, &output).run().success().json();
    assert_eq!(deployed["release"]["value"]["image_id"], reviewed);

    // The state changes between the review and the deploy.
    project.edit("infra/main.tf", "\"one\"", "\"two\"").commit("Another queue");
    pull_request(8, "pr-8-abcdef0");
    on_actions(&project, &github, false, "3-ccccccc").success().stdout_has("Reuse the image of");
    let forget = ["shell", "live", "--", "terraform", "state", "rm", "terraform_data.queue"];
    in_lab(&project, &forget).run().success();
    deploy("3-ccccccc")
        .fails(3)
        .stdout_has("the plan is not the one that pull request #8 showed for `live`")
        .stdout_has("- terraform_data.queue:");
    assert_eq!(project.ledger("live").len(), 2);
}

/// Docker pushes to a registry on localhost without TLS, podman only if its settings say so.
#[test]
fn podman_needs_a_setting_for_a_registry_without_tls() {
    let lab = Lab::get();
    let project = local("docker-podman");
    project.write("Dockerfile", "FROM scratch\nCOPY message /message\n").commit("From nothing");
    let podman = Podman::new(lab, project.sandbox(), "podman-push");
    let release = |address: &str| in_lab(&project, &["release", "1"]).env("DOCKER_HOST", address);
    let (_plain, address) = podman.serve(None);
    let output = release(&address).run();
    output
        .fails(2)
        .stderr_has(
            "error: cannot push the image `localhost:5000/docker-podman:1`: the registry \
             `localhost:5000` uses HTTP, and Podman expects HTTPS\n",
        )
        .stderr_has("`location = \"localhost:5000\"`, `insecure = true`")
        .lacks("retrying")
        .lacks("try again later");
    let settings = "[[registry]]\nlocation = \"localhost:5000\"\ninsecure = true\n";
    let (_service, address) = podman.serve(Some(settings));
    release(&address).run().success();
    assert_eq!(lab.registry_tags("docker-podman"), ["1", "latest"]);
}
