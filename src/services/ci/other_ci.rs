//! The other CIs, by the variables that they set.

use super::run::Run;
use crate::base::process_env::ProcessEnv;

pub(crate) fn read(environment: &ProcessEnv) -> Option<Run> {
    let is_set = |name| environment.get(name).is_some();
    match () {
        () if is_set("GITLAB_CI") => Some(gitlab(environment)),
        () if is_set("BUILDKITE") => Some(buildkite(environment)),
        () if is_set("JENKINS_URL") => Some(jenkins(environment)),
        () => None,
    }
}

fn gitlab(environment: &ProcessEnv) -> Run {
    Run {
        commit: environment.text("CI_COMMIT_SHA"),
        tag: environment.text("CI_COMMIT_TAG"),
        number: environment.number("CI_PIPELINE_IID"),
        change: environment.number("CI_MERGE_REQUEST_IID"),
        actor: environment.text("GITLAB_USER_LOGIN"),
        fork: environment
            .text("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
            .filter(|from| environment.get("CI_MERGE_REQUEST_PROJECT_ID") != Some(from))
            .map(|id| environment.text("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH").unwrap_or(id)),
        url: environment.text("CI_JOB_URL").or_else(|| environment.text("CI_PIPELINE_URL")),
        github: None,
    }
}

fn buildkite(environment: &ProcessEnv) -> Run {
    // "false" where there is none.
    let change = environment.number("BUILDKITE_PULL_REQUEST");
    let tag = environment.text("BUILDKITE_TAG");
    Run {
        commit: environment.text("BUILDKITE_COMMIT"),
        tag,
        number: environment.number("BUILDKITE_BUILD_NUMBER"),
        change,
        actor: environment.text("BUILDKITE_BUILD_CREATOR"),
        fork: environment.text("BUILDKITE_PULL_REQUEST_REPO").filter(|_| change.is_some()).filter(
            |from| path(from) != path(environment.get("BUILDKITE_REPO").unwrap_or_default()),
        ),
        url: environment.text("BUILDKITE_BUILD_URL"),
        github: None,
    }
}

fn jenkins(environment: &ProcessEnv) -> Run {
    let (change, tag) = (environment.number("CHANGE_ID"), environment.text("TAG_NAME"));
    Run {
        commit: environment.text("GIT_COMMIT"),
        tag,
        number: environment.number("BUILD_NUMBER"),
        change,
        actor: environment.text("BUILD_USER_ID").or_else(|| environment.text("CHANGE_AUTHOR")),
        fork: environment.text("CHANGE_FORK"),
        url: environment.text("BUILD_URL"),
        github: None,
    }
}

/// `owner/name`, of whichever of a repository's URLs.
fn path(url: &str) -> String {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url.split_once(':').map_or(url, |(_, path)| path),
    };
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(variables: &[(&str, &str)]) -> Option<Run> {
        read(&ProcessEnv::new(variables.iter().map(|(name, value)| (name.into(), value.into()))))
    }

    #[test]
    fn each_by_its_own_variables() {
        let run_of = |variables: &[(&str, &str)]| {
            let run = run(variables).unwrap();
            (run.tag, run.number, run.change, run.url)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            run_of(&[
                ("GITLAB_CI", "true"),
                ("CI_PIPELINE_IID", "12"),
                ("CI_PIPELINE_URL", "https://gitlab.example/p/1"),
                ("CI_JOB_URL", "https://gitlab.example/j/2"),
            ]),
            (None, Some(12), None, some("https://gitlab.example/j/2"))
        );
        assert_eq!(
            run_of(&[
                ("BUILDKITE", "true"),
                ("BUILDKITE_PULL_REQUEST", "7"),
                ("BUILDKITE_BUILD_NUMBER", "3"),
            ]),
            (None, Some(3), Some(7), None)
        );
        assert_eq!(
            run_of(&[("BUILDKITE", "true"), ("BUILDKITE_PULL_REQUEST", "false")]),
            (None, None, None, None)
        );
        assert_eq!(
            run_of(&[
                ("JENKINS_URL", "https://ci.example/"),
                ("TAG_NAME", "v1.2.3"),
                ("BUILD_NUMBER", "40"),
                ("BUILD_URL", "https://ci.example/job/40"),
            ]),
            (some("v1.2.3"), Some(40), None, some("https://ci.example/job/40"))
        );
        assert!(run(&[("PATH", "/bin")]).is_none());
    }

    #[test]
    fn a_change_of_a_fork() {
        let fork_of = |variables: &[(&str, &str)]| run(variables).unwrap().fork;
        let gitlab = |from| {
            let ids = [
                ("CI_MERGE_REQUEST_PROJECT_ID", "1"),
                ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", from),
            ];
            fork_of(&[&[("GITLAB_CI", "true")], &ids[..]].concat())
        };
        assert_eq!((gitlab("1"), gitlab("2")), (None, Some("2".to_owned())));
        assert_eq!(fork_of(&[("GITLAB_CI", "true")]), None);
        let buildkite = |change, from| {
            let repository = ("BUILDKITE_REPO", "git@github.com:acme/shop.git");
            let variables =
                [("BUILDKITE_PULL_REQUEST", change), ("BUILDKITE_PULL_REQUEST_REPO", from)];
            fork_of(&[&[("BUILDKITE", "true"), repository], &variables[..]].concat()).is_some()
        };
        assert!(
            !buildkite("7", "git://github.com/Acme/shop.git")
                && !buildkite("7", "https://github.com/acme/shop")
        );
        assert!(buildkite("7", "git://github.com/mallory/shop.git") && !buildkite("false", ""));
        assert_eq!(
            fork_of(&[("JENKINS_URL", "x"), ("CHANGE_FORK", "mallory")]).as_deref(),
            Some("mallory")
        );
        assert_eq!(fork_of(&[("JENKINS_URL", "x"), ("CHANGE_ID", "7")]), None);
    }
}
