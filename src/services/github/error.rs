//! Errors of GitHub's API, with fixes. Callers warn and continue, unless the call was the task
//! itself.

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
    /// The token is missing, unknown or expired.
    NoToken,
    /// The token lacks permissions; `permissions` are lines for the workflow's `permissions:`.
    Forbidden {
        permissions: Vec<String>,
    },
    /// The token cannot read the members of a team, or the team does not exist.
    NoMembers,
    NotFound,
    /// GITHUB_REPOSITORY is not set.
    NoRepository,
    /// GitHub rejected the request, or the response is invalid.
    Invalid,
    /// Too many requests, for longer than we wait.
    Limited,
    /// The server's certificate is rejected; with the fix.
    Untrusted {
        fix: &'static str,
    },
    /// No usable response. The request may have been carried out.
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
        let fix = match &self.kind {
            GitHubErrorKind::Forbidden { permissions } => {
                let block = block(permissions);
                return Some(format!("add these permissions to the workflow's job:\n{block}"));
            }
            GitHubErrorKind::NoToken => "set `github-token: ${{ github.token }}` in the step",
            GitHubErrorKind::NoMembers => {
                "check the name of the team, and set `github-token` to a token with the \
                 organization permission \"Members: read\": of a GitHub App, or a fine-grained \
                 personal access token. The job's own token cannot have it"
            }
            GitHubErrorKind::NotFound => "check that it exists and that the token can read it",
            GitHubErrorKind::NoRepository => {
                "run this on GitHub Actions, or set GITHUB_ACTIONS=true, \
                 GITHUB_REPOSITORY=owner/name and GITHUB_TOKEN"
            }
            GitHubErrorKind::Invalid => return None,
            GitHubErrorKind::Untrusted { fix } => fix,
            GitHubErrorKind::Limited | GitHubErrorKind::Unavailable => {
                "retry later; githubstatus.com shows outages of github.com"
            }
        };
        Some(fix.to_owned())
    }

    /// Converts to the general error, with its exit code.
    pub(crate) fn into_error(self) -> Error {
        let exit = match self.kind {
            GitHubErrorKind::NoToken
            | GitHubErrorKind::Forbidden { .. }
            | GitHubErrorKind::NoMembers => Exit::Credentials,
            GitHubErrorKind::NotFound
            | GitHubErrorKind::Invalid
            | GitHubErrorKind::NoRepository => Exit::Input,
            GitHubErrorKind::Untrusted { .. }
            | GitHubErrorKind::Limited
            | GitHubErrorKind::Unavailable => Exit::Unavailable,
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

/// Formats a block to paste. A job that sets one permission loses all others, including read access
/// to its own code, so the block restores that.
fn block(permissions: &[String]) -> String {
    let checkout = Some("contents: read".to_owned())
        .filter(|_| !permissions.iter().any(|it| it.starts_with("contents:")));
    let lines = checkout.iter().chain(permissions).map(|line| format!("       {line}"));
    format!("     permissions:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Returns the lines for the permissions that GitHub would have accepted: `issues=write;
/// pull_requests=write` are alternatives, `contents=read,issues=write` are needed together. `usual`
/// is returned if GitHub names none that a workflow can grant.
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
