//! Whether a state is still the one that was planned with, checked under its locks.

use super::{
    lock::LockInfo,
    object::StateObject,
    stored::{self, Stored},
    summary::StateSummary,
    taken_locks::TakenLocks,
};
use crate::base::error::Result;

/// Returns whether the state is still `before`. False also if another run holds a lock, or if only
/// Terraform can read the state: the apply of the plan then says what is wrong.
///
/// Fails if a lock that was taken cannot be released.
pub(crate) async fn is_still(
    object: &StateObject,
    before: &StateSummary,
    holder: &LockInfo,
) -> Result<bool> {
    let Ok(taken) = TakenLocks::take(&object.locks, holder).await else { return Ok(false) };
    let now = stored::read(object).await;
    taken.release().await?;
    Ok(match now {
        Ok(Stored::Readable(file)) => {
            (file.summary.serial, &file.summary.lineage) == (before.serial, &before.lineage)
        }
        _ => false,
    })
}
