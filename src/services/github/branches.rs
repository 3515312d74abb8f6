//! Branches of the repository, and whether one has a commit.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    api::{Api, segment},
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};

const NEEDS: &str = "contents: read";

/// A branch and its newest commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BranchHead {
    pub(crate) name: String,
    pub(crate) commit: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "ref")]
    name: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
}

impl Api {
    /// Returns the branches whose names begin with `prefix`, and perhaps others.
    pub(crate) async fn branches(&self, prefix: &str) -> Result<Vec<BranchHead>, GitHubError> {
        let doing = format!("read the branches `{}*`", prefix.escape_debug());
        let name: Vec<String> = prefix.split('/').map(segment).collect();
        // A final `/` has no meaning in a route.
        let below = format!("/git/matching-refs/heads/{}", name.join("/"));
        let route = self.route(below.trim_end_matches('/'));
        let found: Vec<Reference> = self.client.ask(Call::get(route, &doing, NEEDS)).await?;
        let branch = |it: Reference| {
            let name = it.name.strip_prefix("refs/heads/")?.to_owned();
            Some(BranchHead { name, commit: it.object.sha })
        };
        Ok(found.into_iter().filter_map(branch).collect())
    }

    /// Returns when `commit` became the newest commit of the branch. None if GitHub does not list
    /// that among the newest pushes. The dates of a commit are no proof: its author sets them.
    pub(crate) async fn pushed_at(
        &self,
        branch: &str,
        commit: &str,
    ) -> Result<Option<Timestamp>, GitHubError> {
        #[derive(Deserialize)]
        struct Activity {
            after: String,
            timestamp: Timestamp,
        }
        let doing = format!("read the pushes to `{}`", branch.escape_debug());
        let name = segment(&format!("refs/heads/{branch}"));
        let route = self.route(&format!("/activity?ref={name}&per_page=100"));
        let pushes: Vec<Activity> = self.client.ask(Call::get(route, &doing, NEEDS)).await?;
        // The newest push comes first.
        Ok(pushes.into_iter().find(|it| it.after == commit).map(|it| it.timestamp))
    }

    /// Whether `commit` is the newest commit of the branch or one before it.
    pub(crate) async fn is_on(
        &self,
        branch: &BranchHead,
        commit: &str,
    ) -> Result<bool, GitHubError> {
        #[derive(Deserialize)]
        struct Comparison {
            status: String,
        }
        if branch.commit == commit {
            return Ok(true);
        }
        let doing = format!("compare the commit {commit} with `{}`", branch.name.escape_debug());
        let (base, head) = (segment(&branch.commit), segment(commit));
        // Only the first page has the changed files, which can be many.
        let route = self.route(&format!("/compare/{base}...{head}?per_page=1&page=2"));
        match self.client.ask::<Comparison>(Call::get(route, &doing, NEEDS)).await {
            Ok(found) => Ok(["behind", "identical"].contains(&found.status.as_str())),
            // GitHub does not know the commit.
            Err(error) if error.kind == GitHubErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
