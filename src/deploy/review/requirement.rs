//! What a rule demands of those who approved, with all that is needed to judge it.

use std::collections::{BTreeMap, BTreeSet};

use super::owned_files::OwnedFiles;
use crate::{
    config::team_name::TeamName,
    services::github::{Approval, code_owners::Owner},
};

/// Each demand with where it is written.
#[derive(Debug, Default)]
pub(super) struct Requirement {
    pub(super) count: usize,
    pub(super) count_rule: Option<String>,
    pub(super) teams: Vec<(TeamName, String)>,
    pub(super) owners: Option<OwnerDemand>,
    /// Who of those that approved is in a team. A team that could not be read is missing.
    pub(super) members: BTreeMap<TeamName, BTreeSet<String>>,
}

#[derive(Debug)]
pub(super) struct OwnerDemand {
    pub(super) rule: String,
    /// None: they could not be read.
    pub(super) files: Option<Vec<OwnedFiles>>,
}

/// A demand that is not met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing<'r> {
    Count {
        needed: usize,
        has: usize,
        rule: Option<&'r str>,
    },
    Team {
        name: &'r TeamName,
        rule: &'r str,
    },
    /// Empty: the files could not be read.
    Owners {
        files: Vec<(&'r str, &'r [Owner])>,
        rule: &'r str,
    },
}

impl Requirement {
    /// Returns the teams whose members matter.
    pub(super) fn all_teams(&self) -> BTreeSet<TeamName> {
        let files = self.owners.iter().flat_map(|demand| demand.files.iter().flatten());
        let of_owners = files.flat_map(|group| &group.owners).filter_map(|owner| match owner {
            Owner::Team(team) => Some(team),
            Owner::Person(_) | Owner::Email(_) => None,
        });
        self.teams.iter().map(|(team, _)| team).chain(of_owners).cloned().collect()
    }

    /// Returns the demands that these approvals do not meet.
    pub(super) fn missing(&self, approvals: &[Approval]) -> Vec<Missing<'_>> {
        let has = approvals.len();
        let count = (has < self.count).then_some(Missing::Count {
            needed: self.count,
            has,
            rule: self.count_rule.as_deref(),
        });
        let teams = self
            .teams
            .iter()
            .filter(|(team, _)| !self.has_member(team, approvals))
            .map(|(name, rule)| Missing::Team { name, rule });
        let owners = self.owners.as_ref().and_then(|demand| self.missing_owners(demand, approvals));
        count.into_iter().chain(teams).chain(owners).collect()
    }

    fn missing_owners<'r>(
        &'r self,
        demand: &'r OwnerDemand,
        approvals: &[Approval],
    ) -> Option<Missing<'r>> {
        let is_open = |group: &&OwnedFiles| {
            !group.owners.iter().any(|owner| self.has_approval_of(owner, approvals))
        };
        let open = demand.files.iter().flatten().filter(is_open);
        let files: Vec<(&str, &[Owner])> = open
            .flat_map(|group| {
                group.files.iter().map(|file| (file.as_str(), group.owners.as_slice()))
            })
            .collect();
        let is_missing = demand.files.is_none() || !files.is_empty();
        is_missing.then_some(Missing::Owners { files, rule: &demand.rule })
    }

    fn has_approval_of(&self, owner: &Owner, approvals: &[Approval]) -> bool {
        match owner {
            Owner::Person(login) => approvals.iter().any(|it| it.login.eq_ignore_ascii_case(login)),
            Owner::Team(team) => self.has_member(team, approvals),
            Owner::Email(_) => false,
        }
    }

    fn has_member(&self, team: &TeamName, approvals: &[Approval]) -> bool {
        let members = self.members.get(team);
        members.is_some_and(|members| approvals.iter().any(|it| members.contains(&it.login)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn approvals(logins: &[&str]) -> Vec<Approval> {
        let approval =
            |login: &&str| Approval { login: (*login).to_owned(), at: Timestamp::UNIX_EPOCH };
        logins.iter().map(approval).collect()
    }

    fn team(name: &str) -> TeamName {
        name.parse().unwrap()
    }

    fn group(owners: &[Owner], file: &str) -> OwnedFiles {
        OwnedFiles { owners: owners.to_vec(), files: vec![file.to_owned()] }
    }

    #[test]
    fn every_demand_is_judged_by_the_same_approvals() {
        let [data, platform] = ["acme/data", "acme/platform"].map(team);
        let person = Owner::Person("Grace".to_owned());
        let email = Owner::Email("a@b.c".to_owned());
        let of_data = Owner::Team(data.clone());
        let members = [
            (data.clone(), BTreeSet::from(["linus".to_owned()])),
            (platform.clone(), BTreeSet::from(["grace".to_owned()])),
        ];
        let files = vec![
            group(&[person, email.clone()], "a"),
            group(&[of_data], "b"),
            group(std::slice::from_ref(&email), "c"),
        ];
        let mut requirement = Requirement {
            count: 2,
            count_rule: Some("count".to_owned()),
            teams: vec![(platform.clone(), "teams".to_owned())],
            owners: Some(OwnerDemand { rule: "owners".to_owned(), files: Some(files) }),
            members: BTreeMap::from(members),
        };
        let by_linus = approvals(&["linus"]);
        let missing = requirement.missing(&by_linus);
        assert_eq!(missing[0], Missing::Count { needed: 2, has: 1, rule: Some("count") });
        assert_eq!(missing[1], Missing::Team { name: &platform, rule: "teams" });
        let Missing::Owners { files, rule: "owners" } = &missing[2] else { panic!("{missing:?}") };
        let names: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
        assert_eq!(names, ["a", "c"]);
        let by_both = approvals(&["grace", "linus"]);
        let missing = requirement.missing(&by_both);
        let Missing::Owners { files, .. } = &missing[0] else { panic!("{missing:?}") };
        assert_eq!((missing.len(), files.as_slice()), (1, &[("c", &[email][..])][..]));
        requirement.owners = Some(OwnerDemand { rule: "owners".to_owned(), files: None });
        assert_eq!(requirement.missing(&by_both).len(), 1, "what is not known is not met");
        requirement.owners = None;
        assert_eq!(requirement.missing(&by_both), []);
        requirement.members.remove(&platform);
        assert_eq!(requirement.missing(&by_both).len(), 1);
        assert_eq!(Requirement::default().missing(&[]), []);
    }
}
