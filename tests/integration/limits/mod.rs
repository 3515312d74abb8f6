//! Every wait has an end: the table in docs/limits.md is the one of the code, no other file has a
//! time to wait for, and `CDFLOW_LIMITS` moves the limits.

mod aws;
mod engines;
mod github;

use crate::aws_state::with_locks;
use crate::support::{Project, files_under, in_repository, tool};
use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Files with durations that are not limits of a wait, and how many: pauses between two looks or
/// attempts, ages, the length of sessions, and text.
const NO_LIMITS: [(&str, usize); 31] = [
    ("src/base/http_wait.rs", 1),
    ("src/base/interrupt.rs", 1),
    ("src/base/log/mod.rs", 1),
    ("src/base/log/progress.rs", 3),
    ("src/base/pace.rs", 1),
    ("src/base/process/mod.rs", 1),
    ("src/base/process/watched.rs", 2),
    ("src/base/zombies.rs", 1),
    ("src/commands/post.rs", 1),
    ("src/config/duration.rs", 1),
    ("src/deploy/recording.rs", 1),
    ("src/release/artifact/image/push.rs", 1),
    ("src/release/deletion.rs", 2),
    ("src/release/shared_segments.rs", 2),
    ("src/report/body.rs", 1),
    ("src/report/comment/mod.rs", 1),
    ("src/report/comment/upsert/mod.rs", 2),
    ("src/report/run_context.rs", 1),
    ("src/services/aws/credentials.rs", 1),
    ("src/services/aws/oidc.rs", 2),
    ("src/services/aws/patience.rs", 1),
    ("src/services/aws/session.rs", 2),
    ("src/services/ci/step_folder.rs", 1),
    ("src/services/github/client.rs", 5),
    ("src/services/github/comments.rs", 3),
    ("src/services/registry/request.rs", 1),
    ("src/services/store/s3/client.rs", 3),
    ("src/terraform/state/classic.rs", 1),
    ("src/services/tool_site/download.rs", 2),
    ("src/services/tool_site/signature.rs", 1),
    ("src/terraform/cache_lock.rs", 1),
];

/// Each limit, and the test in which the wait really happens and ends: its file and its name.
const PROOFS: [(&str, &str, &str); 56] = [
    ("git", "tests/integration/attacks.rs", "a_git_that_hangs_can_be_cancelled"),
    (
        "credential-helper",
        "tests/integration/limits/engines.rs",
        "a_credential_helper_that_does_not_end",
    ),
    (
        "terraform-version",
        "tests/integration/limits/mod.rs",
        "a_program_that_does_not_end_is_ended",
    ),
    ("terraform-init", "tests/integration/limits/mod.rs", "a_program_that_does_not_end_is_ended"),
    (
        "terraform-workspace",
        "tests/integration/limits/mod.rs",
        "a_workspace_that_is_not_created_is_ended",
    ),
    ("terraform-plan", "tests/integration/limits/mod.rs", "a_program_that_does_not_end_is_ended"),
    ("terraform-read", "tests/integration/limits/mod.rs", "a_program_that_does_not_end_is_ended"),
    (
        "terraform-push",
        "tests/integration/limits/mod.rs",
        "a_second_try_to_save_the_state_is_ended",
    ),
    ("build-hook", "tests/integration/limits/engines.rs", "a_hook_that_does_not_end"),
    ("hook", "tests/integration/hooks.rs", "a_hook_that_does_not_end_is_ended_with_its_children"),
    (
        "image-build",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    ("image-push", "tests/integration/limits/engines.rs", "a_push_that_does_not_end"),
    ("output", "src/base/process/tests.rs", "what_a_program_leaves_behind_is_not_waited_for"),
    ("stop", "tests/integration/limits/engines.rs", "a_hook_that_does_not_end"),
    ("stop-terraform", "tests/integration/limits/mod.rs", "a_program_that_does_not_end_is_ended"),
    ("end", "src/release/upload.rs", "the_fate_of_an_object"),
    (
        "last-answer",
        "tests/integration/aws_faults.rs",
        "a_cancel_without_any_answer_says_that_it_does_not_know",
    ),
    ("cancel", "src/base/interrupt.rs", "slow_steps_share_the_time_of_a_cancelled_run"),
    (
        "aws-connect",
        "tests/integration/limits/aws.rs",
        "aws_takes_no_connection_or_stops_in_the_middle",
    ),
    ("aws-answer", "tests/integration/aws_faults.rs", "a_service_that_never_answers_has_a_limit"),
    ("aws-patience", "tests/integration/limits/aws.rs", "an_upload_that_is_not_answered"),
    ("aws-transfer", "tests/integration/limits/aws.rs", "an_upload_that_is_not_answered"),
    (
        "aws-idle",
        "tests/integration/limits/aws.rs",
        "aws_takes_no_connection_or_stops_in_the_middle",
    ),
    ("aws-table", "tests/integration/limits/aws.rs", "a_lock_table_that_does_not_become_active"),
    ("id-connect", "tests/integration/limits/aws.rs", "no_id_token_comes"),
    ("id-answer", "tests/integration/limits/aws.rs", "no_id_token_comes"),
    ("id-patience", "tests/integration/limits/aws.rs", "no_id_token_comes"),
    ("credentials-socket", "tests/integration/limits/aws.rs", "a_run_that_serves_no_credentials"),
    ("github-connect", "tests/integration/limits/github.rs", "github_does_not_answer_a_release"),
    ("github-answer", "tests/integration/limits/github.rs", "github_does_not_answer_a_release"),
    ("github-patience", "tests/integration/limits/github.rs", "github_does_not_answer_a_release"),
    (
        "registry-connect",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    (
        "registry-idle",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    (
        "registry-answer",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    (
        "registry-pause",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    (
        "tool-connect",
        "tests/integration/terraform_versions.rs",
        "neither_a_silent_mirror_nor_another_download_is_waited_for_without_end",
    ),
    (
        "tool-idle",
        "tests/integration/terraform_versions.rs",
        "neither_a_silent_mirror_nor_another_download_is_waited_for_without_end",
    ),
    ("tool-answer", "tests/integration/terraform_versions.rs", "a_mirror_in_trouble_is_named"),
    ("tool-download", "tests/integration/terraform_versions.rs", "a_mirror_in_trouble_is_named"),
    (
        "tool-lock",
        "tests/integration/terraform_versions.rs",
        "neither_a_silent_mirror_nor_another_download_is_waited_for_without_end",
    ),
    (
        "provider-lock",
        "tests/integration/platforms.rs",
        "a_release_does_not_wait_for_another_without_end",
    ),
    (
        "engine",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    (
        "engine-answer",
        "tests/integration/limits/engines.rs",
        "a_registry_or_an_engine_that_does_not_answer",
    ),
    (
        "engine-connect",
        "tests/integration/limits/engines.rs",
        "an_engine_that_takes_no_second_connection",
    ),
    (
        "artifact-check",
        "tests/integration/limits/engines.rs",
        "a_registry_that_does_not_answer_does_not_stop_a_deploy",
    ),
    (
        "state-lock",
        "tests/integration/limits/mod.rs",
        "a_lock_that_cannot_be_read_does_not_keep_a_failed_apply",
    ),
    (
        "running-destroy",
        "tests/integration/limits/mod.rs",
        "a_destroy_that_never_recorded_its_end_is_not_waited_for",
    ),
    ("deployment", "tests/integration/limits/github.rs", "github_does_not_answer_a_deploy"),
    (
        "comment-read",
        "tests/integration/limits/github.rs",
        "a_ledger_that_is_read_for_the_comment_does_not_answer",
    ),
    ("comment", "tests/integration/limits/github.rs", "github_does_not_answer_a_deploy"),
    (
        "comment-stop",
        "tests/integration/limits/github.rs",
        "github_does_not_answer_a_run_that_is_told_to_stop",
    ),
    ("announcement", "tests/integration/limits/github.rs", "github_does_not_answer_a_deploy"),
    ("webhook", "tests/integration/notify.rs", "a_webhook_that_does_not_answer_is_a_warning"),
    ("post-run", "tests/integration/limits/engines.rs", "a_clean_up_does_not_wait_for_ever"),
    ("post-lines", "tests/integration/limits/engines.rs", "a_clean_up_does_not_wait_for_ever"),
    ("question", "tests/integration/questions.rs", "a_question_without_an_answer_ends"),
];

#[test]
fn the_page_has_every_limit_with_its_time() {
    let source = fs::read_to_string(in_repository("src/base/limits.rs")).unwrap();
    let row = |line: &str| {
        let mut parts = line.trim().strip_prefix("(Limit::")?.strip_suffix("),")?.split(", ");
        let (_, name, seconds) = (parts.next()?, parts.next()?, parts.next()?);
        Some((name.trim_matches('"').to_owned(), seconds.parse::<u64>().ok()?))
    };
    let of_source: BTreeMap<String, u64> = source.lines().filter_map(row).collect();
    assert!(of_source.len() > 40, "src/base/limits.rs is no longer written as this test reads it");
    let page = fs::read_to_string(in_repository("docs/limits.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, time) = (cells.next()?.strip_suffix('`')?, cells.next()?);
        let (number, unit) = time.split_at(time.len() - 1);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        Some((name.to_owned(), number.parse::<u64>().ok()? * unit))
    };
    let of_page: BTreeMap<String, u64> = page.lines().filter_map(row).collect();
    assert_eq!(of_page, of_source);
}

/// A duration in another file would be a wait that the page does not have.
#[test]
fn no_other_file_has_a_time_to_wait_for() {
    let mut found = Vec::new();
    for file in walkdir::WalkDir::new(in_repository("src")) {
        let path = file.unwrap().into_path();
        let name = path.strip_prefix(in_repository("")).unwrap().to_str().unwrap().to_owned();
        let is_test = ["tests", "testing", "samples"].iter().any(|it| name.contains(it));
        if path.extension().is_none_or(|it| it != "rs") || is_test {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let count = code.matches("Duration::from_").count();
        if count > 0 && name != "src/base/limits.rs" {
            found.push((name, count));
        }
        // What a library or tokio is told to wait for comes from the table.
        for line in code.lines().filter(|line| line.contains("timeout(")) {
            let is_number = line.contains("from_secs") || line.contains("from_millis");
            assert!(!is_number, "{}: {line}", path.display());
        }
    }
    found.retain(|(name, count)| !NO_LIMITS.contains(&(name.as_str(), *count)));
    assert!(found.is_empty(), "move these times to src/base/limits.rs: {found:?}");
    let is_there = |name: &str| in_repository(name).exists();
    assert!(NO_LIMITS.iter().all(|(name, count)| is_there(name) && *count > 0));
}

/// A new limit needs a test in which it ends a wait, and code that waits.
#[test]
fn the_table_has_a_proof_for_every_limit() {
    let table = fs::read_to_string(in_repository("src/base/limits.rs")).unwrap();
    let rows = table.lines().filter_map(|line| {
        let (variant, rest) = line.trim().strip_prefix("(Limit::")?.split_once(", \"")?;
        Some((rest.split_once('"')?.0, format!("Limit::{variant}")))
    });
    let variants: BTreeMap<&str, String> = rows.collect();
    let proved: BTreeMap<&str, (&str, &str)> =
        PROOFS.iter().map(|(limit, file, test)| (*limit, (*file, *test))).collect();
    assert_eq!(
        variants.keys().collect::<Vec<_>>(),
        proved.keys().collect::<Vec<_>>(),
        "PROOFS has another set of limits than src/base/limits.rs"
    );
    let is_code =
        |name: &str| name.ends_with(".rs") && !name.contains("tests") && name != "base/limits.rs";
    let sources: String = files_under(&in_repository("src"))
        .iter()
        .filter(|name| is_code(name))
        .map(|name| fs::read_to_string(in_repository("src").join(name)).unwrap())
        .collect();
    for (limit, (file, test)) in proved {
        let variant = &variants[limit];
        let is_whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
        assert!(
            sources.split(variant.as_str()).skip(1).any(is_whole),
            "nothing waits for `{limit}`"
        );
        let text = fs::read_to_string(in_repository(file)).unwrap();
        let body = text.split_once(&format!("fn {test}()")).map(|(_, rest)| rest);
        let body = body.unwrap_or_else(|| panic!("{file} has no test `{test}`"));
        let body = body.split("\n}\n").next().unwrap();
        let names_it = [format!("{limit}="), format!("`{limit}`"), format!("\"{limit}\"")];
        assert!(
            names_it.iter().any(|name| body.contains(name)) || body.contains(variant.as_str()),
            "`{test}` in {file} is not about `{limit}`"
        );
    }
}

#[test]
fn a_limit_that_is_not_known_is_rejected() {
    let project = Project::local("greeting");
    let limits = |text: &str| project.cdflow(["status"]).env("CDFLOW_LIMITS", text).run();
    limits("terraform-plans=1h").fails(2).stderr_has("did you mean `terraform-plan`?");
    limits("git=soon").fails(2).stderr_has("`soon` is not a duration");
    limits("git=1h, aws-answer=5m").success();
}

/// Each of cdflow's programs in turn does not end, and does not listen to signals.
#[test]
fn a_program_that_does_not_end_is_ended() {
    let project = Project::local("greeting");
    project.release("1");
    let hang = "trap '' INT TERM; while :; do sleep 0.1; done;;";
    for (verb, limit, release, exit) in [
        ("init", "terraform-init", true, 11),
        ("plan", "terraform-read", true, 11),
        ("validate", "terraform-read", true, 11),
        ("init", "terraform-init", false, 5),
        ("plan", "terraform-plan", false, 5),
        ("show", "terraform-read", false, 5),
        ("version", "terraform-version", false, 2),
    ] {
        let path = project.terraform_but(&format!("{verb}) {hang}"));
        let run = match release {
            true => project.releasing("2"),
            false => project.cdflow(["deploy", "live", "1"]),
        };
        let began = Instant::now();
        let limits = format!("{limit}=1s,stop-terraform=1s");
        let output = run.env("PATH", path).env("CDFLOW_LIMITS", limits).run();
        output.fails(exit).stderr_has(&format!("did not end within 1 s (the limit `{limit}`)"));
        // What only reads, and init, are killed at once.
        if !["terraform-version", "terraform-init"].contains(&limit) {
            output.stderr_has("it did not stop within 1 s (the limit `stop-terraform`)");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{output}");
    }
    assert_eq!(project.ledger("live"), [""; 0]);
}

/// Only OpenTofu is asked for an empty state: it might have to encrypt it.
#[test]
fn a_workspace_that_is_not_created_is_ended() {
    let (_aws, project) = with_locks("slow-workspace", None, false);
    project.append("cdflow.yml", "opentofu-version: \">= 1.7.0\"\n").commit("OpenTofu");
    let path = project.terraform_but("workspace) trap '' INT TERM; while :; do sleep 0.1; done;;");
    let path = format!("{}:{path}", tool::stand_in(project.sandbox()).display());
    project.releasing("1").env("PATH", &path).run().success();
    let run = project.cdflow(["deploy", "ci", "1"]).env("PATH", &path);
    let output = run.env("CDFLOW_LIMITS", "terraform-workspace=1s,stop-terraform=1s").run();
    output
        .fails(5)
        .stderr_has("did not end within 1 s (the limit `terraform-workspace`)")
        .stderr_has("it did not stop within 1 s (the limit `stop-terraform`)");
}

/// As if the backend had refused the new state: Terraform leaves it in its folder.
#[test]
fn a_second_try_to_save_the_state_is_ended() {
    let project = Project::local("greeting");
    project.release("1");
    let state = project.state_file("live").display().to_string();
    let path = project.terraform_but(&format!(
        "apply) \"$real\" \"$@\"; mv {state} errored.tfstate; exit 1;;\n\
         state) [ \"$2\" != push ] || {{ trap '' INT TERM; while :; do sleep 0.1; done; }};;"
    ));
    let run = project.cdflow(["deploy", "live", "1"]).env("PATH", path);
    let output = run.env("CDFLOW_LIMITS", "terraform-push=1s,stop-terraform=1s").run();
    output
        .fails(7)
        .stderr_has("a copy is at ")
        .stderr_has("did not end within 1 s (the limit `terraform-push`)");
    assert!(project.stored().iter().any(|name| name.contains("recovery")), "{output}");
    assert_eq!(project.ledger("live"), ["deploy 1 failed"]);
}

#[test]
fn a_lock_that_cannot_be_read_does_not_keep_a_failed_apply() {
    let (aws, project) = with_locks("slow-lock", None, false);
    project.release("1");
    let read = format!("GET /{}/platform/shop/ci/terraform.tfstate.tflock", aws.state_bucket());
    // Terraform reads it as well, to release it.
    aws.rule(json!({ "matching": read, "agent": "aws-sdk-rust", "delay": 30 }));
    let path = project.terraform_but("apply) exit 1;;");
    let run = project.cdflow(["deploy", "ci", "1"]).env("PATH", path);
    let output = run.env("CDFLOW_LIMITS", "state-lock=1s,end=1s").run();
    output.fails(6).stderr_has(
        "it is unknown whether the state is locked: no answer within 1 s (the limit `state-lock`)",
    );
    assert!(output.elapsed < Duration::from_secs(20), "{output}");
}

#[test]
fn a_destroy_that_never_recorded_its_end_is_not_waited_for() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    let destroy = || project.cdflow(["destroy", "live", "--confirm", "live"]);
    destroy().run().success();
    fs::remove_file(project.ledger_folder("live").join("9999999997.end.json")).unwrap();
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded", "destroy 1 unfinished"]);
    let output = destroy().env("CDFLOW_LIMITS", "running-destroy=1s").run();
    output.success().stderr_has(
        "another destroy has not recorded its end within 1 s (the limit `running-destroy`)",
    );
    assert_eq!(project.ledger("live").last().unwrap(), "destroy 1 succeeded");
}

/// Neither a first signal nor a second one is without effect on anything but an apply.
#[test]
fn a_run_that_is_told_to_stop_is_over_soon() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project.terraform_but(
        "plan) trap '' INT TERM; echo 'deaf: Reading...'; while :; do sleep 0.1; done;;",
    );
    for (signals, limit) in [(1, 10), (2, 5)] {
        let mut running = project.cdflow(["deploy", "live", "1"]).env("PATH", &path).spawn();
        running.wait_for("deaf");
        let began = Instant::now();
        for _ in 0..signals {
            running.signal(Signal::SIGINT);
            std::thread::sleep(Duration::from_millis(300));
        }
        let output = running.wait();
        output.fails(130).stderr_has("was killed").stderr_has("cancelled during terraform plan");
        assert!(began.elapsed() < Duration::from_secs(limit), "{:?} {output}", began.elapsed());
    }
}

/// `ulimit -f`: a write that is too long is an error, and not the end without a word.
#[test]
fn a_file_size_limit_is_reported() {
    let project = Project::local("greeting");
    let program = env!("CARGO_BIN_EXE_cdflow");
    fs::write(project.path("infra/large.bin"), vec![7; 4 << 20]).unwrap();
    project.commit("Large");
    let script =
        format!("ulimit -f 1024; exec {program} release 1 --platform-config platform-config");
    let run = crate::support::Runner::new("bash", ["-c", script.as_str()], project.sandbox());
    let output = run.cwd(project.dir()).run();
    output.fails(2).stderr_has("File too large").stderr_has("ulimit -f");
}

/// `ulimit -n`: with too few files, cdflow could not even remove its own.
#[test]
fn a_limit_of_open_files_is_reported() {
    let project = Project::local("greeting");
    let program = env!("CARGO_BIN_EXE_cdflow");
    let limited = |limit: &str| {
        let script =
            format!("ulimit {limit}; exec {program} release 1 --platform-config platform-config");
        let run = crate::support::Runner::new("bash", ["-c", script.as_str()], project.sandbox());
        run.cwd(project.dir()).run()
    };
    let output = limited("-n 12");
    output
        .fails(2)
        .stderr_has("this process can open only 12 files")
        .stderr_has("`ulimit -n 1024`");
    project.left_no_trace(&output);
    // A limit that may be raised is raised.
    limited("-Sn 12").success();
}
