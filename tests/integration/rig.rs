//! What the tests stand on, tested: a rig that lies makes every other test worthless.

use crate::support::{
    Aws, DEV, Mirror, Project, RELEASE, Reference, Runner, Sandbox, Scrub, cdflow, git, platform,
    python, terraform,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

#[test]
fn moto_keeps_the_buckets_of_a_test_apart() {
    let (one, other) = (Aws::new("apart"), Aws::new("apart"));
    one.put(&one.release_bucket(), "a/b", b"content");
    assert_eq!(one.keys(&one.release_bucket()), ["a/b"]);
    assert_eq!(one.get(&one.release_bucket(), "a/b"), b"content");
    assert_eq!(one.head(&one.release_bucket(), "a/b").unwrap()["ContentLength"], 7);
    assert!(one.head(&one.release_bucket(), "a/c").is_none());
    assert!(other.keys(&other.release_bucket()).is_empty());
    assert_eq!(one.requests(&format!("PUT /{}/a/b", one.release_bucket())).len(), 1);
    assert_eq!(one.get_json(&one.scheme_bucket(), "account-scheme.json"), one.scheme());
    one.delete(&one.release_bucket(), "a/b");
    assert!(one.keys(&one.release_bucket()).is_empty());
}

#[test]
fn moto_keeps_accounts_apart() {
    let aws = Aws::new("accounts");
    let name = format!("/{}", aws.name());
    aws.call(DEV, "ssm", "put_parameter", json!({ "Name": name, "Value": "x", "Type": "String" }));
    assert_eq!(aws.parameters(DEV), [name.as_str()]);
    assert!(aws.parameters(RELEASE).is_empty());
    let error = aws.try_call(RELEASE, "ssm", "get_parameter", json!({ "Name": name })).unwrap_err();
    assert!(error.starts_with("ParameterNotFound: "), "{error}");
    assert_eq!(aws.call(DEV, "sts", "get_caller_identity", json!({}))["Account"], DEV);
}

#[test]
fn moto_knows_an_upload_that_was_not_finished() {
    let aws = Aws::new("multipart");
    let bucket = aws.release_bucket();
    let upload = aws.call(
        RELEASE,
        "s3",
        "create_multipart_upload",
        json!({ "Bucket": bucket, "Key": "big" }),
    );
    assert_eq!(aws.unfinished_uploads(&bucket), ["big"]);
    let id = &upload["UploadId"];
    aws.call(
        RELEASE,
        "s3",
        "abort_multipart_upload",
        json!({ "Bucket": bucket, "Key": "big", "UploadId": id }),
    );
    assert!(aws.unfinished_uploads(&bucket).is_empty());
}

#[test]
fn moto_and_terraform_agree_on_the_state_bucket() {
    let aws = Aws::new("backend");
    let sandbox = Sandbox::new();
    let backend = format!(
        "terraform {{\n  backend \"s3\" {{\n    bucket       = \"{}\"\n    key          = \
        \"terraform.tfstate\"\n    \
         use_lockfile = true\n  }}\n}}\nresource \"terraform_data\" \"x\" {{}}\n",
        aws.state_bucket()
    );
    fs::write(sandbox.work().join("main.tf"), backend).unwrap();
    for arguments in [["init", "-input=false"].as_slice(), &["apply", "-auto-approve"]] {
        terraform(&sandbox, sandbox.work(), arguments).envs(aws.env()).run().success();
    }
    assert_eq!(aws.keys(&aws.state_bucket()), ["terraform.tfstate"]);
    assert_eq!(
        aws.get_json(&aws.state_bucket(), "terraform.tfstate")["resources"][0]["type"],
        "terraform_data"
    );
}

#[test]
fn a_project_is_a_clean_commit_that_is_the_same_every_time() {
    let (project, again) = (Project::local("greeting"), Project::local("greeting"));
    assert_eq!(project.git(["status", "--porcelain"]), "");
    assert_eq!(
        project.git(["remote", "get-url", "origin"]),
        "https://github.com/acme/greeting.git"
    );
    assert_eq!(
        project.git(["log", "--format=%an %ae %aI %s"]),
        "Ada ada@example.com 2024-02-03T04:05:06Z First"
    );
    assert_eq!(project.head(), again.head());
    project
        .edit("config/common.json", "Hello", "Hi")
        .edit_json("config/live.json", |live| live["new"] = 1.into());
    assert_ne!(project.commit("Second"), again.head());
    let live: Value = serde_json::from_str(&project.read("config/live.json")).unwrap();
    assert_eq!(live, json!({ "greeting": "Good day", "new": 1 }));
}

#[test]
fn a_project_plans_with_what_its_own_files_give() {
    let project = Project::local("greeting");
    let infra = project.path("infra");
    terraform(project.sandbox(), &infra, ["init", "-input=false", "-no-color"]).run().success();
    let output = terraform(project.sandbox(), &infra, ["plan", "-input=false", "-no-color"])
        .arg("-var-file=../config/common.json")
        .arg("-var-file=../platform-config/local/eu-west-1.json")
        .arg("-var=env=ci")
        .arg("-var=release={version=\"1\"}")
        .run();
    output
        .success()
        .stdout_has(r#"+ input  = "Hello from ci.local.example, version 1""#)
        .stderr_is("");
}

#[test]
fn terraform_links_to_an_unpacked_provider_and_unpacks_a_packed_one() {
    let binary = format!(
        "registry.terraform.io/hashicorp/tiny/1.0.0/{}/terraform-provider-tiny_v1.0.0_x5",
        platform()
    );
    for (mirror, is_link) in [(Mirror::tiny(), true), (Mirror::tiny_packed(), false)] {
        let project = Project::local("tiny").with_tiny_provider(mirror.clone());
        let infra = project.path("infra");
        let init = terraform(project.sandbox(), &infra, ["init", "-input=false", "-no-color"]);
        init.providers(&mirror).run().success().stdout_has("Installed hashicorp/tiny v1.0.0");
        let binary = infra.join(".terraform/providers").join(&binary);
        assert_eq!(binary.parent().unwrap().is_symlink(), is_link);
        assert_eq!(fs::metadata(&binary).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(project.read("infra/.terraform.lock.hcl").contains("h1:"));
    }
}

#[test]
fn terraform_finds_no_provider_where_a_test_gives_none() {
    let project = Project::local("tiny").with_tiny_provider(Mirror::tiny());
    let init =
        terraform(project.sandbox(), project.path("infra"), ["init", "-input=false", "-no-color"])
            .run();
    init.fails(1).stderr_has("hashicorp/tiny");
}

#[test]
fn the_reference_bundle_has_the_layout_of_the_reference() {
    let project = Project::local("old").with_tiny_provider(Mirror::tiny());
    project
        .write("infra/part/main.tf", "")
        .append("infra/main.tf", "module \"part\" {\n  source = \"./part\"\n}\n");
    project.commit("Add a module");
    let bundle = Reference::new(&project, "7").data("flavour", "sweet").publish();
    let mut archive = zip::ZipArchive::new(fs::File::open(bundle).unwrap()).unwrap();
    let mut names: Vec<String> =
        archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    names.sort();
    let names: Vec<String> =
        names.iter().map(|name| name.replace(&platform(), "[PLATFORM]")).collect();
    assert_eq!(
        names,
        [
            "old-7/",
            "old-7/.terraform.lock.hcl",
            "old-7/.terraform/",
            "old-7/.terraform/modules/",
            "old-7/.terraform/modules/modules.json",
            "old-7/.terraform/providers/",
            "old-7/.terraform/providers/registry.terraform.io/",
            "old-7/.terraform/providers/registry.terraform.io/hashicorp/",
            "old-7/.terraform/providers/registry.terraform.io/hashicorp/tiny/",
            "old-7/.terraform/providers/registry.terraform.io/hashicorp/tiny/1.0.0/",
            "old-7/.terraform/providers/registry.terraform.io/hashicorp/tiny/1.0.0/[PLATFORM]/",
            "old-7/.terraform/providers/registry.terraform.io/hashicorp/tiny/1.0.0/[PLATFORM]/\
             LICENSE.txt",
            "old-7/.terraform/providers/registry.terraform.io/hashicorp/tiny/1.0.0/[PLATFORM]/\
             terraform-provider-tiny_v1.0.0_x5",
            "old-7/account-scheme.json",
            "old-7/config/",
            "old-7/config/common.json",
            "old-7/config/live.json",
            "old-7/infra/",
            "old-7/infra/main.tf",
            "old-7/infra/part/",
            "old-7/infra/part/main.tf",
            "old-7/infra/tiny.tf",
            "old-7/platform-config/",
            "old-7/platform-config/local/",
            "old-7/platform-config/local/eu-west-1.json",
            "old-7/release.json",
        ]
    );
    let release: Value =
        serde_json::from_reader(archive.by_name("old-7/release.json").unwrap()).unwrap();
    let expected = json!({ "release": {
        "commit": project.head(), "version": "7", "component": "old", "team": "platform",
        "flavour": "sweet",
    }});
    assert_eq!(release, expected);
    let modules: Value =
        serde_json::from_reader(archive.by_name("old-7/.terraform/modules/modules.json").unwrap())
            .unwrap();
    let folders: Vec<&str> = modules["Modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| module["Dir"].as_str().unwrap())
        .collect();
    assert_eq!(folders, ["infra", "infra/part"]);
}

#[test]
fn a_reference_bundle_is_uploaded_with_its_metadata() {
    let aws = Aws::new("reference");
    let project = Project::aws("old", &aws);
    let key = Reference::new(&project, "7").upload(&aws);
    assert_eq!(key, "platform/old/old-7.zip");
    let head = aws.head(&aws.release_bucket(), &key).unwrap();
    assert_eq!(head["Metadata"], json!({ "cdflow_image_digest": "cdflow-commands@sha256:0" }));
    let file = project.sandbox().root().join("fetched.zip");
    aws.download(&aws.release_bucket(), &key, &file);
    assert_eq!(fs::metadata(file).unwrap().len(), head["ContentLength"].as_u64().unwrap());
}

#[test]
fn a_program_sees_the_environment_it_was_given_and_no_other() {
    let output = shell("env | cut -d= -f1 | sort | grep -v -e ^PWD$ -e ^SHLVL$ -e ^_$")
        .env("EXTRA", "1")
        .run();
    let names = "CDFLOW_TERRAFORM_MIRROR\nEXTRA\nHOME\nPATH\nTF_CLI_CONFIG_FILE\nTMPDIR\n";
    output.success().stdout_is(names).stderr_is("");
}

#[test]
fn a_program_that_is_killed_has_the_code_a_shell_gives_it() {
    shell("kill -TERM $$").run().fails(143);
    shell("cat; exit 3").stdin("said").run().fails(3).stdout_is("said");
}

#[test]
fn a_running_program_is_seen_with_its_children_and_gets_signals() {
    // Tests that run in the background are born with SIGINT ignored, and a shell can't trap what
    // was ignored at its birth.
    let script = "trap 'echo caught; exit 9' INT; sleep 60 & echo ready; wait";
    let arguments = ["--default-signal=INT", "sh", "-c", script];
    let mut running = Runner::new("env", arguments, &Sandbox::new()).spawn();
    running.wait_for("ready").wait_until("the child", |running| {
        running.processes().iter().any(|it| it.program() == "sleep")
    });
    let sleep =
        running.processes().into_iter().find(|process| process.program() == "sleep").unwrap();
    assert_eq!(sleep.arguments[1..], ["60"]);
    assert!(sleep.environment.contains_key("TMPDIR"));
    running.signal(Signal::SIGINT);
    // The orphan holds the pipes: what was said until then is all there is, and nobody waits for
    // more.
    let output = running.wait();
    output.fails(9).stdout_is("ready\ncaught\n");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleep.pid), Signal::SIGKILL).unwrap();
}

#[test]
fn a_program_that_hangs_is_ended_with_what_it_started() {
    let started = Instant::now();
    let mut running = shell("sleep 61 & echo $!; wait").timeout(Duration::from_millis(500)).spawn();
    running.wait_for("\n");
    let child = running.processes().pop().unwrap().pid;
    let failure =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.wait())).err().unwrap();
    assert!(
        failure
            .downcast_ref::<String>()
            .unwrap()
            .starts_with("still running after 500ms\n--- command\ncd ")
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    let gone = || {
        fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "))
    };
    while !gone() {
        assert!(started.elapsed() < Duration::from_secs(20), "{child} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_that_is_offline_has_a_loopback_address_and_nothing_else() {
    let probe = "import socket, sys
own = socket.create_server(('127.0.0.1', 0))
socket.create_connection(own.getsockname(), 5)
print('loopback')
try:
    socket.create_connection(('192.0.2.1', 80), 5)
except OSError as error:
    print(error)";
    let output = python(&Sandbox::new(), ["-c", probe]).offline().run();
    output.success().stdout_is("loopback\n[Errno 101] Network is unreachable\n");
}

#[test]
fn an_assertion_that_fails_shows_everything() {
    let output = shell("echo out; echo err >&2; exit 4").run();
    let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        output.success();
    }));
    let message = failure.unwrap_err().downcast::<String>().unwrap();
    for part in [
        "expected exit code 0",
        "echo out",
        "--- exit code\n4",
        "--- stdout\nout\n",
        "--- stderr\nerr\n",
    ] {
        assert!(message.contains(part), "no `{part}` in:\n{message}");
    }
}

#[test]
fn scrubbing_names_what_differs_and_leaves_the_rest() {
    let scrub = Scrub::default().text("/tmp/x", "[X]").text("/tmp/x/y", "[Y]");
    for (output, expected) in [
        ("/tmp/x/y/z and /tmp/x/z", "[Y]/z and [X]/z"),
        (
            "at 2026-11-20T12:53:36Z, 2026-11-20 12:53:36.5 UTC, 2026-11-20 12:53",
            "at [TIME], [TIME], [TIME]",
        ),
        ("12:53:36 done in 1.2s (340ms, 1m 3s)", "[TIME] done in [ELAPSED] ([ELAPSED], [ELAPSED])"),
        ("id 0b2dd6a4-1c3d-4e5f-8a9b-0c1d2e3f4a5b.", "id [UUID]."),
        (
            "version 1.2.3, 3 to add, 10.0.0.1:80, v1m, ünï 7 s",
            "version 1.2.3, 3 to add, 10.0.0.1:80, v1m, ünï 7 s",
        ),
    ] {
        assert_eq!(scrub.apply(output), expected);
    }
    let sum = "0123456789abcdef".repeat(4);
    assert_eq!(scrub.apply(&format!("sha256:{sum} {sum}0")), format!("sha256:[SHA256] {sum}0"));
}

#[test]
fn the_binary_starts() {
    let output = cdflow(["--version"]).run();
    output.success();
    assert!(output.elapsed < Duration::from_secs(10));
}

#[test]
fn git_of_a_test_reads_no_configuration_of_the_person() {
    let sandbox = Sandbox::new();
    git(&sandbox, sandbox.work(), ["config", "--global", "--list"]).run().fails(128);
}

fn shell(script: &str) -> Runner {
    let sandbox = Sandbox::new();
    Runner::new("sh", ["-c", script], &sandbox)
}
