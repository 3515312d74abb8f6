//! What an apply did to each planned resource, from Terraform's own events.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    by_address::ByAddress,
    changes::{ChangeAction, Changes, ResourceChange},
    events::ChangeError,
    unknown::{BegunChange, ChangeEnd, UnknownChange},
};

/// The result of one planned change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "result")]
pub(crate) struct ResourceResult {
    /// The result.
    pub(crate) outcome: ResourceOutcome,
    /// Terraform's error about the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What became of a planned change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum ResourceOutcome {
    /// A replacement: the old object is destroyed, and there is no new one.
    DeletedNotRecreated,
    /// A replacement: the old object is destroyed, and it is unknown whether there is a new one.
    DeletedUnknown,
    /// The new object exists and is tainted: its creation or a provisioner failed.
    Incomplete,
    /// A replacement: the new object exists, and so does the old one.
    OldNotDeleted,
    Failed,
    /// It was in progress when the apply ended.
    Unknown,
    NotStarted,
    Done,
}

/// How an apply ended.
pub(crate) struct ApplyEnd<'a> {
    pub(crate) begun: &'a [BegunChange],
    pub(crate) errors: &'a [ChangeError],
    pub(crate) unknown: &'a [UnknownChange],
    /// Everything was applied.
    pub(crate) is_complete: bool,
    /// Whether the saved state has the current object of an address; None if that is not known.
    pub(crate) is_in_state: Option<&'a dyn Fn(&str) -> bool>,
}

/// One request of a change: to create, update or delete an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    NotBegun,
    Made,
    Failed,
    /// The object exists, but is not complete.
    Incomplete,
    Unknown,
}

/// Returns the results of the resources of the plan, in its order.
pub(crate) fn results(plan: &Changes, end: &ApplyEnd<'_>) -> Vec<ResourceResult> {
    if end.is_complete {
        let done = || ResourceResult { outcome: ResourceOutcome::Done, error: None };
        return plan.resources.iter().map(|_| done()).collect();
    }
    let found = Found {
        end,
        planned: ByAddress::of(&plan.resources, |it| &it.address),
        begun: ByAddress::of(end.begun, |it| &it.address),
        errors: ByAddress::of(end.errors, |it| &it.address),
        unknown: ByAddress::of(end.unknown, |it| &it.address),
    };
    plan.resources.iter().map(|change| found.result(change)).collect()
}

/// The end of an incomplete apply, by address.
struct Found<'a> {
    end: &'a ApplyEnd<'a>,
    planned: ByAddress<'a, ResourceChange>,
    begun: ByAddress<'a, BegunChange>,
    errors: ByAddress<'a, ChangeError>,
    unknown: ByAddress<'a, UnknownChange>,
}

impl Found<'_> {
    fn result(&self, change: &ResourceChange) -> ResourceResult {
        let error = self.errors.at(&change.address).first().map(|it| it.message.clone());
        let step = |action: &str| self.step(change, action);
        let saved = self.end.is_in_state.map(|is_in_state| is_in_state(&change.address));
        let by_state = |is_done: bool| match saved {
            Some(saved) if saved == is_done => ResourceOutcome::Done,
            Some(_) => ResourceOutcome::NotStarted,
            None => ResourceOutcome::Unknown,
        };
        let outcome = match change.action {
            ChangeAction::Create => of_step(step("create")),
            ChangeAction::Update => of_step(step("update")),
            ChangeAction::Delete => of_step(step("delete")),
            ChangeAction::Replace => of_replacement(step("delete"), step("create")),
            // They only change the state, and have no events.
            ChangeAction::Import | ChangeAction::Move => by_state(true),
            ChangeAction::Forget => by_state(false),
        };
        match outcome {
            // Terraform rejected it before it asked the provider.
            ResourceOutcome::NotStarted if error.is_some() => {
                ResourceResult { outcome: ResourceOutcome::Failed, error }
            }
            ResourceOutcome::Done => ResourceResult { outcome, error: None },
            outcome => ResourceResult { outcome, error },
        }
    }

    fn step(&self, change: &ResourceChange, action: &str) -> Step {
        let of_address = self.begun.at(&change.address);
        let is_of = |it: &&&BegunChange| it.action == action && self.is_object(change, it);
        let Some(begun) = of_address.iter().find(is_of) else { return Step::NotBegun };
        let is_unknown = |as_action: &str| {
            self.unknown.at(&change.address).iter().any(|it| it.action == as_action)
        };
        let saved = self.end.is_in_state.is_some_and(|is_in_state| is_in_state(&change.address));
        let is_first = change.action == ChangeAction::Replace
            && !of_address.iter().any(|it| it.action == "delete");
        match (&begun.end, action) {
            (_, "create") if is_unknown("provision") => Step::Incomplete,
            _ if is_unknown(action) => Step::Unknown,
            (ChangeEnd::Made { .. }, _) => Step::Made,
            // The old object is in the state again if it was to be destroyed after the creation.
            (ChangeEnd::Failed, "create") if saved && !is_first => Step::Incomplete,
            (ChangeEnd::Failed, _) => Step::Failed,
            // The state has answered.
            (ChangeEnd::Unknown | ChangeEnd::Provisioning, "create") if is_first => Step::Unknown,
            (ChangeEnd::Unknown | ChangeEnd::Provisioning, "create") => Step::Incomplete,
            (ChangeEnd::Unknown | ChangeEnd::Provisioning, "delete") => Step::Made,
            (ChangeEnd::Unknown | ChangeEnd::Provisioning, _) => Step::Unknown,
        }
    }

    /// Whether a request is about the object of `change`: a deposed object has the address of the
    /// current one, and Terraform's events name only its ID.
    fn is_object(&self, change: &ResourceChange, begun: &BegunChange) -> bool {
        let id = |of: &ResourceChange| of.identity.names.get("id").cloned();
        match &change.deposed {
            Some(_) => begun.id.is_none() || id(change).is_none() || begun.id == id(change),
            None => !self.planned.at(&change.address).iter().any(|other| {
                other.deposed.is_some() && begun.id.is_some() && id(other) == begun.id
            }),
        }
    }
}

fn of_step(step: Step) -> ResourceOutcome {
    match step {
        Step::NotBegun => ResourceOutcome::NotStarted,
        Step::Made => ResourceOutcome::Done,
        Step::Failed => ResourceOutcome::Failed,
        Step::Incomplete => ResourceOutcome::Incomplete,
        Step::Unknown => ResourceOutcome::Unknown,
    }
}

fn of_replacement(delete: Step, create: Step) -> ResourceOutcome {
    match (delete, create) {
        (Step::Made, Step::Made) => ResourceOutcome::Done,
        (Step::Made, Step::NotBegun | Step::Failed) => ResourceOutcome::DeletedNotRecreated,
        (Step::Made, Step::Incomplete) => ResourceOutcome::Incomplete,
        (Step::Made, Step::Unknown) => ResourceOutcome::DeletedUnknown,
        (Step::NotBegun | Step::Failed | Step::Incomplete, Step::Made) => {
            ResourceOutcome::OldNotDeleted
        }
        (Step::Unknown, _) | (_, Step::Unknown) => ResourceOutcome::Unknown,
        (Step::NotBegun, Step::NotBegun) => ResourceOutcome::NotStarted,
        _ => ResourceOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(address: &str, action: &str) -> String {
        let (action, address) = (action.to_owned(), address.to_owned());
        format!(
            r#"{{"address": "{address}", "type": "a", "change": {{"actions": [{action}],
                "before": {{"id": "i"}}, "after": {{}} }} }}"#
        )
    }

    fn plan(changes: &[String]) -> Changes {
        let text = format!(r#"{{"resource_changes": [{}]}}"#, changes.join(","));
        Changes::parse(&mut text.as_bytes()).unwrap()
    }

    fn begun(address: &str, action: &str, end: ChangeEnd) -> BegunChange {
        let [address, action, kind] = [address, action, "a"].map(str::to_owned);
        BegunChange { address, id: None, kind, action, end }
    }

    fn outcomes(plan: &Changes, begun: &[BegunChange], saved: bool) -> Vec<ResourceOutcome> {
        let end = ApplyEnd {
            begun,
            errors: &[],
            unknown: &[],
            is_complete: false,
            is_in_state: Some(&|_| saved),
        };
        results(plan, &end).into_iter().map(|it| it.outcome).collect()
    }

    /// The steps of a replacement, each of which can end in three ways.
    #[test]
    fn a_replacement_can_fail_at_each_step() {
        use ResourceOutcome::*;
        let plan = plan(&[change("a.b", r#""delete", "create""#)]);
        let made = || ChangeEnd::Made { id: None };
        let step = |action: &str, end: ChangeEnd| begun("a.b", action, end);
        for (steps, saved, outcome) in [
            (vec![], true, NotStarted),
            (vec![step("delete", ChangeEnd::Failed)], true, Failed),
            (vec![step("delete", made())], false, DeletedNotRecreated),
            (
                vec![step("delete", made()), step("create", ChangeEnd::Failed)],
                false,
                DeletedNotRecreated,
            ),
            (vec![step("delete", made()), step("create", ChangeEnd::Failed)], true, Incomplete),
            (vec![step("delete", made()), step("create", ChangeEnd::Unknown)], true, Incomplete),
            (vec![step("delete", made()), step("create", made())], true, Done),
            // The new object first.
            (vec![step("create", ChangeEnd::Failed)], true, Failed),
            (vec![step("create", made())], true, OldNotDeleted),
            (vec![step("create", made()), step("delete", ChangeEnd::Failed)], true, OldNotDeleted),
        ] {
            assert_eq!(outcomes(&plan, &steps, saved), [outcome], "{steps:?} {saved}");
        }
    }

    #[test]
    fn changes_in_progress_are_unknown_and_others_not_started() {
        use ResourceOutcome::*;
        let plan = plan(&[
            change("a.new", r#""create""#),
            change("a.in_place", r#""update""#),
            change("a.old", r#""delete""#),
            change("a.later", r#""create""#),
        ]);
        let steps = [
            begun("a.new", "create", ChangeEnd::Unknown),
            begun("a.in_place", "update", ChangeEnd::Unknown),
            begun("a.old", "delete", ChangeEnd::Made { id: None }),
        ];
        let unknown = |address: &str, action: &str| UnknownChange {
            address: address.to_owned(),
            kind: "a".to_owned(),
            action: action.to_owned(),
            names: Default::default(),
            import_id: None,
        };
        let error = |address: &str| ChangeError::new(address, "no");
        let end = ApplyEnd {
            begun: &steps,
            errors: &[error("a.later"), error("a.old")],
            unknown: &[unknown("a.new", "create"), unknown("a.in_place", "update")],
            is_complete: false,
            is_in_state: None,
        };
        let found = results(&plan, &end);
        let found: Vec<_> = found.iter().map(|it| (it.outcome, it.error.as_deref())).collect();
        assert_eq!(
            found,
            [(Unknown, None), (Unknown, None), (Done, None), (Failed, Some("no"))],
            "a change that Terraform rejects has no events"
        );
        let complete = ApplyEnd { is_complete: true, ..end };
        assert!(results(&plan, &complete).iter().all(|it| it.outcome == Done));
    }

    #[test]
    fn a_deposed_object_is_known_by_its_id() {
        use ResourceOutcome::*;
        let deposed = change("a.b", r#""delete""#).replacen('{', r#"{"deposed": "0a","#, 1);
        let deposed = deposed.replace(r#""id": "i""#, r#""id": "old""#);
        let plan = plan(&[change("a.b", r#""delete""#), deposed]);
        let of = |id: &str, end: ChangeEnd| BegunChange {
            id: Some(id.to_owned()),
            ..begun("a.b", "delete", end)
        };
        let steps = [of("old", ChangeEnd::Made { id: None }), of("i", ChangeEnd::Failed)];
        assert_eq!(outcomes(&plan, &steps, true), [Failed, Done]);
    }
}
