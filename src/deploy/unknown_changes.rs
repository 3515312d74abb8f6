//! Names the changes whose result is unknown: after the apply that began them, and before the next.

use super::order::Order;
use crate::{
    base::error::Error,
    context::Context,
    terraform::output::{
        changes::{ChangeAction, Changes},
        unknown::UnknownChange,
    },
};

/// Names each change in the log, with the `import` blocks of objects that no state has.
pub(crate) fn show(context: &Context, unknown: &[UnknownChange]) {
    if unknown.is_empty() {
        return;
    }
    let log = &context.host.log;
    log.warning(&format!(
        "these changes might have been made, and the state does not show it: {}",
        addresses(unknown.iter())
    ));
    for change in unknown {
        log.output(&format!("  {}", change.describe()));
    }
    if unknown.iter().any(|change| !change.is_create()) {
        log.note("the next plan shows how far each update or deletion got");
    }
    show_imports(context, unknown.iter());
}

/// Adds what to do before the next deploy to the error of the run.
pub(crate) fn explain(error: Error, unknown: &[UnknownChange]) -> Error {
    let created: Vec<&UnknownChange> = unknown.iter().filter(|change| change.is_create()).collect();
    match created.is_empty() {
        true => error,
        false => error.hint(format!(
            "check first whether these exist, and import or delete them, because they are not in \
             the state: {}",
            addresses(created.into_iter())
        )),
    }
}

/// Warns that the plan creates what an earlier run might have created already, or that nothing
/// manages it any more.
pub(crate) fn warn_of_earlier(context: &Context, order: &Order<'_>, planned: &Changes) {
    let is_managed = |address: &str| {
        let is_created = |address: &str| {
            planned.resources.iter().any(|it| {
                it.address == address && it.action == ChangeAction::Create && !it.is_import
            })
        };
        planned.addresses.iter().any(|known| known == address) && !is_created(address)
    };
    let open: Vec<&(u64, UnknownChange)> = order
        .earlier
        .iter()
        .filter(|(_, change)| change.is_create() && !is_managed(&change.address))
        .collect();
    let Some((number, _)) = open.first() else { return };
    let log = &context.host.log;
    log.warning(&format!(
        "run {number} or later might have created these, and they are not in the state: {}",
        addresses(open.iter().map(|(_, change)| change))
    ));
    for (number, change) in &open {
        log.output(&format!("  run {number}: {}", change.describe()));
    }
    log.note("check whether each exists; if so, import or delete it (docs/terraform.md)");
    show_imports(context, open.iter().map(|(_, change)| change));
}

fn show_imports<'c>(context: &Context, unknown: impl Iterator<Item = &'c UnknownChange>) {
    let log = &context.host.log;
    let (known, others): (Vec<_>, Vec<_>) =
        unknown.filter(|change| change.is_create()).partition(|change| change.import_id.is_some());
    if !known.is_empty() {
        log.note("to import what exists, release with these blocks in infra/:");
        let blocks = known.iter().filter_map(|change| change.import_block());
        blocks.for_each(|block| block.lines().for_each(|line| log.output(line)));
    }
    if !others.is_empty() {
        log.note(&format!(
            "look in the provider's console or API for {}; \
             its documentation of the type has the ID for an import block",
            addresses(others.into_iter())
        ));
    }
}

fn addresses<'c>(of: impl Iterator<Item = &'c UnknownChange>) -> String {
    of.map(|it| format!("{} ({})", it.address, it.action)).collect::<Vec<_>>().join(", ")
}
