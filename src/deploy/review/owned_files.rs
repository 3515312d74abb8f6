//! The files of a pull request that have owners in CODEOWNERS of its base branch.

use std::collections::BTreeMap;

use crate::{
    base::error::Error,
    services::github::{
        Api, GitHubError, LISTED, PullRequest, RepositoryFile,
        code_owners::{CodeOwners, IgnoredLine, Owner, PLACES, SIZE_LIMIT},
    },
};

/// Ignored lines that a message names.
const SHOWN: usize = 10;

/// Files with the same owners.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnedFiles {
    pub(super) owners: Vec<Owner>,
    pub(super) files: Vec<String>,
}

/// Returns the files with owners, and what is wrong with CODEOWNERS. `rule` is where it is written
/// that their owners must approve.
pub(super) async fn read(
    api: &Api,
    of: &PullRequest,
    rule: &str,
) -> Result<(Vec<OwnedFiles>, Option<String>), Error> {
    let (place, owners) = code_owners(api, of, rule).await?;
    let files = api.changed_files(of.number).await.map_err(GitHubError::into_error)?;
    if files.len() >= LISTED {
        return Err(Error::refused(format!("pull request #{} changes too many files", of.number))
            .why(format!("GitHub lists at most {LISTED}, and others might have owners ({rule})"))
            .hint("split the change"));
    }
    let mut groups: BTreeMap<usize, OwnedFiles> = BTreeMap::new();
    for name in files.iter().flat_map(|file| file.names()) {
        let Some(line) = owners.of(name) else { continue };
        let group = groups
            .entry(line.number)
            .or_insert_with(|| OwnedFiles { owners: line.owners.clone(), files: Vec::new() });
        group.files.push(name.to_owned());
    }
    let ignored = (!owners.ignored.is_empty()).then(|| ignored(place, &owners.ignored));
    Ok((groups.into_values().collect(), ignored))
}

/// Returns the file that counts on the base branch, as it was for the pull request.
async fn code_owners(
    api: &Api,
    of: &PullRequest,
    rule: &str,
) -> Result<(&'static str, CodeOwners), Error> {
    let commit = &of.base.sha;
    for place in PLACES {
        let found = api.file(place, commit, SIZE_LIMIT).await.map_err(GitHubError::into_error)?;
        match found {
            None => {}
            Some(RepositoryFile::Content(bytes)) => return Ok((place, CodeOwners::parse(&bytes))),
            Some(RepositoryFile::TooLarge(size)) => {
                return Err(unknown(of)
                    .why(format!("`{place}` has {size} bytes, and GitHub ignores it above 3 MB"))
                    .hint("use patterns with wildcards to make it smaller"));
            }
        }
    }
    Err(unknown(of)
        .why(format!(
            "{rule} demands their approval, and the commit {commit} of the base branch has no \
             CODEOWNERS"
        ))
        .hint(format!("add `{}` to the base branch, and open a new pull request", PLACES[0]))
        .hint("or remove `code-owners`")
        .hint("check that the token can read the repository: `contents: read`"))
}

fn unknown(of: &PullRequest) -> Error {
    Error::refused(format!("the owners of the files of pull request #{} are unknown", of.number))
}

fn ignored(place: &str, lines: &[IgnoredLine]) -> String {
    let shown = lines.iter().take(SHOWN);
    let mut text = format!("`{place}` has lines that GitHub ignores, and so does cdflow:");
    for IgnoredLine { number, why } in shown {
        text += &format!("\n  - line {number}: {why}");
    }
    match lines.len().saturating_sub(SHOWN) {
        0 => text,
        more => text + &format!("\n  - and {more} more"),
    }
}
