//! All locks of a state, acquired and released together.

use super::lock::{HeldLock, LockInfo, StateLock};
use crate::base::error::{Error, Exit, Result};

/// Must be released: a drop cannot wait for the answer.
pub(super) struct TakenLocks<'a>(Vec<(&'a StateLock, HeldLock)>);

impl<'a> TakenLocks<'a> {
    /// Takes all `locks` or none. `holder` is written to each.
    pub(super) async fn take(
        locks: impl IntoIterator<Item = &'a StateLock>,
        holder: &LockInfo,
    ) -> Result<Self> {
        let mut taken = Self(Vec::new());
        for lock in locks {
            match acquire(lock, holder).await {
                Ok(held) => taken.0.push((lock, held)),
                Err(error) => {
                    return Err(match taken.release().await {
                        Ok(()) => error,
                        Err(left) => error.hint(left.story()),
                    });
                }
            }
        }
        Ok(taken)
    }

    /// Releases all locks, even if one fails.
    pub(super) async fn release(self) -> Result<()> {
        let mut result = Ok(());
        for (lock, held) in self.0.iter().rev() {
            if let Err(error) = lock.release(held).await {
                let what = format!("failed to release the lock at `{}`", lock.describe());
                result = Err(Error::new(error.exit(), what).why(error).hint(format!(
                    "release it: cdflow unlock ENVIRONMENT --force {}",
                    held.holder.id
                )));
            }
        }
        result
    }
}

async fn acquire(lock: &StateLock, holder: &LockInfo) -> Result<HeldLock> {
    match lock.acquire(holder).await {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(locked(lock, lock.read().await?.as_ref())),
        Err(error) => Err(release_if_ours(lock, holder, error).await),
    }
}

/// Releases a lock that was acquired although the answer was lost. Otherwise it would stay forever.
async fn release_if_ours(lock: &StateLock, holder: &LockInfo, error: Error) -> Error {
    let is_released = match lock.read().await {
        Ok(Some(held)) if held.holder.id == holder.id => lock.release(&held).await.is_ok(),
        Ok(_) => true,
        Err(_) => false,
    };
    match is_released {
        true => error,
        false => error.hint(format!(
            "the lock at `{}` might still be held: check it with cdflow unlock, \
             and release it if its ID is {}",
            lock.describe(),
            holder.id
        )),
    }
}

pub(super) fn locked(lock: &StateLock, held: Option<&HeldLock>) -> Error {
    let error = Error::new(Exit::Locked, format!("the state is locked at `{}`", lock.describe()));
    let error = match held.map(|held| &held.holder) {
        Some(holder) => error.why(format!(
            "{} by {} since {} (lock {})",
            holder.operation.escape_debug(),
            holder.who.escape_debug(),
            holder.created.escape_debug(),
            holder.id.escape_debug()
        )),
        None => error,
    };
    error.hint(
        "wait for that run to end; if it is not active any more, release its lock \
         (docs/terraform.md, \"State\")",
    )
}
