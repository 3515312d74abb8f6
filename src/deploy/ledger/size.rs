//! The size of an entry: every entry that is written can be read.

use serde::Serialize;

use super::entry::End;
use crate::base::error::{Error, Result};

/// In bytes. A usual entry has some hundreds.
pub(super) const ENTRY_LIMIT: u64 = 64 * 1024;
/// The maximum length of the reason for a failure, in bytes. Even if JSON escapes every character,
/// the rest of the entry fits into `ENTRY_LIMIT`.
const REASON_LIMIT: usize = 8 * 1024;
/// In bytes. A lineage is a UUID.
const LINEAGE_LIMIT: usize = 1024;

/// Cuts what makes an end too large: a long reason, an absurd lineage, and unknown changes. Those
/// that create objects are kept first, because no plan will show them.
pub(super) fn cut(mut end: End) -> End {
    if let Some(reason) = &mut end.reason {
        reason.truncate(reason.floor_char_boundary(REASON_LIMIT));
    }
    end.state_lineage = end.state_lineage.filter(|lineage| lineage.len() <= LINEAGE_LIMIT);
    if encoded(&end).is_ok() {
        return end;
    }
    let mut all = std::mem::take(&mut end.unknown_changes);
    all.sort_by_key(|change| !change.is_create());
    let with = |kept: usize| End {
        unknown_changes: all[..kept].to_vec(),
        unknown_changes_left_out: all.len() - kept,
        ..end.clone()
    };
    // The largest number of changes that fit.
    let (mut fits, mut too_many) = (0, all.len());
    while fits + 1 < too_many {
        let middle = fits.midpoint(too_many);
        match encoded(&with(middle)) {
            Ok(_) => fits = middle,
            Err(_) => too_many = middle,
        }
    }
    with(fits)
}

/// Rejects an entry that is larger than what `get` reads, because it would make the whole ledger of
/// the environment unreadable.
pub(super) fn encoded(entry: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec_pretty(entry)
        .map_err(|error| Error::internal("failed to encode a ledger entry").why(error))?;
    match bytes.len() as u64 > ENTRY_LIMIT {
        true => Err(Error::input("the ledger entry of this run would be too large")
            .why(format!("it has {} bytes; the limit is {ENTRY_LIMIT}", bytes.len()))
            .hint("pass fewer addresses (`target`, `allow-destroy`)")
            .hint("if a label allows all of them, deploy in parts with `target`")),
        false => Ok(bytes),
    }
}
