//! What GitHub says about the approvals of a pull request, as far as a rule asks for it.

use std::collections::BTreeSet;

use super::{
    owned_files,
    requirement::{OwnerDemand, Requirement},
    run_approval,
};
use crate::{
    base::error::Error,
    config::review_rule::ReviewRule,
    services::github::{Api, Approval, Discounted, GitHubError, PullRequest},
};

/// Without a rule, nothing is demanded and nothing was asked.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) given: Given,
    /// Reviews that do not count.
    pub(super) discounted: Vec<Discounted>,
    /// Approvals of the run that do not count.
    pub(super) discounted_of_run: Vec<Discounted>,
    pub(super) requirement: Requirement,
    /// What is wrong with CODEOWNERS.
    pub(super) warning: Option<String>,
    /// Why demands could not be judged. They count as not met.
    pub(super) troubles: Vec<Error>,
}

/// Approvals that count.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Of the newest commit of the pull request.
    reviews: Vec<Approval>,
    /// Of the run, where the rule offers an environment.
    of_run: Vec<Approval>,
}

impl Given {
    pub(super) fn those(&self, is_it: impl Fn(&Approval) -> bool) -> Self {
        let those = |all: &[Approval]| all.iter().filter(|it| is_it(it)).cloned().collect();
        Self { reviews: those(&self.reviews), of_run: those(&self.of_run) }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            reviews: [self.reviews, other.reviews].concat(),
            of_run: [self.of_run, other.of_run].concat(),
        }
    }

    pub(super) fn reviews(&self) -> &[Approval] {
        &self.reviews
    }
}

impl Evidence {
    /// Returns who approved, in order and each once. None if these approvals are not enough.
    pub(super) fn people(&self, given: &Given) -> Option<BTreeSet<String>> {
        let is_reviewed = self.requirement.missing(&given.reviews).is_empty();
        let of_run = given.of_run.iter().filter(|_| !is_reviewed);
        let is_approved = is_reviewed || !given.of_run.is_empty();
        let people = given.reviews.iter().chain(of_run).map(|it| it.login.clone());
        is_approved.then(|| people.collect())
    }
}

/// Asks for the reviews of `of`, and for what else the rule demands. `run` is the ID of this run.
pub(super) async fn gather(
    api: &Api,
    run: Option<u64>,
    of: &PullRequest,
    rule: &ReviewRule,
) -> Result<Evidence, GitHubError> {
    let (reviews, discounted) = api.approvals(of).await?;
    let mut evidence = Evidence {
        given: Given { reviews, of_run: Vec::new() },
        discounted,
        requirement: Requirement {
            count: rule.count,
            count_rule: rule.count_rule.clone(),
            ..Requirement::default()
        },
        ..Evidence::default()
    };
    if let Some(place) = &rule.code_owners {
        evidence.read_owners(api, of, place).await;
    }
    let owner = &api.repository.owner;
    let teams = rule.teams.iter().map(|(team, place)| (team.in_organization(owner), place.clone()));
    evidence.requirement.teams = teams.collect();
    evidence.read_members(api).await;
    if let Some(((environment, _), run)) = rule.environment.as_ref().zip(run) {
        match run_approval::read(api, run, environment, of).await {
            Ok((approvals, discounted)) => {
                evidence.given.of_run = approvals;
                evidence.discounted_of_run = discounted;
            }
            Err(error) => evidence.troubles.push(error.into_error()),
        }
    }
    Ok(evidence)
}

impl Evidence {
    async fn read_owners(&mut self, api: &Api, of: &PullRequest, rule: &str) {
        let files = match owned_files::read(api, of, rule).await {
            Ok((files, warning)) => {
                self.warning = warning;
                Some(files)
            }
            Err(error) => {
                self.troubles.push(error);
                None
            }
        };
        self.requirement.owners = Some(OwnerDemand { rule: rule.to_owned(), files });
    }

    /// Reads which approvers are members of the teams in the rule and in CODEOWNERS.
    async fn read_members(&mut self, api: &Api) {
        let logins: Vec<&str> = self.given.reviews.iter().map(|it| it.login.as_str()).collect();
        for team in self.requirement.all_teams() {
            match api.members_among(&team, &logins).await {
                Ok(members) => drop(self.requirement.members.insert(team, members)),
                Err(error) => self.troubles.push(error.into_error()),
            }
        }
    }
}
