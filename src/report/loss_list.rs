//! The list of the resources that a plan destroys or replaces: all of them, in the room there is.

use std::collections::BTreeMap;

use super::{
    addresses::{Collapsed, collapse, split},
    markdown::{counted, grouped},
    plan::PlannedResource,
};
use crate::terraform::output::changes::ChangeAction;

/// Lists one resource per line.
///
/// If that exceeds `limit` bytes, the instances of a resource share a line; if that is still too
/// long, they are counted per type or module, and in the end all together.
pub(super) fn list(losses: &[&PlannedResource], limit: usize) -> String {
    let fits = |lines: Vec<String>| {
        let list = lines.join("\n");
        (list.len() <= limit).then_some(list)
    };
    fits(losses.iter().map(|it| format!("{} {}", sign(it.action), it.label())).collect())
        .or_else(|| fits(collapsed(losses)))
        .or_else(|| fits(by_type(losses)))
        .unwrap_or_else(|| format!("- {}", counted(losses.len(), "resource")))
}

fn collapsed(losses: &[&PlannedResource]) -> Vec<String> {
    let of = |name: &'static str| -> Vec<String> {
        let labels = losses.iter().filter(|it| sign(it.action) == name).map(|it| it.label());
        by_resource(name, &labels.collect::<Vec<_>>())
    };
    SIGNS.map(of).concat()
}

/// How lines of the list start.
pub(super) const SIGNS: [&str; 2] = ["! -/+", "-"];

fn sign(action: ChangeAction) -> &'static str {
    if action == ChangeAction::Replace { SIGNS[0] } else { SIGNS[1] }
}

/// Formats lines such as `- aws_x.y[0…4999] (5,000)` and `- aws_x.z["a", "b"] (2)`.
pub(super) fn by_resource(sign: &str, labels: &[String]) -> Vec<String> {
    let line = |it: Collapsed| match it.count {
        1 => format!("{sign} {}", it.address),
        count => format!("{sign} {} ({})", it.address, grouped(count)),
    };
    collapse(labels).into_iter().map(line).collect()
}

/// Formats lines such as `- 1,204 aws_instance` and `- 12 in module.fleet`.
fn by_type(losses: &[&PlannedResource]) -> Vec<String> {
    let mut kinds: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for loss in losses {
        *kinds.entry((sign(loss.action), type_or_module(&loss.address))).or_default() += 1;
    }
    kinds
        .into_iter()
        .map(|((sign, kind), count)| format!("{sign} {} {kind}", grouped(count)))
        .collect()
}

fn type_or_module(address: &str) -> String {
    let (base, _) = split(address);
    let mut parts = base.split('.');
    match parts.next() {
        Some("module") => {
            let module =
                parts.next().unwrap_or_default().split('[').next().unwrap_or_default().to_owned();
            format!("in module.{module}")
        }
        kind => kind.unwrap_or_default().to_owned(),
    }
}
