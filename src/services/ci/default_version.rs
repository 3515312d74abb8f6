//! The version of a release if the run does not name one.

use super::run::{Run, short};
use crate::{
    base::error::{Error, Result},
    config::names::Version,
};

const NOT_IN_THE_RUN: &str = "it is taken from the tag, the pull request or the run's number, and \
                              there is none of these";
const NAME_IT: &str = "name it: VERSION on the command line, or `version:` in the step's `with:`";
const ON_THE_COMMAND_LINE: &str = "name it after the command, such as `cdflow release 42` or \
                                   `cdflow deploy live 42`; to see the releases: `cdflow releases`";

/// Returns the version of a run with `head` checked out. A rerun gets the same version. Titles and
/// branch names are not used.
pub(crate) fn version(run: Option<&Run>, head: &str) -> Result<Version> {
    let run = run.ok_or_else(|| missing().hint(ON_THE_COMMAND_LINE))?;
    let sha = short(head);
    if let Some(tag) = run.tag.as_deref().filter(|_| run.change.is_none()).and_then(of_tag) {
        return tag.parse().map_err(|error| {
            Error::input(format!("the tag gives the release no version: {error}")).hint(
                "name the version: `version:` in the step's `with:`, or VERSION on the \
                       command line",
            )
        });
    }
    // The queue tests a commit of its own, so that the version is not that of the pull request.
    let change = run.change.or_else(|| run.github.as_ref()?.queued);
    let text = match (change, run.number) {
        (Some(change), _) => format!("pr-{change}-{sha}"),
        (None, Some(number)) => format!("{number}-{sha}"),
        (None, None) => return Err(missing().why(NOT_IN_THE_RUN).hint(NAME_IT)),
    };
    Ok(text.parse()?)
}

/// The error if no version can be derived. Only a run of a CI has one that cdflow can find.
fn missing() -> Error {
    Error::input("the version is missing")
}

/// `v1.2.3` and `1.2.3` are versions; a tag like `nightly` is not.
fn of_tag(tag: &str) -> Option<&str> {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::ci::GitHubRun;

    const HEAD: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";

    fn version_of(tag: Option<&str>, change: Option<u64>, number: Option<u64>) -> String {
        let run = Run { tag: tag.map(str::to_owned), change, number, ..Run::default() };
        version(Some(&run), HEAD)
            .map_or_else(|error| error.to_string(), |version| version.to_string())
    }

    #[test]
    fn tag_then_pull_request_then_run_number() {
        assert_eq!(version_of(Some("v1.2.3"), None, Some(42)), "1.2.3");
        assert_eq!(version_of(Some("2026.11-rc1"), None, Some(42)), "2026.11-rc1");
        assert_eq!(version_of(Some("nightly"), None, Some(42)), "42-a1b2c3d");
        assert_eq!(version_of(None, Some(7), Some(42)), "pr-7-a1b2c3d");
        assert_eq!(version_of(None, None, Some(42)), "42-a1b2c3d");
        let github = Some(GitHubRun { queued: Some(7), ..GitHubRun::default() });
        let queued = Run { number: Some(42), github, ..Run::default() };
        assert_eq!(version(Some(&queued), HEAD).unwrap().to_string(), "pr-7-a1b2c3d");
        assert!(
            version_of(Some("v1.0+5"), None, Some(42))
                .contains("the tag gives the release no version")
        );
        assert!(version_of(None, None, None).contains("the version is missing"));
    }
}
