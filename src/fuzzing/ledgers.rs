//! The entries of a ledger and its holds, as somebody edited them.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

use super::{SEPARATOR, check_error, text};
use crate::{
    base::table::{Cell, Screen, fitted},
    deploy::ledger::{Entry, Hold, HoldDocument, Record, RunDocument, parse_entry, text as words},
};

/// Parts are starts and ends in turn, oldest run last. An entry survives being written, and what
/// is shown of a run is one line.
pub fn ledger(bytes: &[u8]) {
    let text = text(bytes);
    let parts: Vec<&str> = text.split(SEPARATOR).collect();
    for hold in parts.iter().filter_map(|part| parsed::<Hold>(part)) {
        drop(serde_json::to_string(&HoldDocument::of(&hold)).expect("JSON"));
    }
    let runs = parts.chunks(2).filter_map(|pair| {
        Some(Entry { start: parsed(pair[0])?, end: pair.get(1).and_then(|part| parsed(part)) })
    });
    let mut runs: Vec<Entry> = runs.collect();
    for run in &runs {
        check_shown(run);
    }
    let record = Record { settled: runs.pop(), unsettled: runs };
    if let Some(running) = record.running() {
        assert_eq!(record.deployed(), Some(running));
    }
    if let Some(last) = record.last_state() {
        let all = record.unsettled.iter().chain(&record.settled);
        assert!(
            all.into_iter().any(|run| run.end.as_ref().is_some_and(|it| it.number == last.run))
        );
    }
    assert!(!(record.is_destroyed() && record.is_deployed()));
    let _ = (record.with_state(), record.unfinished(), record.unknown_changes());
    let _ =
        (record.left_out(), record.newest(), record.is_begun(), record.allowed_before().count());
    let begun = record.is_begun();
    assert!(begun || record.live().is_empty());
}

fn check_shown(run: &Entry) {
    drop(serde_json::to_string(&RunDocument::of(run)).expect("JSON"));
    let shown = [words::run(&run.start), words::phrase(&run.start), words::when(run)];
    for shown in shown {
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
    for width in [None, Some(40)] {
        let screen = Screen { width, has_links: width.is_some() };
        let version = Cell::from(words::version(run));
        let lines = fitted(&[[version, words::by(run, screen)]], screen);
        let controls = |line: &String| line.chars().filter(|it| it.is_control()).count();
        // A link has two at its start and two at its end.
        let allowed = if screen.has_links { 4 } else { 0 };
        assert!(lines.iter().map(controls).sum::<usize>() <= allowed, "{lines:?}");
    }
}

fn parsed<T: DeserializeOwned + Serialize + PartialEq + Debug>(part: &str) -> Option<T> {
    match parse_entry::<T>("entry", part.as_bytes()) {
        Ok(entry) => {
            let written = serde_json::to_vec(&entry).expect("JSON");
            let read = parse_entry::<T>("entry", &written).expect("what was written");
            assert_eq!(read, entry);
            Some(entry)
        }
        Err(error) => {
            check_error(&error);
            None
        }
    }
}
