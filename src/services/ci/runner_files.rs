//! The files through which a step speaks to the runner: outputs, summary, state for the step's own
//! clean-up.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use crate::base::{
    error::{Error, Result},
    process_env::ProcessEnv,
    redact::{Redactor, Secret},
};

/// The runner drops a summary that is longer, all of it; a job's outputs may have as much, counted
/// in UTF-16.
const SUMMARY_LIMIT: usize = 1 << 20;
const OUTPUTS_LIMIT: usize = 1 << 20;

pub(crate) struct RunnerFiles {
    output: Option<PathBuf>,
    summary: Option<PathBuf>,
    state: Option<PathBuf>,
    redactor: Redactor,
}

/// Which outputs were left out, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) name: String,
    pub(crate) why: &'static str,
}

impl RunnerFiles {
    /// Those that the runner names; outside of Actions there are none, and nothing is written.
    pub(crate) fn of(environment: &ProcessEnv, redactor: &Redactor) -> Self {
        let path = |name| environment.get(name).map(PathBuf::from);
        Self {
            output: path("GITHUB_OUTPUT"),
            summary: path("GITHUB_STEP_SUMMARY"),
            state: path("GITHUB_STATE"),
            redactor: redactor.clone(),
        }
    }

    /// Writes the step's outputs. Omits values that are secret or too long: a truncated output
    /// would be wrong.
    pub(crate) fn write_outputs(&self, outputs: &[(&str, &str)]) -> Result<Vec<LeftOut>> {
        let Some(path) = &self.output else { return Ok(Vec::new()) };
        let mut room = OUTPUTS_LIMIT.saturating_sub(2 * size(path)?);
        let (mut text, mut left_out) = (String::new(), Vec::new());
        for (name, value) in outputs {
            let needed = 2 * (name.encode_utf16().count() + value.encode_utf16().count());
            let why = match () {
                () if self.redactor.finds(value) => "it holds a secret",
                () if needed > room => "outputs may have 1 MiB together",
                () => {
                    room -= needed;
                    text += &entry(name, value)?;
                    continue;
                }
            };
            left_out.push(LeftOut { name: (*name).to_owned(), why });
        }
        append(path, &text)?;
        Ok(left_out)
    }

    /// Returns the bytes that may still be appended to the summary; None without a summary.
    pub(crate) fn summary_room(&self) -> Result<Option<usize>> {
        let Some(path) = &self.summary else { return Ok(None) };
        Ok(Some(SUMMARY_LIMIT.saturating_sub(size(path)?)))
    }

    /// Appends to the summary. Fails if the text does not fit, because the runner would drop the
    /// whole summary.
    pub(crate) fn append_summary(&self, markdown: &str) -> Result<()> {
        let Some(path) = &self.summary else { return Ok(()) };
        let masked = self.redactor.leaving("the job summary", markdown)?;
        let text = format!("{}\n", masked.trim_end_matches('\n'));
        if size(path)? + text.len() > SUMMARY_LIMIT {
            return Err(Error::input(format!(
                "the summary in `{}` would be longer than 1 MiB",
                path.display()
            ))
            .why("the runner would drop all of it"));
        }
        append(path, &text)
    }

    /// For the step's own clean-up, which gets it as STATE_<name>.
    pub(crate) fn save_state(&self, name: &str, value: &str) -> Result<()> {
        let Some(path) = &self.state else { return Ok(()) };
        append(path, &entry(name, value)?)
    }
}

/// Formats an entry. The value ends at the delimiter line, which must not be guessable.
fn entry(name: &str, value: &str) -> Result<String> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !is_name {
        return Err(Error::internal(format!(
            "`{}` can't be the name of an output",
            name.escape_debug()
        )));
    }
    let delimiter = Secret::random()
        .map_err(|error| Error::internal("there are no random bytes").why(error))?;
    let delimiter = format!("cdflow_{}", delimiter.expose());
    match value.contains(&delimiter) {
        true => Err(Error::internal("an output holds the delimiter that was made for it")),
        false => Ok(format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")),
    }
}

fn size(path: &Path) -> Result<usize> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(usize::try_from(found.len()).unwrap_or(usize::MAX / 4)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("can't look at", path, &error)),
    }
}

/// Does not follow links, which would redirect the output into another file, and does not wait for
/// the reader of a pipe.
fn append(path: &Path, text: &str) -> Result<()> {
    let open = || -> std::io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path)
    };
    open().and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Error::io("can't write the runner's file", path, &error)
            .hint("the runner names it in GITHUB_OUTPUT and the like")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, redactor: &Redactor) -> RunnerFiles {
        let names = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_STATE"];
        let variables = names.map(|name| (name.into(), folder.join(name).into_os_string()));
        RunnerFiles::of(&ProcessEnv::new(variables), redactor)
    }

    /// As the runner reads them.
    fn parsed(text: &str) -> Vec<(String, String)> {
        let mut lines = text.lines();
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<").unwrap();
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            found.push((name.to_owned(), value.join("\n")));
        }
        found
    }

    #[test]
    fn outputs_are_read_back_whatever_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), &Redactor::default());
        let hostile = "a\nEOF\nversion<<EOF\nevil\nEOF\n::error::x";
        files.write_outputs(&[("version", "1"), ("terraform-outputs", hostile)]).unwrap();
        files.write_outputs(&[("empty", "")]).unwrap();
        let text = std::fs::read_to_string(folder.path().join("GITHUB_OUTPUT")).unwrap();
        let expected = [("version", "1"), ("terraform-outputs", hostile), ("empty", "")];
        assert_eq!(
            parsed(&text),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert!(
            files.write_outputs(&[("a b", "")]).is_err()
                && files.write_outputs(&[("a=b\nc", "")]).is_err()
        );
    }

    #[test]
    fn secrets_and_what_is_too_long_are_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter2hunter2"));
        let files = files(folder.path(), &redactor);
        let long = "x".repeat(600_000);
        let left = files
            .write_outputs(&[("url", "https://hunter2hunter2@x"), ("long", &long), ("ok", "1")])
            .unwrap();
        assert_eq!(left.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["url", "long"]);
        let text = std::fs::read_to_string(folder.path().join("GITHUB_OUTPUT")).unwrap();
        assert_eq!(parsed(&text), [("ok".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_summary_is_masked_and_never_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter2hunter2"));
        let files = files(folder.path(), &redactor);
        files.append_summary("# One hunter2hunter2").unwrap();
        let room = files.summary_room().unwrap().unwrap();
        assert_eq!(room, (1 << 20) - "# One ***\n".len());
        assert!(files.append_summary(&"x".repeat(room)).is_err());
        files.append_summary(&"x".repeat(room - 1)).unwrap();
        assert_eq!(
            std::fs::metadata(folder.path().join("GITHUB_STEP_SUMMARY")).unwrap().len(),
            1 << 20
        );
    }

    #[test]
    fn links_are_not_followed_and_without_a_runner_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("GITHUB_STATE")).unwrap();
        assert!(files(folder.path(), &Redactor::default()).save_state("container", "1").is_err());
        assert_eq!(std::fs::read_to_string(target).unwrap(), "");
        let none = RunnerFiles::of(&ProcessEnv::default(), &Redactor::default());
        assert_eq!(none.write_outputs(&[("a", "b")]).unwrap(), []);
        none.append_summary("x").unwrap();
        assert_eq!(none.summary_room().unwrap(), None);
    }
}
