//! The approval of the run itself, which a protected GitHub environment requires.
//!
//! GitHub does not say when a run was approved, and lists the decisions about all of its attempts.
//! So an approval counts as given when the first attempt started.

use std::collections::BTreeSet;

use crate::services::github::{Api, Approval, Discounted, GitHubError, PullRequest};

/// Returns who has approved the run for `environment`, and the approvals that do not count.
pub(super) async fn read(
    api: &Api,
    run: u64,
    environment: &str,
    of: &PullRequest,
) -> Result<(Vec<Approval>, Vec<Discounted>), GitHubError> {
    let mut reviews = api.run_reviews(run).await?;
    reviews.retain(|review| review.is_of(environment));
    let is_rejected = reviews.iter().any(|review| review.is_rejected());
    let (mut people, mut discounted) = (BTreeSet::new(), Vec::new());
    for review in reviews.iter().filter(|review| review.is_approved()) {
        let login = review.user.as_ref().map_or("ghost", |user| user.login.as_str()).to_owned();
        let why = match &review.user {
            None => Some("is a deleted account"),
            Some(user) if user.is_bot() => Some("is a bot"),
            Some(_) if of.is_by(&login) => Some("is the author of the pull request"),
            Some(_) if is_rejected => Some("approved a run that was also rejected"),
            Some(_) => None,
        };
        match why {
            None => drop(people.insert(login)),
            Some(why) => discounted.push(Discounted { login, why }),
        }
    }
    if people.is_empty() {
        return Ok((Vec::new(), discounted));
    }
    let at = api.run_started_at(run).await?;
    let approvals = people.into_iter().map(|login| Approval { login, at });
    Ok((approvals.collect(), discounted))
}
