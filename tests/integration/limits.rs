//! Every wait has an end: the table in docs/limits.md is the one of the code, no other file has a
//! time to wait for, and `CDFLOW_LIMITS` moves the limits.

use crate::support::{Project, in_repository};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Files with durations that are not limits of a wait: pauses between two looks or attempts, ages,
/// the length of sessions, and text.
const NO_LIMITS: [&str; 26] = [
    "src/base/interrupt.rs",
    "src/base/log/progress.rs",
    "src/base/pace.rs",
    "src/base/process/mod.rs",
    "src/base/process/watched.rs",
    "src/base/zombies.rs",
    "src/commands/post.rs",
    "src/commands/prune/mod.rs",
    "src/config/duration.rs",
    "src/deploy/recording.rs",
    "src/release/artifact/image/push.rs",
    "src/release/deletion.rs",
    "src/report/body.rs",
    "src/report/comment/mod.rs",
    "src/report/comment/render.rs",
    "src/report/comment/upsert/mod.rs",
    "src/services/aws/credentials.rs",
    "src/services/aws/oidc.rs",
    "src/services/aws/patience.rs",
    "src/services/aws/session.rs",
    "src/services/ci/step_folder.rs",
    "src/services/github/client.rs",
    "src/services/github/comments.rs",
    "src/services/registry/request.rs",
    "src/services/store/s3/client.rs",
    "src/terraform/state/classic.rs",
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
        if code.contains("Duration::from_") && name != "src/base/limits.rs" {
            found.push(name);
        }
        // What a library or tokio is told to wait for comes from the table.
        for line in code.lines().filter(|line| line.contains("timeout(")) {
            let is_number = line.contains("from_secs") || line.contains("from_millis");
            assert!(!is_number, "{}: {line}", path.display());
        }
    }
    found.retain(|name| !NO_LIMITS.contains(&name.as_str()));
    assert!(found.is_empty(), "move these times to src/base/limits.rs: {found:?}");
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
        ("init", "terraform-init", false, 5),
        ("plan", "terraform-plan", false, 5),
        ("show", "terraform-read", false, 5),
        ("workspace", "terraform-workspace", false, 5),
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
        assert!(began.elapsed() < Duration::from_secs(20), "{output}");
    }
    assert_eq!(project.ledger("live"), [""; 0]);
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
