//! `init`: it writes a component that deploys without a cloud, and overwrites nothing.

use crate::support::{Aws, Output, Runner, Sandbox, files_under, git, in_repository, terraform};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const INFRASTRUCTURE: [&str; 10] = [
    ".github/workflows/deploy.yml",
    ".github/workflows/plan.yml",
    ".gitignore",
    "account-scheme.json",
    "cdflow.yml",
    "config/common.json",
    "config/live.json",
    "infra/main.tf",
    "infra/outputs.tf",
    "infra/variables.tf",
];

fn run(sandbox: &Sandbox, folder: impl AsRef<Path>, arguments: &[&str]) -> Output {
    Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, sandbox).cwd(folder).run()
}

/// Scaffolded in the working folder, and committed.
fn scaffold(sandbox: &Sandbox, kind: &str, name: &str) -> PathBuf {
    run(sandbox, sandbox.work(), &["init", "--type", kind, name]).success();
    let folder = sandbox.work().join(name);
    for arguments in
        [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "First"]]
    {
        git(sandbox, &folder, arguments).run().success();
    }
    folder
}

fn state(folder: &Path, name: &str) -> Value {
    let file = folder.join(".cdflow/state/platform").join(name).join("ci/terraform.tfstate");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn the_life_of_an_infrastructure_component() {
    let sandbox = Sandbox::new();
    let folder = scaffold(&sandbox, "infrastructure", "greeting");
    let files = files_under(&folder).into_iter().filter(|name| !name.starts_with(".git/"));
    assert_eq!(files.collect::<Vec<_>>(), INFRASTRUCTURE);

    run(&sandbox, &folder, &["doctor"]).success().stderr_is("No problems, 0 warnings\n");
    run(&sandbox, &folder, &["release", "1"]).success().lacks("warning");
    run(&sandbox, &folder, &["deploy", "ci", "1"])
        .success()
        .lacks("warning")
        .stdout_has("1 to add, 0 to change");
    assert_eq!(state(&folder, "greeting")["outputs"]["greeting"]["value"], "Hello from ci");
    run(&sandbox, &folder, &["deploy", "live", "1"]).success();
    run(&sandbox, &folder, &["destroy", "ci", "--confirm", "ci"])
        .success()
        .stdout_has("1 to destroy");
    assert_eq!(git(&sandbox, &folder, ["status", "--porcelain"]).run().success().stdout, "");
    assert_eq!(sandbox.left_behind(), [""; 0]);
}

#[test]
fn the_life_of_a_lambda() {
    let sandbox = Sandbox::new();
    let folder = scaffold(&sandbox, "lambda", "hello");
    run(&sandbox, &folder, &["doctor", "ci"]).success().stderr_is("No problems, 0 warnings\n");
    run(&sandbox, &folder, &["release", "1"]).success().lacks("warning");
    run(&sandbox, &folder, &["deploy", "ci", "1"])
        .success()
        .lacks("warning")
        .stdout_has("1 to add, 0 to change");
    let outputs = &state(&folder, "hello")["outputs"];
    let key = outputs["s3_key"]["value"].as_str().unwrap();
    assert!(folder.join(".cdflow/lambda").join(key).exists(), "{outputs}");

    // The same code again makes no new zip; changed code does.
    fs::write(folder.join("src/handler.py"), "def handle(event, context):\n    return 'changed'\n")
        .unwrap();
    git(&sandbox, &folder, ["commit", "--quiet", "--all", "--message", "Change"]).run().success();
    run(&sandbox, &folder, &["release", "2"]).success();
    run(&sandbox, &folder, &["deploy", "ci", "2"]).success().stdout_has("0 to add, 1 to change");
    assert_ne!(state(&folder, "hello")["outputs"]["source_code_hash"], outputs["source_code_hash"]);
    run(&sandbox, &folder, &["destroy", "ci", "--confirm", "ci"])
        .success()
        .stdout_has("1 to destroy");
}

/// The shell can run them unchanged.
#[test]
fn the_commands_that_it_prints_work() {
    let sandbox = Sandbox::new();
    let place = sandbox.work().join("a b'c");
    fs::create_dir(&place).unwrap();
    let said = run(
        &sandbox,
        sandbox.work(),
        &["-C", "a b'c", "init", "--type", "infrastructure", "greeting"],
    );
    said.success().stderr_has("greeting/infra/main.tf").stdout_has("git init");
    let binary = Path::new(env!("CARGO_BIN_EXE_cdflow")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let script = format!("set -e\n{}", said.stdout);
    // By git, for the author that it is given; an alias runs in the folder that git was started in.
    let output = git(&sandbox, sandbox.work(), ["-c", &format!("alias.x=!{script}"), "x"])
        .env("PATH", path)
        .run();
    output.success().stdout_has("Hello from ci").stderr_has("Destroyed greeting in ci");

    // Where there is a checkout already, another in it would be a mistake.
    let said = run(&sandbox, place.join("greeting"), &["init", "--type", "lambda", "inner"]);
    said.success()
        .stdout_has("cd -- inner\n")
        .stdout_has("git add")
        .lacks("git init")
        .lacks("workflows");
    said.lacks("docker run");

    // Images go to the registry of the account scheme, which the user must start.
    for kind in ["docker", "function"] {
        let said = run(&sandbox, sandbox.work(), &["init", "--type", kind, kind]);
        said.success().stdout_has(
            "docker run --detach --publish 127.0.0.1:5000:5000 registry:2\ncdflow release 1\n",
        );
    }
}

#[test]
fn nothing_is_ever_overwritten() {
    let sandbox = Sandbox::new();
    let work = sandbox.work();
    fs::create_dir_all(work.join("folder/infra")).unwrap();
    fs::write(work.join("folder/infra/main.tf"), "mine").unwrap();
    fs::create_dir(work.join("hidden")).unwrap();
    fs::write(work.join("hidden/.keep"), "").unwrap();
    fs::write(work.join("file"), "mine").unwrap();
    fs::create_dir(work.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", work.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", work.join("dangling")).unwrap();
    let before = files_under(&work);
    for name in ["folder", "hidden", "file", "link", "dangling"] {
        let output = run(&sandbox, &work, &["init", "--type", "lambda", name]);
        output.fails(2).stdout_is("").stderr_has(&format!("/{name}` already exists"));
    }
    assert_eq!(files_under(&work), before);
    assert_eq!(fs::read_to_string(work.join("folder/infra/main.tf")).unwrap(), "mine");

    // An empty folder is accepted.
    fs::create_dir(work.join("empty")).unwrap();
    run(&sandbox, &work, &["init", "--type", "infrastructure", "--team", "web", "empty"]).success();
    assert_eq!(files_under(&work.join("empty")), INFRASTRUCTURE);
    let manifest = fs::read_to_string(work.join("empty/cdflow.yml")).unwrap();
    assert!(
        manifest.contains("team: \"web\"") && manifest.contains("component: \"empty\""),
        "{manifest}"
    );
    // The draft in the parent folder is removed.
    assert_eq!(fs::read_dir(&work).unwrap().filter(|it| hidden(it.as_ref().unwrap())).count(), 0);
}

fn hidden(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().unwrap().starts_with('.')
}

#[test]
fn bad_names_and_places() {
    let refused = |arguments: &[&str], says: &str| {
        let sandbox = Sandbox::new();
        run(&sandbox, sandbox.work(), arguments).fails(2).stderr_has(says).lacks("panicked");
        assert_eq!(fs::read_dir(sandbox.work()).unwrap().count(), 0);
    };
    for name in ["../x", "a/b", ".hidden", "-x", "", "a b", &"x".repeat(64)] {
        refused(&["init", "--type", "lambda", "--", name], "invalid component");
    }
    refused(&["init", "--type", "lambda", "--team", "Web", "x"], "invalid team `Web`");
    refused(&["init", "--type", "docker", "Shop"], "because its image has the same name");
    refused(&["init", "--type", "lambada", "x"], "a similar value exists: 'lambda'");
    refused(&["init", "x"], "--type <TYPE>");
    refused(&["init", "--type", "lambda"], "<NAME>");
    refused(&["init", "--type", "lambda", "x", "-c", "y"], "two names");
    refused(&["-C", "nowhere", "init", "--type", "lambda", "x"], "cannot enter `nowhere`");
}

#[test]
fn templates_are_formatted_terraform() {
    let sandbox = Sandbox::new();
    terraform(
        &sandbox,
        in_repository("src/commands/init/templates"),
        ["fmt", "-check", "-diff", "-recursive"],
    )
    .run()
    .success();
}

/// The numbers in the tutorial are those of the component that it creates.
#[test]
fn the_tutorial_counts_the_files_of_its_release() {
    let sandbox = Sandbox::new();
    let folder = scaffold(&sandbox, "infrastructure", "greeting");
    let output = run(&sandbox, &folder, &["release", "1"]);
    output.success();
    let line = output.stderr.lines().find(|line| line.contains(", bundle digest ")).unwrap();
    let count = line.trim().split(',').next().unwrap();
    let tutorial = fs::read_to_string(in_repository("docs/tutorial.md")).unwrap();
    for shown in [format!("    {count}, "), format!("{count} verified, bundle digest ")] {
        assert!(tutorial.contains(&shown), "{shown}\n{output}");
    }
}

/// The component of an organisation has no account scheme of its own, and its workflows name the
/// environments that the shared one has.
#[test]
fn an_account_scheme_on_aws() {
    let (aws, sandbox) = (Aws::new("init"), Sandbox::new());
    let url = aws.scheme_url();
    let init = |name: &str, url: &str| {
        let arguments = ["init", "--type", "lambda", "--account-scheme-url", url, name];
        Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &sandbox).envs(aws.env()).run()
    };
    let read = |file: &str| fs::read_to_string(sandbox.work().join(file)).unwrap();
    let said = init("shop", &url);
    said.success().lacks("warning").stderr_has("CDFLOW_ROLE_PREFIX and CDFLOW_REGION");
    said.stdout_has("cdflow doctor\ncdflow release 1\ncdflow deploy ci 1\n").lacks("destroy");
    assert!(read("shop/cdflow.yml").contains(&format!("account-scheme-url: \"{url}\"\n")));
    assert!(!sandbox.work().join("shop/account-scheme.json").exists());
    let deploy = read("shop/.github/workflows/deploy.yml");
    assert!(deploy.contains("environment: [ci, aslive, live]\n"), "{deploy}");
    assert!(deploy.contains("protect the environment `live`"), "{deploy}");

    // Another environment is the last one: its values have its name.
    let mut scheme = aws.scheme();
    scheme["environments"] = serde_json::json!({ "qa": "dev", "prod": "prod", "*": "dev" });
    aws.put_scheme(&scheme);
    init("depot", &url).success().stdout_has("cdflow deploy qa 1\n");
    assert!(read("depot/.github/workflows/plan.yml").contains("environment: [qa, prod]\n"));
    assert!(sandbox.work().join("depot/config/prod.json").exists());
    assert!(!sandbox.work().join("depot/config/live.json").exists());

    // What cannot be read is said, and then assumed.
    let missing = url.replace("account-scheme.json", "missing.json");
    let said = init("blind", &missing);
    said.success().stderr_has("the environments `ci` and `live` are assumed");
    said.stderr_has("account scheme not found").stdout_has("cdflow deploy ci 1");
    assert!(read("blind/.github/workflows/deploy.yml").contains("environment: [ci, live]\n"));
    assert!(read("blind/cdflow.yml").contains(&missing));

    init("odd", "./scheme.json").fails(2).stderr_has("is in S3, not at `./scheme.json`");
    init("odd", "https://acme.example/x").fails(2);
    assert!(!sandbox.work().join("odd").exists());
}
