//! The Action on the runner itself (`runner/`), started by the machine's node as a runner starts
//! it: how it gets cdflow, a release's life, and a cancelled step.

use crate::support::{
    Aws, Output, Project, Runner, Running, Sandbox, entries_of_runner, files_under, in_repository,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

const VERSION: &str = "1.2.3";

#[test]
fn a_release_lives_on_the_runner() {
    let project = Project::local("greeting");
    let job = Job::new(&project, released());
    let release = job.step(&[
        ("command", "release"),
        ("version", "1"),
        ("platform-config", "platform-config"),
    ]);
    let output = release.main().run();
    output
        .success()
        .stdout_has("Fetching cdflow 1.2.3: file:///")
        .stdout_has("Released greeting 1");
    assert_eq!(job.read("output")["version"], "1");
    assert_eq!(release.post().run().success().stdout, "");

    // From the tool cache; the mirror is not needed.
    let deploy = [("command", "deploy"), ("environment", "live"), ("version", "1")];
    let elsewhere = job.step(&[&deploy[..], &[("cdflow-mirror", "file:/nowhere")]].concat());
    elsewhere.main().run().success().lacks("Fetching").stdout_has("Deployed greeting 1 to live");
    assert_eq!(job.read("output")["exit-code"], "0");
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);

    // A program that was damaged there is replaced.
    // Next to it is what cdflow remembers of Terraform's version.
    let mut kept = files_under(&job.folder("tools"));
    kept.retain(|file| !file.starts_with("cdflow/versions/"));
    let [cached] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(*cached, format!("cdflow/{VERSION}/{}/cdflow", architecture().0));
    fs::write(job.folder("tools").join(cached), "#!/bin/sh\nexit 99\n").unwrap();
    let output = job.step(&[("command", "status"), ("json", "true")]).main().run();
    output.success().stdout_has("Fetching cdflow").stdout_has("\"live\"");
    // The exit code and outputs of a failure are those of cdflow.
    job.step(&[("command", "deploy"), ("environment", "live"), ("version", "2")])
        .main()
        .run()
        .fails(2);
    assert_eq!(job.read("output")["failure-reason"], "invalid-input");
    assert_eq!(files_under(&job.folder("temp")), [""; 0]);
}

/// The runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later it kills node, and then starts the
/// clean-up. Terraform needs longer to save its state.
#[test]
fn a_cancelled_deploy_is_waited_for() {
    let aws = Aws::new("runner-cancel");
    let project = Project::aws("greeting", &aws);
    project.append("infra/main.tf", SLOW).commit("Slow");
    project.release("1");
    let job = Job::new(&project, released());
    let step = job.step(&[("command", "deploy"), ("environment", "live"), ("version", "1")]);
    let mut running = step.main().envs(aws.env()).spawn();
    running.wait_for("): waiting");
    // The runner would end what has this variable when the job ends, and Terraform with it.
    let environment = environment_of_cdflow(&running);
    assert!(environment.contains("GITHUB_RUN_ID=4711"), "{environment}");
    assert!(!environment.contains("RUNNER_TRACKING_ID"), "{environment}");
    let state = "platform/greeting/live/terraform.tfstate";
    aws.rule(json!({ "matching": format!("PUT /{}/{state}?", aws.state_bucket()), "delay": 14 }));
    let shown = cancel_as_a_runner(running);
    shown.fails(137).stdout_has("cancelled: cdflow stops as soon as that is safe");

    // Whoever ends the wait is told what that means.
    let mut impatient = step.post().spawn();
    impatient.wait_for("is still running");
    impatient.signal(Signal::SIGINT);
    impatient.wait().fails(7).stdout_has("ends with this job's machine: the wait was cancelled");
    let output = step.post().run();
    output
        .success()
        .stdout_has("The cancelled step is still running")
        .stdout_has("error: cancelled during apply: Terraform stopped and saved the state")
        .stdout_has("::warning::the cancelled step ended")
        .stdout_has(" after the cancel: exit code 130")
        .lacks("Two interrupts")
        .lacks("no signal has reached")
        // It continues where node ended.
        .lacks("): waiting");
    // It outlived node, which the runner killed ten seconds after the cancel.
    let lasted = lasted(&output);
    assert!((10..120).contains(&lasted), "{output}");
    let saved = aws.get_json(&aws.state_bucket(), state);
    assert!(saved["resources"].to_string().contains("\"greeting\""), "{saved}");
    assert_eq!(aws.head(&aws.state_bucket(), &format!("{state}.tflock")), None);
    project.cdflow(["status"]).run().success().stdout_has("deploy of 1 was interrupted");
}

/// A runner that kills node without a signal before, and one whose signals end in front of the
/// container of the job: without an interrupt, Terraform would be killed with the machine.
#[test]
fn a_deploy_that_no_signal_reaches_is_interrupted_by_the_clean_up() {
    let project = Project::local("greeting");
    project.append("infra/main.tf", SLOW).commit("Slow");
    project.release("1");
    let job = Job::new(&project, released());
    let step = job.step(&[("command", "deploy"), ("environment", "live"), ("version", "1")]);
    let mut running = step.main().spawn();
    running.wait_for("): waiting");
    running.signal(Signal::SIGKILL);
    running.wait().fails(137);
    let output = step.post().run();
    output
        .success()
        .stdout_has("no signal has reached the step")
        .stdout_has("the cancelled step ended")
        .stdout_has("exit code 130");
    let took = lasted(&output);
    assert_eq!(project.ledger("live"), ["deploy 1 interrupted"]);
    assert!(!project.stored().iter().any(|name| name.contains("lock")), "{:?}", project.stored());
    // The end is known also later, and so is a kill of cdflow itself.
    sleep(Duration::from_secs(2));
    let later = step.post().run();
    later.success().stdout_has("The step ended after it was killed").stdout_has("130");
    assert_eq!(lasted(&later), took, "{later}");
    let folder = PathBuf::from(&job.read("state")["folder"]);
    fs::remove_file(folder.join("exit")).unwrap();
    step.post().run().fails(7).stdout_has("failed to save its state: its exit code is 137");
}

/// How many seconds after the cancel the step ended, by its clean-up.
fn lasted(output: &Output) -> u64 {
    let said = output.stdout.split_once("the cancelled step ended ").unwrap().1;
    let (time, _) = said.split_once(" after the cancel").unwrap_or_else(|| panic!("{output}"));
    let (minutes, seconds) = time.split_once("m ").unwrap_or(("0", time));
    let seconds: u64 = seconds.trim_end_matches('s').parse().unwrap();
    minutes.parse::<u64>().unwrap() * 60 + seconds
}

/// Without a run that could be lost, a signal ends the step at once, and the clean-up is silent.
#[test]
fn a_cancel_in_time_needs_no_clean_up() {
    let project = Project::local("greeting");
    let release = Release::of("trap 'exit 130' INT TERM; echo begun; while :; do sleep 0.05; done");
    let job = Job::new(&project, &release);
    let step = job.step(&[("command", "status")]);
    let mut running = step.main().spawn();
    running.wait_for("begun");
    running.signal(Signal::SIGINT);
    running.wait().fails(130);
    assert_eq!(job.read("state")["folder"], "");
    assert_eq!(step.post().run().success().stdout, "");
    for (script, code) in [("exit 8", 8), ("kill -9 $$", 137)] {
        let release = Release::of(script);
        Job::new(&project, &release).step(&[]).main().run().fails(code);
    }
}

/// A program that never ran has lost nothing, so the clean-up has nothing to say.
#[test]
fn a_program_that_cannot_start_says_why() {
    let project = Project::local("greeting");
    let old = "echo \"cdflow: /lib/libc.so.6: version \\`GLIBC_2.99' not found\" >&2; exit 1";
    let old = format!("#!/bin/sh\n{old}\n");
    for (text, says) in [(old.as_str(), "this machine lacks GLIBC_2.99"), ("#!/no/such", "ENOENT")]
    {
        let release = Release::of_text(text);
        let job = Job::new(&project, &release);
        let step = job.step(&[]);
        let output = step.main().run();
        output.fails(2).stdout_has("::error::cannot start cdflow").stdout_has(says);
        assert_eq!(job.read("state")["folder"], "");
        assert_eq!(step.post().run().success().stdout, "");
    }
}

#[test]
fn a_program_that_is_not_the_pinned_one_is_neither_started_nor_kept() {
    let project = Project::local("greeting");
    let release = Release::of("echo started");
    let archive = release.archive();
    let refused = |inputs: &[(&str, &str)], code: i32, text: &str, reason: &str| {
        let job = Job::new(&project, &release);
        let output = job.step(inputs).main().run();
        output.fails(code).stdout_has("::error::").stdout_has(text).lacks("started");
        assert_eq!(job.read("output")["exit-code"], code.to_string(), "{output}");
        assert_eq!(job.read("output")["failure-reason"], reason, "{output}");
        let kept = [files_under(&job.folder("tools")), files_under(&job.folder("temp"))].concat();
        assert_eq!(kept, [""; 0], "{output}");
    };
    let mirror = |text: &str, code, expected: &str, reason| {
        refused(&[("cdflow-mirror", text)], code, expected, reason)
    };
    mirror(
        "http://mirror.example",
        2,
        "the input `cdflow-mirror` is `http://mirror",
        "invalid-input",
    );
    mirror("/opt/cdflow", 2, "such as `file:/opt/cdflow`", "invalid-input");
    mirror("file:/nowhere", 10, "cannot download cdflow: `file:///nowhere/cdflow-v", "unavailable");
    // What comes with a program that is another, with a part of it, and without any.
    let another = Release::of("echo started");
    fs::write(&archive, fs::read(Release::of("echo started; exit").archive()).unwrap()).unwrap();
    refused(&[], 9, "cdflow 1.2.3 has another SHA-256 than runner/pinned.json", "integrity");
    let whole = fs::read(another.archive()).unwrap();
    for bytes in [&whole[..whole.len() - 20], b"<!DOCTYPE html>", b""] {
        fs::write(&archive, bytes).unwrap();
        refused(&[], 9, "the archive of cdflow is damaged", "integrity");
    }
    release.edit_pins(|pinned| pinned["sha256"] = json!({ "linux-riscv64": "00" }));
    refused(&[], 2, "there is no cdflow 1.2.3 for this runner: `linux-", "invalid-input");
    // As it is in a commit that no release has filled.
    fs::copy(in_repository("runner/pinned.json"), release.action.join("pinned.json")).unwrap();
    refused(&[], 2, "this commit of the Action names no release of cdflow", "invalid-input");
}

#[test]
fn the_program_comes_through_a_proxy_from_a_host_with_its_own_authority() {
    let project = Project::local("greeting");
    let release = Release::of("echo started");
    let root = project.sandbox().root();
    let port = serve(fs::read(release.archive()).unwrap()).to_string();
    let script = in_repository("tests/integration/support/tls.py");
    let mut tls = crate::support::python(
        project.sandbox(),
        [script.as_os_str(), port.as_ref(), root.as_os_str()],
    )
    .spawn();
    tls.wait_until("a port", |running| running.said().contains('\n'));
    let proxy = format!("http://127.0.0.1:{}", tls.said().lines().next().unwrap());
    let from = |folder: &str| {
        let mirror = format!("https://bot:pass-word@ghes.test/{folder}");
        let job = Job::new(&project, &release);
        let main = job.step(&[("cdflow-mirror", &mirror)]).main();
        main.env("HTTPS_PROXY", &proxy).env("NODE_EXTRA_CA_CERTS", root.join("ca.pem"))
    };
    let ca = fs::read_to_string(root.join("ca.pem")).unwrap();
    for given in [ca.as_str(), root.join("ca.pem").to_str().unwrap()] {
        let input =
            from("file").env_remove("NODE_EXTRA_CA_CERTS").env("INPUT_CA-CERTIFICATES", given);
        input.run().success().stdout_has("started");
    }
    let output = from("moved").run();
    output
        .success()
        .stdout_has("Fetching cdflow 1.2.3: https://ghes.test/moved/cdflow-v1.2.3-linux");
    output.stdout_has("started").lacks("pass-word");
    assert!(tls.said().lines().skip(1).all(|host| host == "ghes.test:443"), "{}", tls.said());
    // The first answer is 503.
    from("busy").run().success().stdout_has("Attempt 1 of 3 failed: the server answers 503");
    let refused = |main: Runner, why: &str| {
        main.run().fails(10).stdout_has("cannot download cdflow").stdout_has(why).lacks("started");
    };
    refused(from("plain"), "redirects to `http://ghes.test/file/");
    refused(from("none"), "the server answers 404");
    refused(from("file").env_remove("NODE_EXTRA_CA_CERTS"), "certificate");
    let direct = from("file").env("NO_PROXY", "other.test, .ghes.test").env("no_proxy", "");
    direct.run().fails(10).stdout_has("ghes.test").lacks("does not connect");
    let proxy = from("file").env("HTTPS_PROXY", "http://127.0.0.1:9");
    refused(proxy, "the proxy `http://127.0.0.1:9/` does not connect");
}

/// Jobs of one machine share its tool cache, and not every job can write there.
#[test]
fn the_tool_cache_is_shared_and_not_required() {
    let project = Project::local("greeting");
    let release = Release::of("echo started");
    let job = Job::new(&project, &release);
    let jobs: Vec<Running> = (0..4).map(|_| job.step(&[]).main().spawn()).collect();
    for running in jobs {
        running.wait().success().stdout_has("started");
    }
    assert_eq!(files_under(&job.folder("tools")).len(), 1);
    // A file in place of the folder: root could write into a folder without permissions.
    let job = Job::new(&project, &release);
    let main = || job.step(&[]).main().env("RUNNER_TOOL_CACHE", job.sandbox.cli_config());
    main().run().success().stdout_has("Fetching").stdout_has("started");
    main().run().success().lacks("Fetching").stdout_has("started");
    let nowhere = main().env("RUNNER_TEMP", job.sandbox.cli_config());
    nowhere.run().fails(2).stdout_has("cannot keep cdflow on the runner: ");
}

/// The two actions differ in how they run, and in one input.
#[test]
fn both_actions_have_the_same_inputs_and_outputs() {
    let read = |file: &str| -> Value {
        serde_saphyr::from_str(&fs::read_to_string(in_repository(file)).unwrap()).unwrap()
    };
    let (container, mut runner) = (read("action.yml"), read("runner/action.yml"));
    let own = runner["inputs"].as_object_mut().unwrap().remove("cdflow-mirror");
    assert!(own.is_some_and(|input| input["description"].is_string()));
    for part in ["inputs", "outputs"] {
        let [here, there] = [&container, &runner].map(|action| action[part].as_object().unwrap());
        assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
        assert!(here.len() > 10);
        for (name, value) in here {
            assert_eq!(*value, there[name], "{part}: {name}");
        }
    }
    assert_eq!(runner["runs"], json!({ "using": "node20", "main": "main.js", "post": "post.js" }));
    assert!(in_repository("runner/main.js").exists() && in_repository("runner/post.js").exists());
}

/// A file of a release, and the Action whose commit pins it.
struct Release {
    folder: PathBuf,
    action: PathBuf,
    _sandbox: Option<Sandbox>,
}

/// The one with the binary under test, made once.
fn released() -> &'static Release {
    static MADE: OnceLock<Release> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runner-release");
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("cdflow");
        let strip =
            ["--strip-all".as_ref(), env!("CARGO_BIN_EXE_cdflow").as_ref(), program.as_os_str()];
        Runner::new("objcopy", strip, &Sandbox::new()).run().success();
        Release::packed(folder, None)
    })
}

impl Release {
    /// With a script as the program: quick, where what it does is not the matter.
    fn of(script: &str) -> Self {
        Self::of_text(&format!("#!/bin/sh\n{script}\n"))
    }

    fn of_text(text: &str) -> Self {
        let sandbox = Sandbox::new();
        let folder = sandbox.work();
        fs::write(folder.join("cdflow"), text).unwrap();
        Self::packed(folder, Some(sandbox))
    }

    /// As the release workflow does.
    fn packed(folder: PathBuf, sandbox: Option<Sandbox>) -> Self {
        let action = folder.join("action");
        fs::create_dir_all(&action).unwrap();
        for file in files_under(&in_repository("runner")) {
            fs::copy(in_repository("runner").join(&file), action.join(&file)).unwrap();
        }
        let made = Self { folder, action, _sandbox: sandbox };
        let archive = made.archive();
        let pack = ["--create", "--use-compress-program", "gzip -1", "--file"];
        Runner::new("tar", pack, &Sandbox::new())
            .args([archive.as_os_str(), "cdflow".as_ref()])
            .cwd(&made.folder)
            .run()
            .success();
        let pin = [made.action.join("pin.js").as_os_str().to_owned(), VERSION.into()];
        let url = format!("file://{}", made.folder.display());
        Runner::new("node", pin, &Sandbox::new()).arg(url).arg(archive).run().success();
        made
    }

    fn archive(&self) -> PathBuf {
        self.folder.join(format!("cdflow-v{VERSION}-linux-{}.tar.gz", architecture().1))
    }

    fn edit_pins(&self, edit: impl FnOnce(&mut Value)) {
        let file = self.action.join("pinned.json");
        let mut pinned = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        edit(&mut pinned);
        fs::write(file, pinned.to_string()).unwrap();
    }
}

/// This machine's, as node and as Docker name it.
fn architecture() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("arm64", "arm64"),
        _ => ("x64", "amd64"),
    }
}

/// A job with the folders that the runner keeps for it.
struct Job<'a> {
    project: &'a Project,
    release: &'a Release,
    sandbox: Sandbox,
}

impl<'a> Job<'a> {
    fn new(project: &'a Project, release: &'a Release) -> Self {
        let job = Self { project, release, sandbox: Sandbox::new() };
        for folder in ["temp", "tools", "files"] {
            fs::create_dir(job.folder(folder)).unwrap();
        }
        job
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.sandbox.work().join(name)
    }

    fn step(&self, inputs: &[(&str, &str)]) -> Step<'_> {
        for file in ["output", "state", "summary"] {
            fs::write(self.folder("files").join(file), "").unwrap();
        }
        // The runner upper-cases names and keeps their hyphens.
        let inputs = inputs
            .iter()
            .map(|(name, value)| (format!("INPUT_{}", name.to_uppercase()), (*value).to_owned()));
        Step { job: self, inputs: inputs.collect() }
    }

    /// A file of the last step, as the runner reads it.
    fn read(&self, name: &str) -> BTreeMap<String, String> {
        entries_of_runner(&fs::read_to_string(self.folder("files").join(name)).unwrap())
    }
}

struct Step<'a> {
    job: &'a Job<'a>,
    inputs: Vec<(String, String)>,
}

impl Step<'_> {
    fn main(&self) -> Runner {
        self.node("main.js")
    }

    /// The clean-up, with what the step saved.
    fn post(&self) -> Runner {
        let saved = self.job.read("state");
        saved.into_iter().fold(self.node("post.js"), |runner, (name, value)| {
            runner.env(format!("STATE_{name}"), value)
        })
    }

    fn node(&self, script: &str) -> Runner {
        let Job { project, release, sandbox } = self.job;
        let file = |name: &str| self.job.folder("files").join(name);
        Runner::new("node", [release.action.join(script)], sandbox)
            .cwd(project.dir())
            .envs([
                ("CI", "true"),
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", "push"),
                ("GITHUB_REF_NAME", "main"),
                ("GITHUB_REF_TYPE", "branch"),
                ("GITHUB_RUN_ID", "4711"),
                ("GITHUB_SHA", &project.head()),
                ("RUNNER_TRACKING_ID", "github_1"),
            ])
            .env("GITHUB_OUTPUT", file("output"))
            .env("GITHUB_STATE", file("state"))
            .env("GITHUB_STEP_SUMMARY", file("summary"))
            .env("GITHUB_WORKSPACE", project.dir())
            .env("RUNNER_TEMP", self.job.folder("temp"))
            .env("RUNNER_TOOL_CACHE", self.job.folder("tools"))
            .envs(self.inputs.iter().map(|(name, value)| (name, value)))
    }
}

/// With the runner's times.
fn cancel_as_a_runner(running: Running) -> Output {
    running.signal(Signal::SIGINT);
    sleep(Duration::from_millis(7500));
    running.signal(Signal::SIGTERM);
    sleep(Duration::from_millis(2500));
    running.signal(Signal::SIGKILL);
    running.wait()
}

fn environment_of_cdflow(running: &Running) -> String {
    let processes = running.processes();
    let cdflow = processes.iter().find(|process| process.program() == "cdflow").unwrap();
    let bytes = fs::read(format!("/proc/{}/environ", cdflow.pid)).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', "\n")
}

/// Serves the file under `/file/` on this port. `/moved/` and `/plain/` lead there, with TLS and
/// without; `/busy/` does so after an error.
fn serve(file: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut asked = 0;
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let Some(Ok(request)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
            let (folder, name) = path.split_once('/').unwrap();
            let (head, body): (String, &[u8]) = match folder {
                "file" => ("200 OK\r\n".to_owned(), &file),
                "moved" => (format!("302 Found\r\nLocation: ../file/{name}\r\n"), b""),
                "plain" => {
                    (format!("302 Found\r\nLocation: http://ghes.test/file/{name}\r\n"), b"")
                }
                "busy" if asked == 0 => {
                    asked += 1;
                    ("503 Busy\r\n".to_owned(), b"")
                }
                "busy" => ("200 OK\r\n".to_owned(), &file),
                _ => ("404 Not Found\r\n".to_owned(), b""),
            };
            let length = body.len();
            let head =
                format!("HTTP/1.1 {head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
            // A client may leave before it has read everything.
            let _ = connection.write_all(&[head.as_bytes(), body].concat());
        }
    });
    port
}

/// Its apply waits, after the greeting, until it is stopped.
const SLOW: &str = r#"
resource "terraform_data" "slow" {
  depends_on = [terraform_data.greeting]
  provisioner "local-exec" {
    command = "echo waiting; sleep 100"
  }
}
"#;
