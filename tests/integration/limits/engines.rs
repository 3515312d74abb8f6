//! The limits of registries, of the Docker engine and of what a build starts: servers that let
//! cdflow wait in every way.

use crate::support::silent::{Reply, answering, answering_once, full};
use crate::support::{Output, Project, Reference, Runner, Running};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

const VERSION: &str = r#"{"Version": "27.0.0", "ApiVersion": "1.47", "MinAPIVersion": "1.24"}"#;
const ID: &str = "abababababababababababababababababababababababababababababababab";

fn ok(body: &str) -> Reply {
    Reply::Http(200, "content-type: application/json\r\n", body.to_owned())
}

/// A registry without any image, and an engine that builds at once.
fn usual(head: &str) -> Reply {
    match head {
        _ if head.contains("/v2/") => Reply::Http(404, "", String::new()),
        _ if head.contains("/version") => ok(VERSION),
        _ => ok("{}"),
    }
}

/// As `usual`; but what contains `part` gets this.
fn but(part: &'static str, reply: fn() -> Reply) -> String {
    answering(move |head| if head.contains(part) { reply() } else { usual(head) })
}

/// A component with an image, whose registry and engine are these.
fn project(registry: &str) -> Project {
    let project = Project::local("waiting");
    project.edit_json("account-scheme.json", |scheme| scheme["image-registry"] = registry.into());
    project.edit("cdflow.yml", "type: infrastructure", "type: docker");
    project.write("Dockerfile", "FROM scratch\nCOPY cdflow.yml /\n").commit("An image");
    project
}

fn release(project: &Project, engine: &str, limits: &str) -> Runner {
    project
        .releasing("1")
        .env("DOCKER_HOST", format!("tcp://{engine}"))
        .env("DOCKER_BUILDKIT", "0")
        .env("CDFLOW_LIMITS", limits)
}

fn script(project: &Project, file: &str, text: &str) {
    project.write(file, text);
    fs::set_permissions(project.path(file), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Nothing is published and nothing is left, and it did not take as long as without the limit.
#[track_caller]
fn over(project: &Project, output: &Output) {
    assert!(!project.bundle("1").exists(), "{output}");
    assert_eq!(project.sandbox().left_behind(), [""; 0], "{output}");
    assert!(output.elapsed < Duration::from_secs(25), "{output}");
}

/// All at once: they wait, and do not compute.
#[test]
fn a_registry_or_an_engine_that_does_not_answer() {
    let nothing = || Reply::Nothing;
    let drip = || Reply::Drip;
    let busy = || Reply::Http(429, "retry-after: 60\r\n", String::new());
    let engine = but("/v2/", nothing);
    let cases = [
        (full(), engine.clone(), "registry-connect=1s", 10, "(the limit `registry-connect`)"),
        (engine.clone(), engine.clone(), "registry-idle=1s", 10, "(the limit `registry-idle`)"),
        (
            but("/v2/", drip),
            engine.clone(),
            "registry-answer=2s,registry-idle=1s",
            10,
            "(the limit `registry-answer`)",
        ),
        (but("/v2/", busy), engine.clone(), "registry-pause=1s", 10, "429 Too Many Requests"),
        (
            engine,
            but("/version", nothing),
            "engine-answer=1s",
            2,
            "no answer within 1 s (the limit `engine-answer`)",
        ),
    ];
    let builds = [
        (but("/build", nothing), "engine=2s", 10, "no answer within 2 s (the limit `engine`)"),
        (
            but("/build", || Reply::Begun),
            "image-build=1s",
            11,
            "did not end within 1 s (the limit `image-build`)",
        ),
    ];
    let builds =
        builds.map(|(server, limits, code, says)| (server.clone(), server, limits, code, says));
    let running: Vec<_> = (cases.into_iter().chain(builds))
        .map(|(registry, engine, limits, code, says)| {
            let project = project(&registry);
            let running = release(&project, &engine, limits).spawn();
            (project, running, code, says)
        })
        .collect();
    for (project, running, code, says) in running {
        let output = running.wait();
        output.fails(code).stderr_has(says);
        over(&project, &output);
    }
}

/// BuildKit's session is a connection of its own: `engine-connect`.
#[test]
fn an_engine_that_takes_no_second_connection() {
    let engine = answering_once(usual);
    let project = project(&but("/v2/", || Reply::Http(404, "", String::new())));
    let run = release(&project, &engine, "engine-connect=1s").env_remove("DOCKER_BUILDKIT");
    let output = run.run();
    output.fails(2).stderr_has("no connection within 1 s (the limit `engine-connect`)");
    over(&project, &output);
}

/// After its limit, `image-push`, another attempt is made.
#[test]
fn a_push_that_does_not_end() {
    let server = but("/push", || Reply::Begun);
    let project = project(&server);
    let mut running = release(&project, &server, "image-push=1s").spawn();
    running.wait_for("retrying in 1 s: the push did not end within 1 s (the limit `image-push`)");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.fails(130).stderr_has("cancelled: the release is not published");
    over(&project, &output);
}

/// `build-hook`, and `stop` after it.
#[test]
fn a_hook_that_does_not_end() {
    let server = answering(usual);
    let project = project(&server);
    script(
        &project,
        "on-docker-build",
        "#!/bin/sh\ntrap '' INT TERM\nwhile :; do sleep 0.1; done\n",
    );
    project.commit("A hook");
    let output = release(&project, &server, "build-hook=1s,stop=1s").run();
    output
        .fails(11)
        .stderr_has("did not end within 1 s (the limit `build-hook`)")
        .stderr_has("was killed: it did not stop within 1 s (the limit `stop`)");
    over(&project, &output);
}

/// `credential-helper`
#[test]
fn a_credential_helper_that_does_not_end() {
    let server = answering(usual);
    let project = project(&server);
    script(&project, "bin/docker-credential-slow", "#!/bin/sh\nsleep 600\n");
    project.commit("A helper");
    let folder = project.sandbox().home().join(".docker");
    fs::create_dir_all(&folder).unwrap();
    let config = serde_json::json!({ "credHelpers": { server.as_str(): "slow" } });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    let output = release(&project, &server, "credential-helper=1s").env("PATH", path).run();
    output.fails(4).stderr_has("did not end within 1 s (the limit `credential-helper`)");
    over(&project, &output);
}

/// `artifact-check`: a deploy goes on if the registry does not answer.
#[test]
fn a_registry_that_does_not_answer_does_not_stop_a_deploy() {
    let project = Project::local("waiting");
    let registry = answering(|_| Reply::Nothing);
    let image = format!("{registry}/waiting@sha256:{}", "a".repeat(64));
    Reference::new(&project, "1").data("image_id", &image).publish();
    let deploy = project.cdflow(["deploy", "ci", "1", "--plan-only"]);
    let output = deploy.env("CDFLOW_LIMITS", "artifact-check=1s").run();
    output.success().stderr_has("did not answer within 1 s (the limit `artifact-check`)");
}

/// The clean-up after a step whose container still runs.
fn clean_up(project: &Project, engine: &str, limits: &str) -> Running {
    let program = project.sandbox().work().join("cdflow-post");
    if !program.exists() {
        symlink(env!("CARGO_BIN_EXE_cdflow"), &program).unwrap();
    }
    Runner::new(program, [] as [&str; 0], project.sandbox())
        .env("GITHUB_ACTIONS", "true")
        .env("STATE_container", ID)
        .env("DOCKER_HOST", format!("tcp://{engine}"))
        .env("CDFLOW_LIMITS", limits)
        .spawn()
}

#[test]
fn a_clean_up_does_not_wait_for_ever() {
    let running = r#"{"State": {"Running": true}}"#;
    let engine = |wait: fn() -> Reply| {
        answering(move |head| match head.lines().next().unwrap() {
            line if line.contains("/version") => ok(VERSION),
            line if line.contains("/json") => ok(running),
            line if line.contains("/wait") => wait(),
            _ => Reply::Begun,
        })
    };
    let project = Project::local("waiting");
    let began = Instant::now();
    let for_ever = clean_up(&project, &engine(|| Reply::Nothing), "post-run=1s");
    let ended = clean_up(&project, &engine(|| ok(r#"{"StatusCode": 0}"#)), "post-lines=1s");
    let output = for_ever.wait();
    output
        .fails(7)
        .stdout_has("is still running, and ends with this job's machine")
        .stdout_has("did not end within 1 s (the limit `post-run`)");
    let output = ended.wait();
    output
        .success()
        .stdout_has("the step's output did not end within 1 s (the limit `post-lines`)")
        .stdout_has("the cancelled step ended");
    assert!(began.elapsed() < Duration::from_secs(20), "{output}");
}
