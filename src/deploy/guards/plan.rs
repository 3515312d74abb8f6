//! The guards `protect` and `max-destroy`, evaluated on the plan's JSON and never on its text.

use std::collections::BTreeSet;

use crate::{
    base::error::{Error, Result},
    config::guards::{DeployGuards, DestroyGuard, Source},
    terraform::output::changes::{ChangeAction, Changes, ResourceChange},
};

/// How many addresses a message lists.
const SHOWN: usize = 20;

/// Returns the addresses that are destroyed despite a guard, because `allowed` names them. Fails
/// with `Exit::Refused` if a guard keeps any other address.
pub(crate) fn judge(
    changes: &Changes,
    limits: &DeployGuards,
    allowed: &[String],
) -> Result<Vec<String>> {
    let doomed: Vec<&ResourceChange> =
        changes.resources.iter().filter(|change| destroys(change)).collect();
    let (named, others): (Vec<_>, Vec<_>) =
        doomed.iter().copied().partition(|change| allowed.contains(&change.address));
    let protected: Vec<&ResourceChange> =
        others.iter().copied().filter(|change| is_protected(change, limits)).collect();
    if !protected.is_empty() {
        let why = format!("{} ({})", list(&protected), rules(&protected, limits));
        let refused = Error::refused("the plan would destroy protected resources").why(why);
        return Err(by_label(refused.hint(allow(&protected)), changes, limits, allowed));
    }
    if let Some((limit, rule)) = limits.max_destroy().filter(|(limit, _)| others.len() > *limit) {
        let count = resources(others.len());
        let refused = Error::refused(format!(
            "the plan would destroy or replace {count}, but `max-destroy` is {limit}"
        ));
        return Err(by_label(
            refused.why(format!("{} ({rule})", list(&others))).hint(allow(&others)),
            changes,
            limits,
            allowed,
        ));
    }
    let beyond = limits.max_destroy().is_some_and(|(limit, _)| doomed.len() > limit);
    let counted = named.into_iter().filter(|change| beyond || is_protected(change, limits));
    Ok(counted.map(|change| change.address.clone()).collect())
}

/// Returns the labels of a pull request that together override the guards; empty if none do.
pub(crate) fn labels(
    changes: &Changes,
    limits: &DeployGuards,
    allowed: &[String],
) -> BTreeSet<String> {
    let refusing =
        refusing(changes, limits, allowed).into_iter().map(|bounds| bounds.label.clone());
    refusing.collect::<Option<_>>().unwrap_or_default()
}

/// Returns every address that the plan destroys despite a guard, as if each were allowed.
pub(crate) fn overridden(changes: &Changes, limits: &DeployGuards) -> Result<Vec<String>> {
    let doomed = changes.resources.iter().filter(|change| destroys(change));
    judge(changes, limits, &doomed.map(|change| change.address.clone()).collect::<Vec<_>>())
}

/// Lists addresses in a message, at most 20.
pub(crate) fn shown(addresses: &[String]) -> String {
    let mut text = addresses.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if addresses.len() > SHOWN {
        text.push_str(&format!(" and {} more", addresses.len() - SHOWN));
    }
    text
}

/// Returns the guards of each file that refuse the plan.
fn refusing<'l>(
    changes: &Changes,
    limits: &'l DeployGuards,
    allowed: &[String],
) -> Vec<&'l DestroyGuard> {
    let others: Vec<&ResourceChange> = changes
        .resources
        .iter()
        .filter(|change| destroys(change) && !allowed.contains(&change.address))
        .collect();
    let refuses = |bounds: &DestroyGuard| {
        let protects = |change: &&ResourceChange| {
            addresses(change).any(|address| bounds.protects(address, &change.kind))
        };
        bounds.max_destroy.is_some_and(|limit| others.len() > limit) || others.iter().any(protects)
    };
    limits.bounds.iter().filter(|bounds| refuses(bounds)).collect()
}

/// Adds which label would override the guards, if one is configured.
fn by_label(refused: Error, changes: &Changes, limits: &DeployGuards, allowed: &[String]) -> Error {
    let bounds = refusing(changes, limits, allowed);
    if bounds.iter().all(|bounds| bounds.label.is_none()) {
        return refused;
    }
    let labels = labels(changes, limits, allowed);
    match labels.is_empty() {
        false => refused
            .hint(format!("or allow all of them: add {} to the pull request", named(&labels))),
        true if bounds
            .iter()
            .any(|bounds| bounds.label.is_none() && bounds.source == Source::Policy) =>
        {
            refused.hint("a label is not enough: `policy` of the account scheme refuses it too")
        }
        true => {
            refused.hint("a label is not enough: cdflow.yml refuses it too, and names no label")
        }
    }
}

/// "the label `a`", "the labels `a` and `b`"
pub(crate) fn named(labels: &BTreeSet<String>) -> String {
    let quoted: Vec<String> =
        labels.iter().map(|label| format!("`{}`", label.escape_debug())).collect();
    format!("the label{} {}", if quoted.len() == 1 { "" } else { "s" }, quoted.join(" and "))
}

/// A replacement destroys too. A deposed object does not count: the run that replaced it was
/// judged, and allowing its address would allow the current object to be destroyed.
fn destroys(change: &ResourceChange) -> bool {
    change.deposed.is_none()
        && matches!(change.action, ChangeAction::Delete | ChangeAction::Replace)
}

fn is_protected(change: &ResourceChange, limits: &DeployGuards) -> bool {
    protecting(change, limits).is_some()
}

fn protecting<'l>(change: &ResourceChange, limits: &'l DeployGuards) -> Option<&'l str> {
    addresses(change).find_map(|address| limits.protecting(address, &change.kind))
}

/// Returns where it is written that the resources are protected.
fn rules(protected: &[&ResourceChange], limits: &DeployGuards) -> String {
    let found: BTreeSet<&str> =
        protected.iter().filter_map(|change| protecting(change, limits)).collect();
    found.into_iter().collect::<Vec<_>>().join(", ")
}

/// Includes the address before a move: a `moved` block does not remove the protection.
fn addresses(change: &ResourceChange) -> impl Iterator<Item = &String> {
    std::iter::once(&change.address).chain(&change.moved_from)
}

fn resources(count: usize) -> String {
    if count == 1 { "1 resource".to_owned() } else { format!("{count} resources") }
}

fn list(changes: &[&ResourceChange]) -> String {
    let named = changes.iter().map(|change| match change.action {
        ChangeAction::Replace => format!("{} (replaced)", change.address),
        _ => change.address.clone(),
    });
    shown(&named.collect::<Vec<_>>())
}

fn allow(changes: &[&ResourceChange]) -> String {
    let first = changes.first().map_or("ADDRESS", |change| change.address.as_str());
    format!(
        "allow each address if that is intended: --allow-destroy '{first}' \
         (the Action's input `allow-destroy`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::output::identity::Identity;

    fn changes(of: &[(&str, ChangeAction)]) -> Changes {
        let resources = of.iter().map(|(address, action)| ResourceChange {
            address: (*address).to_owned(),
            kind: address.split('.').next().unwrap().to_owned(),
            action: *action,
            is_import: false,
            moved_from: None,
            deposed: None,
            reason: None,
            identity: Identity::default(),
            risk: Default::default(),
        });
        Changes { resources: resources.collect(), ..Changes::default() }
    }

    fn limits(max_destroy: Option<usize>, protect: &[&str]) -> DeployGuards {
        DeployGuards { bounds: vec![bounds(max_destroy, protect)], ..DeployGuards::default() }
    }

    fn bounds(max_destroy: Option<usize>, protect: &[&str]) -> DestroyGuard {
        let rule = "`deploy.protect` in cdflow.yml".to_owned();
        let protect = protect.iter().map(|it| (it.parse().unwrap(), rule.clone())).collect();
        let max_destroy_rule = "`deploy.max-destroy` in cdflow.yml".to_owned();
        DestroyGuard { max_destroy, max_destroy_rule, protect, ..DestroyGuard::default() }
    }

    #[test]
    fn a_label_is_for_the_bounds_that_name_it() {
        let plan = changes(&[("db.main", ChangeAction::Delete), ("web.a", ChangeAction::Delete)]);
        let ours = DestroyGuard { label: Some("destroy".to_owned()), ..bounds(Some(0), &["db"]) };
        let of_policy = |max_destroy, label: Option<&str>| DestroyGuard {
            source: Source::Policy,
            label: label.map(str::to_owned),
            ..bounds(max_destroy, &[])
        };
        let needed = |policy: DestroyGuard, allowed: &[&str]| {
            let limits =
                DeployGuards { bounds: vec![ours.clone(), policy], ..DeployGuards::default() };
            let allowed: Vec<String> = allowed.iter().map(|it| (*it).to_owned()).collect();
            let refused = judge(&plan, &limits, &allowed).unwrap_err().to_string();
            (labels(&plan, &limits, &allowed).into_iter().collect::<Vec<_>>(), refused)
        };
        let (labels, refused) = needed(of_policy(Some(2), None), &[]);
        assert!(
            labels == ["destroy"]
                && refused.contains("add the label `destroy` to the pull request"),
            "{refused}"
        );
        let (labels, refused) = needed(of_policy(Some(1), None), &[]);
        assert!(
            labels.is_empty() && refused.contains("`policy` of the account scheme refuses it too"),
            "{refused}"
        );
        assert_eq!(needed(of_policy(Some(1), None), &["web.a"]).0, ["destroy"]);
        let (labels, refused) = needed(of_policy(Some(1), Some("org")), &[]);
        assert!(
            labels == ["destroy", "org"] && refused.contains("the labels `destroy` and `org`"),
            "{refused}"
        );
        let limits = DeployGuards { bounds: vec![ours.clone()], ..DeployGuards::default() };
        assert_eq!(overridden(&plan, &limits).unwrap(), ["db.main", "web.a"]);
        assert!(
            !judge(&plan, &limits.without_labels(), &[]).unwrap_err().to_string().contains("label")
        );
    }

    #[test]
    fn protected_resources_are_kept() {
        let plan = changes(&[
            ("db.main", ChangeAction::Replace),
            ("web.a", ChangeAction::Delete),
            ("web.b", ChangeAction::Create),
        ]);
        let refused = judge(&plan, &limits(None, &["db"]), &[]).unwrap_err().to_string();
        assert!(
            refused.contains("db.main (replaced)") && refused.contains("--allow-destroy 'db.main'"),
            "{refused}"
        );
        assert_eq!(
            judge(&plan, &limits(None, &["db"]), &["db.main".to_owned()]).unwrap(),
            ["db.main"]
        );
        assert!(judge(&plan, &limits(None, &["cache"]), &[]).unwrap().is_empty());
        let plan = changes(&[("db.main", ChangeAction::Update), ("db.old", ChangeAction::Forget)]);
        assert!(
            judge(&plan, &limits(Some(0), &["db"]), &[]).unwrap().is_empty(),
            "neither destroys"
        );
    }

    #[test]
    fn a_move_does_not_remove_protection() {
        let mut plan = changes(&[("db.new", ChangeAction::Replace)]);
        plan.resources[0].moved_from = Some("module.data.db.main".to_owned());
        assert!(judge(&plan, &limits(None, &["module.data"]), &[]).is_err());
        assert_eq!(
            judge(&plan, &limits(None, &["module.data"]), &["db.new".to_owned()]).unwrap(),
            ["db.new"]
        );
    }

    #[test]
    fn a_deposed_object_is_not_the_resource() {
        let mut plan =
            changes(&[("db.main", ChangeAction::Delete), ("db.a", ChangeAction::Delete)]);
        plan.resources.iter_mut().for_each(|change| change.deposed = Some("0a1b2c3d".to_owned()));
        assert!(judge(&plan, &limits(Some(0), &["db"]), &[]).unwrap().is_empty());
        // The current object of the same address is still guarded.
        plan.resources.extend(changes(&[("db.main", ChangeAction::Delete)]).resources);
        let refused = judge(&plan, &limits(None, &["db"]), &[]).unwrap_err().to_string();
        assert_eq!(refused.matches("db.main").count(), 2, "once, and in the hint: {refused}");
        assert_eq!(overridden(&plan, &limits(Some(0), &[])).unwrap(), ["db.main"]);
    }

    #[test]
    fn at_most_max_destroy_resources() {
        let plan = changes(&[
            ("a.1", ChangeAction::Delete),
            ("a.2", ChangeAction::Replace),
            ("a.3", ChangeAction::Delete),
        ]);
        assert!(judge(&plan, &limits(Some(3), &[]), &[]).unwrap().is_empty());
        let refused = judge(&plan, &limits(Some(2), &[]), &[]).unwrap_err().to_string();
        assert!(
            refused.contains("3 resources, but `max-destroy` is 2")
                && refused
                    .contains("a.1, a.2 (replaced), a.3 (`deploy.max-destroy` in cdflow.yml)"),
            "{refused}"
        );
        assert_eq!(judge(&plan, &limits(Some(2), &[]), &["a.3".to_owned()]).unwrap(), ["a.3"]);
        assert!(judge(&plan, &limits(Some(0), &[]), &["a.3".to_owned()]).is_err());
        assert!(
            judge(&plan, &limits(Some(2), &[]), &["a.9".to_owned()]).is_err(),
            "another address allows nothing"
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..50).map(|n| format!("a.{n}")).collect();
        let plan = changes(
            &names.iter().map(|name| (name.as_str(), ChangeAction::Delete)).collect::<Vec<_>>(),
        );
        let refused = judge(&plan, &limits(Some(0), &[]), &[]).unwrap_err().to_string();
        assert!(refused.contains("a.19 and 30 more") && !refused.contains("a.20,"), "{refused}");
    }
}
