//! What can go wrong with GitHub's API, said so that it can be mended. Whoever gets it warns and
//! goes on, unless the call was the task itself.

use std::fmt;

use crate::base::error::{Error, Exit};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitHubError {
    pub(crate) kind: GitHubErrorKind,
    /// "failed to create the comment"
    what: String,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GitHubErrorKind {
    /// None was given, or GitHub does not know it (any more).
    NoToken,
    /// The token may not; `permissions` are lines for the workflow's `permissions:`.
    Forbidden {
        permissions: Vec<String>,
    },
    NotFound,
    /// There is no repository to ask about.
    NoRepository,
    /// GitHub refuses what we sent, or we what it sent.
    Invalid,
    /// Too many requests, for longer than we wait.
    Limited,
    /// No answer, or none that says anything. What was asked for may have been done.
    Unavailable,
}

impl GitHubError {
    pub(crate) fn new(
        kind: GitHubErrorKind,
        what: impl Into<String>,
        why: impl fmt::Display,
    ) -> Self {
        Self { kind, what: what.into(), why: why.to_string() }
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            GitHubErrorKind::NoToken => "set `github-token: ${{ github.token }}` in the step".to_owned(),
            GitHubErrorKind::Forbidden { permissions } => {
                format!("add these permissions to the workflow's job:\n{}", block(permissions))
            }
            GitHubErrorKind::NotFound => "check that it exists and that the token can read it".to_owned(),
            GitHubErrorKind::NoRepository => {
                "run this on GitHub Actions, or set GITHUB_ACTIONS=true, GITHUB_REPOSITORY=owner/name and GITHUB_TOKEN"
                    .to_owned()
            }
            GitHubErrorKind::Invalid => return None,
            GitHubErrorKind::Limited | GitHubErrorKind::Unavailable => "retry later; see githubstatus.com for outages".to_owned(),
        })
    }

    /// For where other things can fail as well.
    pub(crate) fn into_error(self) -> Error {
        let exit = match self.kind {
            GitHubErrorKind::NoToken | GitHubErrorKind::Forbidden { .. } => Exit::Credentials,
            GitHubErrorKind::NotFound
            | GitHubErrorKind::Invalid
            | GitHubErrorKind::NoRepository => Exit::Input,
            GitHubErrorKind::Limited | GitHubErrorKind::Unavailable => Exit::Unavailable,
        };
        let hint = self.hint();
        let error = Error::new(exit, self.what).why(self.why);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What failed, why, and what to do: for a warning.
impl fmt::Display for GitHubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)?;
        self.hint().map_or(Ok(()), |hint| write!(f, "\n  -> {hint}"))
    }
}

/// To paste. A job that names one permission loses all that it doesn't name, also that of reading
/// its own code.
fn block(permissions: &[String]) -> String {
    let checkout = Some("contents: read".to_owned())
        .filter(|_| !permissions.iter().any(|it| it.starts_with("contents:")));
    let lines = checkout.iter().chain(permissions).map(|line| format!("       {line}"));
    format!("     permissions:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// The lines for what GitHub says it would have accepted: `issues=write; pull_requests=write` are
/// alternatives,
/// `contents=read,issues=write` are needed together. `usual` is the line where it says nothing that a workflow can give.
pub(crate) fn permissions(accepted: Option<&str>, usual: &str) -> Vec<String> {
    const OF_WORKFLOWS: [&str; 12] = [
        "actions",
        "attestations",
        "checks",
        "contents",
        "deployments",
        "discussions",
        "id-token",
        "issues",
        "packages",
        "pages",
        "pull-requests",
        "statuses",
    ];
    let line = |one: &str| {
        let (name, level) = one.trim().split_once('=')?;
        let (name, level) = (name.replace('_', "-"), level.trim());
        (OF_WORKFLOWS.contains(&name.as_str()) && ["read", "write"].contains(&level))
            .then(|| format!("{name}: {level}"))
    };
    let sets = accepted.into_iter().flat_map(|text| text.split(';'));
    let sets: Vec<Vec<String>> =
        sets.filter_map(|set| set.split(',').map(line).collect()).collect();
    let usual = usual.to_owned();
    match sets.iter().find(|set| set.contains(&usual)).or(sets.first()) {
        Some(set) => set.clone(),
        None => vec![usual],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_as_a_workflow_spells_them() {
        let of = |accepted| permissions(accepted, "pull-requests: write").join(", ");
        assert_eq!(of(Some("issues=write; pull_requests=write")), "pull-requests: write");
        assert_eq!(of(Some("issues=write")), "issues: write");
        assert_eq!(
            of(Some("contents=write,workflows=write; contents=write,deployments=read")),
            "contents: write, deployments: read"
        );
        assert_eq!(of(Some("administration=write")), "pull-requests: write");
        assert_eq!(of(Some("")), "pull-requests: write");
        assert_eq!(of(None), "pull-requests: write");
    }
}
