//! Which releases move the tag `latest`.

use std::path::Path;

use serde_json::Value;

use crate::base::{process_env::ProcessEnv, small_file};

/// Returns the reason why a release of `commit` does not move `latest`, as an error.
pub(crate) fn may_be_latest(environment: &ProcessEnv, commit: &str) -> Result<(), String> {
    if environment.get("GITHUB_ACTIONS").is_none() {
        return match environment.get("CI") {
            None => Ok(()),
            Some(_) => Err("in CI, cdflow moves it only on GitHub Actions, which names the \
                            default branch"
                .to_owned()),
        };
    }
    let is_pull_request =
        environment.get("GITHUB_EVENT_NAME").is_some_and(|event| event.starts_with("pull_request"));
    let branch = environment.get("GITHUB_REF_NAME").unwrap_or_default();
    if is_pull_request || branch.is_empty() {
        return Err("the run is not for the default branch".to_owned());
    }
    if environment.get("GITHUB_REF_TYPE") == Some("tag") {
        return Ok(());
    }
    let event = environment
        .get("GITHUB_EVENT_PATH")
        .and_then(|path| small_file::read(Path::new(path)).ok());
    let event =
        event.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).unwrap_or_default();
    match event["repository"]["default_branch"].as_str() {
        // A run for a comment is on the default branch, but might have checked out a pull request.
        Some(default) if default == branch && environment.get("GITHUB_SHA") != Some(commit) => {
            Err(format!("the checkout is not the commit that the run on `{default}` is for"))
        }
        Some(default) if default == branch => Ok(()),
        Some(default) => Err(format!("`{branch}` is not the default branch `{default}`")),
        None => Err("the event does not name the default branch".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn which_runs_move_latest() {
        let folder = tempfile::tempdir().unwrap();
        let event = folder.path().join("event.json");
        fs::write(&event, r#"{"repository": {"default_branch": "main"}}"#).unwrap();
        let may = |variables: &[(&str, &str)]| {
            let event = ("GITHUB_EVENT_PATH", event.to_str().unwrap());
            let all = variables
                .iter()
                .chain([&event])
                .map(|(name, value)| ((*name).into(), (*value).into()));
            may_be_latest(&ProcessEnv::new(all), "abc").is_ok()
        };
        let actions = ("GITHUB_ACTIONS", "true");
        assert!(may(&[]));
        assert!(!may(&[("CI", "true")]));
        let main = [actions, ("GITHUB_REF_NAME", "main"), ("GITHUB_REF_TYPE", "branch")];
        let started_for = |commit| [&main[..], &[("GITHUB_SHA", commit)]].concat();
        assert!(may(&started_for("abc")));
        assert!(
            !may(&started_for("def")) && !may(&main),
            "a run for a comment that has checked out a pull request"
        );
        assert!(may(&[actions, ("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")]));
        assert!(!may(&[actions, ("GITHUB_REF_NAME", "feature"), ("GITHUB_REF_TYPE", "branch")]));
        assert!(!may(&[
            actions,
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_EVENT_NAME", "pull_request_target")
        ]));
        assert!(!may(&[actions]));
    }
}
