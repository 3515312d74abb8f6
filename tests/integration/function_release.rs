//! Components of type `function`: `functions.rs` becomes an image by a real compiler in a real
//! engine, and the image answers.

use crate::support::{Lab, Output, Podman, Project, Runner, Sandbox, git, in_repository};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The names that roche's images have; nothing in the laboratory leads to their registry.
const BUILD: &str = "quay.io/roche/default:1.4.0";
const DEV_BUILD: &str = "quay.io/roche/dev-default:1.4.0";
const ALPINE: &str = "quay.io/roche/alpine-libgcc:3.12";
const DEBIAN: &str = "debian:bookworm-slim";

const BUILD_FIXTURE: &str = "tests/fixtures/build-image";

const FUNCTIONS: &str = r#"pub fn handler() -> tide::Server<()> {
    let mut api = tide::new();
    api.at("/").get(|_| async { Ok(greeting()) });
    api
}

pub fn greeting() -> String {
    format!("{} from a function", std::env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned()))
}
"#;

const LIB: &str = r#"pub mod functions;

#[test]
fn greets() {
    assert_eq!(functions::greeting(), "Hello from a function");
}
"#;

const SHOW_RELEASE: &str = r#"variable "release" {
  type = map(string)
}

output "release" {
  value = var.release
}
"#;

/// The laboratory with base images.
pub(crate) fn lab() -> &'static Lab {
    static IMAGES: OnceLock<()> = OnceLock::new();
    let lab = Lab::get();
    IMAGES.get_or_init(|| {
        lab.import("toolchain", "cdflow-toolchain");
        lab.import("alpine", ALPINE);
        lab.import("debian", DEBIAN);
        for name in [BUILD, DEV_BUILD] {
            build(name, &in_repository(BUILD_FIXTURE));
        }
    });
    lab
}

fn build(name: &str, folder: &Path) {
    let arguments = ["build", "--quiet", "--tag", name, "."];
    Runner::new("docker", arguments, &Sandbox::new())
        .cwd(folder)
        .in_lab(Lab::get())
        .run()
        .success();
}

/// A build image that differs from the usual one by some lines of a Dockerfile.
fn other_build_image(name: &str, lines: &str) {
    lab();
    let sandbox = Sandbox::new();
    fs::write(sandbox.work().join("Dockerfile"), format!("FROM {BUILD}\n{lines}\n")).unwrap();
    build(name, &sandbox.work());
}

fn function(name: &str) -> Project {
    let project = Project::local(name);
    project.edit_json("account-scheme.json", |scheme| scheme["image-registry"] = Lab::LOCAL.into());
    project.edit("cdflow.yml", "type: infrastructure", "type: function");
    project
        .write("infra/main.tf", SHOW_RELEASE)
        .write("src/functions.rs", FUNCTIONS)
        .write("src/lib.rs", LIB);
    project.commit("A function");
    project
}

fn run(project: &Project, arguments: &[&str]) -> Output {
    project.cdflow(arguments).in_lab(lab()).run()
}

fn facts(project: &Project, version: &str) -> Value {
    run(project, &["inspect", version, "--json"]).success().json()["release"].clone()
}

fn patiently(ask: impl Fn() -> Result<Value, String>) -> Value {
    let began = std::time::Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(_) if began.elapsed().as_secs() < 20 => {
                std::thread::sleep(std::time::Duration::from_millis(20))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a container of the image answers at `/` on a port of its own, and who it runs as.
fn answer(image: &str, name: &str, variables: &[&str]) -> (String, String) {
    let mut arguments = vec!["run", "--detach", "--name", name, "--env", "PORT=9000"];
    variables.iter().for_each(|variable| arguments.extend(["--env", variable]));
    arguments.push(image);
    lab().docker(arguments);
    let address = lab().docker(["inspect", "--format", "{{.NetworkSettings.IPAddress}}", name]);
    let answer = patiently(|| lab().try_http(json!({ "url": format!("http://{address}:9000/") })));
    let processes = lab().docker(["top", name, "-o", "pid,uid"]);
    lab().docker(["rm", "--force", name]);
    let user = processes.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    (answer["body"].as_str().unwrap().to_owned(), user)
}

/// The names in all layers of an image.
fn layers(image: &str) -> Vec<String> {
    let sandbox = Sandbox::new();
    let saved = sandbox.work().join("image.tar");
    lab().docker(["save", "--output", saved.to_str().unwrap(), image]);
    let mut names = Vec::new();
    for entry in tar::Archive::new(fs::File::open(saved).unwrap()).entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().ends_with("layer.tar") {
            let listed = tar::Archive::new(entry)
                .entries()
                .unwrap()
                .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
                .collect::<Vec<_>>();
            names.extend(listed);
        }
    }
    assert!(names.iter().any(|name| name == "app/Cargo.toml"), "{names:?}");
    names
}

#[test]
fn a_function_is_tested_released_deployed_and_answers() {
    let _cache = Lab::keep_build_cache();
    let project = function("function-life");
    project
        .write("src/.env", "GREETING=leaked\n")
        .write("src/.dockerignore", "!.env\n")
        .commit("An environment file");
    let output = run(&project, &["release", "1"]);
    output
        .success()
        .stdout_has("Compiling tide v0.0.0")
        .stdout_has("test greets ... ok")
        .stderr_has(&format!("the engine's own copy of the base image `{ALPINE}` is used"))
        .stderr_has("Released function-life 1\n");
    let facts_of_1 = facts(&project, "1");
    assert!(
        facts_of_1["build_image"].as_str().unwrap().starts_with(&format!("{BUILD}@sha256:")),
        "{facts_of_1}"
    );
    assert!(
        facts_of_1["runtime_image"].as_str().unwrap().starts_with(&format!("{ALPINE}@sha256:")),
        "{facts_of_1}"
    );
    let image = facts_of_1["image_id"].as_str().unwrap();
    run(&project, &["deploy", "ci", "1"]).success().stdout_has(image);

    // As another machine would have it.
    lab().docker([
        "rmi",
        "--force",
        image,
        "localhost:5000/function-life:1",
        "localhost:5000/function-life:latest",
    ]);
    lab().docker(["pull", image]);
    let (said, user) = answer(image, "function-life", &["GREETING=Ahoy"]);
    assert_eq!((said.as_str(), user.as_str()), ("Ahoy from a function", "10001"));
    let names = layers(image);
    assert!(!names.iter().any(|name| name.contains(".env")), "{names:?}");
    assert!(
        !names.iter().any(|name| name.contains("rustc") || name.contains("cargo")),
        "{names:?}"
    );
    let app: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with("app/") && *name != "app/")
        .collect();
    assert_eq!(app, ["app/Cargo.toml", "app/roche-service", "app/run.sh"]);
    assert_eq!(lab().docker(["run", "--rm", image, "id", "-un"]), "rocheuser");

    // The engine can lose a layer while other tests remove images, so it has two tries.
    let mut words = "from a function".to_owned();
    let version = ["2", "3"].into_iter().find(|version| {
        let others = format!("from function {version}");
        project.edit("src/functions.rs", &words, &others);
        project.edit("src/lib.rs", &words, &others).commit("Other words");
        words = others;
        let output = run(&project, &["release", version]);
        output.success().stdout_has("Compiling roche-service");
        !output.stdout.contains("Compiling tide")
    });
    let version = version.expect("each release compiles the dependencies again");
    let image = facts(&project, version)["image_id"].as_str().unwrap().to_owned();
    assert_eq!(answer(&image, "function-life-2", &[]).0, format!("Hello {words}"));
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn on_a_runtime_image_with_other_tools_that_a_registry_has() {
    let project = function("function-debian");
    project.remove("src/lib.rs").commit("Without tests");
    let base = format!("{}/function/debian:1", Lab::LOCAL);
    lab().docker(["tag", DEBIAN, &base]);
    lab().docker(["push", "--quiet", &base]);
    lab().docker(["rmi", &base]);
    let digest = lab().manifest("function/debian", "1").unwrap().digest;
    project
        .append("cdflow.yml", &format!("function:\n  runtime-image: {base}\n"))
        .commit("Another runtime image");
    let output = run(&project, &["release", "1"]);
    output.success().lacks("cargo test").lacks(&format!("copy of the base image `{base}`"));
    let facts = facts(&project, "1");
    assert_eq!(facts["runtime_image"], format!("{base}@{digest}"));
    let image = facts["image_id"].as_str().unwrap();
    assert_eq!(
        answer(image, "function-debian", &[]),
        ("Hello from a function".to_owned(), "10001".to_owned())
    );
    assert_eq!(lab().docker(["run", "--rm", image, "id", "-un"]), "rocheuser");

    // What is in the registry says it too, so that a bundle that never came can be made up for.
    fs::remove_file(project.bundle("1")).unwrap();
    run(&project, &["release", "1"]).success().stderr_has("==> Reuse the image");
    assert_eq!(self::facts(&project, "1"), facts);

    // The classic builder, for which the base image is to be pulled again.
    lab().docker(["rmi", "--force", &format!("{base}@{digest}")]);
    let classic = project.cdflow(["-v", "release", "2"]).in_lab(lab()).env("DOCKER_BUILDKIT", "0");
    classic
        .run()
        .success()
        .stderr_has("the classic builder")
        .stdout_has(&format!("FROM {base}@{digest}"));
    let image = self::facts(&project, "2")["image_id"].as_str().unwrap().to_owned();
    assert_eq!(answer(&image, "function-classic", &[]).0, "Hello from a function");
}

/// As after a clock was set back, or where a builder keeps times in whole seconds.
#[test]
fn what_the_build_image_compiled_before_is_never_taken_for_the_function() {
    let _cache = Lab::keep_build_cache();
    let compiled = "RUN cargo build --release && find target -exec touch -d 2099-01-01 {} +";
    other_build_image("cdflow-from-the-future:1", compiled);
    let project = function("function-future");
    project.remove("src/lib.rs").commit("Without tests");
    run(&project, &["release", "1", "-b", "cdflow-from-the-future:1"])
        .success()
        .lacks("Compiling tide");
    let facts = facts(&project, "1");
    assert_eq!(
        answer(facts["image_id"].as_str().unwrap(), "function-future", &[]).0,
        "Hello from a function"
    );
}

/// A build image that compiled to the usual place, and compiles to another one now.
#[test]
fn a_binary_that_the_build_image_has_lying_about_is_never_released() {
    other_build_image(
        "cdflow-target-dir:1",
        "RUN cargo build --release\nENV CARGO_TARGET_DIR=/elsewhere",
    );
    let project = function("function-elsewhere");
    project.remove("src/lib.rs").commit("Without tests");
    let refused = run(&project, &["release", "1", "-b", "cdflow-target-dir:1"]);
    refused
        .fails(11)
        .stderr_has("the build image has no executable /app-build/target/release/roche-service");
}

/// The package has a name of its own; only its binary has roche's.
#[test]
fn a_build_image_may_call_its_package_as_it_likes() {
    let _cache = Lab::keep_build_cache();
    let lines = "RUN sed -i 's/^name = \"roche-service\"/name = \"ours\"/' Cargo.toml && \\\n    \
                 printf '\\n[[bin]]\\nname = \"roche-service\"\\npath = \"src/main.rs\"\\n' \
                 >>Cargo.toml\n\
                 RUN cargo build --release && find target -exec touch -d 2099-01-01 {} +";
    other_build_image("cdflow-other-package:1", lines);
    let project = function("function-ours");
    project.remove("src/lib.rs").commit("Without tests");
    run(&project, &["release", "1", "-b", "cdflow-other-package:1"])
        .success()
        .lacks("Compiling tide");
    let facts = facts(&project, "1");
    assert_eq!(
        answer(facts["image_id"].as_str().unwrap(), "function-ours", &[]).0,
        "Hello from a function"
    );
}

#[test]
fn a_static_binary_needs_nothing_else() {
    other_build_image("cdflow-static:1", "ENV RUSTFLAGS=\"-C target-feature=+crt-static\"");
    let project = function("function-scratch");
    let arguments =
        ["release", "1", "--build-image", "cdflow-static:1", "--runtime-image", "scratch"];
    run(&project, &arguments).success();
    let facts = facts(&project, "1");
    assert_eq!(facts["runtime_image"], "scratch");
    let image = facts["image_id"].as_str().unwrap();
    assert_eq!(
        answer(image, "function-scratch", &[]),
        ("Hello from a function".to_owned(), "10001".to_owned())
    );
    let names: Vec<String> =
        layers(image).into_iter().filter(|name| !name.ends_with('/')).collect();
    assert_eq!(names, ["app/Cargo.toml", "app/roche-service"]);
}

#[test]
fn nothing_is_pushed_of_a_function_that_does_not_hold() {
    let project = function("function-bad");
    let fails = |arguments: &[&str], code: i32, says: &[&str]| {
        let output = run(&project, &[&["release", "1"], arguments].concat());
        output.fails(code).lacks("==> Push");
        for text in says {
            output.stderr_has(text);
        }
    };
    project.edit("src/lib.rs", "Hello from", "Goodbye from").commit("A test that fails");
    fails(&[], 11, &["can't be built", "Goodbye from a function"]);
    project
        .remove("src/lib.rs")
        .edit("src/functions.rs", "greeting())", "greting())")
        .commit("A mistake");
    fails(&[], 11, &["error[E0425]: cannot find function `greting`"]);
    project
        .write("src/functions.rs", "pub const KEY: &str = include_str!(\".env\");")
        .write("src/.env", "KEY=1\n");
    project.commit("A secret in the code");
    fails(&[], 3, &["functions.rs:1: `include_str!` reads an environment file at compile time"]);
    project.write("src/functions.rs", FUNCTIONS).commit("As it was");
    other_build_image("cdflow-no-script:1", "RUN rm run.sh");
    fails(
        &["-b", "cdflow-no-script:1"],
        11,
        &["the build image has no executable /app-build/run.sh"],
    );
    let missing = format!("{}/function/nothing:1", Lab::LOCAL);
    fails(
        &["--runtime", &missing],
        2,
        &[&format!(
            "base image `{missing}` not found: the registry localhost:5000 has no such image"
        )],
    );
    fails(&["--buildimage", "nowhere.test/a:1"], 10, &["base image `nowhere.test/a:1` not found"]);
    fails(&["--runtime-image", "Not an image"], 2, &["invalid image `Not an image`"]);
    project.remove("src/functions.rs").commit("Nothing");
    let said = ["/function-bad/functions.rs` nor `", "/function-bad/src/functions.rs`"];
    fails(&[], 2, &said);
    assert!(lab().registry_tags("function-bad").is_empty());
}

#[test]
fn for_the_machine_of_the_developer_alone() {
    // A folder as roche had it: no cdflow.yml, no commit.
    let sandbox = Sandbox::new();
    let folder = sandbox.work().join("greeter");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/functions.rs"), FUNCTIONS).unwrap();
    fs::write(folder.join("src/.env"), "GREETING=developer\n").unwrap();
    fs::write(folder.join(".rocherc"), "release_build_image=nowhere.test/a:1\n").unwrap();
    let run = |folder: &Path, arguments: &[&str]| {
        Runner::new(env!("CARGO_BIN_EXE_cdflow"), [&["build"], arguments].concat(), &sandbox)
            .cwd(folder)
            .in_lab(lab())
    };
    let said = run(&folder, &["--dev"]).run();
    said.fails(2).stderr_has("no login to Docker Hub found").stderr_has("--tag NAME");
    run(&folder, &["--tag", "Greeter"]).run().fails(2).stderr_has("invalid image `Greeter`");
    run(&folder, &["1"]).run().fails(2).stderr_has("unexpected argument '1'");

    // In src/ as in the folder above it.
    let output = run(&folder.join("src"), &["--dev"]).env("DOCKER_USERNAME", "me").run();
    output
        .success()
        .stderr_has("Built me/dev-greeter")
        .stdout_has("Compiling tide")
        .lacks("--release");
    assert_eq!(
        lab().docker(["run", "--rm", "me/dev-greeter", "cat", ".env"]),
        "GREETING=developer"
    );
    assert_eq!(answer("me/dev-greeter", "dev-greeter", &[]).0, "Hello from a function");

    let podman = sandbox.home().join(".config/containers/auth.json");
    fs::create_dir_all(podman.parent().unwrap()).unwrap();
    fs::write(&podman, "{\"auths\": {\"docker.io\": {\"auth\": \"dGhlbTpzZWNyZXQ=\"}}}").unwrap();
    fs::remove_file(folder.join(".rocherc")).unwrap();
    run(&folder, &[]).run().success().stderr_has("Built them/greeter").lacks("secret");
    assert!(!layers("them/greeter").iter().any(|name| name.contains(".env")));
}

#[test]
fn what_a_release_would_contain_is_shown_before() {
    let project = function("function-dry");
    project
        .write("src/.env", "SECRET=1\n")
        .append("cdflow.yml", "function: {runtime-image: scratch}\n");
    project.commit("Settings");
    let output = run(&project, &["release", "1", "--dry-run", "-r", ALPINE]);
    output
        .success()
        .stdout_has(&format!("image                  {}/function-dry:1\n", Lab::LOCAL))
        .stdout_has(&format!("build image            {BUILD}@sha256:"))
        .stdout_has(&format!("runtime image          {ALPINE}@sha256:"))
        .stdout_has(", by --runtime-image\n")
        .stdout_has(&format!("Dockerfile    FROM {ALPINE}\n"))
        .stdout_has(&format!("build context         {} B  functions.rs\n", FUNCTIONS.len()))
        .stdout_has("lib.rs\n")
        .lacks(".env");
    assert!(lab().registry_tags("function-dry").is_empty());

    let found = format!("functions.rs, compiled in {BUILD}, to run in scratch");
    run(&project, &["doctor"]).success().stdout_has(&found);
    let said = run(&project, &["dockerfile"]);
    said.success()
        .stdout_has(&format!("FROM {BUILD} AS dependencies\n"))
        .stdout_has("CMD [\"./roche-service\"]\n");
    said.stderr_has("functions.rs")
        .stderr_has("runtime image          scratch, by cdflow.yml")
        .lacks("SECRET");
    run(&project, &["-C", "src", "dockerfile", "--write"])
        .success()
        .stderr_has("/function-dry/src/Dockerfile`");
    assert_eq!(project.read("src/Dockerfile"), said.stdout);
    project.write("src/Dockerfile", "mine");
    run(&project, &["dockerfile", "--write"])
        .fails(2)
        .stderr_has("/src/Dockerfile` already exists");
    assert_eq!(project.read("src/Dockerfile"), "mine");
}

/// In the laboratory's memory and network, by the same API; it has no BuildKit.
#[test]
fn podman_builds_it_too() {
    let (lab, sandbox) = (Lab::get(), Sandbox::new());
    let podman = Podman::new(lab, &sandbox, "podman");
    for (what, name) in [("toolchain", "cdflow-toolchain"), ("alpine", ALPINE)] {
        let tar = Lab::tar(what);
        podman
            .command(["import", "--quiet", "--change", Lab::PATH, tar.to_str().unwrap(), name])
            .run()
            .success();
    }
    let fixture = in_repository(BUILD_FIXTURE);
    podman.command(["build", "--quiet", "--tag", BUILD, fixture.to_str().unwrap()]).run().success();
    let (_service, address) = podman.serve(None);

    fs::write(sandbox.work().join("functions.rs"), FUNCTIONS).unwrap();
    fs::write(sandbox.work().join("lib.rs"), LIB).unwrap();
    let release = || {
        // The old spelling of `cdflow build`.
        let arguments = ["-v", "release", "--local", "--tag", "localhost/greeter:1"];
        let cdflow = Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &sandbox).in_lab(lab);
        cdflow.env("DOCKER_HOST", &address).run()
    };
    release()
        .success()
        .stderr_has("Podman has no BuildKit")
        .stdout_has("test greets ... ok")
        .stdout_has("Compiling tide");
    podman
        .command([
            "run",
            "--detach",
            "--name",
            "greeter",
            "--env",
            "PORT=9000",
            "localhost/greeter:1",
        ])
        .run()
        .success();
    let answer = patiently(|| lab.try_http(json!({ "url": "http://127.0.0.1:9000/" })));
    assert_eq!(answer["body"], "Hello from a function");
    podman.command(["exec", "greeter", "id", "-u"]).run().success().stdout_is("10001\n");
    podman.command(["rm", "--force", "--time", "0", "greeter"]).run().success();
    fs::write(sandbox.work().join("functions.rs"), format!("{FUNCTIONS}// changed\n")).unwrap();
    release().success().stdout_has("Compiling roche-service").lacks("Compiling tide");
}

/// The written file is a whole one: Docker's own client builds the same image by it.
#[test]
fn the_dockerfile_that_is_written_builds() {
    let project = function("function-written");
    run(&project, &["dockerfile", "--write"]).success();
    let build = Runner::new("docker", ["build", "--tag", "written", "."], project.sandbox());
    build.cwd(project.path("src")).in_lab(lab()).run().success();
    assert_eq!(answer("written", "written", &[]).0, "Hello from a function");
}

#[test]
fn the_example_and_what_init_writes_are_released_and_deployed() {
    let example = Project::copied("greeter", &in_repository("examples/function-component"));
    run(&example, &["release", "1", "--platform-config", "platform-config"]).success();
    run(&example, &["deploy", "ci", "1"]).success().stdout_has("localhost:5000/greeter@sha256:");
    let image = facts(&example, "1")["image_id"].as_str().unwrap().to_owned();
    assert_eq!(answer(&image, "example", &["GREETING=Good day"]).0, "Good day");

    let sandbox = Sandbox::new();
    let cdflow = |folder: &Path, arguments: &[&str]| {
        Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &sandbox)
            .cwd(folder)
            .in_lab(lab())
            .run()
    };
    cdflow(&sandbox.work(), &["init", "--type", "function", "scaffolded"]).success();
    let folder = sandbox.work().join("scaffolded");
    for arguments in
        [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "First"]]
    {
        git(&sandbox, &folder, arguments).run().success();
    }
    cdflow(&folder, &["release", "1"]).success().stdout_has("test greets ... ok");
    cdflow(&folder, &["deploy", "ci", "1"])
        .success()
        .stdout_has("localhost:5000/scaffolded@sha256:");
}
