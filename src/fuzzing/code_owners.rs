//! CODEOWNERS.

use super::{halves, text};
use crate::services::github::code_owners::CodeOwners;

/// A file has the owners of the last line that matches, and what is shown cannot control a
/// terminal.
pub fn code_owners(bytes: &[u8]) {
    let text = text(bytes);
    let (file, path) = halves(&text);
    let parsed = CodeOwners::parse(file.as_bytes());
    let last = file.split('\n').count();
    let numbers: Vec<usize> = parsed.ignored.iter().map(|it| it.number).collect();
    assert!(numbers.is_sorted() && numbers.iter().all(|number| (1..=last).contains(number)));
    if let Some(line) = parsed.of(path) {
        assert!((1..=last).contains(&line.number) && !numbers.contains(&line.number));
        assert!(!line.owners.is_empty());
        let shown: Vec<String> = line.owners.iter().map(ToString::to_string).collect();
        assert!(!shown.concat().contains(|char: char| char.is_control() || char.is_whitespace()));
    }
    let all = CodeOwners::parse(format!("{file}\n* @all").as_bytes());
    assert_eq!(all.of(path).map(|line| line.number), Some(last + 1));
    let none = CodeOwners::parse(format!("{file}\n*").as_bytes());
    assert_eq!(none.of(path), None);
}
