//! What differs between the effects of two plans.

use std::{collections::BTreeSet, fmt};

use super::{
    Change, Effect, Effects, Side,
    read::PlannedValue,
    seal::{Sealed, Words},
};

/// One difference between a plan that was reviewed and the plan of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Only the plan of now does something to the resource.
    New { address: String, action: String },
    /// Only the reviewed plan does something to the resource.
    Gone { address: String, action: String },
    /// Both do, but not the same.
    Action { address: String, reviewed: String, now: String },
    /// Both do the same to the resource, but not in this detail.
    Detail { address: String, detail: String, reviewed: String, now: String },
}

/// Effects, and the words of the release that they belong to.
pub(crate) type OfRelease<'e> = (&'e Effects<Sealed>, &'e Words);

/// Returns what differs. Values are the same if they are equal, also after the words of their
/// releases are left out. Empty if both plans do the same.
pub(crate) fn differences(reviewed: OfRelease<'_>, now: OfRelease<'_>) -> Vec<Difference> {
    let comparison = Comparison { reviewed: reviewed.1, now: now.1, found: Vec::new() };
    comparison.run(reviewed.0, now.0)
}

/// Whether something is changed, but nothing except for the words of the release and what is
/// computed from them after the apply.
pub(crate) fn is_only_words(effects: &Effects<PlannedValue>, words: &Words) -> bool {
    let is_word = |change: &Change<PlannedValue>| match (&change.before, &change.after) {
        (Some(PlannedValue::Plain(was)), Some(PlannedValue::Plain(is))) => {
            words.general(was, Side::Before) == words.general(is, Side::After)
        }
        _ => false,
    };
    let is_computed = |change: &Change<PlannedValue>| change.after == Some(PlannedValue::Unknown);
    let mut changes = effects.resources.values().map(|effect| (effect, &effect.attributes));
    let updates = changes.all(|(effect, attributes)| {
        effect.action == "update"
            && effect.import.is_none()
            && effect.moved_from.is_none()
            && attributes.values().any(is_word)
            && attributes.values().all(|change| is_word(change) || is_computed(change))
    });
    let outputs = effects.outputs.values().all(|change| is_word(change) || is_computed(change));
    !effects.is_empty() && updates && outputs && effects.deferred.is_empty()
}

struct Comparison<'w> {
    reviewed: &'w Words,
    now: &'w Words,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn run(mut self, reviewed: &Effects<Sealed>, now: &Effects<Sealed>) -> Vec<Difference> {
        let labels: BTreeSet<&String> =
            reviewed.resources.keys().chain(now.resources.keys()).collect();
        for label in labels {
            match (reviewed.resources.get(label), now.resources.get(label)) {
                (Some(was), Some(is)) => self.effect(label, was, is),
                (Some(was), None) => self
                    .found
                    .push(Difference::Gone { address: label.clone(), action: was.summary() }),
                (None, Some(is)) => self
                    .found
                    .push(Difference::New { address: label.clone(), action: is.summary() }),
                (None, None) => {}
            }
        }
        let names: BTreeSet<&String> = reviewed.outputs.keys().chain(now.outputs.keys()).collect();
        for name in names {
            let output = format!("output.{name}");
            match (reviewed.outputs.get(name), now.outputs.get(name)) {
                (Some(was), Some(is)) => self.change(&output, "value", was, is),
                (Some(_), None) => self
                    .found
                    .push(Difference::Gone { address: output, action: "changed".to_owned() }),
                (None, Some(_)) => self
                    .found
                    .push(Difference::New { address: output, action: "changed".to_owned() }),
                (None, None) => {}
            }
        }
        let put_off = |address: &String| (address.clone(), "put off to a later plan".to_owned());
        for (address, action) in reviewed.deferred.difference(&now.deferred).map(put_off) {
            self.found.push(Difference::Gone { address, action });
        }
        for (address, action) in now.deferred.difference(&reviewed.deferred).map(put_off) {
            self.found.push(Difference::New { address, action });
        }
        self.found
    }

    fn effect(&mut self, address: &str, was: &Effect<Sealed>, is: &Effect<Sealed>) {
        if was.summary() != is.summary() {
            let (address, reviewed, now) = (address.to_owned(), was.summary(), is.summary());
            self.found.push(Difference::Action { address, reviewed, now });
            return;
        }
        let object = |effect: &Effect<Sealed>| {
            let names = effect.object.iter().map(|(name, value)| format!("{name} = {value:?}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let replace =
            |effect: &Effect<Sealed>| effect.replace.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut detail = |detail: &str, reviewed: String, now: String| {
            let said = |text: String| if text.is_empty() { "none".to_owned() } else { text };
            if reviewed != now {
                let (address, detail) = (address.to_owned(), detail.to_owned());
                let (reviewed, now) = (said(reviewed), said(now));
                self.found.push(Difference::Detail { address, detail, reviewed, now });
            }
        };
        let same_names = was.object.keys().eq(is.object.keys())
            && was.object.values().zip(is.object.values()).all(|(was, is)| {
                was == is || self.reviewed.general_text(was) == self.now.general_text(is)
            });
        if !same_names {
            detail("the existing object", object(was), object(is));
        }
        detail("what forces the replacement", replace(was), replace(is));
        let paths: BTreeSet<&String> = was.attributes.keys().chain(is.attributes.keys()).collect();
        let nothing = Change { before: None, after: None };
        for path in paths {
            let of = |effect: &Effect<Sealed>| effect.attributes.get(path).cloned();
            let (was, is) = (of(was), of(is));
            self.change(
                address,
                path,
                was.as_ref().unwrap_or(&nothing),
                is.as_ref().unwrap_or(&nothing),
            );
        }
    }

    fn change(&mut self, address: &str, path: &str, was: &Change<Sealed>, is: &Change<Sealed>) {
        let same = self.is_same(was.before.as_ref(), is.before.as_ref(), Side::Before)
            && self.is_same(was.after.as_ref(), is.after.as_ref(), Side::After);
        if !same {
            let (address, detail) = (address.to_owned(), path.to_owned());
            let (reviewed, now) = (was.to_string(), is.to_string());
            self.found.push(Difference::Detail { address, detail, reviewed, now });
        }
    }

    fn is_same(&self, was: Option<&Sealed>, is: Option<&Sealed>, side: Side) -> bool {
        match (was, is) {
            (Some(Sealed::Plain(was)), Some(Sealed::Plain(is))) => {
                was == is || self.reviewed.general(was, side) == self.now.general(is, side)
            }
            (
                Some(Sealed::Secret { exact: was, general: general_was }),
                Some(Sealed::Secret { exact: is, general: general_is }),
            ) => was == is || general_was == general_is,
            (was, is) => was == is,
        }
    }
}

impl<V> Effect<V> {
    /// Returns Terraform's action in the words of its plans.
    pub(crate) fn summary(&self) -> String {
        let action = match self.action.as_str() {
            "delete" => "destroy",
            "delete create" => "replace (destroy first)",
            "create delete" => "replace (create first)",
            "forget" => "remove from the state",
            "no-op" => "",
            other => other,
        };
        let mut parts: Vec<String> = Vec::new();
        parts.extend(Some(action.to_owned()).filter(|it| !it.is_empty()));
        parts.extend(self.moved_from.iter().map(|from| format!("move from {from}")));
        parts.extend(self.import.iter().map(|id| format!("import {id:?}")));
        parts.join(", ")
    }
}

/// In characters. The plan has the whole value.
const SHOWN: usize = 60;

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("(known after apply)"),
            Self::Secret { .. } => f.write_str("(sensitive)"),
            Self::Plain(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => write!(f, "{}…", &text[..end]),
                None => f.write_str(text),
            },
        }
    }
}

impl fmt::Display for Change<Sealed> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (None, None) => f.write_str("unchanged"),
            (None, Some(after)) => write!(f, "{after}"),
            (Some(before), None) => write!(f, "{before} -> null"),
            (Some(before), Some(after)) => write!(f, "{before} -> {after}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { address, action } => write!(f, "{address}: {action}; not reviewed"),
            Self::Gone { address, action } => {
                write!(f, "{address}: reviewed: {action}; now: nothing to do")
            }
            Self::Action { address, reviewed, now } => {
                write!(f, "{address}: reviewed: {reviewed}; now: {now}")
            }
            Self::Detail { address, detail, reviewed, now } => {
                write!(f, "{address}: {detail}: reviewed: {reviewed}; now: {now}")
            }
        }
    }
}
