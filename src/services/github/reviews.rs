//! Reviews of a pull request.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    account::GitHubAccount,
    api::{Api, segment},
    client::Call,
    error::{GitHubError, GitHubErrorKind},
    pull_request::PullRequest,
};

/// Somebody who may push to the repository has approved a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approval {
    pub(crate) login: String,
    pub(crate) at: Timestamp,
}

/// Why an approval does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discounted {
    pub(crate) login: String,
    pub(crate) why: &'static str,
}

#[derive(Debug, Deserialize)]
struct Review {
    /// None: the account was deleted.
    user: Option<GitHubAccount>,
    state: String,
    /// None for a review that was not submitted.
    submitted_at: Option<Timestamp>,
    /// None: the commit no longer exists.
    commit_id: Option<String>,
}

impl Api {
    /// Returns who has approved the newest commit of the pull request, and the approvals that do
    /// not count. The last review of a person decides; comments change nothing.
    pub(crate) async fn approvals(
        &self,
        of: &PullRequest,
    ) -> Result<(Vec<Approval>, Vec<Discounted>), GitHubError> {
        let number = of.number;
        let doing = format!("read the reviews of pull request #{number}");
        let route = self.route(&format!("/pulls/{number}/reviews"));
        let reviews: Vec<Review> =
            self.client.list(Call::get(route, &doing, "pull-requests: read")).await?;
        let (mut counted, mut discounted) = (Vec::new(), of_deleted(&reviews));
        for (login, review) in newest(reviews) {
            let why = match why_not(&review, of) {
                None if !self.can_push(&login).await? => Some("may not push to the repository"),
                why => why,
            };
            match (why, review.submitted_at) {
                (None, Some(at)) => counted.push(Approval { login, at }),
                (why, _) => {
                    discounted.push(Discounted { login, why: why.unwrap_or("was not submitted") })
                }
            }
        }
        Ok((counted, discounted))
    }

    /// Whether a person may push to the repository: the roles write, maintain and admin.
    pub(crate) async fn can_push(&self, login: &str) -> Result<bool, GitHubError> {
        #[derive(Deserialize)]
        struct Permission {
            permission: String,
        }
        let doing = format!("read the permission of {login}");
        let route = self.route(&format!("/collaborators/{}/permission", segment(login)));
        let asked = self.client.ask(Call::get(route, &doing, "metadata: read")).await;
        let found: Permission = match asked {
            // The account has no permission, or was deleted.
            Err(error) if error.kind == GitHubErrorKind::NotFound => return Ok(false),
            found => found?,
        };
        Ok(["admin", "write"].contains(&found.permission.as_str()))
    }
}

/// Returns the approvals of deleted accounts, which GitHub shows as one person.
fn of_deleted(reviews: &[Review]) -> Vec<Discounted> {
    let has_any = reviews.iter().any(|it| it.user.is_none() && it.state == "APPROVED");
    let of = || Discounted { login: "ghost".to_owned(), why: "is a deleted account" };
    has_any.then(of).into_iter().collect()
}

/// Returns the newest review of each person that approves.
fn newest(reviews: Vec<Review>) -> BTreeMap<String, Review> {
    let mut newest = BTreeMap::new();
    // GitHub lists the oldest first.
    for review in reviews {
        let decides = ["APPROVED", "CHANGES_REQUESTED", "DISMISSED"];
        if let Some(user) = &review.user
            && decides.contains(&review.state.as_str())
        {
            newest.insert(user.login.clone(), review);
        }
    }
    newest.retain(|_, review| review.state == "APPROVED");
    newest
}

fn why_not(review: &Review, of: &PullRequest) -> Option<&'static str> {
    let user = review.user.as_ref()?;
    if user.is_bot() {
        return Some("is a bot");
    }
    if of.is_by(&user.login) {
        return Some("is the author of the pull request");
    }
    match review.commit_id.as_deref() == Some(of.head.sha.as_str()) {
        true => None,
        false => Some("approved an older commit"),
    }
}
