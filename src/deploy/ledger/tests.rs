//! Tests of the ledger in a folder store.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

use jiff::Timestamp;

use super::{entry::FORMAT, *};
use crate::{
    base::digest::Sha256,
    config::identity::Layout,
    services::store::DirectoryStore,
    terraform::output::{changes::Counts, unknown::UnknownChange},
};

fn store(folder: &tempfile::TempDir) -> ReleaseStore {
    ReleaseStore::Directory(DirectoryStore::new(folder.path().to_owned()))
}

fn identity() -> Identity {
    Identity { team: "t".parse().unwrap(), component: "c".parse().unwrap(), layout: Layout::ByTeam }
}

fn start(action: Action, version: &str) -> Start {
    Start {
        format: FORMAT,
        number: Start::UNNUMBERED,
        environment: None,
        action,
        rollback: false,
        targets: Vec::new(),
        allowed_destroy: Vec::new(),
        allowed_by: None,
        reviewed: None,
        commit: None,
        version: version.parse().unwrap(),
        preview: None,
        pull_request: None,
        bundle_digest: Some(Sha256::of(b"x")),
        account: None,
        region: "local".into(),
        plan: Counts::default(),
        terraform: "terraform 1.11.4".into(),
        cdflow: "0.1.0".into(),
        actor: None,
        run_url: None,
        started: Timestamp::UNIX_EPOCH,
        token: Start::new_token().unwrap(),
    }
}

fn end(number: u64, outcome: Outcome) -> End {
    End {
        format: FORMAT,
        number,
        outcome,
        state_serial: None,
        state_lineage: None,
        state_not_saved: false,
        reason: None,
        unknown_changes: Vec::new(),
        unknown_changes_left_out: 0,
        finished: Timestamp::UNIX_EPOCH,
    }
}

async fn run(ledger: &Ledger<'_>, action: Action, version: &str, outcome: Option<Outcome>) {
    let started = ledger.start(start(action, version)).await.unwrap();
    if let Some(outcome) = outcome {
        ledger.end(&end(started.number, outcome)).await.unwrap();
    }
}

#[tokio::test]
async fn entries_are_read_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    assert_eq!(ledger.record().await.unwrap(), Record { settled: None, unsettled: vec![] });
    run(&ledger, Action::Deploy, "1", Some(Outcome::Succeeded)).await;
    for _ in 0..60 {
        run(&ledger, Action::Deploy, "2", Some(Outcome::Failed)).await;
    }
    run(&ledger, Action::Refresh, "2", Some(Outcome::Succeeded)).await;
    run(&ledger, Action::Deploy, "3", None).await;
    let record = ledger.record().await.unwrap();
    assert_eq!(record.settled.as_ref().unwrap().start.number, 1);
    assert_eq!((record.unsettled.len(), record.unsettled[0].start.number), (61, 63));
    assert!(
        record.unsettled[0].end.is_none()
            && record.unsettled[1..].iter().all(|entry| entry.end.is_some())
    );
    assert_eq!(record.deployed().unwrap().version.as_str(), "1");
    run(&ledger, Action::Destroy, "1", Some(Outcome::Succeeded)).await;
    let record = ledger.record().await.unwrap();
    assert!(record.deployed().is_none() && !record.is_deployed());
    run(&ledger, Action::Deploy, "4", Some(Outcome::Failed)).await;
    assert_eq!(ledger.record().await.unwrap().deployed().unwrap().version.as_str(), "4");
    let names = Ledger::environments(&store, &identity(), &BTreeSet::new()).await.unwrap();
    assert_eq!(names, ["live".parse().unwrap()]);
}

#[tokio::test]
async fn no_more_pages_are_read_than_necessary() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    assert_eq!(ledger.newest(20).await.unwrap(), (vec![], false));
    for number in 1..=50 {
        let outcome = (number % 7 != 0).then_some(Outcome::Succeeded);
        run(&ledger, Action::Deploy, &number.to_string(), outcome).await;
    }
    let numbers = async |at_most| {
        let (entries, more) = ledger.newest(at_most).await.unwrap();
        assert!(entries.iter().all(|entry| entry.end.is_some() == (entry.start.number % 7 != 0)));
        (entries.iter().map(|entry| entry.start.number).collect::<Vec<_>>(), more)
    };
    assert_eq!(numbers(20).await, ((31..=50).rev().collect(), true));
    assert_eq!(numbers(49).await, ((2..=50).rev().collect(), true));
    assert_eq!(numbers(50).await, ((1..=50).rev().collect(), false));
    assert_eq!(numbers(usize::MAX).await, ((1..=50).rev().collect(), false));
    // Entries before the page are not read.
    std::fs::write(folder.path().join("t/c/ledger/live/9999999998.start.json"), "damaged").unwrap();
    assert!(numbers(20).await.1);
    ledger.newest(50).await.unwrap_err();
}

/// A deploy takes as many requests after a thousand runs as after two.
#[tokio::test]
async fn nothing_is_read_behind_the_run_that_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    for version in ["1", "2", "3", "4"] {
        run(&ledger, Action::Deploy, version, Some(Outcome::Succeeded)).await;
    }
    let third = folder.path().join("t/c/ledger/live/9999999996.start.json");
    std::fs::write(third, "damaged").unwrap();
    let newest = |entry: &Entry| entry.start.number == 4;
    assert!(newest(&ledger.record().await.unwrap().settled.unwrap()));
    let found = ledger.find(newest).await.unwrap().unwrap();
    assert_eq!(ledger.find_recent(9, |_| true).await.unwrap(), Some(found.clone()));
    assert_eq!(ledger.written(&found.start).await.unwrap(), Some(found.start));
    ledger.find(|_| false).await.unwrap_err();
    assert_eq!(ledger.newest(0).await.unwrap(), (vec![], true));
}

#[tokio::test]
async fn a_recent_run_is_found_among_the_last_few() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    assert_eq!(ledger.find_recent(5, |_| true).await.unwrap(), None);
    for number in 1..=30 {
        let pull_request =
            Some(ForPullRequest { repository: 1, number: number % 3, run: number, attempt: 1 });
        let started =
            ledger.start(Start { pull_request, ..start(Action::Deploy, "1") }).await.unwrap();
        if number != 29 {
            ledger.end(&end(started.number, Outcome::Failed)).await.unwrap();
        }
    }
    let found = async |at_most, of| {
        let is_wanted =
            |start: &Start| start.pull_request.as_ref().is_some_and(|it| it.number == of);
        ledger
            .find_recent(at_most, is_wanted)
            .await
            .unwrap()
            .map(|entry| (entry.start.number, entry.end.is_some()))
    };
    assert_eq!(found(5, 0).await, Some((30, true)));
    assert_eq!(found(5, 2).await, Some((29, false)));
    assert_eq!(found(5, 1).await, Some((28, true)));
    assert_eq!(found(2, 1).await, None);
    assert_eq!(found(usize::MAX, 4).await, None);
    // An entry of an older cdflow has no pull request.
    let file = folder.path().join("t/c/ledger/live/9999999969.start.json");
    let mut entry: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    entry.as_object_mut().unwrap().remove("pull_request");
    std::fs::write(&file, entry.to_string()).unwrap();
    assert_eq!(found(5, 0).await, Some((27, true)));
}

#[tokio::test]
async fn every_entry_that_is_written_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    let many = Start { targets: vec!["\"".repeat(100); 1000], ..start(Action::Deploy, "1") };
    let rejected = ledger.start(many).await.unwrap_err();
    assert!(
        rejected.exit() == Exit::Input && rejected.to_string().contains("fewer addresses"),
        "{rejected}"
    );
    let started = ledger.start(start(Action::Deploy, "1")).await.unwrap();
    for long in ["\u{1b}".repeat(1 << 20), "ä".repeat(1 << 20)] {
        let number = started.number;
        ledger.end(&End { reason: Some(long), ..end(number, Outcome::Failed) }).await.unwrap();
    }
    let record = ledger.record().await.unwrap();
    assert!(record.unsettled[0].end.as_ref().unwrap().reason.as_ref().unwrap().len() > 1000);
}

#[tokio::test]
async fn an_end_with_many_unknown_changes_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    let change = |number: usize| UnknownChange {
        address: format!("terraform_data.a[{number}]"),
        kind: "terraform_data".to_owned(),
        action: if number.is_multiple_of(2) { "update" } else { "create" }.to_owned(),
        names: [("name".to_owned(), format!("/team/name/{number}"))].into(),
        import_id: None,
    };
    for (count, is_cut) in [(50, false), (700, true), (4000, true)] {
        let started = ledger.start(start(Action::Deploy, "1")).await.unwrap();
        let long = End {
            reason: Some("\u{1b}".repeat(1 << 20)),
            unknown_changes: (0..count).map(change).collect(),
            state_lineage: Some("l".repeat(1 << 20)),
            ..end(started.number, Outcome::Failed)
        };
        let left_out = ledger.end(&long).await.unwrap();
        let record = ledger.record().await.unwrap();
        let read = record.unsettled[0].end.as_ref().unwrap();
        assert_eq!(read.number, started.number);
        assert_eq!(read.unknown_changes.len() + left_out, count);
        assert_eq!((read.unknown_changes_left_out, left_out > 0), (left_out, is_cut));
        let is_create = |it: &UnknownChange| it.is_create();
        assert!(!is_cut || read.unknown_changes.iter().all(is_create));
        let left_out = record.left_out();
        assert_eq!(left_out.first().is_some_and(|(run, _)| *run == read.number), is_cut);
    }
}

/// Otherwise the version of the run would be unknown, and `prune` might delete it.
#[tokio::test]
async fn an_end_without_its_start_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    for version in ["1", "2", "3"] {
        run(&ledger, Action::Deploy, version, Some(Outcome::Succeeded)).await;
    }
    let all = async || {
        let versions = Ledger::versions(&store, &identity(), &BTreeSet::new(), None).await?;
        ledger.newest(9).await.map(|_| versions.len())
    };
    let file = |name: &str| folder.path().join("t/c/ledger/live").join(name);
    let recent = async || ledger.find_recent(9, |start| start.number == 0).await.map(|_| 0);
    for countdown in ["9999999996", "9999999997", "9999999998"] {
        let start = file(&format!("{countdown}.start.json"));
        let text = std::fs::read(&start).unwrap();
        std::fs::remove_file(&start).unwrap();
        assert_eq!(recent().await.unwrap_err().exit(), Exit::Integrity);
        let error = all().await.unwrap_err();
        assert_eq!(error.exit(), Exit::Integrity, "{error}");
        for part in ["start.json`", "append-only", &format!("{countdown}.end.json` out of")] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        std::fs::create_dir(&start).unwrap();
        assert_eq!(all().await.unwrap_err().exit(), Exit::Integrity);
        std::fs::remove_dir(&start).unwrap();
        std::fs::write(&start, text).unwrap();
    }
    assert_eq!(all().await.unwrap(), 3);
    // A folder or a pipe in place of an entry without an end does not make the entry disappear.
    for name in ["9999999997.start.json", "9999999997.end.json"] {
        std::fs::remove_file(file(name)).unwrap();
    }
    assert_eq!(all().await.unwrap(), 2);
    std::fs::create_dir(file("9999999997.start.json")).unwrap();
    let error = all().await.unwrap_err();
    assert!(error.exit() == Exit::Integrity && error.to_string().contains("97.start.json"));
}

#[tokio::test]
async fn a_known_environment_is_looked_up_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    run(&ledger, Action::Deploy, "1", None).await;
    let known = ["live", "ci", "pr-7"].map(|name| name.parse::<Environment>().unwrap());
    let known = BTreeSet::from(known);
    let found = Ledger::environments(&store, &identity(), &known).await.unwrap();
    assert_eq!(found, ["live".parse().unwrap()]);
    let of = |version: &str| environments::preview_of(&version.parse().unwrap());
    assert_eq!(of("pr-7-a1b2c3d"), Some("pr-7".parse().unwrap()));
    assert_eq!([of("pr-7"), of("7-a1b2c3d"), of("pr-x-1")], [None, None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_writers_leave_fifty_entries() {
    let folder = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(store(&folder));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        writers.spawn(async move {
            let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
            ledger.start(start(Action::Deploy, "1")).await.unwrap().number
        });
    }
    let mut numbers = writers.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn errors_name_damaged_and_newer_entries() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    run(&ledger, Action::Deploy, "1", None).await;
    let file = folder.path().join("t/c/ledger/live/9999999998.start.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..40]).unwrap();
    let error = ledger.record().await.unwrap_err();
    assert!(
        error.exit() == Exit::Integrity && error.to_string().contains("9999999998.start.json"),
        "{error}"
    );
    std::fs::write(&file, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
    assert!(ledger.record().await.unwrap_err().to_string().contains("update cdflow"));
}

/// Each reader finds an entry that somebody has edited or copied.
#[tokio::test]
async fn an_edited_entry_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    run(&ledger, Action::Deploy, "1", Some(Outcome::Failed)).await;
    let recent = async || ledger.find_recent(9, |_| true).await.map(drop);
    for (name, from, to, why) in [
        ("start", "\"version\": \"1\",", "", "missing field `version`"),
        ("start", "\"version\": \"1\"", "\"version\": 1", "expected a string"),
        ("start", "\"version\": \"1\"", "\"version\": \"../1\"", "invalid version"),
        ("start", "\"number\": 1", "\"number\": 2", "it is entry 2, and its name is of entry 1"),
        ("start", "\"number\": 1", "\"environment\": \"ci\", \"number\": 1", "an entry of `ci`"),
        ("end", "\"number\": 1", "\"number\": 7", "it is entry 7, and its name is of entry 1"),
        ("end", "\"failed\"", "\"fialed\"", "unknown variant `fialed`"),
        ("end", "{", "", "invalid type: string"),
    ] {
        let file = folder.path().join(format!("t/c/ledger/live/9999999998.{name}.json"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        for error in [ledger.record().await.map(drop), recent().await].map(Result::unwrap_err) {
            assert_eq!(error.exit(), Exit::Integrity, "{error}");
            let error = error.to_string();
            for part in [why, &file.display().to_string(), "-> restore it from a backup"] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
        std::fs::write(&file, text).unwrap();
    }
    // A newer cdflow can add fields.
    let file = folder.path().join("t/c/ledger/live/9999999998.start.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen('{', "{\"newer\": [1],", 1)).unwrap();
    assert_eq!(ledger.newest(9).await.unwrap().0.len(), 1);
}

/// Two destroys at once: the second one fails, after it has read the state that the first removes.
#[tokio::test]
async fn a_state_that_was_seen_before_a_destroy_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"ci".parse().unwrap());
    let with_state = |number: u64, outcome: Outcome, serial: u64, lineage: &str| End {
        state_serial: Some(serial),
        state_lineage: Some(lineage.to_owned()),
        ..end(number, outcome)
    };
    let first = ledger.start(start(Action::Destroy, "1")).await.unwrap().number;
    for (action, serial, lineage, is_there) in [
        (Action::Destroy, 6, "a", false),
        (Action::Deploy, 7, "a", false),
        // A deploy that failed after the destroy has made something.
        (Action::Deploy, 8, "a", true),
        (Action::Deploy, 1, "b", true),
    ] {
        let number = ledger.start(start(action, "1")).await.unwrap().number;
        ledger.end(&with_state(number, Outcome::Failed, serial, lineage)).await.unwrap();
        if number == first + 1 {
            ledger.end(&with_state(first, Outcome::Succeeded, 7, "a")).await.unwrap();
        }
        let record = ledger.record().await.unwrap();
        assert!(record.is_destroyed());
        assert_eq!(record.with_state().is_some(), is_there, "{action:?} {serial} {lineage}");
        assert_eq!(record.last_state().is_some(), is_there, "{action:?} {serial} {lineage}");
    }
}

fn hold(action: HoldAction, pull_request: u64) -> Hold {
    Hold {
        format: Hold::FORMAT,
        number: 0,
        action,
        repository: 1,
        pull_request,
        by: Some("ada".to_owned()),
        at: Timestamp::UNIX_EPOCH,
        run_url: None,
        token: Start::new_token().unwrap(),
    }
}

#[tokio::test]
async fn of_two_pull_requests_one_gets_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    assert_eq!(ledger.held().await.unwrap(), None);
    let ours = hold(HoldAction::Hold, 7);
    assert!(ledger.put_hold(ours.clone(), 0).await.unwrap());
    // The answer to the first write was lost.
    assert!(ledger.put_hold(ours.clone(), 0).await.unwrap());
    assert!(!ledger.put_hold(hold(HoldAction::Hold, 8), 0).await.unwrap());
    let held = ledger.held().await.unwrap().unwrap();
    assert_eq!(held, Hold { number: 1, ..ours });
    assert!(held.is_by(Some(1), 7) && !held.is_by(Some(1), 8));
    assert!(!held.is_by(Some(2), 7) && !held.is_by(None, 7));
    assert!(ledger.put_hold(hold(HoldAction::Release, 7), 1).await.unwrap());
    assert_eq!(ledger.held().await.unwrap(), None);
    for number in 2..60 {
        assert!(ledger.put_hold(hold(HoldAction::Hold, number), number).await.unwrap());
    }
    // The ledger of deploys does not see them.
    assert_eq!(ledger.record().await.unwrap(), Record { settled: None, unsettled: vec![] });
    run(&ledger, Action::Deploy, "1", Some(Outcome::Succeeded)).await;
    let (entries, has_more) = ledger.newest(10).await.unwrap();
    assert_eq!((entries.len(), entries[0].start.number, has_more), (1, 1, false));
    assert_eq!(ledger.newest_hold().await.unwrap().unwrap().number, 60);
}

#[tokio::test]
async fn a_hold_that_somebody_changed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let ledger = Ledger::new(&store, &identity(), &"live".parse().unwrap());
    ledger.put_hold(hold(HoldAction::Hold, 7), 0).await.unwrap();
    let file = folder.path().join("t/c/ledger/live/hold/9999999998.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let rewrite = |text: &str| {
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, text).unwrap();
    };
    for (wrong, says) in [
        ("{}", "missing field"),
        (&text.replace("\"number\": 1", "\"number\": 2"), "it is entry 2"),
        (&text.replace("\"format\": 1", "\"format\": 9"), "format 9"),
    ] {
        rewrite(wrong);
        let error = ledger.held().await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    rewrite(&text.replace("ada", "ada\\u001b[2J"));
    assert_eq!(ledger.held().await.unwrap().unwrap().by.unwrap(), "ada\u{fffd}[2J");
    // Other objects are ignored, as among the entries of deploys.
    std::fs::write(file.with_file_name(".DS_Store"), "").unwrap();
    std::fs::write(file.with_file_name("0.txt"), "").unwrap();
    assert_eq!(ledger.held().await.unwrap().unwrap().number, 1);
}
