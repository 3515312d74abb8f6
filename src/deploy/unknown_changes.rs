//! Names the changes whose result is unknown: after the apply that began them, and before the next.

use super::order::Order;
use crate::{
    base::{error::Error, shell_word::shell_word},
    context::Context,
    terraform::output::{
        changes::{ChangeAction, Changes},
        unknown::UnknownChange,
    },
};

/// Names each change in the log, with the `import` blocks of objects that no state has.
pub(crate) fn show(context: &Context, unknown: &[UnknownChange]) {
    let (provisioned, changes): (Vec<_>, Vec<_>) =
        unknown.iter().partition(|change| change.is_provision());
    let log = &context.host.log;
    if !provisioned.is_empty() {
        log.warning(&format!(
            "the provisioners of these did not end, and the state does not show it: {}",
            plain(provisioned.iter().copied())
        ));
    }
    if changes.is_empty() {
        return;
    }
    log.warning(&format!(
        "these changes might have been made, and the state does not show it: {}",
        addresses(changes.iter().copied())
    ));
    for change in &changes {
        log.output(&format!("  {}", change.describe()));
    }
    if changes.iter().any(|change| !change.is_create()) {
        log.note("the next plan shows how far each update or deletion got");
    }
    show_imports(context, changes.into_iter());
}

/// Adds what to do before the next deploy to the error of the run.
pub(crate) fn explain(error: Error, unknown: &[UnknownChange], order: &Order<'_>) -> Error {
    let (created, provisioned) = (
        unknown.iter().filter(|change| change.is_create()),
        unknown.iter().filter(|change| change.is_provision()),
    );
    let error = match created.clone().next() {
        None => error,
        Some(_) => error.hint(format!(
            "check first whether these exist, and import or delete them, because they are not in \
             the state: {}",
            addresses(created)
        )),
    };
    match provisioned.clone().next() {
        None => error,
        Some(_) => error.hint(provision_again(order, provisioned)),
    }
}

/// Returns how to run the provisioners of objects in the state again.
fn provision_again<'c>(
    order: &Order<'_>,
    provisioned: impl Iterator<Item = &'c UnknownChange>,
) -> String {
    let flags = provisioned.map(|it| format!("--replace {}", shell_word(&it.address)));
    format!(
        "replace what needs its provisioners, which did not end: cdflow deploy {} {} {}",
        order.environment(),
        order.version(),
        flags.collect::<Vec<_>>().join(" ")
    )
}

/// Warns that the plan creates what an earlier run might have created already, or that nothing
/// manages it any more.
pub(crate) fn warn_of_earlier(context: &Context, order: &Order<'_>, planned: &Changes) {
    for (number, count) in &order.left_out {
        context.host.log.warning(&format!(
            "run {number} left {count} more unknown changes than the ledger has room for: its log \
             names them"
        ));
    }
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
    warn_of_provisioners(context, order, planned);
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

/// Warns that the plan keeps objects whose provisioners did not end.
fn warn_of_provisioners(context: &Context, order: &Order<'_>, planned: &Changes) {
    let is_kept = |address: &str| {
        !planned.resources.iter().any(|it| {
            it.address == address
                && matches!(
                    it.action,
                    ChangeAction::Create | ChangeAction::Replace | ChangeAction::Delete
                )
        })
    };
    let open: Vec<&(u64, UnknownChange)> = order
        .earlier
        .iter()
        .filter(|(_, change)| change.is_provision() && is_kept(&change.address))
        .collect();
    let Some((number, _)) = open.first() else { return };
    let changes = || open.iter().map(|(_, change)| change);
    context.host.log.warning(&format!(
        "Terraform was killed in run {number} or later while the provisioners of these ran, and \
         this plan does not run them again: {}\n  -> {}",
        plain(changes()),
        provision_again(order, changes())
    ));
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

fn plain<'c>(of: impl Iterator<Item = &'c UnknownChange>) -> String {
    of.map(|it| it.address.as_str()).collect::<Vec<_>>().join(", ")
}

fn addresses<'c>(of: impl Iterator<Item = &'c UnknownChange>) -> String {
    of.map(|it| format!("{} ({})", it.address, it.action)).collect::<Vec<_>>().join(", ")
}
