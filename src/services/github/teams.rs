//! Members of a team.

use std::collections::BTreeSet;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    api::{Api, segment},
    client::Call,
    error::{GitHubError, GitHubErrorKind},
};
use crate::config::team_name::TeamName;

const NEEDS: &str = "members: read";

impl Api {
    /// Returns which of `logins` are members of the team, also through a team below it.
    pub(crate) async fn members_among(
        &self,
        team: &TeamName,
        logins: &[&str],
    ) -> Result<BTreeSet<String>, GitHubError> {
        #[derive(Deserialize)]
        struct Membership {
            state: String,
        }
        let named = team.in_organization(&self.repository.owner);
        let organization = named.organization.as_deref().unwrap_or_default();
        let route = format!("/orgs/{}/teams/{}", segment(organization), segment(&named.slug));
        let doing = format!("read the team {named}");
        // Without this, a team that the token cannot see would be one without members.
        let asked = self.client.ask::<IgnoredAny>(Call::get(route.clone(), &doing, NEEDS)).await;
        asked.map_err(unreadable)?;
        let mut members = BTreeSet::new();
        for login in logins {
            let doing = format!("read whether {login} is in the team {named}");
            let route = format!("{route}/memberships/{}", segment(login));
            match self.client.ask::<Membership>(Call::get(route, &doing, NEEDS)).await {
                Ok(found) if found.state == "active" => drop(members.insert((*login).to_owned())),
                // An invitation that was not accepted.
                Ok(_) => {}
                Err(error) if error.kind == GitHubErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(members)
    }
}

/// The token of a workflow cannot be given the permission.
fn unreadable(mut error: GitHubError) -> GitHubError {
    let is_denied =
        matches!(error.kind, GitHubErrorKind::Forbidden { .. } | GitHubErrorKind::NotFound);
    if is_denied {
        error.kind = GitHubErrorKind::NoMembers;
    }
    error
}
