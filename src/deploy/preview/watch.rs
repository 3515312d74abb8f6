//! What a run for a preview asks once more after it has planned, which takes a while: whether what it is for still holds.

use std::sync::Arc;

use super::expiry::{Fate, Judge};
use crate::{
    base::error::Result,
    config::names::Environment,
    context::Context,
    deploy::ledger,
    services::{
        ci::short,
        github::{Api, GitHubError, PullRequest},
    },
};

#[derive(Clone)]
pub(crate) enum Watch {
    /// `preview up`: this is the newest commit of an open pull request.
    Newest(Newest),
    /// `preview down`, because the pull request of this number was closed.
    Closed(u64),
    /// `preview reap`: nobody needs the preview.
    Due(Arc<Judge>),
}

/// The commit that a run is for.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    pub(crate) number: u64,
    pub(crate) sha: String,
}

impl Watch {
    /// Why nothing must be applied any more. Trouble with GitHub stops neither `up` nor `down`: the next run, or `reap`, puts it
    /// right. `reap` does not destroy what it can't ask about.
    pub(crate) async fn superseded(
        &self,
        context: &Context,
        environment: &Environment,
    ) -> Result<Option<String>> {
        match self {
            Self::Newest(newest) => {
                let unknown = "whether this is the newest commit is not known";
                let found = ask(context, newest.number, unknown).await;
                Ok(found.and_then(|found| newest.judge(found.is_open(), &found.head.sha)))
            }
            Self::Closed(number) => {
                let found =
                    ask(context, *number, "whether the pull request was opened again is not known")
                        .await;
                Ok(found
                    .filter(PullRequest::is_open)
                    .map(|_| format!("pull request #{number} is open again")))
            }
            Self::Due(judge) => {
                let record = ledger::record(context, environment).await?;
                Ok(match judge.fate(context, environment, &record).await? {
                    Fate::Due(_) => None,
                    Fate::Stays(why) => Some(why),
                    Fate::Gone => Some("another run has destroyed it".to_owned()),
                })
            }
        }
    }

    /// The number of the pull request, if that is open. Where GitHub doesn't say so it counts as closed.
    pub(crate) async fn open(&self, context: &Context, environment: &Environment) -> Option<u64> {
        let number = match self {
            Self::Newest(newest) => newest.number,
            Self::Closed(number) => *number,
            Self::Due(_) => environment.pull_request()?,
        };
        let found = ask(context, number, "whether the pull request is open is not known").await?;
        found.is_open().then_some(number)
    }
}

/// None where GitHub does not answer, or a signal comes first: that is looked at later.
async fn ask(context: &Context, number: u64, unknown: &str) -> Option<PullRequest> {
    let asked = async {
        let api = Api::of(&context.host, context.github_token.as_ref())?;
        api.pull_request(number).await
    };
    let found: Result<_, GitHubError> = tokio::select! {
        found = asked => found,
        () = context.host.interrupt.arrived() => return None,
    };
    found.map_err(|trouble| context.host.log.warning(&format!("{unknown}: {trouble}"))).ok()
}

impl Newest {
    pub(crate) fn judge(&self, is_open: bool, head: &str) -> Option<String> {
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
        assert_eq!(newest.judge(true, "aaaaaaaaaa"), None);
        assert_eq!(newest.judge(false, "aaaaaaaaaa").unwrap(), "pull request #7 is closed");
        assert!(
            newest.judge(true, "bbbbbbbbbb").unwrap().starts_with("bbbbbbb is the newest commit")
        );
    }
}
