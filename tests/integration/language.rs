//! The language of everything a person reads: no banned word in the documents, the code or the
//! scripts, and no line of code over 100 columns. CONTRIBUTING.md has the rules.

use std::{fs, path::Path};

use crate::support::in_repository;

/// Words and phrases that read like a translation. In code, the parts of a name count as words.
const BANNED: [&str; 30] = [
    "tell",
    "tells",
    "told",
    "mend",
    "mends",
    "mended",
    "anew",
    "beside",
    "besides",
    "in the place of",
    "whoever",
    "so many",
    "so long",
    "nobody",
    "lies",
    "stands",
    "shall",
    "a word of",
    "what is there",
    "is gone",
    "are gone",
    "in the meantime it",
    "has to have",
    "hand over",
    "handed over",
    "goes its way",
    "of no use",
    "may not be there",
    "made anew",
    "all the same",
];

/// Where a banned word is right: the end of the path, and a part of the line.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Files that people read, by their ending; without the dot, a whole name.
const READ: [&str; 7] = [".rs", ".js", ".md", ".yml", ".sh", "Makefile", "run"];

#[test]
fn no_banned_word() {
    let mut found = Vec::new();
    for (file, text) in texts(&["src", "runner", "docs", "examples", "demo", "."]) {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) =
                banned(&without_code_spans(&file, line)).filter(|_| !is_excepted(&file, line))
            {
                found.push(format!("{file}:{}: `{word}`: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "reword these lines (CONTRIBUTING.md, \"Language\"):\n{}",
        found.join("\n")
    );
}

/// An unneeded exception would hide the next mistake.
#[test]
fn every_exception_is_needed() {
    let texts = texts(&["src", "runner", "docs", "examples", "demo", "."]);
    for (end, part) in EXCEPTIONS {
        let mut lines =
            texts.iter().filter(|(file, _)| file.ends_with(end)).flat_map(|(_, text)| text.lines());
        assert!(
            lines.any(|line| line.contains(part) && banned(line).is_some()),
            "no longer needed: {end}, `{part}`"
        );
    }
}

#[test]
fn the_rules_are_found() {
    let cases = [
        ("the log tells why", Some("tells")),
        ("fn tell_upgrade()", Some("tell")),
        ("`beside` the file", Some("beside")),
        ("a tag that is no version", Some("is no")),
        ("There is no bucket", None),
        ("it is no longer needed", None),
        ("a name of the run's, once", Some("of the run's")),
        ("the end of the run's log", None),
        ("Also where it fails", Some("also where")),
        ("the storyteller and the bookstand", None),
    ];
    for (line, word) in cases {
        assert_eq!(banned(line).as_deref(), word, "{line}");
    }
}

#[test]
fn no_line_of_code_is_over_100_columns() {
    let mut found = Vec::new();
    for (file, text) in
        texts(&["src", "tests"]).into_iter().filter(|(file, _)| file.ends_with(".rs"))
    {
        // A word of more than 80 characters, such as a host key, cannot be broken.
        let is_long = |line: &str| {
            line.chars().count() > 100 && !line.split_whitespace().any(|word| word.len() > 80)
        };
        let long = text.lines().enumerate().filter(|(_, line)| is_long(line));
        found.extend(long.map(|(number, _)| format!("{file}:{}", number + 1)));
    }
    assert!(found.is_empty(), "over 100 columns:\n{}", found.join("\n"));
}

/// The first banned word of a line.
fn banned(line: &str) -> Option<String> {
    let line = line.to_lowercase().replace('_', " ");
    let words: Vec<&str> = line
        .split(|c: char| !(c.is_alphanumeric() || c == '\''))
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .collect();
    let text = format!(" {} ", words.join(" "));
    let has = |phrase: &str| text.contains(&format!(" {phrase} "));
    BANNED
        .iter()
        .find(|phrase| has(phrase))
        .map(|phrase| (*phrase).to_owned())
        .or_else(|| is_no(&text).then(|| "is no".to_owned()))
        .or_else(|| genitive(&line))
        .or_else(|| clause_with_also(&line))
}

/// "a tag that is no version"; "there is no tag" and "is no longer" are fine.
fn is_no(text: &str) -> bool {
    text.replace(" is no longer ", " ").replace(" there is no ", " ").contains(" is no ")
}

/// "a name of the run's": a possessive that no noun follows.
fn genitive(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(3).find_map(|window| {
        let [of, article, owner] = window else { return None };
        let ends = owner.ends_with("'s,")
            || owner.ends_with("'s.")
            || owner.ends_with("'s;")
            || owner.ends_with("'s:");
        let articles = ["the", "a", "its", "this", "that", "their", "our"];
        let is_genitive = *of == "of" && articles.contains(article) && ends;
        is_genitive
            .then(|| format!("of {article} {}", owner.trim_end_matches([',', '.', ';', ':'])))
    })
}

fn clause_with_also(line: &str) -> Option<String> {
    let line = line.trim_start_matches(['/', '!', '#', '-', ' ', '|']);
    let clauses = line.split(['.', ';', ':']).map(str::trim_start);
    let mut starts =
        clauses.flat_map(|clause| ["also where", "also if"].map(|start| (clause, start)));
    starts
        .find(|(clause, start)| clause.starts_with(&format!("{start} ")))
        .map(|(_, start)| start.to_owned())
}

/// In a document, names of tests and the like are in backticks.
fn without_code_spans(file: &str, line: &str) -> String {
    match file.ends_with(".md") {
        true => line.split('`').step_by(2).collect::<Vec<_>>().join("` `"),
        false => line.to_owned(),
    }
}

fn is_excepted(file: &str, line: &str) -> bool {
    EXCEPTIONS.iter().any(|(end, part)| file.ends_with(end) && line.contains(part))
}

/// Files and their texts, by paths in the repository; of `.` only the files, not the folders.
fn texts(places: &[&str]) -> Vec<(String, String)> {
    let root = in_repository("");
    let mut found = Vec::new();
    for place in places {
        let mut folders = vec![in_repository(place)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && *place != "." {
                    folders.push(path);
                } else if path.is_file() && is_read(&path) {
                    found.push((name_in(&root, &path), fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    assert!(found.len() > 100, "the files moved: adapt this test: {}", found.len());
    found
}

fn is_read(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    READ.iter().any(|end| name.ends_with(end)) && name != "Cargo.lock"
}

fn name_in(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().trim_start_matches("./").to_owned()
}
