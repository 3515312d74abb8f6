//! What a plan does, attribute by attribute, so that two plans can be compared. Everything that
//! differs between two plans of the same change is left out: the order, warnings, data sources
//! that are read, and changes that a refresh has found.

mod compare;
mod read;
mod seal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    compare::{Difference, differences, is_only_words},
    read::{EffectJson, PlannedValue},
    seal::{Sealed, Sealer, Words, mac},
};

/// The effects of a plan. `V` is how values are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Effects<V> {
    /// By the address, with the key of a deposed object.
    pub(crate) resources: BTreeMap<String, Effect<V>>,
    /// By name and path, such as `service.url`.
    pub(crate) outputs: BTreeMap<String, Change<V>>,
    /// The addresses of changes that Terraform puts off to a later plan.
    pub(crate) deferred: BTreeSet<String>,
}

/// What a plan does to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Effect<V> {
    /// Terraform's words, in order: `create`, `delete create`, `no-op` for an import or a move.
    pub(crate) action: String,
    /// The address before a move.
    pub(crate) moved_from: Option<String>,
    /// The ID of an import.
    pub(crate) import: Option<String>,
    /// What names the object that there is. Empty for a new one.
    pub(crate) object: BTreeMap<String, String>,
    /// The attributes that force a replacement.
    pub(crate) replace: BTreeSet<String>,
    /// The attributes that the change sets, by path, such as `tags.Name` or `rule[0].port`.
    pub(crate) attributes: BTreeMap<String, Change<V>>,
    /// Of a replacement: the attributes that the old object does not have. In `attributes`, they
    /// look like those that stay as they are. Not recorded, and not compared.
    #[serde(skip)]
    pub(crate) added: BTreeSet<String>,
}

/// The values of an attribute. None: it has none, or the value says nothing about the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change<V> {
    pub(crate) before: Option<V>,
    pub(crate) after: Option<V>,
}

/// A value before or after the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl<V> Default for Effects<V> {
    fn default() -> Self {
        Self { resources: BTreeMap::new(), outputs: BTreeMap::new(), deferred: BTreeSet::new() }
    }
}

impl<V> Effects<V> {
    /// Whether the plan does nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.outputs.is_empty() && self.deferred.is_empty()
    }

    /// Returns the same effects with other names and values.
    fn map<W>(&self, name: &impl Fn(&str) -> String, value: &impl Fn(&V, Side) -> W) -> Effects<W> {
        let names = |of: &BTreeSet<String>| of.iter().map(|it| name(it)).collect();
        let change = |of: &Change<V>| Change {
            before: of.before.as_ref().map(|it| value(it, Side::Before)),
            after: of.after.as_ref().map(|it| value(it, Side::After)),
        };
        let changes = |of: &BTreeMap<String, Change<V>>| {
            of.iter().map(|(path, of)| (name(path), change(of))).collect()
        };
        let effect = |of: &Effect<V>| Effect {
            action: of.action.clone(),
            moved_from: of.moved_from.as_deref().map(name),
            import: of.import.as_deref().map(name),
            object: of.object.iter().map(|(key, of)| (key.clone(), name(of))).collect(),
            replace: names(&of.replace),
            attributes: changes(&of.attributes),
            added: BTreeSet::new(),
        };
        Effects {
            resources: self.resources.iter().map(|(label, of)| (name(label), effect(of))).collect(),
            outputs: changes(&self.outputs),
            deferred: names(&self.deferred),
        }
    }
}
