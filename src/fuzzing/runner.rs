//! The runner of GitHub Actions: its event file, and what it reads from a step.

use std::{
    fs::{self, File},
    io::{Read, Seek},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{SEPARATOR, check_error, halves, text};
use crate::{
    base::{
        error::{Error, Exit, FilePosition},
        log::Log,
        process_env::ProcessEnv,
        redact::{Redactor, Secret},
    },
    services::{
        ci::{self, Verdict, runner_files::RunnerFiles},
        git::Head,
    },
};

/// An event about a pull request names it, and one from a fork is refused.
pub fn event(bytes: &[u8]) {
    let text = text(bytes);
    let (name, content) = halves(&text);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), content).expect("an event");
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", name),
        ("GITHUB_EVENT_PATH", file.path().to_str().expect("UTF-8")),
        ("GITHUB_SHA", "0123456789abcdef"),
        ("GITHUB_RUN_NUMBER", "7"),
    ];
    let environment = ProcessEnv::new(variables.map(|(key, value)| (key.into(), value.into())));
    let run = match ci::read(&environment) {
        Ok(run) => run.expect("a run of Actions"),
        Err(error) => return check_error(&error),
    };
    let github = run.github.as_ref().expect("a run of Actions");
    let change = github.pull_request.as_ref();
    assert!(!name.starts_with("pull_request") || change.is_some(), "{name}");
    let head = Head { commit: "fedcba9876543210".to_owned(), parents: vec![] };
    for head in [None, Some(&head)] {
        match ci::judge(github, head) {
            Verdict::Refused(error) => {
                check_error(&error);
                assert_eq!(error.exit(), Exit::Refused);
            }
            _ => assert!(name != "pull_request" || !change.is_some_and(|it| it.is_fork())),
        }
    }
    if let Err(error) = ci::version(Some(&run), "fedcba9876543210") {
        check_error(&error);
    }
}

/// The runner reads back exactly what was written, or nothing.
pub fn outputs(bytes: &[u8]) {
    let text = text(bytes);
    let (name, value) = halves(&text);
    // Names are cdflow's own: only values can be secret.
    let name = &name.replace("hunter2", "");
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"];
    let variables = names.map(|name| (name.into(), folder.path().join(name).into_os_string()));
    let redactor = Redactor::default();
    redactor.add(&Secret::new("hunter2hunter2"));
    let files = RunnerFiles::of(&ProcessEnv::new(variables), &redactor);
    let read = |name| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let expected = [("first", "1"), (name, value), ("last", "2")];
    match files.write_outputs(&expected) {
        Err(_) => assert_eq!(read("GITHUB_OUTPUT"), ""),
        Ok(left_out) => {
            let is_written = |name: &str| left_out.iter().all(|it| it.name != name);
            let expected: Vec<_> = expected.into_iter().filter(|it| is_written(it.0)).collect();
            let written = read("GITHUB_OUTPUT");
            assert_eq!(file_commands(&written), Ok(expected));
            assert!(!written.contains("hunter2hunter2"));
        }
    }
    match files.save_state(name, value) {
        Err(_) => assert_eq!(read("GITHUB_STATE"), ""),
        Ok(()) => {
            assert_eq!(file_commands(&read("GITHUB_STATE")), Ok(vec![(name.as_str(), value)]))
        }
    }
    if files.append_summary(value).is_ok() {
        assert!(!read("GITHUB_STEP_SUMMARY").contains("hunter2hunter2"));
    }
}

/// Reads a file of outputs as the runner does (`EnvFileKeyValuePairs` in `FileCommandManager.cs`).
fn file_commands(text: &str) -> Result<Vec<(&str, &str)>, &'static str> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        match (equals, heredoc) {
            (None, None) if line.is_empty() => {}
            (Some(at), None) => found.push((&line[..at], &line[at + 1..])),
            (Some(at), Some(other)) if at < other => found.push((&line[..at], &line[at + 1..])),
            (_, Some(at)) => {
                let (name, delimiter) = (&line[..at], &line[at + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return Err("no name or no delimiter");
                }
                let mut lines = rest.split_inclusive('\n');
                let is_end = |line: &&str| line.strip_suffix('\n').unwrap_or(line) == delimiter;
                let value: usize = lines.by_ref().take_while(|it| !is_end(it)).map(str::len).sum();
                let end = rest[value..].split_inclusive('\n').next().ok_or("no end")?;
                found.push((name, rest[..value].strip_suffix('\n').unwrap_or("")));
                rest = &rest[value + end.len()..];
            }
            (None, None) => return Err("neither `=` nor `<<`"),
        }
    }
    Ok(found)
}

/// Whatever is printed, the runner gets cdflow's own commands alone, and is left listening. Each
/// part of the input is one call of the log, chosen by its first character.
pub fn commands(bytes: &[u8]) {
    let input = text(bytes);
    let redactor = Redactor::default();
    let secret = "hunter2hunter2";
    redactor.add(&Secret::new(secret));
    let mut reports = 0;
    let written = captured(|| {
        let log = Log::new(redactor, 2, true, true).in_workspace(Some("/work"));
        for part in input.split(SEPARATOR) {
            let (kind, text) = part.split_at(part.chars().next().map_or(0, char::len_utf8));
            match kind {
                "s" => log.step(text),
                "n" => log.note(text),
                "d" => log.done(text),
                "j" => log.json(&serde_json::json!({ text: [text] })),
                "w" => log.warning(text),
                "e" => log.error(&Error::input(text).at(text, 1, 2).below(Path::new("/work"))),
                "a" => {
                    let file = PathBuf::from("/work").join(text);
                    log.annotate(true, text, text, &FilePosition { file, line: 1, column: 2 });
                }
                "l" => log.labelled("live").output(text),
                _ => log.output(text),
            }
            reports += usize::from(["w", "e"].contains(&kind));
        }
        log.finish();
    });
    assert!(!written.contains(secret));
    let heard = heard(&written);
    let is = |command: &&String, names: &[&str]| names.iter().any(|name| command.starts_with(name));
    let groups = heard.iter().filter(|it| is(it, &["::group::", "::endgroup::"])).count();
    let reported = heard.iter().filter(|it| is(it, &["::error", "::warning"])).count();
    assert_eq!(groups + reported, heard.len(), "{heard:?}");
    let annotations = input.split(SEPARATOR).filter(|part| part.starts_with('a')).count();
    assert!((reports..=reports + annotations).contains(&reported), "{heard:?}");
}

/// Returns the commands that the runner executes: it reads lines as .NET does, and `##[` anywhere
/// in a line is a command.
fn heard(written: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut stopped: Option<String> = None;
    for line in written.split(['\n', '\r']) {
        let trimmed = line.trim_start();
        match &stopped {
            Some(token) if trimmed == format!("::{token}::") => stopped = None,
            Some(_) => {}
            None => match trimmed.strip_prefix("::stop-commands::") {
                Some(token) => stopped = Some(token.to_owned()),
                None if trimmed.starts_with("::") || line.contains("##[") => {
                    found.push(trimmed.to_owned());
                }
                None => {}
            },
        }
    }
    assert_eq!(stopped, None, "steps after this one would not be heard");
    found
}

/// Returns what `print` writes to standard output.
fn captured(print: impl FnOnce()) -> String {
    static OUTPUT: OnceLock<File> = OnceLock::new();
    let mut output = OUTPUT.get_or_init(|| {
        let file = tempfile::tempfile().expect("a file");
        nix::unistd::dup2_stdout(&file).expect("standard output");
        file
    });
    output.set_len(0).expect("a file");
    output.rewind().expect("a file");
    print();
    let mut written = String::new();
    output.rewind().expect("a file");
    output.read_to_string(&mut written).expect("UTF-8");
    written
}
