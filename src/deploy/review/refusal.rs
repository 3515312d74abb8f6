//! The refusal of a change that has too few approvals.

use super::{evidence::Evidence, requirement::Missing};
use crate::{
    base::{error::Error, printable},
    config::review_rule::ReviewRule,
    services::github::{Discounted, PullRequest, code_owners::Owner},
};

/// Files that a refusal names.
const SHOWN: usize = 10;

/// Says what is missing. What could not be judged comes first, because it might not be missing.
pub(super) fn lacking(of: &PullRequest, rule: &ReviewRule, evidence: Evidence) -> Error {
    let why = why(of, &evidence);
    let Evidence { warning, troubles, .. } = evidence;
    if let Some(trouble) = troubles.into_iter().next() {
        return trouble;
    }
    let mut error = Error::refused(format!("pull request #{} was not approved", of.number))
        .why(why)
        .hint("have its newest commit approved on GitHub, then run this job or the command again");
    if let Some((environment, place)) = &rule.environment {
        error = error.hint(format!(
            "or start a new run of the job with `environment: {}`, and have it approved on GitHub \
             ({place})",
            printable::excerpt(environment)
        ));
    }
    if let Some(place) = &rule.not_offered {
        error = error.hint(format!(
            "offer the environment in `approvals` of `policy`, or remove {place}, which has no \
             effect"
        ));
    }
    match warning {
        Some(warning) => error.hint(format!("correct CODEOWNERS: {warning}")),
        None => error,
    }
}

fn why(of: &PullRequest, evidence: &Evidence) -> String {
    let missing = evidence.requirement.missing(evidence.given.reviews());
    let discounted = |what: &str, all: &[Discounted]| -> Vec<String> {
        let said = |Discounted { login, why }: &Discounted| {
            format!("the approval {what}{login} does not count, because {login} {why}")
        };
        all.iter().map(said).collect()
    };
    let is_list = |it: &&Missing<'_>| matches!(it, Missing::Owners { .. });
    let (lists, others): (Vec<_>, Vec<_>) = missing.iter().partition(is_list);
    let said = |missing: Vec<&Missing<'_>>| -> Vec<String> {
        missing.into_iter().map(|it| text(it, of)).collect()
    };
    [
        said(others),
        discounted("of ", &evidence.discounted),
        discounted("of the run by ", &evidence.discounted_of_run),
        said(lists),
    ]
    .concat()
    .join("; ")
}

fn text(missing: &Missing<'_>, of: &PullRequest) -> String {
    match missing {
        Missing::Count { needed, has, rule } => {
            let needed = match needed {
                1 => "1 approval".to_owned(),
                count => format!("{count} approvals"),
            };
            let rule = rule.map_or_else(String::new, |rule| format!(" ({rule})"));
            format!("its newest commit needs {needed} and has {has}{rule}")
        }
        Missing::Team { name, rule } => {
            format!("no member of the team {name} has approved its newest commit ({rule})")
        }
        Missing::Owners { files, rule } => {
            let mut text = format!("these files need the approval of an owner ({rule}):");
            for (file, owners) in files.iter().take(SHOWN) {
                let owners: Vec<String> = owners.iter().map(|it| owner(it, of)).collect();
                let file = printable::excerpt(file);
                text += &format!("\n  - `{file}`: {}", owners.join(", "));
            }
            match files.len().saturating_sub(SHOWN) {
                0 => text,
                more => text + &format!("\n  - and {more} more"),
            }
        }
    }
}

/// Says of an owner why an approval cannot come from there.
fn owner(owner: &Owner, of: &PullRequest) -> String {
    let shown = printable::excerpt(&owner.to_string());
    match owner {
        Owner::Person(login) if of.is_by(login) => format!("{shown} (the author)"),
        Owner::Person(login) if login.ends_with("[bot]") => format!("{shown} (a bot)"),
        Owner::Email(_) => format!("{shown} (an e-mail address, not a login)"),
        Owner::Person(_) | Owner::Team(_) => shown,
    }
}
