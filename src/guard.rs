//! Whether a plan may be applied: judged from the plan's JSON, never from its text.

use crate::{
    error::{Error, Result},
    limits::Effective,
    terraform::changes::{Action, Changes, ResourceChange},
};

/// So many addresses stand in a message.
const SHOWN: usize = 20;

/// The addresses whose destruction is protected or beyond the limit, and was allowed by name. Refused if one was not.
pub(crate) fn judge(changes: &Changes, limits: &Effective, allowed: &[String]) -> Result<Vec<String>> {
    let doomed: Vec<&ResourceChange> = changes.resources.iter().filter(|change| destroys(change.action)).collect();
    let (named, others): (Vec<_>, Vec<_>) =
        doomed.iter().copied().partition(|change| allowed.contains(&change.address));
    let protected: Vec<&ResourceChange> =
        others.iter().copied().filter(|change| is_protected(change, limits)).collect();
    if !protected.is_empty() {
        return Err(Error::refused("the plan would destroy what is protected")
            .why(list(&protected))
            .hint(allow(&protected)));
    }
    if let Some(limit) = limits.max_destroy.filter(|limit| others.len() > *limit) {
        let count = resources(others.len());
        return Err(Error::refused(format!(
            "the plan would destroy or replace {count}, and {limit} may be (`max-destroy`)"
        ))
        .why(list(&others))
        .hint(allow(&others)));
    }
    let beyond = limits.max_destroy.is_some_and(|limit| doomed.len() > limit);
    let counted = named.into_iter().filter(|change| beyond || is_protected(change, limits));
    Ok(counted.map(|change| change.address.clone()).collect())
}

/// A replacement destroys as well.
fn destroys(action: Action) -> bool {
    matches!(action, Action::Delete | Action::Replace)
}

/// By the address before a move as well: a `moved` block does not take the protection away.
fn is_protected(change: &ResourceChange, limits: &Effective) -> bool {
    let mut addresses = std::iter::once(&change.address).chain(&change.moved_from);
    addresses.any(|address| limits.protect.iter().any(|protected| protected.covers(address, &change.kind)))
}

fn resources(count: usize) -> String {
    if count == 1 { "1 resource".to_owned() } else { format!("{count} resources") }
}

fn list(changes: &[&ResourceChange]) -> String {
    let shown = changes.iter().take(SHOWN).map(|change| match change.action {
        Action::Replace => format!("{} (replaced)", change.address),
        _ => change.address.clone(),
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if changes.len() > SHOWN {
        text.push_str(&format!(" and {} more", changes.len() - SHOWN));
    }
    text
}

fn allow(changes: &[&ResourceChange]) -> String {
    let first = changes.first().map_or("ADDRESS", |change| change.address.as_str());
    format!(
        "if that is meant, allow each by its address: --allow-destroy '{first}' (the Action's input `allow-destroy`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(of: &[(&str, Action)]) -> Changes {
        let resources = of.iter().map(|(address, action)| ResourceChange {
            address: (*address).to_owned(),
            kind: address.split('.').next().unwrap().to_owned(),
            action: *action,
            is_import: false,
            moved_from: None,
        });
        Changes { resources: resources.collect(), ..Changes::default() }
    }

    fn limits(max_destroy: Option<usize>, protect: &[&str]) -> Effective {
        Effective {
            max_destroy,
            protect: protect.iter().map(|it| it.parse().unwrap()).collect(),
            ..Effective::default()
        }
    }

    #[test]
    fn what_is_protected_stays() {
        let plan = changes(&[("db.main", Action::Replace), ("web.a", Action::Delete), ("web.b", Action::Create)]);
        let refused = judge(&plan, &limits(None, &["db"]), &[]).unwrap_err().to_string();
        assert!(refused.contains("db.main (replaced)") && refused.contains("--allow-destroy 'db.main'"), "{refused}");
        assert_eq!(judge(&plan, &limits(None, &["db"]), &["db.main".to_owned()]).unwrap(), ["db.main"]);
        assert!(judge(&plan, &limits(None, &["cache"]), &[]).unwrap().is_empty());
        let plan = changes(&[("db.main", Action::Update), ("db.old", Action::Forget)]);
        assert!(judge(&plan, &limits(Some(0), &["db"]), &[]).unwrap().is_empty(), "neither destroys");
    }

    #[test]
    fn a_move_takes_no_protection_away() {
        let mut plan = changes(&[("db.new", Action::Replace)]);
        plan.resources[0].moved_from = Some("module.data.db.main".to_owned());
        assert!(judge(&plan, &limits(None, &["module.data"]), &[]).is_err());
        assert_eq!(judge(&plan, &limits(None, &["module.data"]), &["db.new".to_owned()]).unwrap(), ["db.new"]);
    }

    #[test]
    fn so_many_and_no_more() {
        let plan = changes(&[("a.1", Action::Delete), ("a.2", Action::Replace), ("a.3", Action::Delete)]);
        assert!(judge(&plan, &limits(Some(3), &[]), &[]).unwrap().is_empty());
        let refused = judge(&plan, &limits(Some(2), &[]), &[]).unwrap_err().to_string();
        assert!(
            refused.contains("3 resources, and 2 may be") && refused.contains("a.1, a.2 (replaced), a.3"),
            "{refused}"
        );
        assert_eq!(judge(&plan, &limits(Some(2), &[]), &["a.3".to_owned()]).unwrap(), ["a.3"]);
        assert!(judge(&plan, &limits(Some(0), &[]), &["a.3".to_owned()]).is_err());
        assert!(judge(&plan, &limits(Some(2), &[]), &["a.9".to_owned()]).is_err(), "another address allows nothing");
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..50).map(|n| format!("a.{n}")).collect();
        let plan = changes(&names.iter().map(|name| (name.as_str(), Action::Delete)).collect::<Vec<_>>());
        let refused = judge(&plan, &limits(Some(0), &[]), &[]).unwrap_err().to_string();
        assert!(refused.contains("a.19 and 30 more") && !refused.contains("a.20,"), "{refused}");
    }
}
