//! `preview reap`: what nobody needs goes, and nothing else, whatever GitHub answers.

use crate::preview::{
    NUMBER, Pause, close, down, for_pull_request, project, releases, scheduled, up,
};
use crate::schemas::is_valid;
use crate::support::github::{Fault, GitHub, TOKEN};
use crate::support::{Output, Project};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// So many previews are to go in the test of many; `make soak` has it be more.
const MANY: u64 = 16;
/// Of every hundred questions to GitHub so many fail there.
const FAULTS: u64 = 10;
/// What cdflow itself may take, however many there are. In KiB.
const MEMORY: u64 = 150 * 1024;

/// As if `preview up` had made also this one: the ledger and the state of pull request 7 once more.
fn copy(project: &Project, number: u64, change: impl Fn(&mut Value)) {
    let (from, to) =
        (project.ledger_folder("pr-7"), project.ledger_folder(&format!("pr-{number}")));
    fs::create_dir_all(&to).unwrap();
    for name in ["9999999998.start.json", "9999999998.end.json"] {
        let mut entry: Value =
            serde_json::from_str(&fs::read_to_string(from.join(name)).unwrap()).unwrap();
        if name.contains("start") {
            entry["preview"]["number"] = number.into();
            entry["environment"] = format!("pr-{number}").into();
            change(&mut entry);
        }
        fs::write(to.join(name), entry.to_string()).unwrap();
    }
    let state = project.state_file(&format!("pr-{number}"));
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    fs::copy(project.state_file("pr-7"), state).unwrap();
}

/// What the table of `reap` says of each preview.
fn said(output: &Output) -> BTreeMap<String, String> {
    let lines = output.stdout.lines().filter_map(|line| line.strip_prefix("pr-")?.split_once("  "));
    lines.map(|(number, end)| (number.trim().to_owned(), end.trim().to_owned())).collect()
}

fn reap(project: &Project, github: &GitHub) -> Output {
    scheduled(project, github, &["preview", "reap"]).run()
}

fn refusal(status: u16, message: &'static str) -> Fault {
    Fault::Answer { status, headers: vec![], message }
}

/// By pull request.
fn comments(github: &GitHub) -> BTreeMap<u64, String> {
    github.world().comments.values().map(|it| (it.issue, it.body.clone())).collect()
}

/// A preview of pull request 7 that `preview up` has made, and copies of it for others, all of them
/// closed.
fn with_closed(preview: &str, others: &[u64]) -> (Project, GitHub) {
    let (project, github) = (project(preview), GitHub::start());
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    for number in others {
        copy(&project, *number, |_| {});
        close(&github, *number);
    }
    (project, github)
}

#[test]
fn reap_destroys_what_nobody_needs() {
    let project = project("{ttl: 72h}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    for number in [8, 9, 10, 15, 16, 17] {
        copy(&project, number, |_| {});
    }
    for number in [11, 12] {
        copy(&project, number, |start| start["started"] = "2026-01-01T00:00:00Z".into());
        github.world().pull_request(number, "abc");
    }
    github.world().pull_requests.get_mut(&12).unwrap().labels = vec!["keep-preview".to_owned()];
    copy(&project, 13, |start| start["preview"]["repository"] = 1.into());
    copy(&project, 14, |start| start["preview"] = Value::Null);
    [8, 13, 14, 16, 17].into_iter().for_each(|number| close(&github, number));
    close(&github, 9);
    github.world().pull_requests.get_mut(&9).unwrap().is_merged = true;
    fs::remove_dir_all(project.ledger_folder("pr-15")).unwrap();
    let damaged = project.ledger_folder("pr-16").join("9999999998.start.json");
    let whole = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, &whole[..40]).unwrap();
    let forbidden = Fault::Answer {
        status: 403,
        headers: vec![],
        message: "Resource not accessible by integration",
    };
    github.fault("/pulls/17", 3, forbidden);

    let before = project.snapshot();
    let summary = project.sandbox().work().join("summary");
    fs::write(&summary, "").unwrap();
    let dry_run = scheduled(&project, &github, &["preview", "reap", "--dry-run"]);
    let listed = dry_run.env("GITHUB_STEP_SUMMARY", &summary).run();
    listed.fails(6);
    let page = fs::read_to_string(&summary).unwrap().replace(['\\', '\u{200b}'], "");
    for text in [
        "11 previews: 4 would be destroyed, 5 kept, 2 not destroyed.",
        "| Preview | Result | Why | Version | Deployed | By | Pull request | Expires |",
        "| **pr-7** | **Kept** | its pull request is open |",
        "| **pr-12** | **Kept** | the label `keep-preview` keeps it |",
        "| **pr-8** | **Would be destroyed** | its pull request is closed |",
        "| **pr-17** | **Not destroyed** | failed to read pull request #17",
        "| [#7](https://github.com/acme/checkout/pull/7) |",
    ] {
        assert!(page.contains(text), "no {text}: {page}");
    }
    let row = |name: &str| page.lines().find(|it| it.contains(&format!("**{name}**"))).unwrap();
    let times = |name: &str| row(name).matches(" UTC |").count();
    // When it was deployed, and when it expires; what is destroyed or kept by a label does not.
    let expected = [("pr-7", 2), ("pr-8", 1), ("pr-12", 1), ("pr-13", 1)];
    assert_eq!(expected.map(|(name, _)| (name, times(name))), expected, "{page}");
    assert_eq!(comments(&github).into_keys().collect::<Vec<_>>(), [NUMBER]);
    project.unchanged_since(&before, &listed);
    let said_of = said(&listed);
    let expected = [
        ("7", "kept: its pull request is open"),
        ("8", "would be destroyed: its pull request is closed"),
        ("9", "would be destroyed: its pull request is merged"),
        ("10", "would be destroyed: its pull request does not exist any more"),
        ("11", "would be destroyed: it was not deployed to for"),
        ("12", "kept: the label `keep-preview` keeps it"),
        ("13", "kept: it belongs to another repository"),
        ("14", "kept: it was not created by `preview up`"),
        ("15", "kept: it has a state but no ledger: cdflow destroy pr-15 VERSION"),
        ("16", "not destroyed: invalid ledger entry"),
        ("17", "not destroyed: failed to read pull request #17"),
    ];
    for (number, text) in expected {
        assert!(said_of[number].starts_with(text), "{number}: {said_of:?}");
    }

    let document = scheduled(&project, &github, &["preview", "reap", "--dry-run", "--json"]).run();
    // The commands to the runner are elsewhere.
    document.fails(6).stderr_has("::warning::pr-16 | invalid ledger entry");
    let document = document.json();
    is_valid("preview-reap.schema.json", std::slice::from_ref(&document));
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let found = document["previews"].as_array().unwrap().iter().map(|it| {
        let texts = [&it["result"], &it["reason"]].map(word).join(" ");
        (it["pull_request"].as_u64().unwrap(), texts)
    });
    let expected = [
        (7, "kept open"),
        (8, "would-be-destroyed closed"),
        (9, "would-be-destroyed merged"),
        (10, "would-be-destroyed not-found"),
        (11, "would-be-destroyed old"),
        (12, "kept label"),
        (13, "kept other-repository"),
        (14, "kept not-by-preview-up"),
        (15, "kept without-ledger"),
        (16, "failed -"),
        (17, "failed -"),
    ];
    let found: BTreeMap<u64, String> = found.collect();
    assert_eq!(found, expected.map(|(number, words)| (number, words.to_owned())).into());
    project.unchanged_since(&before, &listed);

    let reaped = scheduled(&project, &github, &["preview", "reap"]).run();
    reaped.fails(6).stdout_has("failed to reap 2 preview(s): pr-16, pr-17");
    for number in 7..=17 {
        let is_gone = (8..=11).contains(&number);
        assert_eq!(project.state(&format!("pr-{number}")).is_none(), is_gone, "{number}\n{reaped}");
    }
    // Each pull request is told, but for the one that is gone.
    let told = comments(&github);
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [7, 8, 9, 11]);
    assert!(
        told[&7].contains("cdflow: deployed") && told[&8].contains("cdflow: destroyed"),
        "{told:?}"
    );
    assert!(told[&8].contains("→ pr\\-8") && told[&8].contains("actions/runs/900"), "{}", told[&8]);
    assert!(told[&8].contains(&format!("commit [`{}`](", &project.head()[..7])), "{}", told[&8]);
    fs::write(&damaged, whole).unwrap();
    let reaped = scheduled(&project, &github, &["preview", "reap"]).run();
    reaped.success().stdout_has("Destroyed 2 of 7 preview(s)");
    let before = project.snapshot();
    project.unchanged_since(&before, &scheduled(&project, &github, &["preview", "reap"]).run());

    // Nothing can be seen any more: that is no reason to destroy anything.
    let nothing = Fault::Answer { status: 404, headers: vec![], message: "Not Found" };
    github.fault("GET /repos/acme/checkout", 999, nothing);
    close(&github, NUMBER);
    let refused = scheduled(&project, &github, &["preview", "reap"]).run();
    refused.fails(2).stdout_has("failed to read the repository");
    project.unchanged_since(&before, &refused);
}

/// Between the decision and the apply lies a plan, in which much can happen.
#[test]
fn github_is_asked_once_more_before_anything_is_destroyed() {
    let (project, github) = with_closed("{ttl: 72h}", &[8, 9, 10]);
    copy(&project, 11, |start| start["started"] = "2026-01-01T00:00:00Z".into());
    github.world().pull_request(11, "abc");
    let pause = Pause::new(&project);
    let mut running =
        scheduled(&project, &github, &["preview", "reap"]).env("PATH", &pause.path).spawn();
    pause.meanwhile(&mut running, 4, &github, |world| {
        world.pull_requests.get_mut(&8).unwrap().is_open = true;
        world.pull_requests.get_mut(&11).unwrap().labels = vec!["keep-preview".to_owned()];
        world.faults.push((
            "/pulls/9".to_owned(),
            1,
            refusal(403, "Resource not accessible by integration"),
        ));
    });
    let reaped = running.wait();
    reaped.fails(6).stdout_has("failed to reap 1 preview(s): pr-9");
    let said = said(&reaped);
    assert_eq!(said["8"], "kept: its pull request is open");
    assert!(said["9"].starts_with("not destroyed: failed to read pull request #9"), "{said:?}");
    assert_eq!(said["10"], "destroyed: its pull request is closed");
    assert_eq!(said["11"], "kept: the label `keep-preview` keeps it");
    for (number, runs) in [(7, 1), (8, 1), (9, 1), (10, 2), (11, 1)] {
        let environment = format!("pr-{number}");
        assert_eq!(project.state(&environment).is_none(), runs == 2, "{number}\n{reaped}");
        assert_eq!(project.ledger(&environment).len(), runs, "{number}");
    }
    // That it failed is told as well.
    let told = comments(&github);
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [7, 9, 10]);
    assert!(
        told[&9].contains("cdflow: failed") && told[&10].contains("cdflow: destroyed"),
        "{told:?}"
    );
    reap(&project, &github).success().stdout_has("Destroyed 1 of 4 preview(s)");
}

#[test]
fn a_pull_request_that_is_opened_again_keeps_its_preview() {
    let (project, github) = with_closed("{delete-releases: true}", &[]);
    close(&github, NUMBER);
    let closed =
        || for_pull_request(&project, &github, NUMBER, &project.head(), 2, &["preview", "down"]);
    let pause = Pause::new(&project);
    let mut running = closed().env("PATH", &pause.path).spawn();
    pause.meanwhile(&mut running, 1, &github, |world| {
        world.pull_requests.get_mut(&NUMBER).unwrap().is_open = true;
    });
    let output = running.wait();
    output.success().stdout_has("Stopped before the apply: pull request #7 is open again");
    assert_eq!(project.resources("pr-7"), ["terraform_data.greeting"]);
    assert!(project.ledger("pr-7").len() == 1 && releases(&project).len() == 1);
    assert!(comments(&github)[&NUMBER].contains("cdflow: superseded"));

    // By hand it is meant, also while the pull request is open.
    let by_hand = ["preview", "down", "--pull-request", "7"];
    scheduled(&project, &github, &by_hand).run().success();
    assert!(project.state("pr-7").is_none() && releases(&project).is_empty());
}

/// The environment is gone already, so nothing is planned; but the release is what `up` has just
/// made.
#[test]
fn a_closed_job_that_is_run_again_leaves_the_releases_of_an_open_pull_request() {
    let (project, github) = with_closed("{delete-releases: true}", &[]);
    close(&github, NUMBER);
    down(&project, &github, 2).success();
    assert!(releases(&project).is_empty());
    github.world().pull_request(NUMBER, &project.head());
    let pause = Pause::new(&project);
    let arguments = ["preview", "up", "--platform-config", "platform-config"];
    let up = for_pull_request(&project, &github, NUMBER, &project.head(), 3, &arguments);
    let mut running = up.env("PATH", &pause.path).spawn();
    running.wait_until("plan", |_| pause.is_waiting(1));
    let again = down(&project, &github, 2);
    again
        .success()
        .stdout_has("pull request #7 is open, so its releases are kept until it is closed");
    assert_eq!(releases(&project).len(), 1);
    pause.end();
    running.wait().success();
}

/// A push may be making the release that comes after it.
#[test]
fn a_preview_that_is_too_old_goes_and_its_releases_go_with_the_pull_request() {
    let (project, github) = with_closed("{ttl: 72h, delete-releases: true}", &[]);
    let start = project.ledger_folder("pr-7").join("9999999998.start.json");
    let mut entry: Value = serde_json::from_str(&fs::read_to_string(&start).unwrap()).unwrap();
    entry["started"] = "2026-01-01T00:00:00Z".into();
    fs::write(&start, entry.to_string()).unwrap();
    reap(&project, &github)
        .success()
        .stdout_has("pull request #7 is open, so its releases are kept until it is closed");
    assert!(project.state("pr-7").is_none() && releases(&project).len() == 1);
    close(&github, NUMBER);
    down(&project, &github, 2).success();
    assert!(releases(&project).is_empty());
}

/// A preview that a `closed` event destroys is destroyed even if GitHub cannot be asked.
#[test]
fn trouble_with_github_keeps_no_preview_alive() {
    let (project, github) = with_closed("{}", &[]);
    github.fault(
        "GET /repos/acme/checkout/pulls/7",
        1,
        refusal(403, "Resource not accessible by integration"),
    );
    let output = down(&project, &github, 2);
    output.success().stdout_has("cannot check whether the pull request was reopened");
    assert_eq!(project.state("pr-7"), None);

    up(&project, &github, 3).success();
    let asked = github.calls();
    let closed =
        for_pull_request(&project, &github, NUMBER, &project.head(), 4, &["preview", "down"]);
    closed.env_remove("GITHUB_TOKEN").run().success().lacks("warning");
    assert!(project.state("pr-7").is_none() && github.calls() == asked);
}

/// Who lost the permission, and a GitHub that errs, are told "not found" as well.
#[test]
fn not_found_alone_destroys_nothing() {
    let (project, github) = with_closed("{}", &[8]);
    copy(&project, 9, |_| {});
    github.fault("/pulls/7", 99, refusal(404, "Not Found"));
    github.fault("/pulls?state=open", 1, refusal(404, "Not Found"));
    let reaped = reap(&project, &github);
    reaped.fails(6);
    let said_of = said(&reaped);
    assert!(
        said_of["7"].starts_with("not destroyed: failed to read pull request #7")
            || said_of["7"].contains("failed to list")
    );
    assert_eq!(said_of["8"], "destroyed: its pull request is closed");
    // One of the two met the list that was not answered; pull request 9 is gone in truth.
    let reaped = reap(&project, &github);
    reaped.fails(6).stdout_has("failed to reap 1 preview(s): pr-7");
    assert!(project.state("pr-9").is_none() && project.state("pr-7").is_some());
    assert_eq!(project.ledger("pr-7").len(), 1);
}

#[test]
fn trouble_in_the_middle_stops_no_other() {
    let (project, github) = with_closed("{}", &[8, 9, 10, 11, 12]);
    github.fault("/pulls/8", 99, refusal(500, "Server Error"));
    github.fault("/pulls/9", 99, refusal(403, "Resource not accessible by integration"));
    github.fault("/pulls/10", 1, refusal(502, "Server Error"));
    let limited = vec![("retry-after", "1".to_owned())];
    let message = "You have exceeded a secondary rate limit.";
    github.fault("/pulls/11", 1, Fault::Answer { status: 403, headers: limited, message });
    // Neither the deployments nor the comment are worth a failure.
    github.fault("GET /repos/acme/checkout/deployments", 99, refusal(404, "Not Found"));
    github.fault("/issues/12/comments", 99, refusal(500, "Server Error"));
    let reaped = reap(&project, &github);
    reaped
        .fails(6)
        .stdout_has("failed to reap 2 preview(s): pr-8, pr-9")
        .stdout_has("failed to read the comments");
    for number in 7..=12 {
        assert_eq!(
            project.state(&format!("pr-{number}")).is_none(),
            number >= 10,
            "{number}\n{reaped}"
        );
    }
    assert_eq!(comments(&github).into_keys().collect::<Vec<_>>(), [7, 10, 11]);
    github.world().faults.clear();
    let reaped = scheduled(&project, &github, &["preview", "reap", "--comment", "false"]).run();
    reaped.success().stdout_has("Destroyed 2 of 3 preview(s)");
    assert_eq!(comments(&github).into_keys().collect::<Vec<_>>(), [7, 10, 11]);
    github.world().token(TOKEN, "github-actions[bot]", &[("contents", "read")]);
    reap(&project, &github).fails(6).stdout_has("pull-requests: read");
}

#[test]
fn what_was_done_outside_of_cdflow() {
    let (project, github) = with_closed("{ttl: 72h}", &[8, 9, 10]);
    // The state was deleted by hand, and a newer cdflow has deployed.
    fs::remove_dir_all(project.state_file("pr-8").parent().unwrap()).unwrap();
    let newer = project.ledger_folder("pr-9").join("9999999998.start.json");
    fs::write(&newer, fs::read_to_string(&newer).unwrap().replace("\"format\":1", "\"format\":2"))
        .unwrap();
    let reaped = reap(&project, &github);
    reaped.fails(6).stdout_has("failed to reap 2 preview(s): pr-8, pr-9");
    let said = said(&reaped);
    assert!(
        said["8"].contains("`pr-8` has no state, but the ledger says that it is deployed"),
        "{said:?}"
    );
    assert!(said["9"].contains("has format 2, but this cdflow supports only 1"), "{said:?}");
    assert_eq!(said["10"], "destroyed: its pull request is closed");
    assert!(project.state("pr-9").is_some());

    let line =
        project.read("cdflow.yml").lines().position(|line| line.starts_with("preview:")).unwrap()
            + 1;
    project.edit("cdflow.yml", "ttl: 72h", "ttl: three days");
    let before = project.snapshot();
    let refused = reap(&project, &github);
    refused.fails(2).stdout_has(&format!("cdflow.yml:{line}:")).stdout_has("three days");
    project.unchanged_since(&before, &refused);
}

#[test]
fn two_reaps_at_once() {
    let numbers: Vec<u64> = (101..=112).collect();
    let (project, github) = with_closed("{delete-releases: true}", &numbers[..8]);
    for number in &numbers[8..] {
        copy(&project, *number, |_| {});
        github.world().pull_request(*number, "abc");
    }
    let running = ["900", "901"].map(|run| {
        scheduled(&project, &github, &["preview", "reap"]).env("GITHUB_RUN_ID", run).spawn()
    });
    let ended = running.map(|running| running.wait());
    for output in &ended {
        output.success().lacks("not destroyed:");
    }
    for number in &numbers {
        let environment = format!("pr-{number}");
        let is_gone = *number <= 108;
        assert_eq!(
            project.state(&environment).is_none(),
            is_gone,
            "{number}\n{}\n{}",
            ended[0],
            ended[1]
        );
        let done =
            project.ledger(&environment).iter().filter(|run| run.ends_with("succeeded")).count();
        // One that finds nothing any more waits for the other's word; on a slow machine not long
        // enough, and records it as well.
        let expected = if is_gone { 2..=3 } else { 1..=1 };
        assert!(expected.contains(&done), "{:?}", project.ledger(&environment));
        assert!(!project.ledger(&environment).iter().any(|run| run.ends_with("unfinished")));
    }
    reap(&project, &github).success().stdout_has("Destroyed 0 of 5");
}

#[test]
fn two_pull_requests_that_are_closed_at_once() {
    let (project, github) = with_closed("{delete-releases: true}", &[8]);
    close(&github, NUMBER);
    let closing = |number: u64| {
        for_pull_request(&project, &github, number, &project.head(), number, &["preview", "down"])
            .spawn()
    };
    for running in [closing(7), closing(8)] {
        running.wait().success();
    }
    for environment in ["pr-7", "pr-8"] {
        assert_eq!(project.state(environment), None);
        assert_eq!(project.ledger(environment).len(), 2);
    }
    let told = comments(&github);
    assert!(
        told.len() == 2 && told.values().all(|body| body.contains("cdflow: destroyed")),
        "{told:?}"
    );
}

/// What a preview's pull request is, in the test of many.
#[derive(Clone, Copy, Debug)]
enum Kind {
    // Those of these go.
    Closed,
    Merged,
    Gone,
    /// Open, and older than `ttl`.
    Old,
    // Those of these stay.
    Open,
    /// Old as well, but with the label.
    Kept,
    /// Closed, and of another repository.
    Foreign,
    /// Closed, and not in the ledger.
    StateAlone,
}

fn furnish(project: &Project, github: &GitHub, number: u64, kind: Kind) {
    let environment = format!("pr-{number}");
    copy(project, number, |start| match kind {
        Kind::Old | Kind::Kept => start["started"] = "2026-01-01T00:00:00Z".into(),
        Kind::Foreign => start["preview"]["repository"] = 1.into(),
        _ => {}
    });
    let mut world = github.world();
    world.deployed(&environment, json!({ "cdflow": { "component": "greeting" } }));
    let found = world.pull_request(number, "abc");
    found.is_open = matches!(kind, Kind::Old | Kind::Open | Kind::Kept);
    found.is_merged = matches!(kind, Kind::Merged);
    match kind {
        Kind::Kept => found.labels = vec!["keep-preview".to_owned()],
        Kind::Gone => drop(world.pull_requests.remove(&number)),
        Kind::StateAlone => fs::remove_dir_all(project.ledger_folder(&environment)).unwrap(),
        _ => {}
    }
}

/// What is there of a preview.
fn traces(project: &Project, github: &GitHub, number: u64) -> Value {
    let environment = format!("pr-{number}");
    let shown = github
        .world()
        .deployments
        .values()
        .find(|it| it.environment == environment)
        .unwrap()
        .statuses
        .clone();
    json!([project.state(&environment), project.ledger_entries(&environment), shown])
}

/// GitHub fails in every way it knows, and a schedule runs `reap` again and again: at last all is
/// gone that should be, and at no moment anything else.
#[test]
fn many_are_reaped_while_github_fails() {
    let many = std::env::var("CDFLOW_TEST_PREVIEWS").map_or(MANY, |number| number.parse().unwrap());
    let (project, github) = with_closed("{ttl: 72h}", &[]);
    let (going, staying) = (1001..1001 + many, 5001..5001 + many.div_ceil(3));
    let kinds = [Kind::Closed, Kind::Merged, Kind::Gone, Kind::Old].into_iter().cycle();
    going.clone().zip(kinds).for_each(|(number, kind)| furnish(&project, &github, number, kind));
    let kinds = [Kind::Open, Kind::Kept, Kind::Foreign, Kind::StateAlone].into_iter().cycle();
    staying.clone().zip(kinds).for_each(|(number, kind)| furnish(&project, &github, number, kind));
    let look =
        || -> Vec<_> { staying.clone().map(|number| traces(&project, &github, number)).collect() };
    let before = look();
    let limited = vec![("retry-after", "1".to_owned())];
    let message = "You have exceeded a secondary rate limit.";
    let faults = vec![
        refusal(502, "Server Error"),
        refusal(500, "Server Error"),
        refusal(404, "Not Found"),
        Fault::Answer { status: 403, headers: limited, message },
        Fault::HangUp,
        Fault::DoneBut502,
    ];
    github.weather(6, FAULTS, faults);
    let (calls, started, mut peak, mut codes) = (github.calls(), Instant::now(), 0, Vec::new());
    while codes.last() != Some(&0) {
        assert!(codes.len() < 10, "{codes:?}");
        let running = scheduled(&project, &github, &["preview", "reap"])
            .timeout(Duration::from_secs(1800))
            .spawn();
        let reaped = running.watch(|running| peak = peak.max(running.peak_memory().unwrap_or(0)));
        assert!(look() == before, "one was touched that should stay\n{reaped}");
        assert!([0, 6].contains(&reaped.code), "{reaped}");
        eprintln!("reap {}: {}, {:?}", codes.len() + 1, reaped.code, reaped.elapsed);
        codes.push(reaped.code);
    }
    let all = many + many.div_ceil(3);
    let calls = github.calls() - calls;
    let failed = github.exchanges("").iter().filter(|it| it.is_fault).count();
    eprintln!(
        "{many} of {all} reaped in {:?}: exit codes {codes:?}, peak {peak} KiB, {calls} calls, \
        {failed} of them failed",
        started.elapsed()
    );
    for number in going.clone() {
        let environment = format!("pr-{number}");
        assert_eq!(project.state(&environment), None, "{number}");
        let ledger = project.ledger(&environment);
        assert!(
            ledger.len() == 2 && ledger.iter().all(|run| run.ends_with("succeeded")),
            "{number}: {ledger:?}"
        );
    }
    assert_eq!(codes.first(), Some(&6), "nothing failed: this is no test of faults");
    assert!(failed * 100 >= calls * 6, "{failed} of {calls} failed");
    assert!(peak < MEMORY, "{peak} KiB");
    assert!(calls as u64 <= 10 * all, "{calls} calls");
    // A comment is worth no failure, but hardly any is missing. Where the pull request is gone
    // there is none.
    let told = comments(&github);
    let is_told =
        |number: &u64| told.get(number).is_some_and(|body| body.contains("cdflow: destroyed"));
    let is_there = going.filter(|number| github.world().pull_requests.contains_key(number));
    let (with, without): (Vec<u64>, Vec<u64>) = is_there.partition(is_told);
    assert!(with.len() > 6 * without.len(), "without a comment: {without:?}");
    assert!(told.keys().all(|number| *number < 5001), "{:?}", told.keys());
}
