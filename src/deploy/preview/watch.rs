//! What a run for a preview checks again after its plan, because a plan takes a while.

use std::sync::Arc;

use super::expiry::{Expiry, ExpiryCheck};
use crate::{
    base::error::Result,
    config::names::Environment,
    context::Context,
    deploy::ledger::{self, Ledger},
    services::{
        ci::short,
        github::{Api, GitHubError, PullRequest},
    },
};

/// What must still be true when the plan is applied.
#[derive(Clone)]
pub(crate) enum Watch {
    /// `preview up`: this is the newest commit of an open pull request.
    Newest(Newest),
    /// `preview down`, because the pull request of this number was closed.
    Closed(u64),
    /// `preview reap`: the preview has expired.
    Expired(Arc<ExpiryCheck>),
}

/// The commit that a run is for.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    pub(crate) number: u64,
    pub(crate) sha: String,
}

impl Watch {
    /// Returns why the plan must not be applied any more; None: it may be. An error of GitHub stops
    /// neither `up` nor `down`, because a later run corrects the preview. It does stop `reap`.
    pub(crate) async fn superseded(
        &self,
        context: &Context,
        environment: &Environment,
    ) -> Result<Option<String>> {
        match self {
            Self::Newest(newest) => {
                let warning = "cannot check whether this is the newest commit";
                let found = ask(context, newest.number, warning).await;
                Ok(found.and_then(|found| newest.superseded(found.is_open(), &found.head.sha)))
            }
            Self::Closed(number) => {
                let found =
                    ask(context, *number, "cannot check whether the pull request was reopened")
                        .await;
                Ok(found
                    .filter(PullRequest::is_open)
                    .map(|_| format!("pull request #{number} is open again")))
            }
            Self::Expired(check) => {
                let record = ledger::record(context, &Ledger::of(context, environment)).await?;
                Ok(match check.of(context, environment, &record).await? {
                    Expiry::Expired(_) => None,
                    Expiry::Kept(why) => Some(why.to_string()),
                    Expiry::NotDeployed => Some("another run destroyed it".to_owned()),
                })
            }
        }
    }

    /// Returns the number of the pull request if it is open. If GitHub fails, it counts as closed.
    pub(crate) async fn open(&self, context: &Context, environment: &Environment) -> Option<u64> {
        let number = match self {
            Self::Newest(newest) => newest.number,
            Self::Closed(number) => *number,
            Self::Expired(_) => environment.pull_request()?,
        };
        let found = ask(context, number, "cannot check whether the pull request is open").await?;
        found.is_open().then_some(number)
    }
}

/// Returns None, with the warning, if GitHub fails. Returns None if the run is cancelled, too: the
/// caller notices that later.
async fn ask(context: &Context, number: u64, warning: &str) -> Option<PullRequest> {
    let asked = async {
        let api = Api::of(&context.host, context.github_token.as_ref())?;
        api.pull_request(number).await
    };
    let found: Result<_, GitHubError> = tokio::select! {
        found = asked => found,
        () = context.host.interrupt.arrived() => return None,
    };
    found.map_err(|trouble| context.host.log.warning(&format!("{warning}: {trouble}"))).ok()
}

impl Newest {
    /// Returns why the commit is not the newest of an open pull request; None if it is.
    pub(crate) fn superseded(&self, is_open: bool, head: &str) -> Option<String> {
        let number = self.number;
        if !is_open {
            return Some(format!("pull request #{number} is closed"));
        }
        (head != self.sha).then(|| {
            format!(
                "{} is the newest commit of pull request #{number}, not {}",
                short(head),
                short(&self.sha)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_commit_of_an_open_pull_request_counts() {
        let newest = Newest { number: 7, sha: "aaaaaaaaaa".into() };
        assert_eq!(newest.superseded(true, "aaaaaaaaaa"), None);
        assert_eq!(newest.superseded(false, "aaaaaaaaaa").unwrap(), "pull request #7 is closed");
        assert!(
            newest
                .superseded(true, "bbbbbbbbbb")
                .unwrap()
                .starts_with("bbbbbbb is the newest commit")
        );
    }
}
